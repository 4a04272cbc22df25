"""Any number of power cuts, in any phase of an update: never without a whole release."""

from contextlib import suppress

import tests.firmware.conftest  # noqa: F401 - stands in for MicroPython's modules

# isort: split
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.update.slots import TRIES, Slots
from tests.firmware.device.fakes import PowerCutError
from tests.firmware.device.update.flash import MODEL, MPY, TreeFake, contents, device_with_one
from tests.firmware.device.update.releases import ONE, PACKAGE_TWO, TWO


def start(files: TreeFake, confirms: bool) -> str:
    """One start as the loader does it, up to the application's confirmation."""
    from firmware.update.install import install

    install(files, Slots(files), MODEL, MPY)
    slots = Slots(files)
    folder = slots.choose()
    assert contents(files, folder) in (ONE, TWO)
    if confirms:
        slots.confirm()
    return folder


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 420), st.booleans(), st.booleans()), max_size=6),
    st.binary(max_size=4),
)
def test_every_start_between_cuts_has_a_whole_release_and_the_update_gets_in(
    cuts: list[tuple[int, bool, bool]], rot: bytes
) -> None:
    """Each cut: (bytes until it, whether the application confirms, whether a package came)."""
    files = device_with_one()
    files.rot = rot
    for budget, confirms, comes in cuts:
        if comes:
            files.data["update.new"] = PACKAGE_TWO
        files.budget = budget
        with suppress(PowerCutError):
            start(files, confirms)
        files.power_up()
        slots = Slots(files)
        assert slots.is_whole(slots.folder)
    # From any state: what is on trial ends, and the release goes in if it is not in force.
    for _ in range(TRIES + 1):
        start(files, confirms=False)
    if Slots(files).selection.floor < 2:
        files.data["update.new"] = PACKAGE_TWO
        assert contents(files, start(files, confirms=True)) == TWO
    final = Slots(files).selection
    assert (final.version, final.floor, final.is_trial) == (2, 2, False)
