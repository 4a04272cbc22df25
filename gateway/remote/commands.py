"""The commands that every gateway knows: `offer_all`. Acts add their own (`Act.commands`)."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from gateway.acts.part import Act
from gateway.clock import now_ms
from gateway.handover import Changes
from gateway.ledger.ledger import Ledger
from gateway.ledger.store import Store
from gateway.lorawan.service import NetworkServerService
from gateway.model import Health
from gateway.remote.desk import Desk
from gateway.remote.edit import change
from gateway.remote.envelope import Command, Refused
from gateway.remote.settings import ADMIN, OPERATOR, VIEWER, Operator
from gateway.rules.thresholds import versions
from gateway.settings import Loaded, describe
from gateway.status import health_json
from protocols.payload import schema
from protocols.payload.command import (
    CMD_DRILL,
    CMD_GAP,
    CMD_INTERVALS,
    CMD_REBOOT,
    CMD_SILENCE,
    CMD_SIREN,
    CMD_STATUS,
    CMD_STORM,
    CMD_TEST,
    CMD_THRESHOLDS,
    NUMBER_MAX,
    encode_command,
)
from protocols.payload.ports import EPOCH_UNIX_S, PORT_COMMAND

_LEVELS = ("debug", "info", "warning", "error")
_GAPS_MAX = 5  # asked for at once by backfill.now
_READINGS_MAX = 64
_STAGES = ("waspada_mm", "siaga_mm", "awas_mm", "hysteresis_mm", "hold_s")
_SECRET = re.compile(r"(password|secret|token|app_key|nwk_key|private)", re.IGNORECASE)
_MASK = "***"

Args = Mapping[str, Any]


class Host(Protocol):
    """The agent as its commands see it."""

    ledger: Ledger

    @property
    def loaded(self) -> Loaded:
        """The configuration in force."""
        ...

    @property
    def service(self) -> NetworkServerService | None:
        """The network server, if there is one."""
        ...

    @property
    def acts(self) -> Sequence[Act]:
        """What acts on alarms here."""
        ...

    @property
    def failing(self) -> frozenset[str]:
        """Parts that do not run."""
        ...

    def health(self) -> Health:
        """The state of the whole agent."""
        ...

    async def restart(self, part: str) -> None:
        """Start a part anew. Raises KeyError."""
        ...


def offer_all(desk: Desk, host: Host, changes: Changes | None) -> None:
    """Every command of this gateway."""
    _offer_looking(desk, host)
    _offer_devices(desk, host)
    _offer_running(desk, host)
    if changes is not None:
        _offer_changes(desk, host, changes)
    for act in host.acts:
        for name, (role, handler) in act.commands().items():
            desk.offer(f"{act.name}.{name}", role, handler, f"see the docs of {act.name}")


def _text(args: Args, name: str, default: str | None = None) -> str:
    value = args.get(name, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: a text is needed")
    return value


def _number(args: Args, name: str, low: int, high: int, default: int | None = None) -> int:
    value = args.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} = {value!r}: a whole number {low}..{high} is needed")
    return value


def _flag(args: Args, name: str, default: bool = False) -> bool:
    value = args.get(name, default)
    if type(value) is not bool:
        raise ValueError(f"{name} = {value!r}: true or false is needed")
    return value


def _only(args: Args, *names: str) -> None:
    for name in args:
        if name not in names:
            raise ValueError(f"{name}: unknown; there are: {', '.join(names) or 'no arguments'}")


# Looking


def _offer_looking(desk: Desk, host: Host) -> None:
    def status(args: Args) -> Args:
        _only(args)
        return health_json(host.health())

    def names(args: Args) -> Args:
        _only(args)
        return {name: {"role": role, "doc": doc} for name, (role, doc) in desk.names.items()}

    def get(args: Args) -> Args:
        _only(args, "under")
        under = args.get("under", "")
        rows = describe(host.loaded)
        return {
            key: {"value": masked(key, value), "origin": origin}
            for key, value, origin in rows
            if key.startswith(str(under))
        }

    async def thresholds(args: Args) -> Args:
        _only(args, "device")
        device = _text(args, "device")
        found = await host.ledger.read(lambda store: versions(store, device))
        if not found:
            raise ValueError(f"device {device}: has no thresholds here")
        return {"device": device, "versions": found}

    desk.offer("status", VIEWER, status, "health of the gateway")
    desk.offer("commands.list", VIEWER, names, "the commands known here")
    desk.offer("config.get", VIEWER, get, "settings in force; under = the beginning of their keys")
    desk.offer("thresholds.get", VIEWER, thresholds, "every version of a device's thresholds")


def masked(key: str, value: str) -> str:
    """A setting's value for others' eyes: names of files are shown, secrets are not."""
    return _MASK if _SECRET.search(key) and not key.endswith("_file") and value != "-" else value


# Devices


def _offer_devices(desk: Desk, host: Host) -> None:
    async def send(
        device: str, kind: int, values: dict[str, int], valid_s: float = 86_400
    ) -> dict[str, Any]:
        """Queue a command for a device; its answer comes as a reading of the stream `answer`."""
        if host.service is None:
            raise Refused("state", "this gateway has no [lorawan] section")
        if device not in {one.name for one in host.loaded.settings.device}:
            raise ValueError(f"device {device}: is not known here")
        encode_command(kind, 0, values)  # its ranges, before a number is used up
        number = await host.ledger.write(lambda store: _next_number(store, device))
        data = encode_command(kind, number, values)
        queued = await host.service.queue_downlink(device, PORT_COMMAND, data, expiry_s=valid_s)
        return {"device": device, "command_number": number, "downlink": queued}

    def until(args: Args, name: str, low: int, high: int, default: int) -> int:
        return now_ms() // 1000 - EPOCH_UNIX_S + _number(args, name, low, high, default)

    async def storm(args: Args) -> Args:
        _only(args, "device", "for_s")
        for_s = _number(args, "for_s", 0, 7 * 86_400)
        at = until(args, "for_s", 0, 7 * 86_400, 0) if for_s else 0
        return await send(_text(args, "device"), CMD_STORM, {"until_time_s": at}, for_s or 86_400)

    async def status(args: Args) -> Args:
        _only(args, "device", "pages")
        pages = _number(args, "pages", 0, 255, 255)
        return await send(_text(args, "device"), CMD_STATUS, {"pages": pages})

    async def reboot(args: Args) -> Args:
        _only(args, "device", "delay_s", "is_safe_mode")
        values = {
            "delay_s": _number(args, "delay_s", 0, 1023, 5),
            "is_safe_mode": int(_flag(args, "is_safe_mode")),
        }
        return await send(_text(args, "device"), CMD_REBOOT, values, 3600)

    async def intervals(args: Args) -> Args:
        names = ("calm", "rising", "stage", "storm")
        _only(args, "device", "config_number", "rising_mm_10min", *(f"{n}_s" for n in names))
        values = {"config_number": _number(args, "config_number", 0, 62)}
        for name in names:
            seconds = args.get(f"{name}_s")
            if seconds not in schema.INTERVALS_S:
                choices = ", ".join(map(str, schema.INTERVALS_S))
                raise ValueError(f"{name}_s = {seconds!r}: one of {choices} is needed")
            values[name] = schema.INTERVALS_S.index(seconds)
        values["rising_mm_10min"] = _number(args, "rising_mm_10min", 0, 1023)
        return await send(_text(args, "device"), CMD_INTERVALS, values)

    async def thresholds(args: Args) -> Args:
        _only(args, "device", "config_number", *_STAGES)
        values = {name: _number(args, name, -20_000, 100_000) for name in _STAGES}
        values["config_number"] = _number(args, "config_number", 0, 62)
        return await send(_text(args, "device"), CMD_THRESHOLDS, values)

    async def order(args: Args) -> Args:
        _only(args, "device", "pattern", "duration_s", "valid_s")
        valid_s = _number(args, "valid_s", 10, 3600, 300)
        values = {
            "pattern": _number(args, "pattern", 0, 7),
            "duration_s": _number(args, "duration_s", 1, 1023),
            "expires_time_s": until(args, "valid_s", 10, 3600, 300),
        }
        return await send(_text(args, "device"), CMD_SIREN, values, valid_s)

    async def silence(args: Args) -> Args:
        _only(args, "device", "valid_s")
        values = {"expires_time_s": until(args, "valid_s", 10, 3600, 300)}
        valid_s = _number(args, "valid_s", 10, 3600, 300)
        return await send(_text(args, "device"), CMD_SILENCE, values, valid_s)

    async def test(args: Args) -> Args:
        _only(args, "device", "is_audible")
        values = {"is_audible": int(_flag(args, "is_audible"))}
        return await send(_text(args, "device"), CMD_TEST, values, 3600)

    async def drill(args: Args) -> Args:
        _only(args, "device", "for_s")
        for_s = _number(args, "for_s", 0, 86_400)
        at = until(args, "for_s", 0, 86_400, 0) if for_s else 0
        return await send(_text(args, "device"), CMD_DRILL, {"until_time_s": at}, 3600)

    async def backfill(args: Args) -> Args:
        _only(args, "device")
        device = _text(args, "device")
        gaps = await host.ledger.read(lambda store: store.gaps(device, _GAPS_MAX))
        asked: list[dict[str, Any]] = []
        for gap in gaps:
            first = max(gap.first, gap.last - _READINGS_MAX + 1)
            values = {"first_sequence": first, "count": gap.last - first + 1}
            sent = await send(device, CMD_GAP, values, 3600)
            await host.ledger.write(lambda store, gap=gap: store.gap_asked(gap.id, now_ms()))
            asked.append(values | sent)
        return {"device": device, "asked": asked}

    desk.offer("device.storm", OPERATOR, storm, "storm intervals: device, for_s (0: off)")
    desk.offer("device.status", OPERATOR, status, "ask for status pages: device, pages (bit map)")
    desk.offer("device.reboot", ADMIN, reboot, "device, delay_s, is_safe_mode")
    desk.offer("device.intervals", ADMIN, intervals, "device, config_number, calm_s ... storm_s")
    desk.offer("device.thresholds", ADMIN, thresholds, "device, config_number, waspada_mm ...")
    desk.offer("siren.order", OPERATOR, order, "device, pattern 0..7, duration_s, valid_s")
    desk.offer("siren.silence", OPERATOR, silence, "device, valid_s")
    desk.offer("siren.test", OPERATOR, test, "device, is_audible")
    desk.offer("siren.drill", OPERATOR, drill, "device, for_s (0: off)")
    desk.offer("backfill.now", OPERATOR, backfill, "ask a device for its newest gaps: device")


def _next_number(store: Store, device: str) -> int:
    """The device's next command number; the same counter as `gateway.sources.backfill`."""
    key = f"command/{device}"
    number: int = ((store.get_state(key) or 0) + 1) % (NUMBER_MAX + 1)
    store.set_state(key, number)
    return number


