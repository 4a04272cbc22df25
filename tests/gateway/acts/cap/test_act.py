"""The act on a real ledger and real files: crashes, full disks, unset clocks, restarts."""

import asyncio
import json
from pathlib import Path

import feedparser
import pytest

from gateway.acts.cap.folder import FEED
from gateway.acts.cap.signing import Signer
from gateway.acts.runner import ActRunner
from gateway.clock import now_ms
from gateway.model import CLEARED, ESCALATED, RAISED
from tests.gateway.acts.cap.world import (
    Receiver,
    UnsetClock,
    World,
    alarm,
    receiver_section,
    sent,
    serving,
    text,
    until,
)

HOUR_MS = 3_600_000


def feed_of(world: World) -> feedparser.FeedParserDict:
    data = (world.folder / "data" / "cap" / FEED).read_bytes()
    assert len(data) <= 100_000
    found = feedparser.parse(data)
    assert not found.bozo, found.get("bozo_exception")
    return found


def test_an_alarm_is_a_signed_file_a_short_text_and_an_entry_of_the_feed(tmp_path: Path) -> None:
    world = World(tmp_path, 'base_url = "https://alerts.example/cap/"')
    world.start()

    async def flood() -> None:
        await world.act.handle(1, alarm(RAISED, 1))
        await world.act.handle(2, alarm(ESCALATED, 3, number=1))
        await world.act.handle(3, alarm(CLEARED, 0, number=2))

    asyncio.run(flood())
    files = world.files
    xmls = [path.read_bytes() for path in files]
    assert sorted(text(xml, "msgType") for xml in xmls) == ["Alert", "Cancel", "Update"]
    for path in files:
        assert 20 <= len(path.with_suffix(".txt").read_text().strip()) <= 160
    feed = feed_of(world)
    assert feed.version == "atom10"
    assert feed.feed.updated == feed.entries[0].updated
    by_id = {text(xml, "identifier"): (path, xml) for path, xml in zip(files, xmls, strict=True)}
    assert [entry.id for entry in feed.entries] == [one.identifier for one in world.act.messages]
    for entry in feed.entries:
        path, xml = by_id[entry.id]
        assert entry.link == f"https://alerts.example/cap/{path.name}"
        assert (entry.link, "application/cap+xml") in [(x.href, x.type) for x in entry.links]
        assert entry.title == text(xml, "headline")
        assert entry.updated == text(xml, "sent")
        assert entry.summary == text(xml, "description")
        assert entry.content[0].value == path.with_suffix(".txt").read_text().strip()
    world.crash()


def test_what_is_for_responders_is_not_in_the_feed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    sos = alarm(RAISED, 3, device="jacket-7", kind="sos", lat_e5=-870000, lon_e5=11525000)
    asyncio.run(world.act.handle(1, sos))
    assert [path.parent.name for path in world.files] == ["restricted"]
    assert feed_of(world).entries == []
    world.crash()


def test_the_same_alarm_after_a_crash_issues_no_second_alert(tmp_path: Path) -> None:
    """Killed after the message was safe and before the alarm was marked as handled."""
    world = World(tmp_path)
    one = alarm(RAISED, 3)
    for _ in range(3):
        world.start()
        asyncio.run(world.act.handle(1, one))
        assert sent(world.act) == ["Alert"]
        world.crash()
    assert len(world.files) == 1


