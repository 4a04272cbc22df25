"""What a month and a second may carry: the sums, the order of what gives way, and real brokers."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.ledger import Ledger
from gateway.model import HISTORY
from gateway.sinks.budget import Bucket, Budget, ping_bytes, publish_bytes
from gateway.sinks.mqtt import MqttSink
from tests.gateway.peers import Broker, City
from tests.gateway.samples import open_ledger, reading, readings
from tests.gateway.test_mqtt_sink import alarm, make_sink, running_sink, waiting

MB = 1_000_000
BEGIN = datetime(2026, 10, 31, 16, tzinfo=UTC).timestamp()  # 1 November in WITA, UTC+8
DAY = 86_400


def test_a_short_publish_is_counted_with_its_headers_and_acknowledgements() -> None:
    """Three segments with 52 bytes of IPv4 and TCP (with timestamps): PUBLISH, PUBACK, ACK."""
    topic, payload = "tukad/kumbasari/batch/live", 16
    publish = 2 + 2 + len(topic) + 2 + payload
    assert publish_bytes(topic, payload, is_tls=False, is_v5=False) == (
        (52 + publish) + (52 + 4) + 52
    )


def test_tls_and_long_payloads_cost_more() -> None:
    plain = publish_bytes("t", 16_000, is_tls=False, is_v5=False)
    assert plain > 16_000 + 12 * 52
    assert publish_bytes("t", 16_000, is_tls=True, is_v5=False) >= plain + 2 * 22
    assert ping_bytes(is_tls=True) > ping_bytes(is_tls=False) > 2 * 52


def test_the_month_begins_in_local_time_and_only_forwards() -> None:
    budget = Budget(30 * MB, 8.0, BEGIN - 10)
    budget.note(29 * MB, BEGIN - 10)
    assert budget.left(BEGIN - 1) == MB
    assert budget.left(BEGIN + 1) == 30 * MB
    budget.note(MB, BEGIN + 2)
    assert budget.left(BEGIN - 5) == 29 * MB  # the clock was put back: no new budget


def test_a_clock_that_is_set_late_does_not_forget_what_was_used() -> None:
    kept: list[dict[str, Any]] = []
    budget = Budget(30 * MB, 8.0, 1000.0, {"month": "2026-11", "used": 9 * MB}, kept.append)
    budget.note(MB, 1001.0)
    assert not kept, "1970 must not replace November on the disk"
    assert budget.left(BEGIN + DAY) == 20 * MB
    assert kept[-1] == {"month": "2026-11", "used": 10 * MB}


def test_as_it_runs_short_history_goes_first_then_live_waits_then_only_alarms() -> None:
    budget = Budget(30 * MB, 8.0, BEGIN)
    assert budget.allows_history(BEGIN) and budget.linger_s(BEGIN) == 0
    budget.note(int(0.75 * MB), BEGIN)  # of the first day's 1 MB
    assert not budget.allows_history(BEGIN) and budget.allows_live(BEGIN)
    assert 0 < budget.linger_s(BEGIN) < 900 and not budget.is_thinned(BEGIN)
    budget.note(MB, BEGIN)
    assert budget.is_thinned(BEGIN) and budget.linger_s(BEGIN) == 900
    assert budget.allows_history(BEGIN + 2 * DAY)  # the line rises
    budget.note(27 * MB, BEGIN + 2 * DAY)
    assert not budget.allows_live(BEGIN + 2 * DAY)


def test_without_a_budget_nothing_waits() -> None:
    budget = Budget(0, 8.0, BEGIN)
    budget.note(10**12, BEGIN)
    assert budget.allows_history(BEGIN) and budget.linger_s(BEGIN) == 0
    assert budget.slack_days(BEGIN) == math.inf and budget.keepalive_s(10, is_tls=True) == 10


def test_health_and_keepalive_cannot_eat_a_small_budget() -> None:
    budget = Budget(10 * MB, 8.0, BEGIN)
    month_s = 30 * DAY
    assert month_s / budget.health_s(60, 2500) * 2500 <= 0.051 * 10 * MB
    assert month_s / budget.keepalive_s(10, is_tls=True) * ping_bytes(is_tls=True) <= 1.1 * MB


@given(st.lists(st.tuples(st.integers(1, 200_000), st.booleans()), max_size=40))
def test_a_power_cut_never_makes_the_month_cheaper(steps: list[tuple[int, bool]]) -> None:
    """What the disk holds is never below the bytes that went."""
    disk: dict[str, Any] = {}
    went = 0

    def keep(state: dict[str, Any]) -> None:
        disk.clear()
        disk.update(state)

    budget = Budget(50 * MB, 8.0, BEGIN, None, keep)
    for size, is_cut in steps:
        budget.note(size, BEGIN + 5)
        went += size
        if is_cut:
            budget = Budget(50 * MB, 8.0, BEGIN + 6, dict(disk), keep)
        assert 50 * MB - budget.left(BEGIN + 7) >= went


@given(st.integers(100, 5000), st.lists(st.integers(1, 9000), max_size=60))
def test_the_bucket_keeps_its_rate(rate: int, sizes: list[int]) -> None:
    """Over any run of messages, sent is at most rate * time, two seconds' room and one message."""
    bucket, now, sent = Bucket(rate, 0.0), 0.0, 0
    for size in sizes:
        while wait := bucket.wait_s(size, now):
            now += wait
        bucket.take(size, now)
        sent += size
        assert sent <= rate * now + 2 * rate + max(sizes) + 1


