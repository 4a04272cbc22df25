"""The commands of CAP alerts: `tukad gateway cap-key`, `-verify`, `-ack`, `-end`, `-list`."""

import json
import os
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click

from gateway.config import EXIT_CONFIG, ConfigError
from gateway.settings import load

_CONFIG = click.argument("config", type=click.Path(path_type=Path))


def _fail(message: str, code: int = 1) -> NoReturn:
    """One plain line, then the end."""
    click.echo(f"tukad: {message}", err=True)
    raise SystemExit(code)


@click.command("cap-key")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="Tukad CAP", help="Who signs, as the certificate says it.")
def cap_key(file: Path, name: str) -> None:
    """Make the key that signs CAP alerts, and its certificate beside it.

    FILE gets the private key (mode 0600) and is never overwritten; FILE with the ending .crt gets
    the certificate. Read the fingerprint to every receiver on the telephone: it is what they pin.
    """
    from gateway.acts.cap.signing import fingerprint, make_key

    if file.suffix == ".crt":
        _fail(f"{file}: the certificate gets the ending .crt; call the key {file.stem}.key")
    try:
        certificate = make_key(file, name)
    except FileExistsError as error:
        _fail(
            f"{error.filename}: is there already; alerts of one sender keep their key."
            " Move it away to make a new one, and pin that anew"
        )
    except (OSError, ValueError) as error:
        _fail(f"{file}: cannot be written: {error}")
    click.echo(f"key          {file}  (keep it secret)")
    click.echo(f"certificate  {file.with_suffix('.crt')}")
    click.echo(f"pin          {fingerprint(certificate)}")


@click.command("cap-verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cert", "pin", required=True, help="Certificate file or SHA-256 fingerprint.")
def cap_verify(file: Path, pin: str) -> None:
    """Check that a CAP alert is whole and signed by the pinned key. Exit code 1 if not."""
    from gateway.acts.cap.signing import ALERT_BYTES_MAX, AlertError, read_pin, verify

    try:
        with file.open("rb") as source:
            data = source.read(ALERT_BYTES_MAX + 1)
        found = verify(data, read_pin(pin))
    except OSError as error:
        _fail(f"{file}: cannot be read: {error.strerror or error}")
    except AlertError as error:
        _fail(f"{file}: NOT good: {error}")
    click.echo(f"{file}: good")
    for name, value in found.items():
        click.echo(f"{name:<12} {value}")


@click.command("cap-ack")
@_CONFIG
@click.argument("identifier")
@click.option("--receiver", required=True, help="Whose it is, as in [[cap.receiver]].")
@click.option("--by", required=True, help="Name of the person who has seen the alert.")
def cap_ack(config: Path, identifier: str, receiver: str, by: str) -> None:
    """Acknowledge an alert for a receiver, after a telephone call for example.

    IDENTIFIER is the alert's, or its end as `tukad gateway cap-list` shows it. The agent takes the
    acknowledgement within seconds, or at its next start.
    """
    rows = [one for one in _deliveries(config) if one["receiver"] == receiver]
    found = {one["identifier"] for one in rows if str(one["identifier"]).endswith(identifier)}
    if not identifier or len(found) != 1:
        problem = "fits more than one alert" if found else "fits no alert"
        _fail(
            f"{identifier}: {problem} of {receiver}; to see them: tukad gateway cap-list {config}"
        )
    _put(_folder(config), {"identifier": found.pop(), "receiver": receiver, "by": by})
    click.echo(f"{receiver}: acknowledged by {by}")


def _put(data_dir: Path, body: dict[str, str]) -> None:
    """Where the agent looks every second; whole or not at all."""
    folder = data_dir / "cap" / "ack"
    text = json.dumps(body)
    name = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}.new"
        with draft.open("x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(folder / f"{name}.json")
    except OSError as error:
        _fail(f"{folder}: cannot be written: {error.strerror or error}")


@click.command("cap-end")
@_CONFIG
@click.argument("incident")
@click.option("--device", default="", help="Only this gauge's part of the incident.")
@click.option("--by", required=True, help="Name of the person who decides it.")
@click.option("--reason", required=True, help="Why, as the alert will say it.")
def cap_end(config: Path, incident: str, device: str, by: str, reason: str) -> None:
    """End an incident whose gauge can no longer do so, because the flood took it.

    Receivers get a Cancel (an Update while other gauges of the river are still in it). From afar:
    the signed command cap.end, docs/remote.md.
    """
    found: dict[str, Any] = _state(config, "act/cap/incidents") or {}
    lasting = {one["id"]: list(one["members"]) for one in found.get("open", {}).values()}
    if incident not in lasting:
        _fail(f"{incident}: no such incident lasts; there are: {', '.join(lasting) or 'none'}")
    if device and device not in lasting[incident]:
        _fail(f"{device}: is not in {incident}; there are: {', '.join(lasting[incident])}")
    for key, value in (("--by", by), ("--reason", reason)):
        if not value.strip() or len(value) > 120:
            _fail(f"{key}: is a text of 1..120 characters")
    _put(_folder(config), {"end": incident, "device": device, "by": by, "reason": reason})
    click.echo(f"{incident}: the agent ends it within seconds, or at its next start")


@click.command("cap-list")
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--all", "is_all", is_flag=True, help="Also what is done.")
def cap_list(config: Path, as_json: bool, is_all: bool) -> None:
    """Show which alerts wait: to be sent, or to be acknowledged, by receiver."""
    rows = _deliveries(config)
    if not is_all:
        rows = [one for one in rows if one["state"] == "waiting" or _needs_ack(one)]
    if as_json:
        for one in rows:
            click.echo(json.dumps(one))
        return
    for one in rows:
        state = "needs acknowledgement" if _needs_ack(one) else str(one["state"])
        who = f" by {one['by']}" if one["by"] else ""
        click.echo(
            f"{str(one['identifier'])[-12:]}  {one['msg_type']:<6}  {one['receiver']:<16}"
            f"  {state}{who}  {one['incident']}"
        )
    if not rows:
        click.echo("nothing waits")


def _needs_ack(one: dict[str, Any]) -> bool:
    return bool(one["needs_ack"]) and one["state"] == "sent"


def _folder(config: Path) -> Path:
    try:
        return load(config).settings.gateway.data_dir
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)


def _deliveries(config: Path) -> list[dict[str, Any]]:
    """What the ledger knows of them; the agent may run or not."""
    return _state(config, "act/cap/outbox") or []


def _state(config: Path, key: str) -> Any:
    path = _folder(config) / "ledger.db"
    if not path.exists():
        _fail(f"{path}: there is no ledger yet")
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            row = db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        _fail(f"{path}: {error}")
    return None if row is None else json.loads(row[0])


COMMANDS = (cap_key, cap_verify, cap_ack, cap_end, cap_list)

__all__ = ["COMMANDS"]
