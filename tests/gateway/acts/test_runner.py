"""An act gets every alarm once, in order, over failures and restarts."""

import asyncio
from pathlib import Path

from gateway.acts.part import Act
from gateway.acts.runner import ActRunner
from gateway.ledger.ledger import Ledger
from gateway.model import Alarm
from gateway.sinks.messages import Messages
from tests.gateway.samples import open_ledger
from tests.gateway.test_mqtt_sink import alarm


class Recorder(Act):
    name = "recorder"

    def __init__(self, wanted: int, fail_at: int = -1) -> None:
        self.seen: list[int] = []
        self.wanted = wanted
        self.fail_at = fail_at
        self.has_all = asyncio.Event()

    async def handle(self, number: int, alarm: Alarm) -> None:
        if alarm.sequence == self.fail_at:
            raise RuntimeError("a bug")
        self.seen.append(alarm.sequence)
        if len(self.seen) >= self.wanted:
            self.has_all.set()


def add(ledger: Ledger, runner: ActRunner, sequence: int) -> None:
    number = ledger.call(lambda store: store.add_alarm(alarm(sequence)))
    runner.offer(number, alarm(sequence))


async def until_all(act: Recorder, runner: ActRunner) -> None:
    async with asyncio.timeout(20):
        task = asyncio.create_task(runner.run())
        await act.has_all.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_alarms_come_once_and_in_order_over_a_crash_and_a_restart(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    async def life() -> None:
        ledger.call(lambda store: store.add_alarm(alarm(0)))  # before the act existed
        crashing = Recorder(wanted=99, fail_at=3)
        runner = ActRunner(crashing, ledger)
        ledger.call(runner.begin)
        for sequence in range(1, 6):
            add(ledger, runner, sequence)
        ended = await asyncio.gather(runner.run(), return_exceptions=True)
        assert isinstance(ended[0], RuntimeError)
        assert crashing.seen == [1, 2]

        again = Recorder(wanted=4)
        runner = ActRunner(again, ledger)
        ledger.call(runner.begin)
        add(ledger, runner, 6)
        await until_all(again, runner)
        assert again.seen == [3, 4, 5, 6]

    asyncio.run(life())
    ledger.close()


def test_an_alarm_that_the_disk_refused_is_handled_all_the_same(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)

    async def life() -> None:
        act = Recorder(wanted=1)
        runner = ActRunner(act, ledger)
        ledger.call(runner.begin)
        runner.offer(0, alarm(7))
        await until_all(act, runner)
        assert act.seen == [7]

    asyncio.run(life())
    ledger.close()


def test_of_retained_messages_only_the_newest_is_sent_again() -> None:
    async def life() -> None:
        messages = Messages("kumbasari")
        messages.publish("a", b"1", retain=True)
        messages.publish("b", b"once")
        messages.publish("a", b"2", retain=True)
        messages.connected()
        sent: list[tuple[str, bytes, bool]] = []
        for _ in range(2):
            one = await messages.next()
            messages.done(one)
            sent.append(one)
        assert sent == [("tukad/kumbasari/a", b"2", True), ("tukad/kumbasari/b", b"once", False)]

    asyncio.run(life())


def test_a_handler_that_raises_stops_nothing() -> None:
    messages = Messages("kumbasari")
    got: list[tuple[str, bytes]] = []

    def handler(topic: str, payload: bytes) -> None:
        got.append((topic, payload))
        raise ValueError

    messages.subscribe("command/#", handler)
    assert messages.deliver("tukad/kumbasari/command/siren", b"x")
    assert not messages.deliver("tukad/kumbasari/other", b"x")
    assert got == [("command/siren", b"x")]
