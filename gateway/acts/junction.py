"""The act of [[junction]]: starts a junction's process, or finds it, and talks to it.

The process runs the signals by itself (`gateway.atcs.service`). This act hands it what the gateway
knows (flood stages with their age, arrivals of emergency vehicles, neighbours' departures) and
publishes what it says: SPaT, status, alarms. When this act or the broker is gone, and while the
agent reads its configuration again, the junction goes on; with `run = "service"` also while the
agent is down.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.acts.part import Act, CommandHandler, Context
from gateway.atcs.cabinet.wiring import load as load_wiring
from gateway.atcs.plan import Plan
from gateway.atcs.service.letters import KEY_MIN, Opener, RefusedError
from gateway.atcs.service.process import LINE_MAX, safe_plan, socket_path
from gateway.atcs.service.settings import AGENT, JunctionSettings
from gateway.clock import now_ms
from gateway.config import ConfigError, read_secret
from gateway.ledger.store import Store, Stored
from gateway.model import CLEARED, RAISED, Alarm

log = logging.getLogger("tukad.junction")

_PAUSE_S = (0.5, 10.0)
_STAGES_LOOKED_AT = 5_000
_ANSWER_S = 20.0
_LINE_MAX = 8 * LINE_MAX  # a status is longer than what we send
TEXTS = {
    "fault": ("GANGGUAN, lampu kedip", "FAULT, signals flash", 3),
    "monitor": ("monitor konflik: lampu kedip", "conflict monitor: signals flash", 3),
    "lamp": ("lampu mati", "lamp failed", 2),
    "detector": ("detektor rusak", "detector failed", 1),
    "closed": ("jalan ditutup banjir", "road closed by flood", 2),
}
"""Kind of alarm to Indonesian, English, level."""


@dataclass(frozen=True, slots=True)
class _Kept:
    process: subprocess.Popen[bytes]
    likeness: str
    plan: Plan

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


_kept: dict[str, _Kept] = {}
"""Processes that outlive an act, by socket, with the plan and a digest of all that they run."""


def _likeness(settings: JunctionSettings, context: Context) -> str:
    """A digest of everything that a junction's process reads when it starts."""
    digest = hashlib.sha256(repr((settings, context.settings.gateway.utc_offset_h)).encode())
    for file in (settings.plan, settings.cabinet, settings.key_file):
        if file is not None:
            with contextlib.suppress(OSError):
                digest.update((context.file.parent / file).read_bytes())
    return digest.hexdigest()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: by its stdin, then by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(8)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_others(wanted: Collection[Path]) -> None:
    """End the processes of junctions that are configured no more; `wanted` are their sockets."""
    for key in [key for key in _kept if Path(key) not in wanted]:
        _end(_kept.pop(key).process)


def open_junctions(context: Context) -> list[Act]:
    """One act for each [[junction]]. Raises ConfigError."""
    names = [one.name for one in context.settings.junction]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'{context.file}: two [[junction]] tables have the name "{name}"')
    end_others([socket_path(context.data_dir, name) for name in names])
    return [JunctionAct(one, context) for one in context.settings.junction]


