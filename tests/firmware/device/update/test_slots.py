"""Updates: what is taken in, what is refused, and a power cut at every byte of every write."""

import sys

from firmware.update.health import CONFIRM, LIMIT_S, RESET, SETTLED_S, WAIT, Trial
from firmware.update.install import INSTALL_TRIES, install
from firmware.update.slots import TRIES, Slots
from protocols.update.selection import Selection, decode
from tests.firmware.device.fakes import PowerCutError
from tests.firmware.device.update.flash import (
    MODEL,
    MPY,
    TreeFake,
    contents,
    device_with_one,
    new_device,
)
from tests.firmware.device.update.releases import (
    FORGED,
    INCOMPLETE,
    ONE,
    OTHER_MODEL,
    PACKAGE_ONE,
    PACKAGE_TWO,
    TWO,
)

# Each cut point costs two signatures, which are slow there; CPython does them all.
STRIDE = 1 if sys.implementation.name == "cpython" else 3


def boot(files):
    """What the loader does at a start: (what was said of a package, the slot's folder)."""
    said = install(files, Slots(files), MODEL, MPY)
    return said, Slots(files).choose()


def test_the_selection_has_one_layout():
    selection = Selection()
    selection.active = 1
    selection.is_trial = True
    selection.attempts = 2
    selection.floor = 0x01020304
    selection.version = 0x05060708
    selection.failed = 0x0A0B0C
    selection.install_tries = 4
    data = selection.encode()
    assert data == b"\x01\x01\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x0b\x0c\x04"
    assert decode(data).encode() == data
    for rubbish in (None, b"", data[:-1], b"\x02" + data[1:], b"\x01\x02" + data[2:]):
        assert decode(rubbish).encode() == Selection().encode()


def test_a_release_goes_on_trial_and_is_confirmed():
    files = device_with_one()
    files.data["update.new"] = PACKAGE_TWO
    said, folder = boot(files)
    assert said == "version 2 starts on trial" and folder == "app.a"
    assert contents(files, "app.a") == TWO and contents(files, "app.b") == ONE
    assert "update.new" not in files.data
    slots = Slots(files)
    assert slots.selection.is_trial and slots.selection.floor == 1
    slots.confirm()
    again = Slots(files).selection
    assert not again.is_trial and again.floor == 2 and again.version == 2
    assert boot(files) == ("", "app.a")


def test_a_release_that_is_never_confirmed_is_taken_back_for_good():
    files = device_with_one()
    files.data["update.new"] = PACKAGE_TWO
    starts = [boot(files)[1] for _ in range(TRIES + 3)]
    assert starts == ["app.a"] * TRIES + ["app.b"] * 3
    selection = Slots(files).selection
    assert (selection.failed, selection.floor, selection.version) == (2, 1, 1)
    # It may be sent again: perhaps the fault was the site's.
    files.data["update.new"] = PACKAGE_TWO
    assert boot(files) == ("version 2 starts on trial", "app.a")


def test_what_is_refused_changes_no_slot():
    for package, word in (
        (FORGED, "signature"),
        (OTHER_MODEL, "model"),
        (PACKAGE_ONE, "version"),
        (b"", "short"),
        (b"rubbish" * 20, "magic"),
        (PACKAGE_TWO[:60], "short"),
    ):
        files = device_with_one()
        before = dict(files.data)
        files.data["update.new"] = package
        said, folder = boot(files)
        assert said.startswith("refused, " + word), said
        assert folder == "app.b"
        for name in before:
            if not name.startswith("slots."):
                assert files.data[name] == before[name]
        assert "update.new" not in files.data
    files = device_with_one()
    files.data["update.new"] = PACKAGE_TWO
    assert install(files, Slots(files), MODEL, 5).startswith("refused, mpy")


def test_a_changed_byte_anywhere_in_a_package_is_refused_or_harmless():
    files = device_with_one()
    for at in range(0, len(PACKAGE_TWO), 5 * STRIDE):
        tried = files.copy()
        changed = bytearray(PACKAGE_TWO)
        changed[at] ^= 0x10
        tried.data["update.new"] = bytes(changed)
        assert boot(tried)[1] == "app.b", at
        assert contents(tried, "app.b") == ONE


def test_a_package_that_lacks_a_file_leaves_the_running_slot_alone():
    files = device_with_one()
    files.data["update.new"] = INCOMPLETE
    said, folder = boot(files)
    assert said.startswith("refused, ") and folder == "app.b"
    assert contents(files, "app.b") == ONE
    # And the half-filled slot is none: a package that is whole goes in.
    files.data["update.new"] = PACKAGE_TWO
    assert boot(files)[1] == "app.a"


