"""`tukad device`: the technician's commands, on a laptop, over the cable, without a network."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click

from gateway.device.boards import BOARDS, how_to_install
from gateway.device.commission import STEPS, Checklist, certificate, check_certificate
from gateway.device.download import download
from gateway.device.flash import flash as flash_board
from gateway.device.flash import manifest_of
from gateway.device.link import DeviceError, Link, ports
from gateway.device.provision import ROLES, provision, revise, value_of
from gateway.device.release import compile_tree, load_key, new_key, pack, sign
from gateway.device.selftest import judge, measure
from gateway.device.words import LANGUAGES, advice, say
from protocols.errors import LocalError
from protocols.update.manifest import VERSION_MAX, parse

_SOURCE = Path(__file__).parents[2]
_EXITS = {"good": 0, "check": 1, "broken": 2}


def fail(message: str) -> NoReturn:
    """One plain line (in Indonesian a second one: what to do), then the end."""
    click.echo(f"tukad: {message}", err=True)
    context = click.get_current_context(silent=True)
    language = context.params.get("lang") if context is not None else None
    help_text = advice(str(language or os.environ.get("TUKAD_LANG", "")), message)
    if help_text:
        click.echo(f"tukad: {help_text}", err=True)
    raise SystemExit(1)


@contextmanager
def _worded() -> Generator[None]:
    try:
        yield
    except (DeviceError, LocalError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}")


def _port(given: str | None) -> str:
    if given:
        return given
    found = ports()
    if len(found) == 1:
        return found[0]
    fail(f"say which port: --port PORT; there are: {', '.join(found) or 'none (cable?)'}")


_with_port = click.option("--port", help="Serial port; found by itself when there is only one.")
_with_root = click.option("--root", default="/", hidden=True)
_with_language = click.option(
    "--lang", type=click.Choice(LANGUAGES), default="en", envvar="TUKAD_LANG", help="Language."
)
_PATH = click.Path(path_type=Path)


@click.group()
def device() -> None:
    """Flash, provision, test and commission devices over the cable."""


# -- releases


@device.command()
@click.argument("file", type=_PATH)
def keygen(file: Path) -> None:
    """Make a signing key: FILE is the secret, FILE with .pub what devices get."""
    with _worded():
        public = new_key(file)
        file.with_suffix(".pub").write_bytes(public)
    click.echo(f"secret {file} (keep it off the network), public {file.with_suffix('.pub')}")


@device.command()
@click.option("--key", required=True, type=_PATH, help="The secret from keygen.")
@click.option("--board", required=True, type=click.Choice(sorted(BOARDS)), help="For which board.")
@click.option(
    "--release", required=True, type=click.IntRange(1, VERSION_MAX), help="Higher than any before."
)
@click.option("-o", "--output", required=True, type=_PATH, help="The package.")
@click.option("--since", type=_PATH, help="Only what changed since this full package.")
@click.option("--source", type=_PATH, default=_SOURCE, hidden=True)
def package(
    key: Path, board: str, release: int, output: Path, since: Path | None, source: Path
) -> None:
    """Compile the firmware and sign it as a package for flash, or for an update by radio."""
    with _worded():
        secret = load_key(key)
        known = manifest_of(since.read_bytes()) if since else None
        files = compile_tree(source)
        signed = sign(files, board, release, secret)
        content = pack(signed, parse(signed), files, known)
        output.write_bytes(content)
    click.echo(f"{output}: release {release} for {board}, {len(files)} files, {len(content)} bytes")


# -- the board


@device.command()
@_with_port
@_with_root
@click.option("--board", required=True, type=click.Choice(sorted(BOARDS)), help="Which board.")
@click.option("--package", "package_file", required=True, type=_PATH, help="From package.")
@click.option("--public", required=True, type=_PATH, help="The .pub file from keygen.")
@click.option("--settings", type=_PATH, help="The .settings file from provision, to go with it.")
@click.option("--change-key", is_flag=True, help="Let the board trust another key from now on.")
@click.option("--source", type=_PATH, default=_SOURCE, hidden=True)
def flash(
    port: str | None,
    root: str,
    board: str,
    package_file: Path,
    public: Path,
    settings: Path | None,
    change_key: bool,
    source: Path,
) -> None:
    """Install a release on a board that runs MicroPython, verify it, start it."""
    with _worded():
        content, trusted = package_file.read_bytes(), public.read_bytes()
        if len(trusted) != 32:
            fail(f"{public} is no public key: expected 32 bytes, got {len(trusted)}")
        wishes = settings.read_bytes() if settings else None
        loader = compile_tree(source)
        try:
            link = Link(_port(port), root)
        except DeviceError as error:
            hint = how_to_install(board) if "no answer" in str(error) else ""
            fail(f"{error}; is MicroPython on it? {hint}" if hint else str(error))
        with link:
            done = flash_board(link, content, loader, board, trusted, change_key, click.echo)
            if wishes is not None:
                link.put("settings.new", wishes)
            link.reset()
    click.echo(f"release {done.version} verified in {done.slot}, {done.files} files; starting")


@device.command("provision")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What it is to be.")
@click.option("--board", required=True, type=click.Choice(sorted(BOARDS)), help="Which board.")
@click.option("--folder", type=_PATH, default=Path("batch"), show_default=True, help="Output.")
@click.option("--dev-eui", default="", help="16 hex digits; random (local bit) if not given.")
@click.option("--join-eui", default="0" * 16, help="16 hex digits.")
@click.option("--profile-id", default="0" * 8, help="Vendor and profile, 8 hex digits.")
@click.option("--serial", default="", help="Serial number on the label.")
@click.option("--contact", default="", help="A line on the label: whom to call.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="A setting (repeat).")
@_with_port
@_with_root
@click.option("--write", is_flag=True, help="Put the settings on the board at the cable too.")
def provision_(
    name: str,
    role: str,
    board: str,
    folder: Path,
    changes: tuple[str, ...],
    port: str | None,
    root: str,
    write: bool,
    **identity: str,
) -> None:
    """Make keys, settings, label and server entry of one device. Keys are never shown."""
    with _worded():
        values = dict(value_of(change) for change in changes)
        made = provision(folder, name, role, board, values, **identity)
        if write:
            with Link(_port(port), root) as link:
                link.put("settings.new", made.settings_file.read_bytes())
                link.reset()
    click.echo(
        f"{made.name} {made.dev_eui}: label {made.label_file}, settings {made.settings_file}"
    )
    click.echo(f"then: tukad lorawan import {made.csv_file}")


@device.command("settings")
@click.argument("file", type=_PATH)
@click.option("--set", "changes", multiple=True, required=True, metavar="KEY=VALUE", help="Repeat.")
@_with_port
@_with_root
@click.option("--write", is_flag=True, help="Put them on the board at the cable too.")
def settings_(
    file: Path, changes: tuple[str, ...], port: str | None, root: str, write: bool
) -> None:
    """Change values in a .settings FILE, as the height after a calibration; keys stay."""
    with _worded():
        content = revise(file, dict(value_of(change) for change in changes))
        if write:
            with Link(_port(port), root) as link:
                link.put("settings.new", content)
                link.reset()
    click.echo(f"{file} changed" + (" and sent" if write else ""))


@device.command("test")
@_with_port
@_with_root
@_with_language
@click.option("--json", "as_json", is_flag=True, help="What was measured, as JSON.")
def test_(port: str | None, root: str, lang: str, as_json: bool) -> None:
    """Self-test, a minute at most: BAIK, PERIKSA or RUSAK and why (exit status 0, 1, 2)."""
    with _worded(), Link(_port(port), root) as link:
        found = measure(link)
        link.reset()
    verdict = judge(found)
    if as_json:
        click.echo(json.dumps({"verdict": verdict.level, "reason": verdict.reason, **found}))
    else:
        words = say(lang, verdict.reason, **verdict.values)
        click.echo(f"{say(lang, verdict.level)}: {words}.")
    sys.exit(_EXITS[verdict.level])


@device.command()
@_with_port
@_with_root
@click.option("--folder", type=_PATH, default=Path("device-log"), show_default=True, help="Output.")
def log(port: str | None, root: str, folder: Path) -> None:
    """Download readings, crash and update reasons."""
    with _worded(), Link(_port(port), root) as link:
        count = download(link, folder)
        link.reset()
    click.echo(f"{count} readings in {folder / 'log.csv'}")


@device.command()
@_with_port
def console(port: str | None) -> None:
    """Open the board's console (leave it with Ctrl-])."""
    command = [sys.executable, "-m", "mpremote", "connect", _port(port), "repl"]
    sys.exit(subprocess.run(command, check=False).returncode)


