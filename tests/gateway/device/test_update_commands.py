"""`tukad lorawan update`, `updates` and `update-cancel`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from gateway.cli.lorawan import lorawan
from gateway.device.release import load_key, new_key, pack, sign
from gateway.lorawan.fragments import Jobs
from protocols.update.manifest import parse

EUI = "70b3d57ed1000001"


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(lorawan, [*words, "--data-dir", str(folder)])


def package(folder: Path, version: int) -> Path:
    key = folder / f"{version}.pem"
    new_key(key)
    files = {"a.mpy": b"M\x06"}
    signed = sign(files, "unix-pico", version, load_key(key))
    path = folder / f"{version}.pkg"
    path.write_bytes(pack(signed, parse(signed), files, None))
    return path


def test_a_release_is_queued_shown_and_cancelled(tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    key.write_text("app_key = " + "01" * 16 + "\n")
    added = run(tmp_path, "add", "bridge", "--dev-eui", EUI, "--key-file", str(key))
    assert added.exit_code == 0, added.output
    assert "none; to send one" in run(tmp_path, "updates").output
    file = package(tmp_path, 7)
    done = run(tmp_path, "update", "bridge", str(file))
    assert done.exit_code == 0 and "release 7" in done.output
    job = Jobs(tmp_path / "updates").load(EUI)
    assert job is not None and job.release == 7 and job.length == file.stat().st_size
    assert Jobs(tmp_path / "updates").package(EUI) == file.read_bytes()
    shown = json.loads(run(tmp_path, "updates", "--json").output)
    assert (shown["device"], shown["phase"]) == ("bridge", "offer")
    assert "bridge" in run(tmp_path, "updates").output
    second = run(tmp_path, "update", "bridge", str(file))
    assert second.exit_code == 1 and "on its way" in second.output
    assert run(tmp_path, "update-cancel", "bridge").exit_code == 0
    assert Jobs(tmp_path / "updates").all() == []
    assert run(tmp_path, "update-cancel", "bridge").exit_code == 1


def test_what_cannot_be_sent_is_said_in_one_line(tmp_path: Path) -> None:
    key = tmp_path / "node.key"
    key.write_text("app_key = " + "01" * 16 + "\n")
    run(tmp_path, "add", "bridge", "--dev-eui", EUI, "--key-file", str(key))
    for words, expected in (
        (("update", "nobody", str(key)), "no device 'nobody'"),
        (("update", "bridge", str(key)), "not an update package"),
        (("update", "bridge", str(tmp_path / "none")), "No such file"),
    ):
        done = run(tmp_path, *words)
        assert done.exit_code == 1 and expected in done.output
        assert len(done.output.strip().splitlines()) == 1
