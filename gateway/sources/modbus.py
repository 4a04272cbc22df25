"""Polls Modbus sensors: `ModbusSource`, one for each bus, and its configuration.

One bus carries one request at a time. Each sensor has its own interval; a unit that does not
answer is retried, then counts as dead and is asked ever more rarely, and only when no living unit
waits for the bus, so that it cannot slow the others.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import WallClock, now_ms, tick_ms
from gateway.config import address_check, name_check, setting
from gateway.ledger.schema import LedgerFullError
from gateway.model import LIVE, NOT_EVALUATED, Accept, Reading
from gateway.rules.quality import QualitySettings
from gateway.rules.settings import Stages
from gateway.sources.line import Line, LineError, open_line
from gateway.sources.profile import (
    FRAMES,
    Block,
    Profile,
    decode_block,
    identity_blocks,
    identity_holds,
    level_mm,
    load_profile,
    plan_reads,
)

log = logging.getLogger("tukad.modbus")

_DEAD_AFTER = 3  # failed polls in a row
_PROBE_S_MAX = 60.0
_PROBE_SHARE = 0.02
_REOPEN_S_MAX = 30.0
_HELD_MAX = 10_000  # readings kept in memory while the disk takes none


def port_check(value: str) -> str:
    """What is wrong with a Modbus port, or ""."""
    for scheme in ("tcp://", "rtu+tcp://"):
        if value.startswith(scheme):
            return address_check(value.removeprefix(scheme))
    if value.startswith("/"):
        return ""
    return "is neither a device path, nor tcp://host:port, nor rtu+tcp://host:port"


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """[[modbus.sensor]]: one unit on a bus."""

    name: str = setting(doc="unique name of the sensor", check=name_check)
    profile: str = setting(
        doc="what it is: a file of gateway/profiles, or a path to your own .toml",
        cure="list them: tukad modbus profiles",
    )
    unit: int | None = setting(
        None, low=0, high=255, doc="Modbus address; from the profile if absent"
    )
    interval_s: float = setting(60.0, low=0.05, high=86400, unit="s", doc="time between polls")
    timeout_ms: int = setting(300, low=5, high=60000, unit="ms", doc="wait this long for an answer")
    retries: int = setting(
        1, low=0, high=5, doc="asks again at once before a poll counts as failed"
    )
    values: tuple[str, ...] = setting(
        (), doc="which values to read; absent: what the profile polls"
    )
    height_mm: int | None = setting(
        None, low=-20000, high=100000, unit="mm", doc="sensor above the gauge's zero (radar)"
    )
    offset_mm: int = setting(
        0, low=-100000, high=100000, unit="mm", doc="added to level or depth (pressure, bubbler)"
    )
    check_identity: bool = setting(True, doc="make sure that the right kind of sensor answers")
    stages: Stages | None = setting(None, doc="alarm thresholds of this sensor")  # noqa: RUF009
    quality: QualitySettings | None = setting(None, doc="quality tests")  # noqa: RUF009
    latitude_deg: float | None = setting(
        None, low=-90, high=90, unit="deg", doc="where it stands, for maps"
    )
    longitude_deg: float | None = setting(
        None, low=-180, high=180, unit="deg", doc="where it stands, for maps"
    )

    def __post_init__(self) -> None:
        if (self.latitude_deg is None) != (self.longitude_deg is None):
            raise ValueError("latitude_deg and longitude_deg go together")


@dataclass(frozen=True, kw_only=True)
class Bus:
    """[[modbus]]: one port with its sensors."""

    name: str = setting(doc="unique name of the bus", check=name_check)
    port: str = setting(
        doc="device path, tcp://host:port or rtu+tcp://host:port",
        check=port_check,
        cure="to see the adapters: ls /dev/serial/by-id",
    )
    baud: int = setting(9600, low=300, high=1_000_000, unit="baud", doc="speed of a serial bus")
    frame: str = setting("8N1", choices=FRAMES, doc="data bits, parity, stop bits")
    sensor: tuple[Sensor, ...] = setting((), doc="the units on this bus")


def shared_unit(bus: Bus, folder: Path) -> str:
    """What is wrong with the units of a bus, or "": two sensors must not share an address."""
    seen: dict[int, str] = {}
    for sensor in bus.sensor:
        unit = load_profile(sensor.profile, folder).unit if sensor.unit is None else sensor.unit
        if unit in seen:
            return (
                f"sensors {seen[unit]} and {sensor.name} share unit {unit}; one of them must be"
                " given another address"
            )
        seen[unit] = sensor.name
    return ""


def uptime_ms() -> int:
    """Since the machine got its power."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class _Unit:
    """What the poller knows of one sensor."""

    def __init__(self, sensor: Sensor, folder: Path) -> None:
        self.sensor = sensor
        self.profile: Profile = load_profile(sensor.profile, folder)
        self.unit = self.profile.unit if sensor.unit is None else sensor.unit
        names = sensor.values or self.profile.polled
        known = {value.name for value in self.profile.value}
        for name in names:
            if name not in known:
                raise ValueError(
                    f"sensor {sensor.name}: profile {sensor.profile} has no value {name}; it has"
                    f" {', '.join(sorted(known))}"
                )
        self.blocks: tuple[Block, ...] = plan_reads(self.profile, names)
        self.due = 0.0  # loop time
        self.sequence = 0
        self.is_known = not (sensor.check_identity and self.profile.identity)
        self.failures = 0  # in a row
        self.probe_s = 0.0
        self.polls = 0
        self.errors: dict[str, int] = {}
        self.last_error = ""
        self.last_ok_ms = 0
        self.fault = ""
        # A sensor that gets power together with the gateway, or again after it was silent, measures
        # nothing useful for a while.
        self.warm_ms = tick_ms() - uptime_ms() + round(1000 * self.profile.warm_up_s)
        self.warming = 0  # polls whose values were not used

    @property
    def is_dead(self) -> bool:
        return self.failures >= _DEAD_AFTER


