"""Times that were stored before the clock was right are corrected once it is."""

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Jump
from gateway.ledger.audit import audit
from gateway.ledger.ledger import Ledger
from gateway.ledger.times import TimeKeeper
from gateway.model import LIVE, Link, Reading
from tests.gateway.samples import START_MS, open_ledger

HOUR_MS = 3_600_000


def stamped(sequence: int, time_ms: int, source: str, *, is_radio: bool = False) -> Reading:
    return Reading(
        device="radar",
        stream="geolux_lx80",
        sequence=sequence,
        time_ms=time_ms,
        time_source=source,
        values={"level_mm": sequence},
        received_ms=time_ms,
        origin=LIVE,
        link=Link(rssi_dbm=-90, snr_cb=50, data_rate=2) if is_radio else None,
    )


class Gateway:
    """A ledger, a wall clock that can be wrong, and true time."""

    def __init__(self, folder: Path) -> None:
        self.ledger: Ledger = open_ledger(folder)
        self.true_ms = START_MS
        self.error_ms = 0  # of the wall clock
        self.source = "unknown"
        self.jumps: list[Jump] = []
        self.truth: dict[int, int] = {}
        self.keeper = self.agent("boot-1")

    def agent(self, boot: str) -> TimeKeeper:
        keeper = TimeKeeper(boot)
        self.ledger.call(lambda s: keeper.restore(s, self.offset_ms, self.wall_ms))
        self.keeper = keeper
        return keeper

    @property
    def wall_ms(self) -> int:
        return self.true_ms + self.error_ms

    @property
    def offset_ms(self) -> int:
        return self.error_ms + 1_000_000

    def store(self, *, source: str = "", is_radio: bool = False) -> None:
        number = len(self.truth)
        self.truth[number] = self.true_ms
        one = stamped(number, self.wall_ms, source or self.source, is_radio=is_radio)
        self.ledger.call(lambda s: s.add([one]))
        self.true_ms += 1000

    def set_clock(self, error_ms: int) -> None:
        old_ms = self.wall_ms
        step_ms = error_ms - self.error_ms
        self.error_ms = error_ms
        if abs(step_ms) >= 500:
            self.jumps.append(Jump(old_ms, step_ms))

    def look(self) -> int:
        jumps, self.jumps = self.jumps, []
        return self.ledger.call(lambda s: self.keeper.look(s, self.source, jumps, self.offset_ms))

    def rows(self) -> Iterable[Reading]:
        return [one.reading for one in self.ledger.call(lambda s: s.since("radar", None, 0, 1000))]


def test_what_was_stored_before_the_clock_was_set_gets_its_true_time(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.error_ms = -50 * 24 * HOUR_MS  # as it was when the power went
    for _ in range(3):
        gateway.store()
    gateway.look()
    gateway.store(is_radio=True)
    gateway.ledger.call(lambda s: s.mark("city", range(1, 5)))
    assert gateway.ledger.call(lambda s: s.waiting())[0] == 0
    gateway.set_clock(0)
    gateway.store()  # before anybody looked, with the old label and the right time
    gateway.source = "ntp"
    gateway.store()
    assert gateway.look() == 4
    assert {r.sequence: r.time_ms for r in gateway.rows()} == gateway.truth
    sources = [r.time_source for r in gateway.rows()]
    assert sources == ["ntp", "ntp", "ntp", "unknown", "ntp", "ntp"]
    assert gateway.ledger.call(lambda s: s.waiting())[0] == 6  # the corrected ones go out again
    gateway.ledger.close()
    days = {line.day: line.live for line in audit(tmp_path / "ledger.db")}
    assert days == {datetime.fromtimestamp(START_MS / 1000, UTC).date(): 6}


def test_a_time_that_a_receiver_or_a_time_service_gave_is_left_alone(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.error_ms = -HOUR_MS
    gateway.store(source="gnss")
    gateway.store(source="network")
    gateway.look()
    gateway.set_clock(0)
    gateway.source = "ntp"
    assert gateway.look() == 0
    assert [r.time_ms for r in gateway.rows()] == [START_MS - HOUR_MS, START_MS - HOUR_MS + 1000]
    gateway.ledger.close()


def test_a_restart_of_the_machine_ends_what_can_be_known(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.error_ms = -HOUR_MS
    gateway.store()
    gateway.look()
    gateway.agent("boot-2")
    gateway.error_ms = -2 * HOUR_MS
    gateway.store()
    gateway.look()
    gateway.set_clock(0)
    gateway.source = "ntp"
    assert gateway.look() == 1
    assert [r.time_ms - gateway.truth[r.sequence] for r in gateway.rows()] == [-HOUR_MS, 0]
    gateway.ledger.close()


def test_a_transaction_that_failed_is_made_good(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.error_ms = -HOUR_MS
    gateway.store()
    gateway.look()
    gateway.set_clock(0)
    gateway.source = "ntp"
    jumps, gateway.jumps = gateway.jumps, []

    def lost(store: object) -> None:
        raise ZeroDivisionError

    def look_and_fail() -> None:
        gateway.ledger.call(
            lambda s: (gateway.keeper.look(s, "ntp", jumps, gateway.offset_ms), lost(s))
        )

    try:
        look_and_fail()
    except ZeroDivisionError:
        gateway.keeper.failed()
    else:
        raise AssertionError("the transaction did not fail")
    assert gateway.look() == 1
    assert {r.sequence: r.time_ms for r in gateway.rows()} == gateway.truth
    gateway.ledger.close()


@given(
    st.lists(
        st.one_of(
            st.just("store"),
            st.just("radio"),
            st.just("look"),
            st.just("agent restarts"),
            st.integers(-5 * 24 * 3600, 5 * 24 * 3600),  # s; less than half a second is no jump
        ),
        max_size=25,
    )
)
def test_whatever_the_clock_does_on_its_way_every_time_ends_right(steps: list[str | int]) -> None:
    """Readings, jumps both ways, looks and restarts of the agent in any order."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        gateway.error_ms = -100 * 24 * HOUR_MS
        gateway.look()
        for step in steps:
            match step:
                case "store":
                    gateway.store()
                case "radio":
                    gateway.store(is_radio=True)
                case "look":
                    gateway.look()
                case "agent restarts":
                    gateway.look()
                    gateway.agent("boot-1")
                case int(error_s):
                    gateway.look()  # a jump back is told from what came before it by the last look
                    gateway.set_clock(1000 * error_s)
                    gateway.look()
                case _:
                    raise AssertionError(step)
            gateway.true_ms += 1000
        gateway.look()
        gateway.set_clock(0)
        gateway.source = "ntp"
        gateway.look()
        rows = gateway.rows()
        assert {r.sequence: r.time_ms for r in rows} == gateway.truth
        gateway.ledger.close()
