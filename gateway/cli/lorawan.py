"""`tukad lorawan`: register devices, watch frames, judge links.

Works on the network server's database, beside a running agent or without one; the agent sees a
change within a second. Keys are read from files or asked for without echo, and never shown.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.config import EXIT_CONFIG, ConfigError
from gateway.lorawan.config import LorawanConfig, SettingError
from gateway.lorawan.decoders import DECODERS
from gateway.lorawan.describe import age, battery, device_rows, frame_line, public
from gateway.lorawan.enrol import enrol, keys_of
from gateway.lorawan.fragments import ENDS, Job, Jobs
from gateway.lorawan.keys import DeviceKeys, Key, parse_qr
from gateway.lorawan.linkstats import LinkStats, link_stats
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.records import DeviceRecord
from gateway.lorawan.roster import entry_of, read_roster
from gateway.lorawan.sessions import SessionStore, StoreError
from gateway.settings import load

_FOLLOW_S = 0.5
DEFAULT_CONFIG = Path("/etc/tukad/gateway.toml")  # where the systemd unit looks


def fail(message: str, code: int = 1) -> NoReturn:
    """One plain line, then the end."""
    click.echo(f"tukad: {message}", err=True)
    raise SystemExit(code)


@dataclass(frozen=True)
class Place:
    """Where the database is, and the radio settings that go with it."""

    folder: Path
    lorawan: LorawanConfig

    @property
    def file(self) -> Path:
        """The database."""
        return self.folder / "lorawan.db"


def _place(config: Path | None, data_dir: Path | None) -> Place:
    if config is None and data_dir is None:
        if not DEFAULT_CONFIG.exists():
            fail(
                f"say where the database is: --config FILE or --data-dir FOLDER"
                f" ({DEFAULT_CONFIG} does not exist)",
                2,
            )
        config = DEFAULT_CONFIG
    lorawan, folder = LorawanConfig(), data_dir
    if config is not None:
        try:
            loaded = load(config)
        except ConfigError as error:
            fail(str(error), EXIT_CONFIG)
        lorawan = loaded.settings.lorawan or lorawan
        folder = folder or loaded.settings.gateway.data_dir
        if lorawan.server == "chirpstack":
            fail(f"{config}: lorawan.server is chirpstack: its own web page has the devices")
    assert folder is not None
    return Place(folder, lorawan)


def place(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --config and --data-dir to a command, which gets them as `where`; words its errors.

    To be the innermost decorator.
    """

    @wraps(command)
    def with_place(config: Path | None, data_dir: Path | None, **others: Any) -> None:
        try:
            command(where=_place(config, data_dir), **others)
        except (SettingError, StoreError) as error:
            fail(str(error))
        except sqlite3.Error as error:
            fail(f"the database cannot be used: {error}")

    path = click.Path(path_type=Path)
    with_config = click.option(
        "--config",
        type=path,
        help=f"The agent's configuration file; {DEFAULT_CONFIG} if neither is given.",
    )(with_place)
    return click.option(
        "--data-dir", type=path, help="The folder of lorawan.db, instead of the configuration's."
    )(with_config)


@contextmanager
def _store(where: Place, is_new: bool = False) -> Generator[SessionStore]:
    if not is_new and not where.file.exists():
        fail(f"{where.file} does not exist: start the agent once, or add a device")
    store = SessionStore(where.file, where.lorawan.log_frames)
    try:
        yield store
    finally:
        store.close()


def _find(store: SessionStore, name: str) -> DeviceRecord:
    device = store.device(name) or store.device(name.lower())
    if device is None:
        fail(f"no device {name!r} is registered; see: tukad lorawan list")
    return device


@click.group()
def lorawan() -> None:
    """LoRaWAN devices: register, list, watch, judge their links."""


# -- registering