# -- commissioning


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return []


def _photos(text: str) -> list[tuple[str, str]]:
    """Name and SHA-256 of each photo that can be read: the certificate is of these pictures."""
    found: list[tuple[str, str]] = []
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that does not end
        words = text.split()
    for word in words:
        path = Path(word).expanduser()
        with suppress(OSError):
            content = path.read_bytes()
            if content:
                found.append((path.name, hashlib.sha256(content).hexdigest()))
    return found


def _staff(lang: str, level: Callable[[], int | None]) -> list[tuple[int, int]]:
    """Ask for staff gauge readings, each beside what the device says at that moment."""
    pairs: list[tuple[int, int]] = []
    while True:
        said = level()
        text = click.prompt(say(lang, "step_staff", level_mm=said), default="", show_default=False)
        numbers = _numbers(text)
        if not numbers:
            return pairs
        if said is not None:
            pairs.append((round(numbers[0]), said))


def _ask(lang: str, checklist: Checklist, found: dict[str, Any], again: Callable[[], Any]) -> Any:
    """What the person (or the board) says to the present step."""
    step = checklist.step
    if step == "test":
        verdict = judge(found)
        words = say(lang, verdict.reason, **verdict.values)
        click.echo(f"{say(lang, 'step_test')}: {say(lang, verdict.level)}: {words}.")
        return verdict.level, verdict.reason
    if step == "staff":
        return _staff(lang, again)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    stages = found.get("stages_mm", [])
    question = say(
        lang,
        f"step_{step}",
        dev_eui=found.get("dev_eui", "?"),
        clock=clock,
        stages=stages,
        tilt_deg=found.get("tilt_deg", "-"),
    )
    if step in ("identity", "clock", "beam", "siren_silent"):
        return click.confirm(question)
    text = click.prompt(question, default="", show_default=False)
    if step == "thresholds":
        return stages, text
    numbers = _numbers(text)
    if step == "siren_audible":
        return round(numbers[0]) if numbers else 0
    if step == "tilt":
        return numbers[0] if numbers else None
    if step == "link":
        return tuple(round(one) for one in numbers) if len(numbers) == 4 else (0, 0, 0, 0)
    if step == "photo":
        return _photos(text)
    position, _, visit = text.partition(" ")
    place = _numbers(position)
    return (*place, visit.strip()) if len(place) == 2 else (999, 999, "")


