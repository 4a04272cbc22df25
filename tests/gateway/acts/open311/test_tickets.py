"""One open ticket for one fault of one device, whatever the server and the power do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.acts.open311.act import Open311Act
from gateway.acts.part import Context
from gateway.clock import WallClock
from gateway.config import ConfigError, Place, build
from gateway.ledger.ledger import Ledger
from gateway.model import CLEARED, RAISED, Alarm
from gateway.settings import Settings
from gateway.sinks.messages import Messages
from tests.gateway.acts.open311.server import GeoReportServer
from tests.gateway.samples import START_MS, open_ledger


class Clock:
    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class City:
    """A gateway that can be killed, its clock, and the city's server."""

    def __init__(self, folder: Path, server: GeoReportServer, **section: object) -> None:
        self.folder, self.server = folder, server
        (folder / "key").write_text("secret-key\n")
        table = {
            "gateway": {
                "site": "badung",
                "data_dir": str(folder),
                "latitude_deg": -8.656,
                "longitude_deg": 115.212,
            },
            "open311": {
                "url": server.url,
                "api_key_file": "key",
                "service_code": "001",
                "service": [{"group": "siren", "code": "002"}],
                "timeout_s": 0.3,
                **section,
            },
        }
        self.settings = build(Settings, table, Place(folder / "gateway.toml"))
        self.clock = Clock()
        self.ledger: Ledger = open_ledger(folder)
        self.act = self._act()

    def _act(self) -> Open311Act:
        assert self.settings.open311 is not None
        context = Context(
            settings=self.settings,
            file=self.folder / "gateway.toml",
            ledger=self.ledger,
            clock=WallClock(),
            messages=Messages("badung"),
            service=None,
            faults=list,
            raise_alarms=lambda alarms: None,
        )
        return Open311Act(self.settings.open311, context, self.clock)

    async def close(self) -> None:
        await self.act._server.close()  # pyright: ignore[reportPrivateUsage]
        self.ledger.close()

    async def restart(self) -> None:
        """As after a power cut: what is not in the ledger is gone."""
        await self.act._server.close()  # pyright: ignore[reportPrivateUsage]
        self.act = self._act()
        await self.act.handle(0, alarm("nobody", "none"))

    async def say(self, one: Alarm) -> None:
        await self.act.handle(1, one)

    async def settle(self, hours: float = 3.0) -> None:
        """Let the act do all that is due in so many hours, in no time."""
        end = self.clock.ms + round(hours * 3_600_000)
        while True:
            while await self.act.work():
                pass
            due = self.act.tickets.next_ms()
            if due is None or due > end:
                self.clock.ms = end
                return
            self.clock.ms = max(self.clock.ms, due)


def alarm(device: str, cause: str, event: str = RAISED, since: int = START_MS) -> Alarm:
    return Alarm(
        incident=f"{device}/{cause}/{since}",
        device=device,
        kind=cause,
        event=event,
        level=2 if event == RAISED else 0,
        name="not heard for 14 min",
        time_ms=since,
        decided_ms=since,
        sequence=0,
        values={},
        text_id="",
        text_en="",
    )


