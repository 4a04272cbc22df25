"""Devices whose logs begin anew, sign by sign; what is asked of them are their own numbers."""

import asyncio
from pathlib import Path

from gateway.ledger.audit import new_logs
from gateway.ledger.epochs import epoch_of, number_of
from gateway.lorawan.model import Uplink
from gateway.model import BACKFILL
from gateway.sources.backfill import Backfill, BackfillSettings
from gateway.sources.numbering import PROBE, Numbering, Place
from protocols.payload.command import decode_command
from protocols.payload.ports import EPOCH_UNIX_S, PORT_STATUS
from protocols.payload.status import PAGE_LOG, Status, StatusEncoder
from protocols.payload.unwrap import unwrap_sequence
from tests.gateway.samples import START_MS
from tests.gateway.test_lorawan_source import INTERVAL_S, START_S, Bench, Node

T0 = START_MS // 1000 - EPOCH_UNIX_S


def uplink(f_cnt: int, at_s: int, session: int = 1, *, again: bool = False) -> Uplink:
    return Uplink(
        dev_eui="70b3d57ed0061001",
        device="node",
        f_port=1,
        f_cnt=f_cnt,
        payload=b"",
        confirmed=False,
        rssi_dbm=-90,
        snr_db=5,
        dr=2,
        freq_hz=923_200_000,
        gateways=(),
        received_ms=(at_s + EPOCH_UNIX_S) * 1000,
        session=session,
        again=again,
    )


def give(
    one: Numbering,
    number: int,
    frame: Uplink,
    times: list[int],
    *,
    long: bool = False,
    steps: int = 0,
) -> Place:
    """A frame whose newest reading has this number in the device's log."""
    modulus = 1 << 14 if long else 256
    known = one.reference(frame, steps)
    found, _ = unwrap_sequence(number % modulus, modulus, times, *known)
    probe, _ = unwrap_sequence(number % modulus, modulus, times, PROBE, None)
    place = one.place(frame, times, found, lambda: probe, known[1])
    one.note(place, times[0], frame, steps)
    return place


def known(number: int = 1000) -> Numbering:
    """A stream whose newest reading was taken at `T0`."""
    one = Numbering(256)
    one.note(Place(0, number, ""), T0, uplink(50, T0), 0)
    return one


def test_a_number_that_does_not_fit_the_time_is_of_a_new_log() -> None:
    one = known()
    place = give(one, 2, uplink(51, T0 + 60), [T0 + 60, T0])
    assert (place.epoch, place.number) == (1, 2) and place.reason
    assert give(one, 3, uplink(52, T0 + 120), [T0 + 120]) == Place(1, 3, "")


def test_losses_and_outages_are_no_new_log() -> None:
    for lost in (0, 1, 5, 300, 4000):
        one = known()
        at = T0 + 60 * (lost + 1)
        place = give(one, 1001 + lost, uplink(51, at), [at, at - 60])
        assert (place.epoch, place.number) == (0, 1001 + lost)


def test_readings_that_a_crash_undid_keep_their_numbers_in_a_new_log() -> None:
    place = give(known(), 998, uplink(51, T0 + 60), [T0 + 60, T0 - 300])
    assert (place.epoch, place.number) == (1, 998)


def test_after_a_join_a_small_long_number_is_of_a_new_log() -> None:
    later = T0 + 30 * 86_400  # so long that any number fits
    place = give(known(), 7, uplink(0, later, 2), [later, later - 60], long=True)
    assert (place.epoch, place.number) == (1, 7)
    place = give(known(), 7, uplink(60, later), [later, later - 60], long=True)
    assert place.epoch == 0, "without a join it is the outage"


def test_a_status_page_with_lower_numbers_must_say_so_twice_or_after_a_join() -> None:
    one = known()
    assert one.note_log(0, uplink(51, T0 + 60)) == "", "such a page may not know"
    assert one.note_log(0, uplink(52, T0 + 120)) == "", "and it does not count"
    assert one.note_log(5, uplink(53, T0 + 180))
    assert one.newest is not None and (one.newest.epoch, one.newest.number) == (1, 5)
    one = known()
    assert one.note_log(3, uplink(0, T0 + 60, 2))
    one = known()
    assert one.note_log(3, uplink(51, T0 + 60, again=True)) == ""
    assert one.note_log(4, uplink(49, T0 - 60)) == "", "an old page that came late"
    assert one.note_log(5, uplink(52, T0 + 60)) == "" and one.note_log(1001, uplink(53, T0)) == ""


def test_a_guess_is_put_right_by_the_status_page() -> None:
    one = known(100)
    assert give(one, 70_100, uplink(51, T0 + 60), [T0 + 60]).epoch == 1
    assert one.note_log(70_101, uplink(52, T0 + 120))
    assert one.newest is not None and (one.newest.epoch, one.newest.number) == (2, 70_101)


