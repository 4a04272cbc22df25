"""The SNMP agent of one junction: `open_agent`. SNMPv1 and v2c by community, v3 by user.

Read-only unless a write community or a user that may set is configured. Without any of them the
community is `public`, and then the socket must be on this machine.
"""

import asyncio
import ipaddress
import logging
import socket
from pathlib import Path
from typing import Any, Protocol, cast

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config as snmp_config
from pysnmp.entity import engine as snmp_engine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto import rfc1902, rfc1905
from pysnmp.smi import error as smi_error

from gateway.atcs.ntcip.objects import (
    ASC,
    BACKUP_S,
    UNIT_CONTROL,
    UNIT_RECALL,
    Objects,
    Oid,
    WrongValueError,
)
from gateway.atcs.plan import Plan
from gateway.atcs.service.control import News, Tick
from gateway.atcs.service.settings import SnmpSettings
from gateway.config import ConfigError, read_secret, split_address

log = logging.getLogger("tukad.junction")

SYSTEM: Oid = (1, 3, 6, 1, 2, 1, 1)
_READ_ONLY, _READ_WRITE = "tukad-read", "tukad-write"
_PASSWORD_MIN = 8
_NOWHERE: Oid = (1, 3, 6, 1, 6, 3, 16, 1, 5, 0)


class Owner(Protocol):
    """What the agent needs of the junction."""

    @property
    def tick(self) -> Tick | None:
        """The last tick."""
        ...

    def command(self, plan: str) -> bool:
        """A central's plan."""
        ...

    def tell(self, news: News) -> None:
        """Something for the controller's next tick."""
        ...


class Instrument:
    """Answers pysnmp's responders from `Objects`."""

    def __init__(self, plan: Plan, owner: Owner) -> None:
        self.objects = Objects(plan)
        self._owner = owner
        self._name = f"Tukad signal controller {plan.junction.id}".encode()
        self._set_s: float | None = None
        self.sets = 0

    def _value(self, oid: Oid) -> Any:
        if oid == (*SYSTEM, 1, 0):
            return rfc1902.OctetString(self._name)
        if oid == (*SYSTEM, 2, 0):
            return rfc1902.ObjectIdentifier(ASC)
        tick = self._owner.tick
        value = self.objects.get(oid, tick.snapshot if tick is not None else None)
        if value is None:
            return None
        return rfc1902.OctetString(value) if isinstance(value, bytes) else rfc1902.Integer32(value)

    def _following(self, oid: Oid) -> Oid | None:
        for first in ((*SYSTEM, 1, 0), (*SYSTEM, 2, 0)):
            if oid < first:
                return first
        return self.objects.following(oid)

    def read_variables(self, *varBinds: Any, **context: Any) -> list[Any]:  # noqa: N803
        """GET."""
        answers: list[Any] = []
        for idx, (name, _) in enumerate(varBinds):
            _allow("read", name, None, idx, context)
            value = self._value(tuple(name))
            if value is None:
                value = (
                    rfc1905.noSuchInstance
                    if self.objects.knows((*tuple(name), 0))
                    else rfc1905.noSuchObject
                )
            answers.append((name, value))
        return answers

    def read_next_variables(self, *varBinds: Any, **context: Any) -> list[Any]:  # noqa: N803
        """GETNEXT, and each step of GETBULK."""
        answers: list[Any] = []
        for idx, (name, _) in enumerate(varBinds):
            _allow("read", name, None, idx, context)
            following = self._following(tuple(name))
            if following is None:
                answers.append((name, rfc1905.endOfMibView))
            else:
                answers.append((rfc1902.ObjectName(following), self._value(following)))
        return answers

    def write_variables(self, *varBinds: Any, **context: Any) -> list[Any]:  # noqa: N803
        """SET: all or none."""
        checked: list[tuple[Oid, int]] = []
        for idx, (name, value) in enumerate(varBinds):
            _allow("write", name, value, idx, context)
            oid = tuple(name)
            if not isinstance(value, rfc1902.Integer32):
                raise smi_error.WrongTypeError(name=name, idx=idx)
            try:
                self.objects.check_set(oid, int(value))
            except WrongValueError:
                raise smi_error.WrongValueError(name=name, idx=idx) from None
            except KeyError:
                raise smi_error.NotWritableError(name=name, idx=idx) from None
            checked.append((oid, int(value)))
        for oid, number in checked:
            self.objects.set(oid, number)
            self._apply(oid)
        self.sets += 1
        self._set_s = asyncio.get_running_loop().time()
        log.warning("ntcip.set objects=%r", [(".".join(map(str, o)), v) for o, v in checked])
        return [(name, value) for name, value in varBinds]

    def _apply(self, oid: Oid) -> None:
        if oid == UNIT_CONTROL:
            recall = bool(self.objects.unit_control & UNIT_RECALL)

            def news(controller: Any) -> None:
                controller.sequencer.recall_all = recall

            self._owner.tell(news)
        else:
            self._owner.command(self.objects.plan_commanded())

    def look(self, now_s: float) -> None:
        """A central that fell silent controls nothing any more (unitBackupTime)."""
        if self._set_s is None or now_s - self._set_s < BACKUP_S:
            return
        self._set_s = None
        if self.objects.pattern_control or self.objects.unit_control:
            log.warning("ntcip.backup: no set for %d s; back to the calendar", BACKUP_S)
            self.objects.pattern_control = self.objects.unit_control = 0
            self._apply(UNIT_CONTROL)
            self._owner.command("")