def _ask_key(what: str) -> Key:
    if not sys.stdin.isatty():
        text = sys.stdin.readline()
        if not text.strip():
            fail(f"no {what}: give --key-file, or one line with the key on standard input", 2)
    else:
        text = click.prompt(f"{what} (32 hex digits, not shown)", hide_input=True)
    return Key.from_hex(text, what)


@lorawan.command()
@click.argument("name")
@click.option("--dev-eui", help="16 hex digits, from the label.")
@click.option("--join-eui", help="16 hex digits, also called AppEUI; zeros if not given.")
@click.option("--qr", help="The label's QR text instead of both: LW:D0:<JoinEUI>:<DevEUI>:...")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="File with app_key = 32 hex digits. Without it the key is asked for, hidden.",
)
@click.option(
    "--class",
    "device_class",
    type=click.Choice(["A", "C"]),
    default="A",
    show_default=True,
    help="C listens always: sirens, signs, cabinets.",
)
@click.option(
    "--random-nonces", is_flag=True, help="The device is older than LoRaWAN 1.0.4 (most bought)."
)
@click.option("--kind", default="", help="What the agent decodes it as.")
@click.option(
    "--decoder",
    type=click.Choice(sorted(DECODERS)),
    metavar="NAME",
    help=f"A bought sensor's decoder: {', '.join(sorted(DECODERS))}.",
)
@click.option("--codec", type=click.Path(path_type=Path), help="Or its TS013 JavaScript file.")
@place
def add(
    where: Place,
    name: str,
    dev_eui: str | None,
    join_eui: str | None,
    qr: str | None,
    key_file: Path | None,
    random_nonces: bool,
    **more: Any,
) -> None:
    """Register a device, or change one; its AppKey comes from a file or a hidden prompt.

    With the same AppKey a device's session goes on; with a new one it has to join again.
    """
    if qr is not None:
        label = parse_qr(qr)
        dev_eui, join_eui = dev_eui or label.dev_eui, join_eui or label.join_eui
    if dev_eui is None:
        fail("give --dev-eui, or --qr with the label's text", 2)
    entry = entry_of(
        {
            "name": name,
            "dev_eui": dev_eui,
            "join_eui": join_eui,
            "keys": key_file,
            "dev_nonce": "random" if random_nonces else "counter",
            **more,
        }
    )
    keys = keys_of(entry) if key_file is not None else DeviceKeys(app_key=_ask_key("AppKey"))
    plan = RadioPlan(where.lorawan)
    with _store(where, is_new=True) as store:
        known = store.device(entry.dev_eui)
        _refuse_configured(known)
        with store.transaction():
            enrol(store, plan, entry, keys, "cli", time.time_ns() // 1_000_000)
    click.echo(f"{'changed' if known else 'added'} {entry.name} ({entry.dev_eui})")


def _refuse_configured(device: DeviceRecord | None) -> None:
    if device is not None and device.origin == "config":
        fail(f"{device.name} is in the agent's configuration: change it there")


@lorawan.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@place
def import_(where: Place, file: Path) -> None:
    """Register many devices from a CSV file, all or none.

    The first line names the columns, of these: name, dev_eui, join_eui, qr, app_key, key_file,
    class, dev_nonce, kind, decoder, codec. Delete the file afterwards if it holds keys.
    """
    found = read_roster(file)
    plan, now_ms = RadioPlan(where.lorawan), time.time_ns() // 1_000_000
    with _store(where, is_new=True) as store, store.transaction():
        for entry, keys in found:
            _refuse_configured(store.device(entry.dev_eui))
            enrol(store, plan, entry, keys, "cli", now_ms)
    click.echo(f"registered {len(found)} devices")


@lorawan.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@place
def remove(where: Place, name: str, yes: bool) -> None:
    """Forget a device, its session and its queue. NAME is a name or a DevEUI."""
    with _store(where) as store:
        device = _find(store, name)
        if device.origin == "config":
            fail(f"{device.name} is in the agent's configuration: remove it there")
        if not yes:
            click.confirm(f"Forget {device.name} ({device.dev_eui})?", abort=True)
        with store.transaction():
            store.remove_device(device.dev_eui)
    click.echo(f"removed {device.name}")


# -- looking


@lorawan.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@place
def list_(where: Place, as_json: bool) -> None:
    """List the registered devices."""
    with _store(where) as store:
        devices, sessions = store.devices(), {one.dev_eui: one for one in store.sessions()}
    if as_json:
        for device in devices:
            click.echo(json.dumps(public(device, sessions.get(device.dev_eui))))
        return
    if not devices:
        click.echo("no devices; add one: tukad lorawan add NAME --dev-eui ...")
        return
    table = Table("name", "DevEUI", "class", "session", "heard", "DR", "battery", box=None)
    for device in devices:
        session = sessions.get(device.dev_eui)
        table.add_row(
            escape(device.name),
            device.dev_eui,
            device.device_class,
            f"{session.dev_addr:08x}" if session else "[dim]not joined[/]",
            age(session.seen_ms) if session and session.f_cnt_up >= 0 else "never",
            f"DR{session.mac.dr}" if session and session.mac.dr >= 0 else "",
            battery(session),
        )
    Console().print(table)


@lorawan.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@place
def show(where: Place, name: str, as_json: bool) -> None:
    """Show one device: session, counters, what the radio is set to, what waits for it."""
    with _store(where) as store:
        device = _find(store, name)
        own = [one for one in store.sessions() if one.dev_eui == device.dev_eui]
        waiting = [one for one in store.queue() if one.dev_eui == device.dev_eui]
    session = next((one for one in own if one.f_cnt_up >= 0), own[-1] if own else None)
    if as_json:
        click.echo(json.dumps(public(device, session) | {"queued": len(waiting)}))
        return
    rows = [*device_rows(device, session), ("queue", f"{len(waiting)} downlinks wait")]
    for label, value in rows:
        click.echo(f"{label:<11} {value}")


# -- the frame log


@lorawan.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new frames until Ctrl-C.")
@click.option("-n", "--lines", default=20, show_default=True, help="Frames from the past.")
@click.option("--device", help="Only this one, by name or DevEUI.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@place
def log(where: Place, follow: bool, lines: int, device: str | None, as_json: bool) -> None:
    """Show the frames of our devices, up and down, as they pass.

    Foreign frames are only counted (see stats), and payloads are not shown.
    """
    with _store(where) as store:
        wanted = _find(store, device).dev_eui if device else None
        after = 0
        names: dict[str, str] = {}
        is_first = True
        while True:
            rows = store.frames(after)
            if rows:
                after = rows[-1][0]
                names = {one.dev_eui: one.name for one in store.devices()}
            if wanted is not None:
                rows = [row for row in rows if row[1].dev_eui == wanted]
            if is_first:
                rows = rows[-lines:] if lines > 0 else []
                is_first = False
            for _, frame in rows:
                click.echo(json.dumps(asdict(frame)) if as_json else frame_line(frame, names))
            if not follow:
                return
            try:
                time.sleep(_FOLLOW_S)
            except KeyboardInterrupt:
                return


@lorawan.command()
@click.option("--hours", default=24.0, show_default=True, help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@place
def stats(where: Place, hours: float, as_json: bool) -> None:
    """Show how well each device is heard, the weakest link first.

    Loss is from frame counters. Margin is the median SNR above what the data rate needs: below
    5 dB a link fails in rain; ADR keeps 10 dB.
    """
    since_ms = time.time_ns() // 1_000_000 - int(hours * 3_600_000)
    with _store(where) as store:
        names = {one.dev_eui: one.name for one in store.devices()}
        frames = [frame for _, frame in store.frames() if frame.time_ms >= since_ms]
        counters = store.counters()
    found = [one for one in link_stats(frames) if one.dev_eui in names]
    foreign = counters.get("foreign_data", 0) + counters.get("foreign_join", 0)
    if as_json:
        devices = [
            asdict(one) | {"name": names[one.dev_eui], "loss_percent": round(one.loss_percent, 2)}
            for one in found
        ]
        click.echo(json.dumps({"devices": devices, "counters": counters}))
        return
    if not found:
        click.echo(f"no uplinks in the last {hours:g} h")
    else:
        Console().print(_stats_table(found, names))
    click.echo(f"foreign frames: {foreign}; replays refused: {counters.get('up_replayed', 0)}")


def _stats_table(found: list[LinkStats], names: dict[str, str]) -> Table:
    table = Table("device", box=None)
    for title in (
        "frames",
        "loss",
        "repeats",
        "RSSI",
        "SNR",
        "margin",
        "rates",
        "gateways",
        "heard",
    ):
        table.add_column(title, justify="right")
    for one in found:
        style = "red" if one.margin_db < 5 else "yellow" if one.margin_db < 10 else "green"
        table.add_row(
            escape(names[one.dev_eui]),
            str(one.frames),
            f"{one.loss_percent:.1f} %",
            str(one.repeats),
            f"{one.rssi_dbm:.0f} dBm",
            f"{one.snr_db:+.1f} dB",
            f"[{style}]{one.margin_db:.1f} dB[/]",
            " ".join(f"DR{dr}" for dr, _ in one.rates[:3]),
            f"{one.gateways:.1f}",
            age(one.last_ms),
        )
    return table


# -- releases by radio


@lorawan.command()
@click.argument("name")
@click.argument("package", type=click.Path(path_type=Path))
@place
def update(where: Place, name: str, package: Path) -> None:
    """Send a release to a device by radio: PACKAGE is from tukad device package.

    The running agent sends one fragment in answer to each uplink, within its airtime, and goes on
    after a restart. Make the package with --since, or it takes days. See: tukad lorawan updates.
    """
    from gateway.device.flash import manifest_of
    from gateway.device.link import DeviceError

    jobs = Jobs(where.folder / "updates")
    with _store(where) as store:
        device = _find(store, name)
    try:
        content = package.read_bytes()
        release = manifest_of(content).version
        before = jobs.load(device.dev_eui)
        if before is not None and before.phase not in ENDS:
            fail(
                f"release {before.release} is on its way to {device.name};"
                f" to end that: tukad lorawan update-cancel {device.name}"
            )
        job = Job(device.name, device.dev_eui, release, len(content), time.time_ns() // 1_000_000)
        jobs.save(job, content)
    except DeviceError as error:
        fail(f"{package}: {error}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    click.echo(
        f"release {release} ({len(content)} bytes) goes to {device.name} with its next uplinks"
    )


@lorawan.command("update-cancel")
@click.argument("name")
@place
def update_cancel(where: Place, name: str) -> None:
    """Send no more of a release to a device. What it runs stays as it is."""
    with _store(where) as store:
        device = _find(store, name)
    if not Jobs(where.folder / "updates").remove(device.dev_eui):
        fail(f"no release is on its way to {device.name}")
    click.echo(f"nothing more is sent to {device.name}")


@lorawan.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@place
def updates(where: Place, as_json: bool) -> None:
    """Show the releases that go, or went, to devices by radio."""
    found = Jobs(where.folder / "updates").all()
    if as_json:
        for job in found:
            click.echo(json.dumps(asdict(job)))
        return
    if not found:
        click.echo("none; to send one: tukad lorawan update NAME PACKAGE")
        return
    table = Table("device", "release", "state", "fragments", "missing", "since", "", box=None)
    for job in found:
        missing = "" if job.missing < 0 else str(job.missing)
        table.add_row(
            escape(job.device),
            str(job.release),
            job.phase,
            f"{job.sent} of {job.count}",
            missing,
            age(job.changed_ms or job.created_ms),
            escape(job.detail),
        )
    Console().print(table)