@device.command()
@_with_port
@_with_root
@_with_language
@click.option("--key", required=True, type=_PATH, help="The technician's key (from keygen).")
@click.option("--folder", type=_PATH, default=Path("certificates"), show_default=True)
@click.option("--tries", default=3, show_default=True, help="Of each step before it is given up.")
def commission(port: str | None, root: str, lang: str, key: Path, folder: Path, tries: int) -> None:
    """Go through the checklist at the site, offline; ends in a signed certificate."""
    with _worded():
        secret = load_key(key)
        name = _port(port)

        def measured(bursts: int) -> dict[str, Any]:
            # A link of its own each time: nobody feeds the watchdog while a person thinks.
            with Link(name, root, patience_s=15) as link:
                found = measure(link, bursts)
                link.reset()
            return found

        path = _commission(measured, lang, secret, folder, tries)
    click.echo(say(lang, "certified", path=path))


def _commission(
    measured: Callable[[int], dict[str, Any]], lang: str, secret: Any, folder: Path, tries: int
) -> Path:
    found = measured(4)
    role = str(found.get("role", ""))
    if role not in STEPS:
        raise DeviceError(say(lang, "no_settings", settings=found.get("settings", "")))
    checklist = Checklist(role)
    left = tries
    while checklist.step != "done":
        step = checklist.step
        answer = _ask(lang, checklist, found, lambda: measured(1).get("median_mm"))
        if checklist.answer(step, answer):
            left = tries
            continue
        refused = checklist.refused
        assert refused is not None
        left -= 1
        words = say(lang, refused.reason, **refused.values)
        if left == 0:
            raise DeviceError(words)
        click.echo(words)
        if step == "test":
            found = measured(4)
    if checklist.calibration is not None:
        old = int(found.get("height_mm", 0))
        new = old + checklist.calibration.offset_mm
        click.echo(say(lang, "offset", height_mm=new, old_mm=old))
    content = {
        "device": {name: found.get(name) for name in ("dev_eui", "name", "role", "board")},
        "release": found.get("version"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "steps": checklist.results,
        "measured": found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"{found.get('dev_eui', 'device')}-{stamp}.json"
    path.write_text(certificate(content, secret), encoding="utf-8")
    return path


@device.command()
@click.argument("file", type=_PATH)
@click.option("--public", type=_PATH, help="The technician's .pub file, to know whose it is.")
def verify(file: Path, public: Path | None) -> None:
    """Check a certificate's signature, and say what it is for."""
    with _worded():
        content = check_certificate(
            file.read_text(encoding="utf-8"), public.read_bytes() if public else None
        )
    of, when = content.get("device", {}), content.get("time")
    click.echo(f"good: {of.get('name')} {of.get('dev_eui')} ({of.get('role')}), {when}")
