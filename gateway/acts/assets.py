"""The asset register: `AssetsAct` (retained message on change), `tukad gateway assets CONFIG`.

One row for each device and sensor of the configuration and for the gateway itself. What the
configuration and the devices tell is filled in; owner, place name, serial and calibration come from
a CSV file that the city keeps (`assets.register`), by device. The file's own columns win nothing
over what a device says of itself: a firmware number or a state is never typed by hand.
"""

import asyncio
import csv
import io
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from gateway.acts.part import Act, Context
from gateway.clock import now_ms
from gateway.config import ConfigError, setting
from gateway.ledger.schema import connect
from gateway.ledger.store import Store, Stored
from gateway.rules.devices.causes import CAUSES

if TYPE_CHECKING:
    from gateway.settings import Settings

log = logging.getLogger("tukad.assets")

COLUMNS = (
    "device", "kind", "model", "serial", "owner", "place", "latitude", "longitude", "installed",
    "calibrated", "calibration_due", "state", "faults", "firmware", "battery_mv", "last_heard",
    "note",
)  # fmt: skip
TYPED = ("serial", "owner", "place", "installed", "calibrated", "calibration_due", "note")
_LOOK_S = 30.0
_STATUS = "status"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class AssetsSettings:
    """Section [assets]."""

    register: str = setting(
        "", doc="CSV file with device and " + ", ".join(TYPED) + "; relative to the configuration"
    )
    owner: str = setting("", doc="owner of devices that have none in the file")


def read_register(path: Path) -> dict[str, dict[str, str]]:
    """What the city typed, by device. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"assets.register = {path}: cannot be read: {error}") from None
    reader = csv.DictReader(io.StringIO(text))
    names = [name.strip() for name in reader.fieldnames or []]
    if "device" not in names:
        raise ConfigError(f"assets.register = {path}: has no column device")
    unknown = [name for name in names if name != "device" and name not in TYPED]
    if unknown:
        raise ConfigError(
            f"assets.register = {path}: no such column: {unknown[0]}; there are: device,"
            f" {', '.join(TYPED)}"
        )
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(reader, 2):
        one = {str(k).strip(): str(v or "").strip() for k, v in row.items() if k}
        device = one.pop("device", "")
        if device in found:
            raise ConfigError(f"assets.register = {path}: line {number}: {device} is there twice")
        for name in ("installed", "calibrated", "calibration_due"):
            if one.get(name):
                try:
                    date.fromisoformat(one[name])
                except ValueError:
                    raise ConfigError(
                        f"assets.register = {path}: line {number}: {name} = {one[name]} is no"
                        " date such as 2026-09-10"
                    ) from None
        found[device] = one
    return found


def rows(
    settings: "Settings",
    typed: Mapping[str, Mapping[str, str]],
    store: Store | None,
    now: int,
    owner: str = "",
) -> list[dict[str, str]]:
    """The register now; without a ledger only what is configured."""
    open_faults = _open_faults(store)
    named: list[tuple[str, str, str, int, tuple[str, ...], float | None, float | None]] = [
        (one.name, "LoRaWAN device", one.dev_eui, one.interval_s, ("flood", "track", _STATUS),
         one.latitude_deg, one.longitude_deg)
        for one in settings.device
    ]  # fmt: skip
    models: dict[str, str] = {}
    for bus in settings.modbus:
        for one in bus.sensor:
            models[one.name] = one.profile.rpartition("/")[2].removesuffix(".toml")
            named.append(
                (one.name, f"Modbus sensor on {bus.name}", "", max(1, round(one.interval_s)),
                 (one.profile,), one.latitude_deg, one.longitude_deg)
            )  # fmt: skip
    found: list[dict[str, str]] = []
    gateway = settings.gateway
    found.append(
        _row(gateway.site, "gateway", typed, owner)
        | {"firmware": f"tukad {version('tukad')}", "model": "gateway"}
        | _place(gateway.latitude_deg, gateway.longitude_deg)
        | _state(open_faults.get(gateway.site, []), now, now, 1)
    )
    for name, kind, serial, interval_s, streams, lat, lon in named:
        row = _row(name, kind, typed, owner)
        row["serial"] = row["serial"] or str(serial or "")
        row["model"] = models.get(name, "")
        row |= _place(lat, lon)
        heard = 0
        if store is not None:
            heard = _told(row, store, name, streams)
        row |= _state(open_faults.get(name, []), heard, now, interval_s)
        found.append(row)
    return found


def _row(
    device: str, kind: str, typed: Mapping[str, Mapping[str, str]], owner: str
) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "") | {"device": device, "kind": kind}
    row |= typed.get(device, {})
    row["owner"] = row["owner"] or owner
    return row


def _place(lat: float | None, lon: float | None) -> dict[str, str]:
    if lat is None or lon is None:
        return {}
    return {"latitude": f"{lat:.5f}", "longitude": f"{lon:.5f}"}


def _told(row: dict[str, str], store: Store, name: str, streams: Sequence[str]) -> int:
    """What the device says of itself; returns when it was last heard."""
    heard = 0
    for stream in streams:
        latest = store.latest(name, stream)
        if latest is None:
            continue
        heard = max(heard, latest.received_ms)
        values = latest.values
        if "firmware_major" in values:
            parts = (str(values.get(f"firmware_{p}", 0)) for p in ("major", "minor", "patch"))
            row["firmware"] = ".".join(parts)
        if "battery_mv" in values:
            row["battery_mv"] = str(values["battery_mv"])
        if "role" in values:
            roles = ("flood node", "tracker", "siren", "cabinet")
            row["model"] = roles[values["role"]] if values["role"] < len(roles) else ""
    return heard


def _state(faults: Sequence[str], heard: int, now: int, interval_s: int) -> dict[str, str]:
    state = "in service"
    if not heard:
        state = "never heard"
    elif faults:
        state = "faulty"
    elif now - heard > 5000 * max(interval_s, 60):
        state = "silent"
    last = datetime.fromtimestamp(heard / 1000, UTC).isoformat(timespec="seconds") if heard else ""
    return {"state": state, "faults": " ".join(sorted(faults)), "last_heard": last}


def _open_faults(store: Store | None) -> dict[str, list[str]]:
    """The causes that the diagnosis has open, by device."""
    state = store.get_state("act/watch/state") if store is not None else None
    found: dict[str, list[str]] = {}
    if state is not None:
        for device, cause, case in state["diagnosis"]["cases"]:
            if case["open_ms"] and cause in CAUSES:
                found.setdefault(device, []).append(cause)
    return found


def as_csv(table: Sequence[Mapping[str, str]]) -> str:
    """RFC 4180, UTF-8. What a spreadsheet would run as a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in table:
        writer.writerow([_safe(name, row[name]) for name in COLUMNS])
    return out.getvalue()


