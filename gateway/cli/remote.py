"""`tukad gateway key`, `send`, `confirm` and `auditlog`: operators from afar, and what they did."""

import asyncio
import json
import logging
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click

from gateway.auditlog import FOLDER, AuditError, entries, verify
from gateway.config import EXIT_CONFIG, ConfigError
from gateway.remote.settings import ROLES
from gateway.settings import load

_CONFIG = click.argument("config", type=click.Path(path_type=Path))


def _fail(message: str, code: int = 1) -> NoReturn:
    """One plain line, then the end."""
    click.echo(f"tukad: {message}", err=True)
    raise SystemExit(code)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The operator's name; the file's name if absent.")
@click.option("--role", type=click.Choice(ROLES), default="operator", help="What he may do.")
def key(file: Path, name: str, role: str) -> None:
    """Make an operator's key, and print the table for the gateway's configuration.

    FILE gets the private key (mode 0600) and is never overwritten; it stays with the operator.
    """
    from gateway.remote.keys import make_key

    try:
        public = make_key(file)
    except FileExistsError:
        _fail(f"{file}: is there already; choose another name")
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    click.echo(
        f'[[remote.operator]]\nname = "{name or file.stem}"\nrole = "{role}"\nkey = "{public}"'
    )


def _way(to: str, key_file: Path, site: str, operator: str, mqtt_options: dict[str, Any]) -> Any:
    """How to reach the gateway: from its configuration, or from a broker's URL and a site."""
    from gateway.remote.ask import Way
    from gateway.remote.keys import public_text, read_key
    from gateway.sinks.settings import EMBEDDED, MOSQUITTO, MqttSettings, url_check

    try:
        private = read_key(key_file)
    except (OSError, ValueError) as error:
        _fail(str(error))
    if to.startswith(("mqtt:", "mqtts:")):
        problem = url_check(to)
        if problem:
            _fail(f"{to} {problem}")
        if not site or not operator:
            _fail("with a broker's URL, --site and --operator are needed")
        return Way(
            mqtt=MqttSettings(url=(to,), **mqtt_options), site=site, operator=operator, key=private
        )
    try:
        settings = load(Path(to)).settings
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)
    mqtt = settings.mqtt
    if mqtt.url[0] in (EMBEDDED, MOSQUITTO):
        from dataclasses import replace

        from gateway.broker import local_url

        mqtt = replace(mqtt, url=(local_url(settings.broker.bind),))
    if not operator:
        people = settings.remote.operator if settings.remote else ()
        public = public_text(private)
        operator = next((one.name for one in people if one.key == public), "")
        if not operator:
            _fail(f"{to}: remote.operator: none has the key of {key_file}; or give --operator")
    return Way(mqtt=mqtt, site=site or settings.gateway.site, operator=operator, key=private)


def _options(command: Any) -> Any:
    """The options that every command from afar has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The answer as JSON."),
        click.option("--wait", "wait_s", default=30.0, help="Seconds to wait for the answer."),
        click.option("--ca", type=click.Path(path_type=Path), help="The broker's authority (PEM)."),
        click.option("--password-file", type=click.Path(path_type=Path), help="For --username."),
        click.option("--username", default="", help="User at the broker."),
        click.option("--operator", default="", help="Your name in its configuration."),
        click.option("--site", default="", help="The site; from CONFIG if absent."),
        click.option(
            "--key",
            "key_file",
            required=True,
            type=click.Path(path_type=Path),
            help="Your private key.",
        ),
    ):
        command = option(command)
    return command


def _ask(way: Any, name: str, args: dict[str, Any], reason: str, wait_s: float) -> dict[str, Any]:
    from gateway.remote.ask import NoAnswerError, aiomqtt, ask

    logging.getLogger("mqtt").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(ask(way, name, args, reason, wait_s))
    except NoAnswerError as error:
        _fail(str(error))
    except (OSError, TimeoutError, aiomqtt.MqttError) as error:
        _fail(f"{way.mqtt.url[0]}: {error}")


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer))
    elif answer.get("ok"):
        words = f": {answer['text']}" if answer.get("text") else ""
        click.echo(f"{answer.get('code')}{words}")
        if answer.get("result"):
            click.echo(json.dumps(answer["result"], indent=1))
    if not answer.get("ok"):
        if not as_json:
            click.echo(f"tukad: {answer.get('code')}: {answer.get('text')}", err=True)
        raise SystemExit(1)


def _value(text: str) -> Any:
    """KEY=VALUE's value: as TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