def play(
    folder: Path,
    story: Callable[[City], Awaitable[None]],
    server: GeoReportServer | None = None,
    **section: object,
) -> GeoReportServer:
    """Run a story against a server on loopback; the server must have had nothing to complain of."""

    async def life() -> GeoReportServer:
        async with (server or GeoReportServer()).serving() as running:
            city = City(folder, running, **section)
            try:
                async with asyncio.timeout(30):
                    await story(city)
            finally:
                await city.close()
            return running

    done = asyncio.run(life())
    assert done.violations == []
    return done


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("dialect", ["plain", "fixmystreet"])
def test_a_fault_is_reported_once_and_closed_by_itself(
    tmp_path: Path, form: str, dialect: str
) -> None:
    async def story(city: City) -> None:
        fault = alarm("kumbasari", "battery_stolen")
        await city.say(fault)
        await city.say(fault)  # an act may be given an alarm twice
        await city.settle()
        await city.say(alarm("siren-1", "siren_dead"))
        await city.settle()
        (text, siren) = city.server.open()
        assert "baterai mungkin dicuri" in text and "Bring: battery, a box with a lock" in text
        assert "[tukad:badung/kumbasari/battery_stolen]" in text and "-8.65600" in text
        assert "siren draws no current" in siren
        assert city.server.requests["1001"]["service_code"] == "002"
        await city.say(alarm("kumbasari", "battery_stolen", CLEARED))
        await city.settle()

    server = play(tmp_path, story, format=form, dialect=dialect)
    assert len(server.requests) == 2
    closed = server.requests["1000"]["status"]
    assert closed == ("closed" if dialect == "fixmystreet" else "open")