def _safe(column: str, text: str) -> str:
    is_number = column in ("latitude", "longitude", "battery_mv")
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


class AssetsAct(Act):
    """Publishes assets/DEVICE, retained, whenever a row changes in more than when it was heard."""

    name = "assets"

    def __init__(
        self, settings: AssetsSettings, context: Context, clock: Callable[[], int] = now_ms
    ) -> None:
        self._settings = settings
        self._context = context
        self._now = clock
        self._told: dict[str, str] = {}
        self._typed = _typed(settings, context.file)
        self._news = asyncio.Event()
        self.published = 0

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """A status frame may change a row."""
        if any(one.reading.stream == _STATUS for one in stored):
            self._news.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            self._news.clear()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(1)

    async def look(self) -> None:
        """Publish what changed."""
        settings, owner, now = self._context.settings, self._settings.owner, self._now()
        table = await self._context.ledger.read(
            lambda store: rows(settings, self._typed, store, now, owner)
        )
        for row in table:
            # A voltage and a time change all day; they are in status, not in an inventory.
            lasting = {k: v for k, v in row.items() if k not in ("last_heard", "battery_mv")}
            body = json.dumps(lasting, ensure_ascii=False)
            if self._told.get(row["device"]) != body:
                self._told[row["device"]] = body
                self.published += 1
                self._context.messages.publish(
                    f"assets/{row['device']}", body.encode(), retain=True
                )

    def counters(self) -> Mapping[str, int]:
        """Messages."""
        return {"published": self.published, "now_assets": len(self._told)}


def _typed(settings: AssetsSettings, file: Path) -> dict[str, dict[str, str]]:
    return read_register(file.parent / settings.register) if settings.register else {}


@click.command("assets")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file instead of the screen."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def assets(config: Path, output: Path | None, as_json: bool) -> None:
    """The asset register as CSV: device, serial, owner, place, calibration, state, firmware."""
    from gateway.settings import load

    try:
        settings = load(config).settings
        section = settings.assets or AssetsSettings()
        typed = _typed(section, config)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    path = settings.gateway.data_dir / "ledger.db"
    try:
        if path.exists():
            with closing(connect(path, read_only=True)) as db:
                table = rows(settings, typed, Store(db), now_ms(), section.owner)
        else:
            table = rows(settings, typed, None, now_ms(), section.owner)
    except sqlite3.Error as error:
        raise click.ClickException(f"{path}: {error}") from None
    text = json.dumps(table, ensure_ascii=False, indent=1) + "\n" if as_json else as_csv(table)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8", newline="")
        click.echo(f"{output}: {len(table)} assets")