# The running agent


def _offer_running(desk: Desk, host: Host) -> None:
    async def restart(args: Args) -> Args:
        _only(args, "part")
        part = _text(args, "part")
        if part in ("remote", "watchdog", "housekeeping"):
            raise ValueError(f"part {part}: cannot be restarted alone")
        try:
            await host.restart(part)
        except KeyError:
            known = ", ".join(one.name for one in host.health().parts)
            raise ValueError(f"part {part}: there are {known}") from None
        return {"part": part}

    def level(args: Args) -> Args:
        _only(args, "level", "logger", "for_min")
        wanted = _text(args, "level")
        if wanted not in _LEVELS:
            raise ValueError(f"level = {wanted}: one of {', '.join(_LEVELS)} is needed")
        name = _text(args, "logger", "tukad")
        if name != "tukad" and not name.startswith("tukad."):
            raise ValueError("logger: begins with tukad, such as tukad.mqtt")
        for_min = _number(args, "for_min", 1, 1440, 60)
        logger = logging.getLogger(name)
        logger.setLevel(wanted.upper())
        asyncio.get_running_loop().call_later(60 * for_min, logger.setLevel, logging.NOTSET)
        return {"logger": name, "level": wanted, "for_min": for_min}

    desk.offer("part.restart", OPERATOR, restart, "part")
    desk.offer("log.level", OPERATOR, level, "level, logger, for_min (then as before)")


