"""The update on a real file system: folders, a release in fragments, installed and chosen."""

import os

from firmware.update.agent import GO_ON, START_AGAIN, Updates, is_fitted
from firmware.update.health import LIMIT_S, SETTLED_S
from firmware.update.install import PACKAGE, install
from firmware.update.parts import PART, ROOM_MAX
from firmware.update.slots import Slots, nothing
from firmware.update.tree import Tree
from protocols.update.fragment import PORT, fragment_message, setup_request
from protocols.update.parity import encode
from tests.firmware.device.update.flash import MODEL, MPY
from tests.firmware.device.update.releases import PACKAGE_ONE, PACKAGE_TWO, PUBLIC

_TEMPORARY = os.getenv("TMPDIR") or "/tmp"


def wipe(path):
    for name in os.listdir(path):
        full = path + "/" + name
        if os.stat(full)[0] & 0x4000:
            wipe(full)
        else:
            os.remove(full)
    os.rmdir(path)


def folder():
    """A fresh one, which the caller wipes."""
    for number in range(1000):
        path = "%s/tukad-update-%d-%d" % (_TEMPORARY, number, id(wipe) & 0xFFFFFF)
        try:
            os.mkdir(path)
        except OSError:
            continue
        return path
    raise AssertionError("no folder")


def test_a_tree_makes_folders_and_lists_them():
    root = folder()
    try:
        files = Tree(root)
        files.write("app.a/firmware/store/x.mpy", b"12")
        files.append("app.a/firmware/store/x.mpy", b"3")
        files.append("app.a/y.mpy", b"")
        files.write("top", b"1234")
        assert files.read("app.a/firmware/store/x.mpy", 1) == b"23"
        assert sorted(files.below("app.a")) == ["app.a/firmware/store/x.mpy", "app.a/y.mpy"]
        assert files.below("app.b") == []
        assert files.sizes()["top"] == 4 and files.sizes()["app.a/firmware/store/x.mpy"] == 3
    finally:
        wipe(root)


def test_a_release_by_radio_from_fragments_to_confirmation():
    root = folder()
    try:
        files = Tree(root)
        assert not is_fitted(files)
        files.write("release.pub", PUBLIC)
        assert is_fitted(files)
        files.write(PACKAGE, PACKAGE_ONE)
        install(files, Slots(files), MODEL, MPY)
        first = Updates(root, nothing)
        assert first.step(SETTLED_S - 1, 0, True) == GO_ON and first.is_trial
        assert first.step(LIMIT_S, 0, True) == START_AGAIN
        # Nothing new is taken while the present release is on trial.
        assert first.handle(PORT, setup_request(len(PACKAGE_TWO), 40, 2)) == [b"\x02\x08"]
        assert first.handle(203, b"\x01\x04") == [
            b"\x01\x01\0\0\0\0\0\0\0",
            b"\x04\x03\x01\0\0\0",
        ]
        assert first.step(SETTLED_S, 1, True) == GO_ON and not first.is_trial
        assert first.handle(PORT, setup_request(len(PACKAGE_TWO), 40, 1)) == [b"\x02\x08"]
        assert first.handle(PORT, setup_request(ROOM_MAX + 200, 230, 2)) == [b"\x02\x02"]
        assert first.handle(PORT, setup_request(len(PACKAGE_TWO), 40, 2)) == [b"\x02\x00"]
        padded = PACKAGE_TWO + bytes(-len(PACKAGE_TWO) % 40)
        number = 0
        while first.step(SETTLED_S, 1, True) == GO_ON:
            number += 1
            assert number < 60
            if number not in (2, 5):
                first.handle(PORT, fragment_message(number, encode(padded, 40, number)))
        assert files.read(PART) is None and files.read(PACKAGE) == PACKAGE_TWO
        assert install(files, Slots(files), MODEL, MPY) == "version 2 starts on trial"
        again = Slots(files)
        assert again.is_whole(again.choose())
        second = Updates(root, nothing, needs_network=False)
        assert second.step(SETTLED_S, 0, True) == GO_ON
        assert Slots(files).selection.floor == 2
        assert second.handle(203, b"\x04\x00\x07\x01") == [b"\x04\x00", b"\x00\x04\x01"]
        # A release that was taken back does not come again by radio; the next one does.
        third = Slots(files)
        third.begin_trial(0, 5)
        third.take_back()
        again = Updates(root, nothing)
        assert again.handle(PORT, setup_request(400, 40, 5)) == [b"\x02\x08"]
        assert again.handle(PORT, setup_request(400, 40, 6)) == [b"\x02\x00"]
    finally:
        wipe(root)