@pytest.mark.parametrize("fault", ["500", "hang", "take_and_drop", "duplicate"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_fails_gets_one_ticket_all_the_same(
    tmp_path: Path, fault: str, times: int
) -> None:
    async def story(city: City) -> None:
        city.server.faults = [fault] * times
        await city.say(alarm("kumbasari", "sensor_web"))
        await city.settle(12)

    server = play(tmp_path, story)
    assert len(server.requests) == 1
    posts = sum(line.startswith("POST") for line in server.log)
    assert posts == (1 if fault == "take_and_drop" else 1 + times)


@pytest.mark.parametrize("has_pages", [True, False])
def test_the_answer_is_lost_and_the_gateway_is_killed(tmp_path: Path, has_pages: bool) -> None:
    async def story(city: City) -> None:
        for name in ("a", "b", "c", "d", "e"):
            await city.say(alarm(name, "unheard"))
        await city.settle()
        city.server.faults = ["take_and_drop"]
        await city.say(alarm("kumbasari", "float_stuck"))
        while len(city.server.requests) < 6:
            await city.act.work()
        await city.restart()
        await city.settle(12)

    server = play(tmp_path, story, GeoReportServer(has_pages=has_pages))
    assert len(server.requests) == 6
    assert sum("float_stuck" in text for text in server.open()) == 1


def test_killed_while_the_request_is_under_way(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        city.server.faults = ["take_and_drop"]
        await city.say(alarm("kumbasari", "tilted"))
        task = asyncio.create_task(city.act.run())
        while not city.server.requests:
            city.server.news.clear()
            await city.server.news.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await city.restart()
        await city.settle(12)

    assert len(play(tmp_path, story).requests) == 1


def test_a_gateway_that_forgot_everything_adopts_its_ticket(tmp_path: Path) -> None:
    async def first(city: City) -> None:
        await city.say(alarm("kumbasari", "clock_wrong"))
        await city.settle()

    server = play(tmp_path, first)
    (tmp_path / "new").mkdir()

    async def second(city: City) -> None:
        await city.say(alarm("kumbasari", "clock_wrong", since=START_MS + 5000))
        await city.settle()
        assert city.act.counters()["adopted"] == 1
        await city.say(alarm("kumbasari", "clock_wrong", CLEARED, START_MS + 5000))
        await city.settle()

    again = play(tmp_path / "new", second, server, dialect="fixmystreet")
    assert len(again.requests) == 1 and again.open() == []


def test_a_server_that_is_down_for_days(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        city.server.get_faults = ["500"] * 1000
        for i in range(3):
            await city.say(alarm(f"gauge-{i}", "unheard"))
        await city.say(alarm("gauge-9", "moved"))
        await city.settle(72)
        assert city.server.requests == {}
        assert ("open311.away", "open311") in city.act.faults()
        tries = len(city.server.log)
        assert tries < 4 * 72 + 60  # with back-off at most about one an hour for each
        await city.say(alarm("gauge-9", "moved", CLEARED))  # over before the city could hear of it
        await city.restart()
        city.server.get_faults = []
        await city.settle(3)
        assert city.act.faults() == {}

    server = play(tmp_path, story)
    assert sorted(text.split(":")[0] for text in server.open()) == ["gauge-0", "gauge-1", "gauge-2"]


def test_tokens_become_numbers(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        await city.say(alarm("kumbasari", "antenna_lost"))
        await city.settle()
        await city.say(alarm("kumbasari", "antenna_lost", CLEARED))
        await city.settle()

    server = play(
        tmp_path, story, GeoReportServer(use_tokens=True, token_delay=3), dialect="fixmystreet"
    )
    assert len(server.requests) == 1 and server.open() == []


def test_a_fault_that_comes_back_on_a_plain_server_is_the_same_ticket(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        for i in range(4):
            await city.say(alarm("kumbasari", "supply_lost", RAISED, START_MS + i))
            await city.settle(1)
            await city.say(alarm("kumbasari", "supply_lost", CLEARED, START_MS + i))
            await city.settle(1)

    assert len(play(tmp_path, story).requests) == 1


def test_staff_close_a_ticket_while_it_is_still_broken(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        await city.say(alarm("kumbasari", "rain_blocked"))
        await city.settle()
        city.server.requests["1000"]["status"] = "closed"
        await city.settle(20)
        assert len(city.server.requests) == 1  # they get a day
        await city.settle(24)
        assert len(city.server.requests) == 2
        await city.settle(20)

    server = play(tmp_path, story)
    assert len(server.open()) == 1 and "(2)" in server.open()[0]


def test_a_server_without_updates_does_not_stop_the_rest(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        await city.say(alarm("kumbasari", "case_open"))
        await city.settle()
        await city.say(alarm("kumbasari", "case_open", CLEARED))
        await city.settle()
        await city.say(alarm("sanur", "case_open"))
        await city.settle()

    server = play(tmp_path, story, GeoReportServer(has_updates=False), dialect="fixmystreet")
    assert len(server.open()) == 2


def test_demanded_attributes_and_reporter(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        await city.say(alarm("kumbasari", "unheard"))
        await city.settle()

    server = play(
        tmp_path,
        story,
        GeoReportServer(demands=("BANJAR",)),
        attributes=["BANJAR=Pekambingan"],
        email="alat@badung.example",
    )
    assert "Pekambingan" in server.requests["1000"]["form"]


def test_a_wrong_key_is_a_fault_with_its_cure_and_is_not_hammered(tmp_path: Path) -> None:
    async def life() -> None:
        async with GeoReportServer(api_key="another").serving() as server:
            city = City(tmp_path, server)
            await city.say(alarm("kumbasari", "unheard"))
            await city.settle(3)
            assert "api_key_file" in city.act.faults()["open311.refused", "open311"]
            assert sum("POST" in line for line in server.log) <= 4
            assert "secret-key" not in str(city.act.faults())
            await city.close()

    asyncio.run(life())


def test_what_is_no_fault_of_a_device_makes_no_ticket(tmp_path: Path) -> None:
    async def story(city: City) -> None:
        for kind in ("stage", "sos", "silent", "zone"):
            await city.say(alarm("kumbasari", kind))
        await city.settle()

    assert play(tmp_path, story).requests == {}


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[1]", b"{", b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', b"\xff"]
)
def test_an_answer_that_is_none_is_an_unknown_outcome(answer: bytes) -> None:
    from gateway.acts.open311.client import rows_of

    with pytest.raises(OSError, match="cannot be read"):
        rows_of(answer)


def test_the_key_must_be_in_its_file(tmp_path: Path) -> None:
    server = GeoReportServer(port=1)
    with pytest.raises(ConfigError, match="api_key_file"):
        City(tmp_path, server, api_key_file="missing")
    with pytest.raises(ConfigError, match="only https"):
        City(tmp_path, server, url="http://pro.example/v2")
