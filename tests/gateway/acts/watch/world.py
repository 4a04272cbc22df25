"""A gateway around the act of [watch]: ledger, messages, faults, and alarms that become durable."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.acts.part import Context
from gateway.acts.watch import WatchAct
from gateway.clock import WallClock
from gateway.config import Place, build
from gateway.model import LIVE, Alarm, Fault, Reading
from gateway.settings import Settings
from gateway.sinks.messages import Messages
from tests.gateway.samples import START_MS, open_ledger

MINUTE = 60_000
SENSORS = ("radar-1", "radar-2", "radar-3")


class Gateway:
    """What survives is in the ledger; `restart` loses all else."""

    def __init__(self, folder: Path, watch: Mapping[str, object] | None = None) -> None:
        self.folder = folder
        sensors = [
            {"name": name, "profile": "geolux_lx80", "unit": i + 1, "height_mm": 5000}
            for i, name in enumerate((*SENSORS, "jukung-1", "amb-1"))
        ]
        table = {
            "gateway": {"site": "badung", "data_dir": str(folder)},
            "modbus": [{"name": "bus", "port": "tcp://127.0.0.1:1", "sensor": sensors}],
            "watch": dict(watch or {}),
            "assets": {"owner": "PUPR"},
        }
        self.settings = build(Settings, table, Place(folder / "gateway.toml"))
        self.ledger = open_ledger(folder)
        self.ms = START_MS
        self.boot = "boot-1"
        self.fault_list: list[Fault] = []
        self.raised: list[Alarm] = []
        self.loses_alarms = False  # killed between the state and the alarms
        self.sequence = 0
        self.messages = Messages("badung")
        self.act = self.new_act()

    def context(self) -> Context:
        return Context(
            settings=self.settings,
            file=self.folder / "gateway.toml",
            ledger=self.ledger,
            clock=WallClock(),
            messages=self.messages,
            service=None,
            faults=lambda: self.fault_list,
            raise_alarms=self.raise_alarms,
        )

    def new_act(self) -> WatchAct:
        self.messages = Messages("badung")
        assert self.settings.watch is not None
        return WatchAct(
            self.settings.watch, self.context(), lambda: self.ms, lambda: self.boot
        )  # fmt: skip

    def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        if self.loses_alarms:
            return
        for one in alarms:
            self.ledger.call(lambda store, one=one: store.add_alarm(one))
            self.raised.append(one)

    async def start(self) -> None:
        await self.act._recover()  # pyright: ignore[reportPrivateUsage]

    async def restart(self) -> None:
        self.act = self.new_act()
        await self.start()

    async def pass_time(self, minutes: float, *, quiet: Sequence[str] = ()) -> list[str]:
        """Sensors speak every minute, the act looks twice as often; returns the alarms' kinds."""
        before = len(self.raised)
        for step in range(round(2 * minutes)):
            self.ms += MINUTE // 2
            if step % 2:
                await self.hear([name for name in SENSORS if name not in quiet])
            await self.act._catch_up()  # pyright: ignore[reportPrivateUsage]
            await self.act.look()
        return [f"{one.device}/{one.kind}/{one.event}" for one in self.raised[before:]]

    async def hear(self, names: Sequence[str]) -> None:
        self.sequence += 1
        level = 300 + self.sequence % 5
        readings = [
            Reading(
                device=name,
                stream="geolux_lx80",
                sequence=self.sequence,
                time_ms=self.ms,
                time_source="ntp",
                values={"level_mm": level, "snr_db": 40},
                received_ms=self.ms,
                origin=LIVE,
            )
            for name in names
        ]
        self.act.on_readings(await self.ledger.add(readings))

    def sent(self) -> dict[str, bytes]:
        """The newest message of every topic."""
        return {topic: payload for topic, payload, _ in self.messages._waiting}  # pyright: ignore[reportPrivateUsage]
