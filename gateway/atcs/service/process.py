"""The junction's process: the control loop, a socket for the agent, neighbours, NTCIP, the log.

Over the Unix socket go JSON lines. From the agent: `{"do": "stage" | "priority" | "passed" |
"departures" | "plan" | "count", ...}`; to it: `{"is": "spat" | "status" | "alarm" | "departures" |
"event", ...}`. Whoever may open the socket (mode 0600) may ask; nobody can reset a fault from afar.
The process goes on whether or not anybody is connected.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from gateway.atcs import events as e
from gateway.atcs.cabinet.gpio import GpioBoard
from gateway.atcs.cabinet.points import Points
from gateway.atcs.cabinet.wiring import GPIO, Wiring
from gateway.atcs.cabinet.wiring import load as load_wiring
from gateway.atcs.checks import refusals
from gateway.atcs.controller import Controller
from gateway.atcs.plan import FLASH_PLAN, FREE_PLAN, Plan
from gateway.atcs.plan import load as load_plan
from gateway.atcs.service.control import BoardLine, Control, News, Tick
from gateway.atcs.service.hires import HiresLog
from gateway.atcs.service.neighbours import Neighbours
from gateway.atcs.service.settings import JunctionSettings
from gateway.config import ConfigError, read_secret

log = logging.getLogger("tukad.junction")

LINE_MAX = 16_384
STATUS_S = 1.0
_CLIENTS_MAX = 8
_REQUESTS_KEPT = 50
_PRIORITY_CODES = (
    e.PREEMPT_CALL, e.PREEMPT_CALL_OFF, e.PREEMPT_ENTRY, e.PREEMPT_DWELL, e.PREEMPT_EXIT,
    e.PRIORITY_CHECK_IN, e.PRIORITY_EARLY_GREEN, e.PRIORITY_EXTENSION, e.PRIORITY_CHECK_OUT,
)  # fmt: skip


def safe_plan(path: Path, name: str) -> Plan:
    """The plan of a junction, checked. Raises ConfigError for one that must not run."""
    plan = load_plan(path)
    if plan.junction.id != name:
        raise ConfigError(
            f'{path}: junction.id = "{plan.junction.id}", but [[junction]] says {name}'
        )
    wrong = refusals(plan)
    if wrong:
        raise ConfigError(f"{path}: unsafe: {wrong[0]} ({len(wrong)} refused; tukad atcs check)")
    return plan


def open_boards(wiring: Wiring, points: Points) -> dict[str, BoardLine]:
    """A line to every board of a cabinet, not opened yet."""
    outputs, inputs = points.outputs_by_board(), points.inputs_by_board()
    boards: dict[str, BoardLine] = {}
    for board in wiring.board:
        drives, reads = outputs.get(board.name, []), inputs.get(board.name, [])
        if board.kind == GPIO:
            boards[board.name] = GpioBoard(board.port, drives, reads, pull_up=board.pull_up)
        else:
            from gateway.atcs.cabinet.modbus import ModbusBoard

            boards[board.name] = ModbusBoard(board, drives, reads)
    return boards


class Junction:
    """Everything of one junction but its decisions."""

    def __init__(
        self, settings: JunctionSettings, config: Path, folder: Path, utc_offset_h: float
    ) -> None:
        base = config.parent
        self.settings = settings
        self.plan = safe_plan(base / settings.plan, settings.name)
        self._points: Points | None = None
        boards: dict[str, BoardLine] = {}
        if settings.cabinet is not None:
            wiring = load_wiring(base / settings.cabinet, self.plan)
            self._points = Points(wiring, self.plan)
            boards = open_boards(wiring, self._points)
        self.control = Control(
            self.plan, self._points, boards, utc_offset_h, self._ticked, self._ended
        )
        self.socket_path = socket_path(folder, settings.name)
        self._hires = HiresLog(folder / "atcs" / settings.name, settings.device, settings.log_days)
        self._neighbours: Neighbours | None = None
        if settings.key_file is not None:
            key = read_secret(base / settings.key_file, f'junction "{settings.name}".key_file')
            self._neighbours = Neighbours(settings, self.plan, key.encode(), self._announce)
        self._base = base
        self._clients: set[asyncio.StreamWriter] = set()
        self._requests: deque[str] = deque(maxlen=_REQUESTS_KEPT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._cause: BaseException | None = None
        self._tick: Tick | None = None
        self._spat = ""
        self._alarms: dict[tuple[str, str], bool] = {}
        self._told_s = 0.0
        self.refused: dict[str, int] = {}

    async def run(self) -> int:
        """Run until SIGTERM; 0, or 70 if the control loop crashed."""
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        server = await self._listen()
        snmp = await self._open_snmp()
        if self._neighbours is not None:
            await self._neighbours.open()
        self.control.start()
        try:
            await self._over.wait()
        finally:
            await asyncio.to_thread(self.control.stop)
            server.close()
            for writer in tuple(self._clients):
                writer.close()
            await server.wait_closed()
            with contextlib.suppress(OSError):
                self.socket_path.unlink()
            if self._neighbours is not None:
                self._neighbours.close()
            if snmp is not None:
                snmp.close()
            self._hires.close()
        return 70 if self._cause is not None else 0

    async def _listen(self) -> asyncio.Server:
        self.socket_path.parent.mkdir(parents=True, exist_ok=True)
        if _answers(self.socket_path):
            raise ConfigError(f"{self.socket_path}: junction {self.settings.name} runs already")
        with contextlib.suppress(OSError):
            self.socket_path.unlink()
        old = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(
                self._serve, str(self.socket_path), limit=LINE_MAX
            )
        finally:
            os.umask(old)

    async def _open_snmp(self) -> Any:
        if self.settings.snmp is None:
            return None
        from gateway.atcs.ntcip.agent import open_agent

        return await open_agent(self.settings.snmp, self._base, self.plan, self)

    # The control thread calls these

    def _ticked(self, tick: Tick) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
                self._loop.call_soon_threadsafe(self._take, tick)

    def _ended(self, cause: BaseException | None) -> None:
        self._cause = cause
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._over.set)

    # On the event loop

    @property
    def tick(self) -> Tick | None:
        """The last tick."""
        return self._tick

    def _announce(self, movement: int, eta_in_ms: int, vehicles: int) -> None:
        def news(controller: Controller) -> None:
            controller.announce(movement, controller.now_ms + eta_in_ms, vehicles)

        self.control.tell(news)

    def tell(self, news: News) -> None:
        """Something for the controller's next tick."""
        self.control.tell(news)

    def command(self, plan: str) -> bool:
        """A central's plan; empty gives the junction back to its calendar."""
        names = [timing.name for timing in self.plan.plan]
        if plan not in ("", FREE_PLAN, FLASH_PLAN, *names):
            return False

        def news(controller: Controller) -> None:
            controller.central = plan

        log.warning("junction.plan name=%s plan=%s", self.settings.name, plan or "calendar")
        self.control.tell(news)
        return True

    def _take(self, tick: Tick) -> None:
        was = self._tick
        self._tick = tick
        self._hires.write(tick.events, tick.snapshot.now_ms, self.control.local())
        for event in tick.events:
            if event.code in _PRIORITY_CODES or event.note.startswith("priority refused"):
                self._requests.append(
                    f"{self.control.local():%H:%M:%S} {event.code} {event.parameter} {event.note}"
                )
        if tick.spat is not None:
            self._spat = tick.spat
            self._say({"is": "spat", "body": json.loads(tick.spat)})
        if tick.departures:
            named = {self.plan.movement[i].name: n for i, n in tick.departures.items()}
            self._say({"is": "departures", "body": named})
            if self._neighbours is not None:
                self._neighbours.tell(named)
        for kind, subject, over in tick.alarms:
            self._alarm(kind, subject, over)
        self._watch(tick, was)
        now = time.monotonic()
        if now - self._told_s >= STATUS_S:
            self._told_s = now
            self._hires.flush()
            self._say({"is": "status", "body": self.status()})

    def _watch(self, tick: Tick, was: Tick | None) -> None:
        """Alarms of the controller itself: fault, flash by the monitor, closed roads, detectors."""
        new, old = tick.snapshot, was.snapshot if was is not None else None
        if old is None or new.fault != old.fault:
            if new.fault:
                self._alarm("fault", new.fault, False)
            else:
                for kind, subject in [k for k in self._alarms if k[0] == "fault"]:
                    self._alarm(kind, subject, True)
        if (new.mode == "monitor") != (old is not None and old.mode == "monitor"):
            self._alarm("monitor", "conflict monitor", new.mode != "monitor")
        faults = old.detector_faults if old is not None else ("",) * len(new.detector_faults)
        for i, (now, before) in enumerate(zip(new.detector_faults, faults, strict=True)):
            if now != before:
                self._alarm("detector", self.plan.detector[i].name, not now)
        before = old.closed if old is not None else 0
        for i, movement in enumerate(self.plan.movement):
            if (new.closed ^ before) >> i & 1:
                self._alarm("closed", movement.name, not new.closed >> i & 1)

    def _alarm(self, kind: str, subject: str, over: bool) -> None:
        key = (kind, subject)
        if over:
            if self._alarms.pop(key, None) is None:
                return
        else:
            self._alarms[key] = True
        self._say({"is": "alarm", "kind": kind, "subject": subject, "over": over})

    def status(self) -> dict[str, Any]:
        """What a console shows."""
        tick = self._tick
        late = sorted(self.control.late_ms)
        body: dict[str, Any] = {
            "junction": self.settings.name,
            "name": self.plan.junction.name,
            "running": tick is not None,
            "waiting_for": self.control.waiting_for,
            "ticks": self.control.ticks,
            "late_ms_p99": late[int(0.99 * (len(late) - 1))] if late else 0,
            "late_ms_max": late[-1] if late else 0,
            "alarms": [{"kind": kind, "subject": subject} for kind, subject in self._alarms],
            "requests": list(self._requests),
            "log_lost": self._hires.lost,
            "refused": dict(self.refused),
        }
        if self._neighbours is not None:
            body["neighbours"] = self._neighbours.counters()
        if tick is not None:
            state = asdict(tick.snapshot)
            names = [d.name for d in self.plan.detector]
            state["detector_faults"] = {
                name: fault
                for name, fault in zip(names, tick.snapshot.detector_faults, strict=True)
                if fault
            }
            body["state"] = state
        return body

    def _say(self, message: dict[str, Any]) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        for writer in tuple(self._clients):
            if writer.transport.get_write_buffer_size() > 1_000_000:
                writer.transport.abort()  # it does not listen: it shall not cost memory
                self._clients.discard(writer)
            else:
                writer.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _CLIENTS_MAX:
            writer.close()
            return
        self._clients.add(writer)
        try:
            for kind, subject in self._alarms:
                self._greet(
                    writer, {"is": "alarm", "kind": kind, "subject": subject, "over": False}
                )
            if self._spat:
                self._greet(writer, {"is": "spat", "body": json.loads(self._spat)})
            self._greet(writer, {"is": "status", "body": self.status()})
            while line := await reader.readline():
                self._hear(line)
        except (OSError, ValueError, asyncio.LimitOverrunError):
            self._refuse("line")
        finally:
            self._clients.discard(writer)
            writer.close()

    @staticmethod
    def _greet(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _hear(self, line: bytes) -> None:
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError
            message = cast("dict[str, Any]", value)
            self._do(str(message.get("do", "")), message)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self._refuse("message")

    def _do(self, what: str, message: dict[str, Any]) -> None:
        tell = self.control.tell
        if what == "stage":
            sensor, stage = str(message["sensor"]), int(message["stage"])
            age_ms = max(0, min(round(float(message["age_s"]) * 1000), 1 << 40))
            if not 0 <= stage <= 3:
                raise ValueError(stage)
            tell(lambda c: c.report_stage(sensor, stage, age_ms))
        elif what == "priority":
            vehicle, approach = str(message["vehicle"])[:64], str(message["approach"])[:64]
            eta_s, kind = float(message["eta_s"]), str(message.get("class", ""))[:64]
            tell(lambda c: c.request(vehicle, approach, eta_s, kind))
        elif what == "refused":
            text = str(message["text"])[:200]
            tell(lambda c: c.log(e.ALARM, 0, f"priority refused: {text}"))
        elif what == "passed":
            vehicle = str(message["vehicle"])
            tell(lambda c: c.passed(vehicle))
        elif what == "departures":
            sender, body = str(message["junction"]), cast("dict[str, Any]", message["body"])
            age_ms = round(float(message.get("age_s", 0.0)) * 1000)
            for up in self.plan.upstream:
                count = body.get(up.movement) if up.junction == sender else None
                if isinstance(count, int) and 0 < count < 100:
                    self._announce(
                        self.plan.index[up.to],
                        round(up.travel_s * 1000) - age_ms,
                        max(1, round(count * up.share)),
                    )
        elif what == "plan":
            if not self.command(str(message["plan"])):
                self._refuse("plan")
        elif what == "count":
            names = [d.name for d in self.plan.detector]
            self.control.count(names.index(str(message["detector"])), int(message["vehicles"]))
        else:
            self._refuse("unknown")


def socket_path(folder: Path, name: str) -> Path:
    """Where a junction's process listens for its agent."""
    return folder / "atcs" / f"{name}.sock"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def run_junction(config: Path, name: str) -> int:
    """Run junction `name` of a gateway's configuration. Raises ConfigError."""
    from gateway.settings import load

    settings = load(config).settings
    found = next((one for one in settings.junction if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in settings.junction) or "none"
        raise ConfigError(f'{config}: no [[junction]] is called "{name}"; there are: {names}')
    gateway = settings.gateway
    sys.setswitchinterval(0.001)  # so the loop's thread need not wait for the others
    with contextlib.suppress(OSError):
        os.nice(-10)  # only root may; the unit file sets it
    return asyncio.run(_run(found, config, gateway.data_dir, gateway.utc_offset_h))


async def _run(settings: JunctionSettings, config: Path, folder: Path, offset_h: float) -> int:
    return await Junction(settings, config, folder, offset_h).run()
