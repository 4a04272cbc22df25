"""The update on a real file system: folders, a release in fragments, installed and chosen."""

import os

from firmware.update.install import PACKAGE, install
from firmware.update.parts import PART, ROOM_MAX, Parts
from firmware.update.slots import Slots, nothing
from firmware.update.tree import Tree
from protocols.update.fragment import Session, fragment_message, setup_request
from protocols.update.parity import encode
from tests.firmware.device.update.flash import MODEL, MPY
from tests.firmware.device.update.releases import PACKAGE_ONE, PACKAGE_TWO, PUBLIC


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
        path = "/tmp/tukad-update-%d-%d" % (number, id(wipe) & 0xFFFFFF)
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


def test_a_release_by_radio_from_fragments_to_trial():
    root = folder()
    try:
        files = Tree(root)
        files.write("release.pub", PUBLIC)
        files.write(PACKAGE, PACKAGE_ONE)
        install(files, Slots(files), MODEL, MPY)
        slots = Slots(files)
        slots.confirm()
        place = Parts(files, slots, root)
        session = Session(place)
        assert session.handle(setup_request(len(PACKAGE_TWO), 40, 1)) == b"\x02\x08"
        assert session.handle(setup_request(ROOM_MAX + 200, 230, 2)) == b"\x02\x02"
        assert session.handle(setup_request(len(PACKAGE_TWO), 40, 2)) == b"\x02\x00"
        padded = PACKAGE_TWO + bytes(-len(PACKAGE_TWO) % 40)
        number = 0
        while not session.is_complete:
            number += 1
            if number not in (2, 5):
                session.handle(fragment_message(number, encode(padded, 40, number)))
        place.hand_over(session.length, nothing)
        assert files.read(PART) is None and files.read(PACKAGE) == PACKAGE_TWO
        assert install(files, Slots(files), MODEL, MPY) == "version 2 starts on trial"
        again = Slots(files)
        assert again.is_whole(again.choose())
    finally:
        wipe(root)
