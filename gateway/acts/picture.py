"""What maps show: `Picture` of places, positions, calls for help and stages, and who may see them.

Several acts draw from it (AIS, GeoJSON, GTFS-Realtime), each with its own: it is small, and they
fail apart. It is filled by `recover` from the ledger and kept by `feed` and `hear`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Store
from gateway.model import CLEARED, Alarm, Reading
from protocols.payload.reckon import wrap_lon
from protocols.payload.track import STATE_MOB, STATE_SOS, STATE_UNDER_WAY

if TYPE_CHECKING:
    from gateway.settings import Settings

EXACT, COARSE, HIDDEN = "exact", "coarse", "none"
SHARES = (EXACT, COARSE, HIDDEN)

SOS, MOB = "sos", "mob"
CALL_MS_MAX = 24 * 3_600_000  # a call that nobody cancelled leaves the maps after a day
_ALARMS = 2000  # the latest, read at the start
_STREAMS = ("track", "event", "flood", "status")


def stricter(one: str, other: str) -> str:
    """The one of two shares that shows less."""
    return max(one, other, key=SHARES.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A fix of a tracker."""

    lat_e5: int
    lon_e5: int
    time_ms: int
    sog_dkn: int | None = None
    cog_deg: int | None = None
    state: int = STATE_UNDER_WAY
    cell_e5: int = 0  # the side of the square that it is the middle of; 0: exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Somebody calls for help."""

    kind: str  # SOS or MOB
    since_ms: int
    is_drill: bool


def coarse(position: Position, cell_e5: int) -> Position:
    """The middle of the square that a position is in: the same for every position in it."""
    lat_e5 = position.lat_e5 // cell_e5 * cell_e5 + cell_e5 // 2
    lon_e5 = position.lon_e5 // cell_e5 * cell_e5 + cell_e5 // 2
    return Position(
        lat_e5=min(max(lat_e5, -9_000_000), 9_000_000),
        lon_e5=wrap_lon(lon_e5),
        time_ms=position.time_ms // 600_000 * 600_000,
        state=position.state,
        cell_e5=cell_e5,
    )


class Picture:
    """The newest of everything, by device."""

    def __init__(self, settings: "Settings") -> None:
        self.places: dict[str, tuple[int, int]] = {}  # 1e-5 degrees
        self.shares: dict[str, str] = {}
        self.streams: dict[str, list[str]] = {}
        self.latest: dict[tuple[str, str], Reading] = {}
        self.positions: dict[str, Position] = {}
        self.stages: dict[str, Alarm] = {}
        self._calls: dict[str, dict[str, Call]] = {}  # device -> incident
        self._cleared_ms: dict[str, int] = {}
        named = [(one.name, one.latitude_deg, one.longitude_deg) for one in settings.device]
        for bus in settings.modbus:
            named += [(one.name, one.latitude_deg, one.longitude_deg) for one in bus.sensor]
            self.streams |= {one.name: [one.profile.rpartition("/")[2]] for one in bus.sensor}
        for name, latitude, longitude in named:
            if latitude is not None and longitude is not None:
                self.places[name] = round(latitude * 1e5), round(longitude * 1e5)
        for device in settings.device:
            self.shares[device.name] = device.share
            self.streams[device.name] = list(_STREAMS)

    async def recover(self, ledger: Ledger) -> None:
        """Take what the ledger knows; news that come meanwhile are newer and stay."""

        def query(store: Store) -> tuple[list[Reading | None], list[Alarm]]:
            latest = [
                store.latest(one, name) for one, names in self.streams.items() for name in names
            ]
            return latest, store.alarms(_ALARMS)

        latest, alarms = await ledger.read(query)
        self.feed(reading for reading in latest if reading is not None)
        for alarm in reversed(alarms):
            self.hear(alarm)

    def feed(self, readings: Iterable[Reading]) -> set[str]:
        """Take readings of any order; returns the devices whose newest reading is among them."""
        news: set[str] = set()
        for one in readings:
            key = one.device, one.stream
            known = self.latest.get(key)
            if known is not None and (one.time_ms, one.sequence) < (known.time_ms, known.sequence):
                continue
            self.latest[key] = one
            news.add(one.device)
            self._locate(one.device, one.time_ms, one.values)
        return news

    def _locate(self, device: str, time_ms: int, values: Mapping[str, int]) -> None:
        if "lat_e5" not in values or "lon_e5" not in values:
            return
        known = self.positions.get(device)
        if known is not None and known.time_ms > time_ms:
            return
        lat_e5, lon_e5 = values["lat_e5"], values["lon_e5"]
        if abs(lat_e5) > 9_000_000 or abs(lon_e5) > 18_000_000 or lat_e5 == lon_e5 == 0:
            return  # a receiver that has no fix says 0, 0: no boat of ours is in the Gulf of Guinea
        before = STATE_UNDER_WAY if known is None else known.state
        self.positions[device] = Position(
            lat_e5=lat_e5,
            lon_e5=lon_e5,
            time_ms=time_ms,
            sog_dkn=values.get("speed_dkn"),
            cog_deg=values.get("course_deg"),
            state=values.get("state", before),
        )

    def hear(self, alarm: Alarm) -> None:
        """Take an alarm, in the order of decision."""
        if alarm.kind == "stage":
            if alarm.event == CLEARED:
                self.stages.pop(alarm.device, None)
            else:
                self.stages[alarm.device] = alarm
        elif alarm.kind in (SOS, MOB):
            calls = self._calls.setdefault(alarm.device, {})
            if alarm.event == CLEARED:
                calls.pop(alarm.incident, None)
                self._cleared_ms[alarm.device] = alarm.time_ms
                return
            calls[alarm.incident] = Call(
                kind=alarm.kind,
                since_ms=alarm.time_ms,
                is_drill=bool(alarm.values.get("is_drill")),
            )
            self._locate(alarm.device, alarm.time_ms, alarm.values)

    def call(self, device: str, now_ms: int) -> Call | None:
        """The device's call for help: by an alarm, or by the state in its newest fix.

        A real call goes before a drill, a man overboard before an SOS.
        """
        calls = [
            one
            for one in self._calls.get(device, {}).values()
            if now_ms - one.since_ms < CALL_MS_MAX
        ]
        fix = self.latest.get((device, "track"))
        state = 0 if fix is None else fix.values.get("state", 0)
        since_ms = max(now_ms - CALL_MS_MAX, self._cleared_ms.get(device, 0))
        if fix is not None and state in (STATE_SOS, STATE_MOB) and fix.time_ms > since_ms:
            kind = MOB if state == STATE_MOB else SOS
            is_drill = bool(fix.values.get("is_drill"))
            calls.append(Call(kind=kind, since_ms=fix.time_ms, is_drill=is_drill))
        return min(calls, key=lambda one: (one.is_drill, one.kind == SOS), default=None)

    def calling(self, now_ms: int) -> Sequence[str]:
        """The devices that call for help."""
        names = {**self._calls, **self.positions}
        return [name for name in names if self.call(name, now_ms) is not None]

    def seen(self, device: str, share: str, cell_e5: int, now_ms: int) -> Position | None:
        """The newest position as an output with this share may show it; exact while one calls."""
        position = self.positions.get(device)
        if position is None:
            return None
        call = self.call(device, now_ms)
        if call is not None and not call.is_drill:
            return position
        share = stricter(share, self.shares.get(device, EXACT))
        if share == HIDDEN:
            return None
        return position if share == EXACT else coarse(position, cell_e5)