# Configuration


def _offer_changes(desk: Desk, host: Host, changes: Changes) -> None:
    def check_base(args: Args) -> None:
        """Two people must not overwrite each other unseen."""
        trials = changes.trials
        version = trials.confirmed.number if trials.confirmed else 0
        base = args.get("base_version")
        if base is not None and base != version:
            raise Refused("state", f"base_version = {base!r}: version {version} is in force by now")

    async def propose(text: str, command: Command) -> Args:
        return {"version": await changes.propose(text, command, host.failing)}

    async def set_keys(command: Command, _operator: Operator) -> Args:
        args = command.args
        _only(args, "key", "value", "changes", "remove", "base_version")
        check_base(args)
        wanted = args.get("changes", {})
        if "key" in args:
            remove = _flag(args, "remove")
            if not remove and "value" not in args:
                raise ValueError("value: is missing; remove = true takes the key out")
            wanted = {_text(args, "key"): None if remove else args["value"]}
        if not isinstance(wanted, dict) or not wanted:
            raise ValueError("key and value, or changes (an object of them), are needed")
        text = changes.text()
        for key, value in wanted.items():  # pyright: ignore[reportUnknownVariableType]
            text = change(text, str(key), value)  # pyright: ignore[reportUnknownArgumentType]
        return await propose(text, command)

    async def whole_file(command: Command, _operator: Operator) -> Args:
        _only(command.args, "text", "sha256", "base_version")
        check_base(command.args)
        text = _text(command.args, "text")
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        if command.args.get("sha256", digest) != digest:
            raise ValueError("sha256: is of another text")
        if _MASK in text:
            raise ValueError(f"text: {_MASK} stands where a value was hidden")
        return await propose(text, command)

    async def thresholds(command: Command, operator: Operator) -> Args:
        args = command.args
        _only(args, "device", "version", "base_version", *_STAGES)
        check_base(args)
        device = _text(args, "device")
        if not command.reason:
            raise ValueError("a reason is needed; it stays with the thresholds")
        base = _stages_key(host.loaded, device)
        text = changes.text()
        given = {name: _number(args, name, -20_000, 100_000) for name in _STAGES if name in args}
        if not given:
            raise ValueError(f"{', '.join(_STAGES)}: at least one is needed")
        today = datetime.fromtimestamp(now_ms() / 1000, UTC).date().isoformat()
        words = {"set_by": operator.name, "set_on": today, "reason": command.reason}
        words["version"] = str(args.get("version", f"remote {today}"))
        for name, value in (given | words).items():
            text = change(text, f"{base}.stages.{name}", value)
        return await propose(text, command)

    async def confirm(command: Command, operator: Operator) -> Args:
        _only(command.args, "version")
        version = _number(command.args, "version", 1, 2**53)
        await changes.confirm(version, operator.name, host.failing)
        return {"version": version}

    async def revert(command: Command, operator: Operator) -> Args:
        _only(command.args)
        await changes.take_back(operator.name, command.reason)
        return {}

    desk.offer_asked("config.set", ADMIN, set_keys, "key, value (or changes, or remove)")
    desk.offer_asked("config.file", ADMIN, whole_file, "text: the whole configuration")
    desk.offer_asked("thresholds.set", OPERATOR, thresholds, "device, waspada_mm ... and a reason")
    desk.offer_asked("config.confirm", OPERATOR, confirm, "version: keep what is on trial")
    desk.offer_asked("config.revert", OPERATOR, revert, "take back what is on trial")


def _stages_key(loaded: Loaded, name: str) -> str:
    """The table that holds a device's or sensor's `stages`."""
    settings = loaded.settings
    if any(one.name == name and one.stages for one in settings.device):
        return f'device["{name}"]'
    for bus in settings.modbus:
        if any(one.name == name and one.stages for one in bus.sensor):
            return f'modbus["{bus.name}"].sensor["{name}"]'
    raise ValueError(f"device {name}: has no thresholds in the configuration")
