"""`Memory`: what is remembered of one device, bounded, as JSON; fed with what it really sends.

Everything is a list or a number, so that it can be kept in the ledger and taken up after a restart.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from gateway.model import LIVE, Reading
from protocols.payload.event import EVENT_FAULT, EVENT_LAST_GASP, EVENT_SIREN, EVENT_TAMPER

HOUR_MS = 3_600_000
_LEVELS = 120
_SHORT = 60
_HOURS = 96
_LEARN = 16  # frames that make a usual signal
_TIPS_MS = 2 * HOUR_MS

Pairs = list[list[int]]


@dataclass(slots=True)
class Memory:
    """Times are Unix milliseconds of the gateway unless said otherwise."""

    heard_ms: int = 0  # when the newest frame or poll came
    frames: int = 0
    levels: list[list[int | None]] = field(default_factory=list[list[int | None]])  # time, mm
    repeat: float = 0.3  # how often a healthy level is the same as the one before, 0..1
    run: int = 0  # equal levels in a row
    longest: int = 0  # the longest such run that ended
    is_low: bool = False  # the battery, with hysteresis
    quality: Pairs = field(default_factory=Pairs)  # time, spread of a burst in mm
    snr: Pairs = field(default_factory=Pairs)  # time, echo quality in dB
    signal: Pairs = field(default_factory=Pairs)  # time, RSSI in dBm, SNR in dB
    battery: Pairs = field(default_factory=Pairs)  # start of the hour, mV (the last in it)
    supply: Pairs = field(default_factory=Pairs)  # start of the hour, mV
    tilt: Pairs = field(default_factory=Pairs)  # time, degrees
    humidity: Pairs = field(default_factory=Pairs)  # time, percent
    mohm: Pairs = field(default_factory=Pairs)  # time, internal resistance
    boots: Pairs = field(default_factory=Pairs)  # time, counter, reset reason
    tips: Pairs = field(default_factory=Pairs)  # time of the sample, running total
    ages: Pairs = field(default_factory=Pairs)  # time, age of the newest sample on arrival in ms
    sirens: Pairs = field(default_factory=Pairs)  # time, proof, current (-1 not told)
    events: dict[str, list[int]] = field(default_factory=dict[str, list[int]])  # time, detail
    latest: dict[str, int] = field(default_factory=dict[str, int])  # of status and frames
    faults: int = 0
    faults_ms: int = 0
    unset_since_ms: int = 0  # since when the device's clock is not set
    missing: int = 0  # samples in a row without a level, though it has a level sensor
    wet: int = 0  # frames in a row with the highest stage
    step: list[int] = field(default_factory=list[int])  # a lasting jump: time, from, to, sure
    base_rssi: float = 0.0  # usual signal, learned slowly and never from a fall
    base_snr: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "Memory":
        """From JSON; fields of another version are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{key: value for key, value in state.items() if key in known})

    def feed(self, reading: Reading) -> None:
        """Take one reading of this device."""
        is_frame = reading.received_ms > self.heard_ms
        if is_frame:
            self.heard_ms = reading.received_ms
            self.frames += 1
        now, values = reading.received_ms, reading.values
        if is_frame and reading.link is not None:
            self._hear([now, reading.link.rssi_dbm, reading.link.snr_cb // 10])
        if reading.stream == "status":
            self._status(now, values)
        elif reading.stream == "event":
            self._event(reading.time_ms, values)
        elif reading.stream not in ("answer", "track"):
            self._sample(reading)
        if reading.stream in ("flood", "track") and reading.origin == LIVE:
            self._clock(reading)

    def _hear(self, row: list[int]) -> None:
        _keep(self.signal, row, _SHORT)
        count = len(self.signal)
        if count <= _LEARN:
            self.base_rssi = sum(one[1] for one in self.signal) / count
            self.base_snr = sum(one[2] for one in self.signal) / count
        elif row[1] > self.base_rssi - 8 and row[2] > self.base_snr - 6:
            self.base_rssi += (row[1] - self.base_rssi) / 200
            self.base_snr += (row[2] - self.base_snr) / 200

    def fallen(self) -> tuple[float, float] | None:
        """How far RSSI and SNR of the last frames are below the usual, dB; None: not known."""
        if len(self.signal) < _LEARN:
            return None
        last = self.signal[-4:]
        rssi = self.base_rssi - median(one[1] for one in last)
        return rssi, self.base_snr - median(one[2] for one in last)

    def _clock(self, reading: Reading) -> None:
        if reading.time_source in ("estimated", "unknown"):
            self.unset_since_ms = self.unset_since_ms or reading.received_ms
            return
        self.unset_since_ms = 0
        _keep(self.ages, [reading.received_ms, reading.received_ms - reading.time_ms], 12)

    def _status(self, now: int, values: Mapping[str, int]) -> None:
        self.latest |= values
        if "faults" in values:
            self.faults, self.faults_ms = values["faults"], now
        for name, kept in (("tilt_deg", self.tilt), ("humidity_pct", self.humidity)):
            if name in values:
                _keep(kept, [now, values[name]], _SHORT)
        if "battery_mohm" in values:
            _keep(self.mohm, [now, values["battery_mohm"]], _SHORT)
        if "sensor_snr_db" in values:
            _keep(self.snr, [now, values["sensor_snr_db"]], _SHORT)
        for name, kept in (("battery_mv", self.battery), ("supply_mv", self.supply)):
            if name in values:
                _hourly(kept, now, values[name])
        if "boots" in values:
            row = [now, values["boots"], values.get("reset_reason", 0)]
            if not self.boots or self.boots[-1][1] != row[1]:
                _keep(self.boots, row, 20)

    def _event(self, time_ms: int, values: Mapping[str, int]) -> None:
        kind = values.get("kind", 0)
        if kind == EVENT_TAMPER:
            self.events[f"tamper{values.get('cause', 0)}"] = [time_ms, values.get("cause", 0)]
        elif kind == EVENT_LAST_GASP:
            self.events["gasp"] = [time_ms, values.get("battery_mv", -1)]
        elif kind == EVENT_SIREN:
            row = [time_ms, values.get("proof", 0), values.get("current_ma", -1)]
            if row not in self.sirens:
                _keep(self.sirens, row, 20)
        elif kind == EVENT_FAULT:
            bits = values.get("faults", 0)
            self.faults = self.faults & ~bits if values.get("is_cleared") else self.faults | bits
            self.faults_ms = time_ms
        if "battery_mv" in values:
            _hourly(self.battery, time_ms, values["battery_mv"])

    def _sample(self, reading: Reading) -> None:
        values, now = reading.values, reading.time_ms
        for name, kept in (("quality", self.quality), ("sensor_snr_db", self.snr),
                           ("snr_db", self.snr), ("tilt_deg", self.tilt)):  # fmt: skip
            if name in values:
                _keep(kept, [now, values[name]], _SHORT)
        if "tilt_x_cdeg" in values and "tilt_y_cdeg" in values:
            tilt = round((values["tilt_x_cdeg"] ** 2 + values["tilt_y_cdeg"] ** 2) ** 0.5 / 100)
            _keep(self.tilt, [now, tilt], _SHORT)
        if "battery_mv" in values:
            _hourly(self.battery, now, values["battery_mv"])
        for name in ("case_temp_cdeg", "temperature_c"):
            if name in values:
                self.latest[name] = values[name]
        if "rain_tips" in values:
            self._rain(now, values["rain_tips"])
        if reading.origin == LIVE and "stage" in values:
            self.wet = self.wet + 1 if values["stage"] == 3 else 0
        self._level(now, values.get("level_mm"))

    def _rain(self, time_ms: int, tips: int) -> None:
        if self.tips and time_ms <= self.tips[-1][0]:
            return  # only live frames have it for sure; what fits in between adds nothing
        total = tips
        if self.tips:
            total = self.tips[-1][1] + (tips - self.tips[-1][1]) % 1024
        self.tips.append([time_ms, total])
        while time_ms - self.tips[0][0] > _TIPS_MS or len(self.tips) > _LEVELS:
            self.tips.pop(0)

    def _level(self, time_ms: int, level: int | None) -> None:
        if level is None and not any(one[1] is not None for one in self.levels):
            return  # never had one: not a level sensor
        at = bisect_left(self.levels, time_ms, key=lambda one: one[0] or 0)
        is_newest = at == len(self.levels)
        if not is_newest and self.levels[at][0] == time_ms:
            return  # every frame repeats what the ones before it said
        self.levels.insert(at, [time_ms, level])
        del self.levels[:-_LEVELS]
        tail = 0
        for one in reversed(self.levels):
            if one[1] is not None:
                break
            tail += 1
        self.missing = tail
        if is_newest and level is not None and len(self.levels) > 1:
            before = self.levels[-2][1]
            if before is not None:
                same = 1.0 if before == level else 0.0
                # Slowly: a stuck sensor must not teach us that being stuck is normal.
                self.repeat += (same - self.repeat) / 300
                if same:
                    self.run += 1
                else:
                    # By steps: one mended sensor must not set the measure for ever.
                    self.longest = max(self.longest, min(self.run, self.longest + 3))
                    self.run = 1

    # Questions

    def tips_since(self, since_ms: int) -> int | None:
        """Tips counted after a time; None when nothing is known from before it."""
        earlier = [one for one in self.tips if one[0] <= since_ms]
        if not earlier:
            return None
        return self.tips[-1][1] - earlier[-1][1]

    def known(self) -> list[tuple[int, int]]:
        """The levels that are there, oldest first."""
        return [(int(t or 0), v) for t, v in self.levels if v is not None]


def drop(rows: Pairs, column: int, newest: int, before: int) -> float | None:
    """How far the median of the `newest` rows is below that of at least `before` earlier ones."""
    if len(rows) < newest + before:
        return None
    return median(r[column] for r in rows[:-newest]) - median(r[column] for r in rows[-newest:])


def _keep(rows: Pairs, row: list[int], most: int) -> None:
    rows.append(row)
    if len(rows) > 1 and rows[-2][0] > row[0]:
        rows.sort()
    del rows[:-most]


def _hourly(rows: Pairs, time_ms: int, value: int) -> None:
    hour = time_ms // HOUR_MS * HOUR_MS
    if rows and rows[-1][0] == hour:
        rows[-1][1] = value
    elif not rows or rows[-1][0] < hour:
        rows.append([hour, value])
        del rows[:-_HOURS]
