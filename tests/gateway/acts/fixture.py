"""A configuration, a ledger and a context for one act, without the rest of the agent."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from gateway.acts.part import Context
from gateway.clock import WallClock
from gateway.ledger.ledger import Ledger
from gateway.model import CLEARED, LIVE, RAISED, Alarm, Reading
from gateway.settings import load
from gateway.sinks.messages import Messages
from tests.gateway.samples import open_ledger

BASE = """
[gateway]
site = "pasar-badung"
data_dir = "{data}"

[lorawan]
bind = ""

[[device]]
name = "kumbasari"
dev_eui = "70b3d57ed0061001"
kind = "flood"
latitude_deg = -8.65602
longitude_deg = 115.21198
stages = {{ waspada_mm = 300, siaga_mm = 1160, awas_mm = 2660 }}

[[device]]
name = "jukung-7"
dev_eui = "70b3d57ed0061002"
kind = "tracker"

[[device]]
name = "jukung-8"
dev_eui = "70b3d57ed0061003"
kind = "tracker"
share = "none"

[[device]]
name = "bus-3"
dev_eui = "70b3d57ed0061004"
kind = "tracker"

"""


@contextlib.contextmanager
def act_context(
    folder: Path, sections: str, sinks: tuple[str, ...] = ("city",)
) -> Generator[Context]:
    """A context on a configuration with these sections besides."""
    file = folder / "gateway.toml"
    file.write_text(BASE.format(data=folder) + sections)
    settings = load(file).settings
    ledger = open_ledger(folder, sinks=sinks)
    try:
        yield Context(
            settings=settings,
            file=file,
            ledger=ledger,
            clock=WallClock(),
            messages=Messages("pasar-badung"),
            service=None,
            faults=lambda: (),
            raise_alarms=lambda _: None,
        )
    finally:
        ledger.close()


def track(
    device: str, sequence: int, time_ms: int, lat_e5: int, lon_e5: int, **values: int
) -> Reading:
    """A tracker's fix."""
    return Reading(
        device=device,
        stream="track",
        sequence=sequence,
        time_ms=time_ms,
        time_source="gnss",
        values={"lat_e5": lat_e5, "lon_e5": lon_e5, **values},
        received_ms=time_ms + 700,
        origin=LIVE,
    )


def flood(device: str, sequence: int, time_ms: int, level_mm: int, quality: int = 1) -> Reading:
    """A gauge's level."""
    return Reading(
        device=device,
        stream="flood",
        sequence=sequence,
        time_ms=time_ms,
        time_source="network",
        values={"level_mm": level_mm},
        received_ms=time_ms + 700,
        quality=quality,
        origin=LIVE,
    )


def alarm(
    device: str,
    kind: str,
    time_ms: int,
    *,
    event: str = RAISED,
    level: int = 3,
    name: str = "Awas",
    incident: str = "",
    **values: int,
) -> Alarm:
    """An alarm that a rule decided."""
    return Alarm(
        incident=incident or f"{device}/{kind}/1",
        device=device,
        kind=kind,
        event=event,
        level=0 if event == CLEARED else level,
        name=name,
        time_ms=time_ms,
        decided_ms=time_ms + 800,
        sequence=1,
        values=values,
        text_id=f"{device}: {name}.",
        text_en=f"{device}: {name}.",
    )


async def stored(ledger: Ledger, *readings: Reading):
    """Make readings durable; what an act gets by `on_readings`."""
    return await ledger.add(readings)