def run_with_city(
    tmp_path: Path, more: dict[str, object], work: Callable[[Ledger, MqttSink, City], Any]
) -> None:
    async def scenario() -> None:
        broker = Broker("embedded", tmp_path)
        await broker.start()
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        try:
            async with City(broker.port).listening() as city:
                sink = make_sink(ledger, f"mqtt://127.0.0.1:{broker.port}", **more)
                await work(ledger, sink, city)
        finally:
            ledger.close()
            await broker.stop()

    asyncio.run(scenario())


def test_over_its_budget_alarms_pass_and_readings_stay_in_the_ledger(tmp_path: Path) -> None:
    async def work(ledger: Ledger, sink: MqttSink, city: City) -> None:
        sink.budget.note(970_000, time.time())  # of 1 MB: the alarms' share is left
        sink.outbox.offer(await ledger.add(readings(range(50))))
        async with running_sink(sink):
            sink.outbox.offer_alarm(ledger.call(lambda store: store.add_alarm(alarm())), alarm())
            await city.until(lambda: bool(city.alarms))
        assert not city.rows
        assert waiting(ledger)[0] == 50

    run_with_city(tmp_path, {"budget_mb_month": 1}, work)


def test_thinned_live_sends_the_newest_of_each_stream_and_keeps_the_rest(tmp_path: Path) -> None:
    async def work(ledger: Ledger, sink: MqttSink, city: City) -> None:
        now = time.time()
        sink.budget.linger_s = lambda now_s: 0.0 * now_s  # fifteen minutes are for another test
        while not sink.budget.is_thinned(now):
            sink.budget.note(10_000, now)
        if not sink.budget.allows_live(now):
            pytest.skip("at the very end of a month there is no room between thinned and stopped")
        stored = await ledger.add(
            [reading(n, device=name) for n in range(20) for name in ("a", "b")]
        )
        async with running_sink(sink):
            await city.until(lambda: bool(city.health))  # connected
            sink.outbox.offer(stored)
            await city.until(lambda: len(city.rows) == 2)
            assert {key[2] for key in city.rows} == {19}
        assert waiting(ledger)[0] == 38
        assert sink.budget.thinned == 38

    run_with_city(tmp_path, {"budget_mb_month": 30}, work)


def test_the_count_survives_a_restart(tmp_path: Path) -> None:
    async def work(ledger: Ledger, sink: MqttSink, city: City) -> None:
        sink.outbox.offer(await ledger.add(readings(range(30))))
        async with running_sink(sink):
            await city.until(lambda: len(city.rows) == 30)
        used = sink.budget.used
        assert used > city.bytes
        ledger.call(lambda store: None)
        again = make_sink(ledger, "mqtt://127.0.0.1:1", budget_mb_month=30)
        assert again.budget.used == used

    run_with_city(tmp_path, {"budget_mb_month": 30}, work)


def test_history_keeps_to_the_rate_and_an_alarm_does_not(tmp_path: Path) -> None:
    async def work(ledger: Ledger, sink: MqttSink, city: City) -> None:
        await ledger.add([reading(n, n * 7919 % 9973, origin=HISTORY) for n in range(5000)])
        async with running_sink(sink):
            await city.until(lambda: len(city.rows) > 100)
            assert len(city.rows) < 5000
            sink.outbox.offer_alarm(ledger.call(lambda store: store.add_alarm(alarm())), alarm())
            await city.until(lambda: bool(city.alarms))
            assert len(city.rows) < 5000, "the alarm waited for the history"

    run_with_city(tmp_path, {"rate_bytes_s": 1000}, work)
