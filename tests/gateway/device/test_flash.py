"""Flashing over a serial line, against a real MicroPython; and what is said when it cannot be."""

from functools import cache
from pathlib import Path

import pytest

from gateway.device.boards import Identity, check
from gateway.device.flash import active_slot, flash, manifest_of
from gateway.device.link import DeviceError, Link
from gateway.device.release import compile_tree, load_key, new_key, pack, sign
from protocols.update.manifest import parse
from tests.gateway.device.board import board

ROOT = Path(__file__).parents[3]
# Enough of the application for a slot; the whole would only take longer.
PART = ("firmware/main.mpy", "firmware/__init__.mpy", "protocols/ticks.mpy")


@cache
def compiled() -> dict[str, bytes]:
    return compile_tree(ROOT)


def release(key_file: Path, version: int, **extra: bytes) -> bytes:
    files = {name: compiled()[name] for name in PART} | extra
    signed = sign(files, "unix-pico", version, load_key(key_file))
    return pack(signed, parse(signed), files, None)


def test_a_release_is_flashed_verified_and_flashed_again(tmp_path: Path) -> None:
    key_file = tmp_path / "release.pem"
    public = new_key(key_file)
    assert key_file.stat().st_mode & 0o777 == 0o600
    with board(tmp_path) as (port, folder), Link(port, str(folder)) as link:
        done = flash(link, release(key_file, 3), compiled(), "unix-pico", public)
        assert (done.version, done.files, done.slot) == (3, 3, "app.b")
        assert (folder / "app.b/firmware/main.mpy").read_bytes() == compiled()[PART[0]]
        assert not (folder / "update.new").exists()
        assert (folder / "main.py").exists() and (
            folder / "loader/firmware/update/boot.mpy"
        ).exists()
        # The first is still on trial: a second goes beside it, the third over the second.
        again = flash(link, release(key_file, 4, extra=b"new"), compiled(), "unix-pico", public)
        assert again.slot == "app.a" and active_slot(link) == "app.a"
        with pytest.raises(DeviceError, match="refused the package: refused, version"):
            link.run("import firmware.update.slots as s, firmware.update.tree as t")
            link.run(f"s.Slots(t.Tree({str(folder)!r})).confirm()")
            flash(link, release(key_file, 3), compiled(), "unix-pico", public)


def test_another_key_is_refused_by_the_cable_and_by_the_board(tmp_path: Path) -> None:
    public = new_key(tmp_path / "ours.pem")
    other = new_key(tmp_path / "theirs.pem")
    with board(tmp_path) as (port, folder), Link(port, str(folder)) as link:
        with pytest.raises(DeviceError, match="refused, signature"):
            flash(link, release(tmp_path / "theirs.pem", 1), compiled(), "unix-pico", public)
        with pytest.raises(DeviceError, match="another release key"):
            flash(link, release(tmp_path / "theirs.pem", 1), compiled(), "unix-pico", other)


def test_files_go_both_ways_and_errors_are_one_line(tmp_path: Path) -> None:
    with board(tmp_path) as (port, folder), Link(port, str(folder)) as link:
        content = bytes(range(256)) * 5
        link.put("a/b/c.bin", content)
        assert (folder / "a/b/c.bin").read_bytes() == content
        assert link.get("a/b/c.bin") == content and link.get("none") is None
        with pytest.raises(DeviceError, match=r"^the device says: ZeroDivisionError"):
            link.run("1 / 0")
        with pytest.raises(DeviceError, match=r"^wrong board: this is a linux"):
            flash(link, release_for(tmp_path, "pico-waveshare"), {}, "pico-waveshare", b"")


def release_for(folder: Path, model: str) -> bytes:
    new_key(folder / "k.pem")
    files = {PART[0]: compiled()[PART[0]]}
    signed = sign(files, model, 1, load_key(folder / "k.pem"))
    return pack(signed, parse(signed), files, None)


def test_ports_that_cannot_be_used_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="there is no such port"):
        Link(str(tmp_path / "ttyNONE"))
    with (
        board(tmp_path) as (port, folder),
        Link(port, str(folder)),
        pytest.raises(DeviceError, match="busy; close the other program"),
    ):
        Link(port, str(folder))


def test_old_micropython_and_wrong_packages_are_named() -> None:
    old = Identity("rp2", "Raspberry Pi Pico", (1, 22, 2), 6)
    with pytest.raises(DeviceError, match=r"MicroPython 1\.22\.2 .* BOOTSEL"):
        check(old, "pico-waveshare")
    with pytest.raises(DeviceError, match=r"needs \.mpy 6, has 5"):
        check(Identity("esp32", "", (1, 26, 0), 5), "heltec-v3", 6)
    check(Identity("esp32", "", (1, 26, 0), 6), "heltec-v3", 6)
    with pytest.raises(DeviceError, match="not an update package"):
        manifest_of(b"PK\x03\x04 something else")


def test_a_package_with_only_the_changes_is_small(tmp_path: Path) -> None:
    new_key(tmp_path / "k.pem")
    key = load_key(tmp_path / "k.pem")
    before = {name: compiled()[name] for name in PART}
    after = before | {PART[2]: b"M\x06changed"}
    known = parse(sign(before, "unix-pico", 1, key))
    signed = sign(after, "unix-pico", 2, key)
    package = pack(signed, parse(signed), after, known)
    assert len(package) == 6 + len(signed) + 2 + 9
    with pytest.raises(DeviceError, match="exists already"):
        new_key(tmp_path / "k.pem")