def test_after_an_outage_the_page_corrects_a_number_that_was_too_low() -> None:
    one = known()
    later = T0 + 60 * 5000
    place = give(one, 6000, uplink(51, later), [later])  # nothing tells the spacing
    assert place.epoch == 0 and (6000 - place.number) % 256 == 0
    one.note_log(6000, uplink(52, later + 5))
    assert give(one, 6001, uplink(53, later + 60), [later + 60]) == Place(0, 6001, "")


def test_a_clock_that_was_ahead_costs_nothing() -> None:
    one = known()
    one.note(Place(0, 1001, ""), T0 + 86_400, uplink(51, T0 + 86_400), 0)  # a day ahead
    assert give(one, 1002, uplink(52, T0 + 120), [T0 + 120]) == Place(0, 1002, "")
    one = known()
    place = give(one, 1001, uplink(51, T0 + 9000), [T0 + 9000], steps=1)  # it was set meanwhile
    assert place == Place(0, 1001, "")


def test_a_frame_that_comes_again_begins_nothing() -> None:
    one = known()
    frame = uplink(51, T0 + 60)
    assert give(one, 2, frame, [T0 + 60]).epoch == 1
    assert give(one, 2, frame, [T0 + 60]) == Place(1, 2, "")
    assert give(one, 2, uplink(51, T0 + 60, again=True), [T0 + 60]) == Place(1, 2, "")


def test_an_erased_device_is_asked_for_its_own_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            old = Node()
            for n in range(700):
                old.measure(n * 37 % 4000)
            await bench.server.on_uplink(old.frame(24))
            new = Node()  # erased; 60 readings later its first frame arrives
            new.f_cnt = old.f_cnt
            offset_s = 700 * INTERVAL_S
            for n in range(60):
                new.now_s = START_S + offset_s + n * INTERVAL_S
                new.log[n] = (new.now_s, n * 41 % 4000)
                new.ring.push(n, new.now_s, new.log[n][1], 0)
            await bench.server.on_uplink(new.frame(11))
            newest = max(bench.got, key=lambda one: one.sequence)
            assert (epoch_of(newest.sequence), number_of(newest.sequence)) == (1, 59)
            gaps = await bench.ledger.read(lambda store: store.gaps())
            assert [gap.first for gap in gaps] == [0]
            settings = BackfillSettings(requests_per_day=1000, wait_s=1)
            backfill = Backfill(settings, bench.ledger, bench.server, {"node": INTERVAL_S})
            await backfill.round(newest.received_ms + 3_600_000)
            values = decode_command(bench.server.downlinks.pop()[2]).values
            assert values["first_sequence"] == 0 and values["count"] == gaps[0].last + 1
            for frame in new.answer(0, gaps[0].last + 1):
                await bench.server.on_uplink(frame)
            assert await bench.ledger.read(lambda store: store.gaps()) == []
            mine = {
                number_of(one.sequence): one.values["level_mm"]
                for one in bench.got
                if epoch_of(one.sequence) == 1
            }
            assert mine == {n: level for n, (_, level) in new.log.items()}
            assert any(one.origin == BACKFILL for one in bench.got)
        assert [(one.number, one.last_before) for one in new_logs(tmp_path / "ledger.db")] == [
            (1, 699)
        ]

    asyncio.run(scenario())


def test_a_log_that_fits_by_chance_is_found_by_the_second_page(tmp_path: Path) -> None:
    """Nothing in the frames tells it: the numbers fit into the outage."""

    async def scenario() -> None:
        async with Bench(tmp_path) as bench:
            old = Node()
            for n in range(500):
                old.measure(n * 37 % 4000)
            await bench.server.on_uplink(old.frame(24))
            new = Node()
            new.f_cnt = old.f_cnt
            for n in range(40):
                new.now_s = START_S + (2000 + n) * INTERVAL_S
                new.log[n] = (new.now_s, n * 41 % 4000)
                new.ring.push(n, new.now_s, new.log[n][1], 0)
                if n in (20, 30):
                    status = Status()
                    status.sequence = n
                    encoder = StatusEncoder(status)
                    encoder.page = PAGE_LOG
                    buf = bytearray(11)
                    page = bytes(buf[: encoder.encode_into(buf, 11)])
                    await bench.server.on_uplink(new.uplink(PORT_STATUS, page))
                if n in (10, 25, 39):
                    await bench.server.on_uplink(new.frame(11))
            newest = max((r for r in bench.got if r.stream == "flood"), key=lambda r: r.sequence)
            assert (epoch_of(newest.sequence), number_of(newest.sequence)) == (1, 39)
            levels = {(r.time_ms, r.values["level_mm"]) for r in bench.got if r.stream == "flood"}
            for n in (10, 25, 39):
                time_s, level = new.log[n]
                assert ((time_s + EPOCH_UNIX_S) // 10 * 10_000, level) in levels

    asyncio.run(scenario())
