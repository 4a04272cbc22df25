"""The demo, as a user runs it: from firmware to the city, nothing lost, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TUKAD = str(Path(sys.executable).with_name("tukad"))


def left_behind(folder: Path) -> list[str]:
    """Command lines of running processes that name the demo's folder, or descend from it."""
    found: list[str] = []
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit() and int(proc.name) != os.getpid():
            try:
                words = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                where = os.readlink(proc / "cwd")
            except OSError:
                continue
            if str(folder) in words or str(folder) in where:
                found.append(words)
    return found


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TUKAD, "hil", "demo", "--plain", "--keep", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(300)
def test_a_storm_reaches_the_city_without_loss(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with demo(folder, "--seconds", "60", "--nodes", "2", "--broker", "embedded") as process:
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    assert "storm over: nothing lost" in out, out
    assert "AWAS radar-jembatan" in out, out
    assert "AWAS flood-kumbasari" in out, out
    assert "SIREN sirene-1 sounds for AWAS at flood-kumbasari" in out, out
    assert "that the siren sounded" in out, out
    assert "CAP files verified with the pinned key" in out, out
    assert "verified: DRILL: AWAS" in out and "NOT GOOD" not in out, out
    assert not left_behind(folder)


@pytest.mark.timeout(120)
def test_ctrl_c_ends_everything_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with demo(folder, "--forever", "--nodes", "1") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "radar-jembatan" in line:
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert "storm over" in out, out
    assert "Traceback" not in out, out
    assert not left_behind(folder)


@pytest.mark.timeout(120)
def test_killed_demo_takes_its_children_along(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with demo(folder, "--forever", "--nodes", "1") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "radar-jembatan" in line:
                break
        assert left_behind(folder), "the gateway names its configuration"
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 60
    while left_behind(folder) and time.monotonic() < deadline:
        os.sched_yield()
    assert not left_behind(folder)


def test_a_broker_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with demo(folder, "--broker", "mqtt://127.0.0.1:9") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "127.0.0.1:9" in out and "Traceback" not in out, out
    assert not left_behind(folder)