def test_power_cut_at_every_byte_of_an_installation():
    """Whatever was written, the next start has a whole slot, and the release gets in."""
    start = device_with_one()
    start.data["update.new"] = PACKAGE_TWO
    probe = start.copy()
    probe.budget = 1 << 20
    boot(probe)
    total = probe.spent
    assert total > 300
    for budget in range(0, total, STRIDE):
        files = start.copy()
        files.rot = b"\xff\x00\xa5"
        files.budget = budget
        try:
            boot(files)
        except PowerCutError:
            pass
        files.power_up()
        slots = Slots(files)
        folder = slots.folder
        assert slots.is_whole(folder), budget
        assert contents(files, folder) == (TWO if folder == "app.a" else ONE), budget
        boot(files)
        after = Slots(files)
        assert after.folder == "app.a" and after.selection.is_trial, budget
        assert contents(files, "app.a") == TWO and after.is_whole("app.b"), budget


def test_power_cut_at_every_byte_of_starts_confirmation_and_roll_back():
    """No cut makes a start choose a slot that is not whole, or ends the trial the wrong way."""
    fresh = device_with_one()
    fresh.data["update.new"] = PACKAGE_TWO
    boot(fresh)
    for does_confirm in (False, True):
        for budget in range(0, 150):
            files = fresh.copy()
            files.rot = b"\xff"
            files.budget = budget
            try:
                for _ in range(TRIES + 1):
                    slots = Slots(files)
                    slots.choose()
                    if does_confirm:
                        slots.confirm()
            except PowerCutError:
                pass
            files.power_up()
            last = ""
            for _ in range(TRIES + 2):
                slots = Slots(files)
                last = slots.choose()
                assert contents(files, last) in (ONE, TWO)
                if does_confirm:
                    slots.confirm()
            assert last == ("app.a" if does_confirm else "app.b"), budget


def test_a_first_installation_cut_anywhere_can_be_done_again():
    for budget in range(0, 420, 7 * STRIDE):
        files = new_device()
        files.data["update.new"] = PACKAGE_ONE
        files.budget = budget
        try:
            boot(files)
        except PowerCutError:
            pass
        files.power_up()
        files.data["update.new"] = PACKAGE_ONE
        install(files, Slots(files), MODEL, MPY, is_wired=True)
        slots = Slots(files)
        assert slots.is_whole(slots.folder) and contents(files, slots.folder) == ONE


def test_the_first_release_stays_when_there_is_nothing_to_go_back_to():
    files = new_device()
    files.data["update.new"] = PACKAGE_ONE
    starts = [boot(files)[1] for _ in range(TRIES + 4)]
    assert starts == ["app.b"] * (TRIES + 4)


def test_by_wire_the_same_release_goes_in_again_and_replaces_one_on_trial():
    files = device_with_one()
    files.data["update.new"] = PACKAGE_TWO
    boot(files)
    files.data["update.new"] = PACKAGE_TWO
    assert install(files, Slots(files), MODEL, MPY).startswith("busy")
    files.data["update.new"] = PACKAGE_TWO
    said = install(files, Slots(files), MODEL, MPY, is_wired=True)
    assert said == "version 2 starts on trial"
    assert contents(files, "app.b") == ONE


def test_an_installation_that_never_ends_is_given_up():
    class HangError(Exception):
        pass

    def bite():
        raise HangError

    files = device_with_one()
    files.data["update.new"] = PACKAGE_TWO
    for _ in range(INSTALL_TRIES):
        try:
            install(files, Slots(files), MODEL, MPY, bite)
        except HangError:
            pass
    assert boot(files) == ("given up after %d starts" % INSTALL_TRIES, "app.b")
    assert "update.new" not in files.data


def test_a_full_flash_is_said_and_the_running_slot_stays():
    class Full(TreeFake):
        def append(self, name, data):
            raise OSError(28)

    files = Full()
    for name, data in device_with_one().data.items():
        files.data[name] = data
    files.data["update.new"] = PACKAGE_TWO
    assert install(files, Slots(files), MODEL, MPY).startswith("flash failed")
    assert Slots(files).folder == "app.b" and Slots(files).is_whole("app.b")


def test_health_confirms_waits_and_gives_up():
    trial = Trial()
    trial.heard()
    assert trial.step(SETTLED_S - 1, True) == WAIT
    assert trial.step(SETTLED_S, False) == WAIT
    assert trial.step(SETTLED_S, True) == CONFIRM
    deaf = Trial()
    assert deaf.step(LIMIT_S - 1, True) == WAIT
    assert deaf.step(LIMIT_S, True) == RESET
    assert Trial(needs_network=False).step(SETTLED_S, True) == CONFIRM