class ModbusSource:
    """Polls the sensors of one bus; a `gateway.model.Source`."""

    def __init__(
        self,
        bus: Bus,
        clock: WallClock,
        next_sequence: Callable[[str, str], int],
        folder: Path = Path(),
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._next_sequence = next_sequence
        self._line: Line = open_line(bus.port, bus.baud, bus.frame)
        self.units = [_Unit(sensor, folder) for sensor in bus.sensor]
        self._held: deque[Reading] = deque(maxlen=_HELD_MAX)
        self._has_held = asyncio.Event()
        self.lost_held = 0
        self.is_open = False

    @property
    def name(self) -> str:
        """A short unique name."""
        return f"modbus.{self._bus.name}"

    async def run(self, accept: Accept) -> None:
        """Poll until cancelled; a port that goes away is opened again."""
        for unit in self.units:
            # After a restart of this part alone, readings in memory are ahead of the ledger.
            following = self._next_sequence(unit.sensor.name, unit.sensor.profile)
            unit.sequence = max(unit.sequence, following)
        if self._held:
            self._has_held.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_over(accept), name=f"{self.name}.hand_over")
            await self._keep_open()

    async def _keep_open(self) -> None:
        pause_s = 0.5
        try:
            while True:
                try:
                    await self._line.open()
                    self.is_open = True
                    pause_s = 0.5
                    log.info("modbus.open bus=%s port=%s", self._bus.name, self._bus.port)
                    await self._poll()
                except (OSError, TimeoutError) as error:
                    self._line.close()
                    if self.is_open or pause_s == 0.5:
                        log.warning("modbus.port bus=%s error=%r", self._bus.name, str(error))
                    self.is_open = False
                    for unit in self.units:
                        unit.last_error = f"port: {error}"
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1))
                    pause_s = min(2 * pause_s, _REOPEN_S_MAX)
        finally:
            self.is_open = False
            self._line.close()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        # All at once: what is polled together shares an fsync, a batch and a message.
        start = loop.time()
        for unit in self.units:
            unit.due = start
        while True:
            unit = self._next_unit(loop.time())
            wait = unit.due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await self._poll_one(unit)
            unit.due += unit.probe_s if unit.is_dead else unit.sensor.interval_s
            if (
                unit.due < loop.time()
            ):  # the bus is slower than the interval asks: skip, do not queue
                unit.due = loop.time()

    def _next_unit(self, now: float) -> _Unit:
        """Who is asked next: a dead unit only if no living one is due before it would time out."""
        best = min(self.units, key=lambda unit: unit.due)
        if not best.is_dead:
            return best
        living = [unit for unit in self.units if not unit.is_dead]
        if not living:
            return best
        soonest = min(living, key=lambda unit: unit.due)
        free_s = soonest.due - max(now, best.due)
        timeout_s = best.sensor.timeout_ms / 1000
        # On a bus that is never free the dead may still cost the living this share of their time.
        is_overdue = now - best.due > timeout_s / _PROBE_SHARE
        return best if is_overdue or free_s > timeout_s else soonest

    async def _poll_one(self, unit: _Unit) -> None:
        sensor = unit.sensor
        values: dict[str, int] = {}
        unit.polls += 1
        try:
            if not unit.is_known:
                await self._identify(unit)
            for block in unit.blocks:
                registers = await self._read(unit, block)
                values |= decode_block(unit.profile, block, registers)
        except LineError as error:
            self._failed(unit, error)
            return
        if unit.is_dead:
            log.info("modbus.back bus=%s sensor=%s", self._bus.name, sensor.name)
            unit.warm_ms = tick_ms() + round(1000 * unit.profile.warm_up_s)
        unit.failures = 0
        unit.fault = unit.last_error = ""
        at_ms = unit.last_ok_ms = now_ms()
        if tick_ms() < unit.warm_ms:
            unit.warming += 1
            return
        level = level_mm(values, sensor.height_mm, sensor.offset_mm)
        if level is not None:
            values["level_mm"] = level
        reading = Reading(
            device=sensor.name,
            stream=sensor.profile,
            sequence=unit.sequence,
            time_ms=at_ms,
            time_source=self._clock.time_source(),
            values=values,
            received_ms=at_ms,
            quality=NOT_EVALUATED,
            origin=LIVE,
        )
        unit.sequence += 1
        if len(self._held) == _HELD_MAX:
            self.lost_held += 1
        self._held.append(reading)
        self._has_held.set()

    async def _hand_over(self, accept: Accept) -> None:
        """Give readings to the ledger beside the polling: an fsync must not hold up the bus.

        While the disk takes none they stay in memory, and are offered again every second.
        """
        while True:
            await self._has_held.wait()
            self._has_held.clear()
            waiting = list(self._held)
            lost = self.lost_held
            try:
                await accept(waiting)
            except LedgerFullError:
                await asyncio.sleep(1)
                self._has_held.set()
                continue
            # What overflowed meanwhile left on the same side.
            for _ in range(len(waiting) - (self.lost_held - lost)):
                self._held.popleft()

    async def _identify(self, unit: _Unit) -> None:
        for identity, block in identity_blocks(unit.profile):
            registers = await self._read(unit, block)
            if not identity_holds(identity, registers):
                raise LineError(
                    "identity",
                    f"register {identity.address} holds {registers}, not {identity.expect}:"
                    f" this is no {unit.sensor.profile}",
                )
        unit.is_known = True

    async def _read(self, unit: _Unit, block: Block) -> list[int]:
        timeout_s = unit.sensor.timeout_ms / 1000
        # A dead unit is only probed: repeating would cost the others twice.
        tries = 1 if unit.is_dead else 1 + unit.sensor.retries
        while True:
            tries -= 1
            try:
                return await self._line.read(
                    unit.unit, unit.profile.function, block.address, block.count, timeout_s
                )
            except LineError as error:
                unit.errors[error.code] = unit.errors.get(error.code, 0) + 1
                if not tries or error.code == "exception":
                    raise

    def _failed(self, unit: _Unit, error: LineError) -> None:
        unit.failures += 1
        unit.last_error = str(error)
        if error.code == "identity":
            unit.errors["identity"] = unit.errors.get("identity", 0) + 1
        if unit.failures < _DEAD_AFTER:
            return
        interval = unit.sensor.interval_s
        if unit.failures == _DEAD_AFTER:
            unit.probe_s = max(interval, 1.0)
            # It may have been swapped when it comes back.
            unit.is_known = not (unit.sensor.check_identity and unit.profile.identity)
            log.warning(
                "modbus.silent bus=%s sensor=%s unit=%d error=%r; check its power and wiring, try:"
                " tukad modbus read",
                self._bus.name,
                unit.sensor.name,
                unit.unit,
                str(error),
            )
        unit.fault = str(error)
        unit.probe_s = min(unit.probe_s * 2, max(_PROBE_S_MAX, interval))


async def read_once(bus: Bus, sensor: Sensor, folder: Path = Path()) -> dict[str, int]:
    """One poll outside the agent, for `tukad modbus read`. Raises LineError or OSError."""
    unit = _Unit(sensor, folder)
    line = open_line(bus.port, bus.baud, bus.frame)
    values: dict[str, int] = {}
    with contextlib.closing(line):
        await line.open()
        for block in unit.blocks:
            registers = await line.read(
                unit.unit,
                unit.profile.function,
                block.address,
                block.count,
                sensor.timeout_ms / 1000,
            )
            values |= decode_block(unit.profile, block, registers)
    level = level_mm(values, sensor.height_mm, sensor.offset_mm)
    return values if level is None else values | {"level_mm": level}