class JunctionAct(Act):
    """One junction."""

    def __init__(self, settings: JunctionSettings, context: Context) -> None:
        self.name = f"junction/{settings.name}"
        self._settings = settings
        self._context = context
        base = context.file.parent
        self._socket = socket_path(context.data_dir, settings.name)
        self._likeness = _likeness(settings, context)
        self._plan_error = ""
        kept = _kept.get(str(self._socket))
        try:
            self.plan: Plan = safe_plan(base / settings.plan, settings.name)
            if settings.cabinet is not None:
                load_wiring(base / settings.cabinet, self.plan)
        except ConfigError as error:
            if kept is None or not kept.is_running:
                raise
            # A mistake in a file must not stop signals that run: they go on with what they have.
            self.plan, self._likeness, self._plan_error = kept.plan, kept.likeness, str(error)
            log.error("junction.refused name=%s error=%r; it goes on", settings.name, str(error))
        self._opener: Opener | None = None
        if settings.priority_key_file is not None:
            what = f'junction "{settings.name}".priority_key_file'
            key = read_secret(base / settings.priority_key_file, what).encode()
            if len(key) < KEY_MIN:
                raise ConfigError(f"{what}: {len(key)} characters are too few; at least {KEY_MIN}")
            self._opener = Opener(key)
        self._sensors = {flood.sensor for flood in self.plan.flood}
        self._strangers = self._sensors - set(context.settings.stages())
        self._stage: dict[str, int] = {}
        self._heard: dict[str, tuple[int, int]] = {}
        """Sensor to (stage, time of its newest reading)."""
        self._writer: asyncio.StreamWriter | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._down = "not started yet"
        self.status: dict[str, Any] = {}
        self.requests = 0
        self.refused = 0
        self.restarts = 0
        self._alarms: dict[tuple[str, str], Alarm] = {}
        topic = f"junction/{settings.name}"
        context.messages.subscribe(f"{topic}/priority", self._signed_priority)
        for junction in {up.junction for up in self.plan.upstream}:
            context.messages.subscribe(f"junction/{junction}/departures", self._departures)

    # News for the junction

    async def handle(self, number: int, alarm: Alarm) -> None:
        """Stages of the flood sensors that close roads here."""
        if alarm.kind == "stage" and alarm.device in self._sensors:
            self._stage[alarm.device] = alarm.level
            self._report(alarm.device, alarm.time_ms)

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """A sensor that measures is not lost, and holds the stage that it had."""
        for one in stored:
            if one.reading.device in self._sensors and one.reading.stream != "status":
                self._report(one.reading.device, one.reading.time_ms)

    def _report(self, sensor: str, time_ms: int) -> None:
        stage = self._stage.get(sensor, 0)
        was = self._heard.get(sensor)
        if was is not None and was[1] > time_ms:
            time_ms = was[1]
        self._heard[sensor] = (stage, time_ms)
        self._send_stage(sensor)

    def _send_stage(self, sensor: str) -> None:
        stage, time_ms = self._heard[sensor]
        age_s = max(0.0, (now_ms() - time_ms) / 1000.0)
        self._send({"do": "stage", "sensor": sensor, "stage": stage, "age_s": age_s})

    def arrival(self, news: Mapping[str, Any]) -> bool:
        """An arrival that the fleet act worked out; False if it is none of ours or refused.

        `news`: junction, approach (or the plan's preempt), eta_s, vehicle, class, authorised;
        `passed` ends it.
        """
        if news.get("junction") != self._settings.name:
            return False
        if not self._settings.trust_fleet or news.get("authorised") is not True:
            return self._refuse(f"{news.get('vehicle')} is not authorised")
        return self._ask(news)

    def _signed_priority(self, topic: str, payload: bytes) -> None:
        """A request over MQTT: taken only if signed with the key for it."""
        if self._opener is None:
            self._refuse("no key is configured for requests over MQTT")
            return
        try:
            self._ask(self._opener.open(payload, now_ms()))
        except RefusedError as error:
            self._refuse(f"message {error}")

    def _ask(self, news: Mapping[str, Any]) -> bool:
        vehicle, approach = news.get("vehicle"), news.get("preempt") or news.get("approach")
        if not isinstance(vehicle, str) or not isinstance(approach, str):
            return self._refuse("vehicle or approach is missing")
        if news.get("passed") is True:
            self._send({"do": "passed", "vehicle": vehicle})
            return True
        eta_s = news.get("eta_s")
        if not isinstance(eta_s, int | float) or isinstance(eta_s, bool) or not 0 <= eta_s <= 600:
            return self._refuse(f"{vehicle}: eta_s = {eta_s!r}")
        kind = news.get("class")
        self.requests += 1
        self._send(
            {
                "do": "priority",
                "vehicle": vehicle,
                "approach": approach,
                "eta_s": float(eta_s),
                "class": kind if isinstance(kind, str) else "",
            }
        )
        return True

    def _refuse(self, why: str) -> bool:
        self.refused += 1
        log.warning("junction.refused name=%s why=%r", self._settings.name, why[:200])
        self._send({"do": "refused", "text": why})
        return False

    def _departures(self, topic: str, payload: bytes) -> None:
        """A neighbour on the same broker let vehicles go."""
        try:
            value = json.loads(payload[:LINE_MAX])
            message = cast("dict[str, Any]", value)
            age_s = (now_ms() - int(message["time"])) / 1000.0
            body = dict(message["left"])
        except (ValueError, TypeError, KeyError, AttributeError):
            self.refused += 1
            return
        if -2.0 <= age_s <= 5.0:
            junction = topic.split("/")[1]
            self._send({"do": "departures", "junction": junction, "body": body, "age_s": age_s})

    def commands(self) -> Mapping[str, tuple[str, CommandHandler]]:
        """Operators may command a plan; faults are reset at the cabinet only."""

        def plan(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
            name = arguments.get("plan")
            names = ["", "free", "flash", *(timing.name for timing in self.plan.plan)]
            if not isinstance(name, str) or name not in names:
                raise ValueError(f"plan is one of {', '.join(names[1:])}, or empty: the calendar's")
            if self._writer is None:
                raise ValueError(f"the junction cannot be reached: {self._down}")
            self._send({"do": "plan", "plan": name})
            return {"junction": self._settings.name, "plan": name or "calendar"}

        return {"plan": ("operator", plan)}

    # The link

    async def run(self) -> None:
        """Keep the process and the link to it, until cancelled."""
        await self._context.ledger.read(self._recover)
        pause_s = _PAUSE_S[0]
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._connect()
            except OSError as error:
                self._down = str(error)
            if asyncio.get_running_loop().time() - began > 60:
                pause_s = _PAUSE_S[0]
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S[1])

    def _recover(self, store: Store) -> None:
        """The stages that hold now, from the latest alarms; sensors without one are at 0."""
        known: set[str] = set()
        for alarm in store.alarms(_STAGES_LOOKED_AT):
            if alarm.kind == "stage" and alarm.device in self._sensors - known:
                known.add(alarm.device)
                self._stage.setdefault(alarm.device, 0 if alarm.event == CLEARED else alarm.level)
        for sensor in self._sensors:
            streams = store.db.execute(
                "SELECT max(time_ms) FROM reading JOIN stream ON stream.id = reading.stream"
                " WHERE stream.device = ? AND stream.stream != 'status'",
                (sensor,),
            ).fetchone()
            if streams and streams[0] is not None:
                self._heard[sensor] = (self._stage.get(sensor, 0), int(streams[0]))

    async def _connect(self) -> None:
        """One life of the link; returns or raises OSError when it ends."""
        if self._settings.run == AGENT:
            await self._start()
        reader, writer = await self._open()
        self._writer = writer
        self._down = ""
        try:
            for sensor in self._heard:
                self._send_stage(sensor)
            while line := await reader.readline():
                self._hear(line)
            raise ConnectionError("the junction's process ended")
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise OSError(f"strange words from the junction: {error}") from None
        finally:
            self._writer = None
            writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the process's socket, which takes a moment to be there."""
        over = asyncio.get_running_loop().time() + _ANSWER_S
        while True:
            try:
                return await asyncio.open_unix_connection(str(self._socket), limit=_LINE_MAX)
            except OSError:
                ended = self._process is not None and self._process.poll() is not None
                if self._settings.run != AGENT or ended:
                    raise
                if asyncio.get_running_loop().time() > over:
                    raise
            await asyncio.sleep(0.05)

    async def _start(self) -> None:
        """Have a process run: the one from before if it runs what is configured now."""
        key = str(self._socket)
        kept = _kept.get(key)
        if kept is not None and kept.is_running:
            if kept.likeness == self._likeness:
                self._process = kept.process
                return
            log.warning("junction.replaced name=%s", self._settings.name)
            await asyncio.to_thread(_end, kept.process)
        elif kept is not None:
            self.restarts += 1
            code = kept.process.returncode
            log.error("junction.ended name=%s code=%s", self._settings.name, code)
        self._process = await asyncio.to_thread(self._spawn)
        _kept[key] = _Kept(self._process, self._likeness, self.plan)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, "-m", "gateway.atcs.service", "--with-parent",
                str(self._context.file), self._settings.name,
            ],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _hear(self, line: bytes) -> None:
        message = cast("dict[str, Any]", json.loads(line))
        topic = f"junction/{self._settings.name}"
        publish = self._context.messages.publish
        what, body = message.get("is"), message.get("body")
        if what == "spat":
            text = json.dumps(body, separators=(",", ":")).encode()
            publish(f"{topic}/spat", text, retain=True)
        elif what == "status":
            self.status = cast("dict[str, Any]", body)
            publish(f"{topic}/status", json.dumps(body).encode(), retain=True)
        elif what == "departures":
            publish(f"{topic}/departures", json.dumps({"time": now_ms(), "left": body}).encode())
        elif what == "alarm":
            self._alarm(str(message["kind"]), str(message["subject"]), bool(message["over"]))

    def _alarm(self, kind: str, subject: str, over: bool) -> None:
        """Make an alarm of the process one of the gateway."""
        key = (kind, subject)
        before = self._alarms.get(key)
        if (before is not None) != over:
            return  # said again after a new connection, or over before we heard of it
        indonesian, english, level = TEXTS.get(kind, (kind, kind, 1))
        now = now_ms()
        name = self.plan.junction.name or self._settings.name
        end_id, end_en = (" - selesai", " - over") if over else ("", "")
        alarm = Alarm(
            incident=before.incident if before else f"{self._settings.name}/{kind}/{subject}/{now}",
            device=self._settings.name,
            kind=f"junction_{kind}",
            event=CLEARED if over else RAISED,
            level=0 if over else level,
            name=kind,
            time_ms=now,
            decided_ms=now,
            sequence=0,
            values={},
            text_id=f"{name}: {indonesian}: {subject}{end_id}",
            text_en=f"{name}: {english}: {subject}{end_en}",
        )
        if over:
            del self._alarms[key]
        else:
            self._alarms[key] = alarm
        self._context.raise_alarms([alarm])

    def faults(self) -> Mapping[tuple[str, str], str]:
        """What is degraded."""
        name = self._settings.name
        found: dict[tuple[str, str], str] = {}
        if self._plan_error:
            found["junction.plan", name] = (
                f"{self._plan_error}; the signals go on with the plan that they have, until it is"
                " mended and the agent reads it again"
            )
        if self._writer is None:
            found["junction.unreachable", name] = (
                f"{self._down}; the conflict monitor flashes the signals if the process is dead"
            )
        waiting = self.status.get("waiting_for")
        if self._writer is not None and waiting:
            found["junction.boards", name] = f"no answer from {waiting}; the signals are dark"
        for sensor in self._strangers:
            found["junction.sensor", f"{name} {sensor}"] = (
                "the plan's [[flood]] waits for this sensor, but the gateway has no device of that"
                " name with stages; the road counts as flooded"
            )
        for kind, subject in self._alarms:
            found[f"junction.{kind}", f"{name} {subject}"] = TEXTS.get(kind, ("", kind, 1))[1]
        return found

    def counters(self) -> Mapping[str, int]:
        """Counted since the start."""
        return {
            "requests": self.requests,
            "refused": self.refused,
            "restarts": self.restarts,
            "now_connected": int(self._writer is not None),
        }