@click.command()
@click.argument("to", metavar="CONFIG-or-URL")
@click.argument("name", metavar="COMMAND")
@click.argument("args", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--reason", default="", help="Why; it stays in the gateway's audit log.")
@click.option(
    "--file",
    "text_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With config.file: the new configuration.",
)
@_options
def send(
    to: str,
    name: str,
    args: tuple[str, ...],
    reason: str,
    text_file: Path | None,
    key_file: Path,
    site: str,
    operator: str,
    username: str,
    password_file: Path | None,
    ca: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Sign a command, send it to a gateway, show the answer (docs/remote.md).

    The gateway is named by its configuration or by a broker's URL with --site and --operator.
    `commands.list` shows what it knows. Examples:

        tukad gateway send gateway.toml status --key wayan.key

        tukad gateway send gateway.toml config.set key=mqtt.linger_ms value=500 --key wayan.key
    """
    values: dict[str, Any] = {}
    for word in args:
        label, equals, text = word.partition("=")
        if not equals or not label:
            _fail(f"{word}: is not NAME=VALUE")
        values[label] = _value(text)
    if text_file is not None:
        values["text"] = text_file.read_text()
    options = {"username": username, "password_file": password_file, "ca_file": ca}
    way = _way(to, key_file, site, operator, options)
    _show(_ask(way, name, values, reason, wait_s), as_json)


@click.command()
@click.argument("to", metavar="CONFIG-or-URL")
@click.option("--version", type=int, help="The version; what is on trial if absent.")
@_options
def confirm(
    to: str,
    version: int | None,
    key_file: Path,
    site: str,
    operator: str,
    username: str,
    password_file: Path | None,
    ca: Path | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Confirm the configuration that is on trial; without it the gateway takes it back."""
    from gateway.remote.ask import NoAnswerError, aiomqtt, on_trial

    options = {"username": username, "password_file": password_file, "ca_file": ca}
    way = _way(to, key_file, site, operator, options)
    if version is None:
        logging.getLogger("mqtt").setLevel(logging.CRITICAL)
        try:
            version = asyncio.run(on_trial(way, wait_s))
        except NoAnswerError as error:
            _fail(str(error))
        except (OSError, TimeoutError, aiomqtt.MqttError) as error:
            _fail(f"{way.mqtt.url[0]}: {error}")
        if not version:
            _fail(f"site {way.site}: nothing is on trial")
    _show(_ask(way, "config.confirm", {"version": version}, "", wait_s), as_json)


@click.command("auditlog")
@_CONFIG
@click.option("--verify", "is_check", is_flag=True, help="Check the chain; exit 1 if it is broken.")
@click.option("--head", default="", help="With --verify: a hash that must be in the chain.")
@click.option("--event", default="", help="Only events that begin so, such as config.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def auditlog(config: Path, is_check: bool, head: str, event: str, as_json: bool) -> None:
    """Show what was done to the gateway, when, by whom and why; or prove that nobody changed it."""
    try:
        folder = load(config).settings.gateway.data_dir / FOLDER
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)
    if not folder.exists():
        _fail(f"{folder}: there is no audit log yet")
    try:
        if is_check:
            found = verify(folder, head)
            click.echo(
                f"good: {found.entries} entries, {found.first} to {found.last}, head {found.head}"
            )
            return
        for entry in entries(folder):
            if str(entry.get("event", "")).startswith(event):
                click.echo(json.dumps(entry) if as_json else _line(entry))
    except AuditError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{folder}: {error.strerror}")


def _line(entry: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(entry["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    what = " ".join(f"{key}={value!r}" for key, value in entry["what"].items())
    words = [entry["event"], f"by {entry['who']}" if entry["who"] else "", what]
    why = f"({entry['why']})" if entry["why"] else ""
    return " ".join(word for word in (f"{entry['n']:>6}", at, *words, why) if word)