def test_killed_before_the_file_was_written_it_is_written_at_the_next_start(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.start()
    asyncio.run(world.act.handle(1, alarm(RAISED, 3)))
    (path,) = world.files
    content = path.read_bytes()
    world.crash()
    path.unlink()  # as if the power had gone just before
    path.with_suffix(".txt").write_text("half")
    path.with_name(f".{path.name}.new").write_bytes(content[:100])

    async def again() -> None:
        async with world.running():
            await until(path.exists)

    asyncio.run(again())
    assert path.read_bytes() == content
    assert path.with_suffix(".txt").read_text() != "half"
    assert not list(path.parent.glob(".*.new"))


def test_an_alarm_whose_message_failed_is_not_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    signer = world.act._signer

    class Broken(Signer):
        def sign(self, alert: bytes) -> bytes:
            raise RuntimeError("a bug")

    one = alarm(RAISED, 3)
    world.act._signer = Broken(signer._key, signer.certificate)
    with pytest.raises(RuntimeError):
        asyncio.run(world.act.handle(1, one))
    world.act._signer = signer
    asyncio.run(world.act.handle(1, one))  # the runner gives it again
    assert sent(world.act) == ["Alert"]
    world.crash()


def test_an_incident_goes_on_over_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    asyncio.run(world.act.handle(1, alarm(RAISED, 1)))
    world.crash()
    world.start()
    asyncio.run(world.act.handle(2, alarm(ESCALATED, 3, number=1)))
    world.crash()
    world.start()
    asyncio.run(world.act.handle(3, alarm(CLEARED, 0, number=2)))
    assert sent(world.act) == ["Alert", "Update", "Cancel"]
    assert len({one.incident for one in world.act.messages}) == 1
    assert [one.references for one in world.act.messages] == [2, 1, 0]
    world.crash()


def test_after_hours_without_power_a_lasting_stage_is_told_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    asyncio.run(world.act.handle(1, alarm(RAISED, 3)))

    def two_hours_ago(store) -> None:  # type: ignore[no-untyped-def]
        state = store.get_state("act/cap/incidents")
        for incident in state["open"].values():
            for one in incident["chain"]:
                one["sent_ms"] -= 2 * HOUR_MS
                one["expires_ms"] -= 2 * HOUR_MS
        store.set_state("act/cap/incidents", state)

    world.ledger.call(two_hours_ago)
    world.crash()

    async def again() -> None:
        async with world.running() as act:
            await until(lambda: len(act.messages) == 2 and len(world.files) == 2)
            assert sent(act) == ["Alert", "Alert"]
            assert len({one.incident for one in act.messages}) == 1

    asyncio.run(again())


def test_no_room_for_files_the_alert_is_posted_and_served_and_written_later(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "data" / "cap"
    blocked.parent.mkdir()
    blocked.write_text("a file where the folder should be")

    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: receiver.taken)
                assert ("cap.files", str(blocked)) in act.faults()
                blocked.unlink()  # somebody made room
                await until(lambda: len(world.files) == 1)
                await until(lambda: not act.faults())
                assert receiver.types() == ["Alert"]

    asyncio.run(scenario())


def test_a_ledger_that_takes_nothing_stops_no_alert(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver))
            async with world.running() as act:
                db = world.ledger

                def pragma(word: str) -> None:
                    db._db.execute(f"PRAGMA query_only={word}")

                pragma("ON")
                await act.handle(0, alarm(RAISED, 3))
                await until(lambda: receiver.types() == ["Alert"] and len(world.files) == 1)
                pragma("OFF")
                await until(
                    lambda: db.call(lambda store: store.get_state("act/cap/outbox")) is not None
                )
            world.start()  # it is all there after the next start
            await world.act.handle(5, alarm(CLEARED, 0, number=1))
            assert sent(world.act) == ["Alert", "Cancel"]
            world.crash()

    asyncio.run(scenario())


def test_before_ntp_the_alert_goes_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock = UnsetClock()
    world.start()
    asyncio.run(world.act.handle(1, alarm(RAISED, 3)))
    (path,) = world.files
    assert "belum disetel" in text(path.read_bytes(), "note")
    assert b"tukad:clock" in path.read_bytes()
    world.crash()


def test_old_files_go_and_the_newest_stay(tmp_path: Path) -> None:
    world = World(tmp_path, "keep = 20")
    world.start()

    async def many() -> None:
        for number in range(40):
            await world.act.handle(number, alarm(RAISED, 1, device=f"d{number}", number=number))

    asyncio.run(many())
    names = {path.stem for path in world.files}
    assert names == {one.stem for one in world.act.messages}
    assert len(names) == 20
    assert {text(path.read_bytes(), "incidents").split("-")[1] for path in world.files} == {
        f"d{number}" for number in range(20, 40)
    }
    world.crash()
    world.start()
    assert {one.stem for one in world.act.messages} == names
    world.crash()


def test_the_feed_keeps_its_size_with_the_longest_texts(tmp_path: Path) -> None:
    world = World(tmp_path, "keep = 60")
    world.start()

    async def many() -> None:
        for number in range(60):
            one = alarm(RAISED, 1, device=f"d{number}", number=number, text="<ž&> " * 200)
            await world.act.handle(number, one)

    asyncio.run(many())
    feed = feed_of(world)
    assert 20 < len(feed.entries) < 60
    assert feed.entries[0].id == world.act.messages[0].identifier
    world.crash()


def test_the_runner_and_the_act_together_issue_once(tmp_path: Path) -> None:
    """The agent's runner gives an alarm again when its mark was lost: no second alert."""
    world = World(tmp_path)
    world.start()
    first = alarm(RAISED, 3)

    async def life(wanted: int) -> None:
        runner = ActRunner(world.act, world.ledger)
        world.ledger.call(runner.begin)
        async with asyncio.timeout(20):
            task = asyncio.create_task(runner.run())
            for one in (first, alarm(CLEARED, 0, number=1))[:wanted]:
                key = json.dumps([one.event, one.sequence])
                if key not in stored:
                    stored.add(key)
                    number = await world.ledger.write(lambda store, one=one: store.add_alarm(one))
                    runner.offer(number, one)
            await until(lambda: len(world.act.messages) == wanted and len(world.files) == wanted)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    stored: set[str] = set()
    asyncio.run(life(1))
    world.ledger.call(lambda store: store.set_state("act/cap/seen", 0))
    world.crash()
    world.start()
    asyncio.run(life(2))
    assert sent(world.act) == ["Alert", "Cancel"]
    world.crash()


def test_an_alarm_of_hours_ago_and_its_end_say_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    then = now_ms() - 5 * HOUR_MS

    async def backlog() -> None:
        await world.act.handle(1, alarm(RAISED, 3, time_ms=then))
        await world.act.handle(2, alarm(CLEARED, 0, number=1, time_ms=then + 1000))

    asyncio.run(backlog())
    assert sent(world.act) == []
    assert world.act.counters()["late"] == 1
    world.crash()