def _allow(how: str, name: Any, value: Any, idx: int, context: dict[str, Any]) -> None:
    """VACM; raises what the responder turns into an answer."""
    access = context.get("acFun")
    if access is not None and access(how, (name, value), **{**context, "idx": idx}):
        raise smi_error.NoAccessError(name=name, idx=idx)


class Agent:
    """A running agent; `close` ends it."""

    def __init__(self, engine: Any, instrument: Instrument, local: socket.socket) -> None:
        self._engine = engine
        self._socket = local
        self.instrument = instrument
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.instrument.look(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Close the socket."""
        self._task.cancel()
        self._engine.close_dispatcher()
        self._socket.close()


async def open_agent(settings: SnmpSettings, base: Path, plan: Plan, owner: Owner) -> Agent:
    """Open the agent. Raises ConfigError."""
    host, port = split_address(settings.bind)
    engine = cast("Any", snmp_engine.SnmpEngine())
    transport = cast("Any", udp.UdpAsyncioTransport())
    _users(engine, settings, base, host)
    try:
        local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        local.setblocking(False)
        local.bind((host, port))
    except OSError as error:
        raise ConfigError(f"junction.snmp.bind = {settings.bind}: {error.strerror}") from None
    opened = transport.open_server_mode(sock=local)
    snmp_config.add_transport(engine, udp.DOMAIN_NAME, opened)
    instrument = Instrument(plan, owner)
    scope = cast("Any", context.SnmpContext(engine))
    scope.context_names[b""] = instrument
    for responder in (
        cmdrsp.GetCommandResponder,
        cmdrsp.NextCommandResponder,
        cmdrsp.BulkCommandResponder,
        cmdrsp.SetCommandResponder,
    ):
        responder(engine, scope)
    return Agent(engine, instrument, local)


def _users(engine: Any, settings: SnmpSettings, base: Path, host: str) -> None:
    given = False
    for file, name, writes in (
        (settings.community_file, _READ_ONLY, False),
        (settings.write_community_file, _READ_WRITE, True),
    ):
        if file is not None:
            given = True
            _community(engine, name, read_secret(base / file, "snmp community"), writes)
    if settings.user:
        given = True
        _user(engine, settings, base)
    if not given:
        if not _is_local(host):
            raise ConfigError(
                f"junction.snmp.bind = {settings.bind} is reached from other machines; give it a"
                " community_file, or a user"
            )
        _community(engine, _READ_ONLY, "public", writes=False)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _community(engine: Any, name: str, community: str, writes: bool) -> None:
    snmp_config.add_v1_system(engine, name, community)
    for model in (1, 2):
        _access(engine, model, name, "noAuthNoPriv", writes)


def _user(engine: Any, settings: SnmpSettings, base: Path) -> None:
    secrets: list[str] = []
    for file, key in ((settings.auth_file, "auth_file"), (settings.privacy_file, "privacy_file")):
        if file is None:
            raise ConfigError(f"junction.snmp.{key} is missing: user {settings.user} needs it")
        secret = read_secret(base / file, f"junction.snmp.{key}")
        if len(secret) < _PASSWORD_MIN:
            raise ConfigError(f"{base / file}: shorter than {_PASSWORD_MIN} characters")
        secrets.append(secret)
    snmp_config.add_v3_user(
        engine,
        settings.user,
        snmp_config.USM_AUTH_HMAC192_SHA256,
        secrets[0],
        snmp_config.USM_PRIV_CFB128_AES,
        secrets[1],
    )
    _access(engine, 3, settings.user, "authPriv", settings.user_may_set)


def _access(engine: Any, model: int, name: str, level: str, writes: bool) -> None:
    # One subtree holds both the system group and NTCIP; what is outside does not exist anyway.
    tree = (1, 3, 6, 1)
    # pysnmp 7.1 lets everybody write whose write view is empty, so nobody's is.
    snmp_config.add_vacm_user(engine, model, name, level, tree, tree if writes else _NOWHERE, ())


__all__ = ["Agent", "open_agent"]
