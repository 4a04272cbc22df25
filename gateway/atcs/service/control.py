"""The 10 Hz loop of one junction on its own thread: `Control`.

Each tick: news, inputs, `Controller.step`, outputs to every board at once, inputs back. The
watchdog output turns over only if the tick before reached every board; so a hung loop, a dead
board and a crash all end in flash by the conflict monitor within 350 ms and its relay's time.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gateway.atcs.cabinet.points import Points, States
from gateway.atcs.calendar import Wall
from gateway.atcs.controller import TICK_MS, Controller, Inputs, Output
from gateway.atcs.events import Event
from gateway.atcs.kernel import RED
from gateway.atcs.plan import Plan
from gateway.atcs.report import spat
from gateway.atcs.service.departures import Departures
from gateway.atcs.snapshot import Snapshot, take

log = logging.getLogger("tukad.junction")

News = Callable[[Controller], object]
_REOPEN_S = 0.5
_LATE_KEPT = 600
_CLOCK_MIN_S = 1_735_689_600
"""2025: a machine that believes to be before has no clock, and the junction runs free."""
_NEWS_MAX = 1000


class BoardLine(Protocol):
    """A board as the loop sees it; errors are OSError."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def exchange(self, outputs: Mapping[int, bool]) -> dict[int, bool]:
        """Drive the outputs, read the inputs."""
        ...

    def close(self) -> None:
        """Let go of the board."""
        ...


@dataclass(slots=True)
class Tick:
    """What a tick tells the rest of the process."""

    snapshot: Snapshot
    events: list[Event]
    spat: str | None
    departures: dict[int, int]
    alarms: list[tuple[str, str, bool]] = field(default_factory=list[tuple[str, str, bool]])
    """(kind, subject, True if it is over)."""


@dataclass(slots=True)
class _BoardState:
    line: BoardLine
    inputs: dict[int, bool] = field(default_factory=dict[int, bool])
    ok_ms: int | None = None
    error: str = "not opened yet"
    opening: asyncio.Task[None] | None = None


class Control:
    """One junction. `start`, then `tell` brings news; `tick` is called on the loop's thread."""

    def __init__(
        self,
        plan: Plan,
        points: Points | None,
        boards: Mapping[str, BoardLine],
        utc_offset_h: float,
        on_tick: Callable[[Tick], None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._plan = plan
        self._points = points
        self._boards = {name: _BoardState(line) for name, line in boards.items()}
        self._offset = timedelta(hours=utc_offset_h)
        self._on_tick = on_tick
        self._on_end = on_end
        self._news: deque[News] = deque(maxlen=_NEWS_MAX)
        self._thread = threading.Thread(target=self._run, name="junction", daemon=True)
        self._stop = threading.Event()
        self._inputs = Inputs()
        self._departures = Departures(plan)
        self._counts: dict[int, tuple[int, int]] = {}
        self.late_ms: deque[float] = deque(maxlen=_LATE_KEPT)
        self.ticks = 0
        self.waiting_for = ""
        """Boards that have not answered yet; the junction is dark until they do."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end in all outputs off, and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def tell(self, news: News) -> None:
        """Have `news(controller)` called before the next tick, on the loop's thread."""
        self._news.append(news)

    def count(self, detector: int, vehicles: int) -> None:
        """A camera's count of standing vehicles; valid for five seconds."""
        self._counts[detector] = (vehicles, _now_ms())

    def local(self) -> datetime:
        """Local time of the plan."""
        return datetime.now(UTC) + self._offset

    def _run(self) -> None:
        cause: BaseException | None = None
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  the process ends with it, and says why
            cause = error
            log.critical("control.crashed error=%r", error)
        self._on_end(cause)

    async def _main(self) -> None:
        try:
            await self._meet_boards()
            if not self._stop.is_set():
                await self._loop()
        finally:
            await self._dark()

    async def _meet_boards(self) -> None:
        """Until every board answers once; without them there is nothing to control."""
        while not self._stop.is_set():
            for board in self._boards.values():
                self._care(board)
            missing = [f"{n}: {b.error}" for n, b in self._boards.items() if b.opening is not None]
            if not missing:
                return
            self.waiting_for = "; ".join(missing)
            await asyncio.sleep(0.05)

    def _care(self, board: _BoardState) -> None:
        """Keep a task going that opens a board which is not open."""
        if board.opening is not None and board.opening.done():
            board.opening = None
        if board.opening is None and board.error:
            board.opening = asyncio.create_task(self._open(board))

    async def _open(self, board: _BoardState) -> None:
        while True:
            try:
                await board.line.open()
            except (OSError, TimeoutError) as error:
                board.error = str(error)
                await asyncio.sleep(_REOPEN_S)
            else:
                board.error = ""
                return

    async def _loop(self) -> None:
        self.waiting_for = ""
        due_ms = _now_ms()
        controller = Controller(self._plan, due_ms)
        for board in self._boards.values():
            board.ok_ms = due_ms
        shown: tuple[int, ...] = ()
        while not self._stop.is_set():
            due_ms += TICK_MS
            delay = due_ms - _now_ms()
            if delay < -10 * TICK_MS:
                due_ms -= delay
            await asyncio.sleep(max(0, delay) / 1000.0)
            now_ms = _now_ms()
            self.late_ms.append(max(0.0, float(now_ms - due_ms)))
            self.ticks += 1
            while self._news:
                self._news.popleft()(controller)
            alarms = self._read(now_ms, controller)
            output = controller.step(now_ms, self._inputs)
            await self._drive(output, now_ms)
            changed = output.lamps != shown
            shown = output.lamps
            text = spat(controller, output) if changed or self.ticks % 10 == 0 else None
            left = self._departures.step(now_ms, self._inputs.detectors, output.lamps)
            snapshot = take(controller, output, self._inputs)
            self._on_tick(Tick(snapshot, output.events, text, left, alarms))

    def _read(self, now_ms: int, controller: Controller) -> list[tuple[str, str, bool]]:
        """Fill the inputs; what is wrong with boards and lamps."""
        inputs = self._inputs
        inputs.wall = self._wall()
        inputs.counts = {k: n for k, (n, at) in self._counts.items() if now_ms - at < 5000}
        inputs.fault = ""
        alarms: list[tuple[str, str, bool]] = []
        if self._points is None:
            inputs.detectors = (1 << len(self._plan.detector)) - 1
            return alarms
        lost_ms = self._points.wiring.cabinet.lost_ms
        for name, board in self._boards.items():
            if board.ok_ms is not None and now_ms - board.ok_ms >= lost_ms:
                inputs.fault = f"board {name}: {board.error or 'silent'}"
        states: States = {name: board.inputs for name, board in self._boards.items()}
        silent = self._points.inputs(states, inputs)
        lamps = tuple(controller.kernel.aspect)
        failed, mended = self._points.lamp_faults.step(now_ms, silent, lamps)
        for i, colour in failed:
            alarms.append(("lamp", f"{self._plan.movement[i].name} {colour}", False))
        for i, colour in mended:
            alarms.append(("lamp", f"{self._plan.movement[i].name} {colour}", True))
        reds = [i for i, colour in self._points.lamp_faults.failed if colour == "red"]
        if reds and not inputs.reset:
            inputs.fault = f"red lamp of {self._plan.movement[reds[0]].name} does not burn"
        return alarms

    async def _drive(self, output: Output, now_ms: int) -> None:
        if self._points is None:
            return
        fresh = all(
            board.ok_ms is not None and now_ms - board.ok_ms <= 2 * TICK_MS
            for board in self._boards.values()
        )
        outputs = self._points.outputs(output.lamps, now_ms, fresh)
        await asyncio.gather(
            *(self._exchange(name, board, outputs) for name, board in self._boards.items())
        )

    async def _exchange(self, name: str, board: _BoardState, outputs: States) -> None:
        if board.error:
            self._care(board)
            if board.error:
                return
        try:
            board.inputs = await board.line.exchange(outputs.get(name, {}))
            board.ok_ms = _now_ms()
        except OSError as error:
            log.warning("board.lost board=%s error=%r", name, str(error))
            board.error = str(error) or type(error).__name__
            board.line.close()

    async def _dark(self) -> None:
        """All outputs off and the flash request on, as far as the boards can be reached."""
        for name, board in self._boards.items():
            if board.opening is not None:
                board.opening.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await board.opening
            if self._points is not None and not board.error:
                lamps = (RED,) * len(self._plan.movement)
                states = self._points.outputs(lamps, 0, alive=False).get(name, {})
                off = dict.fromkeys(states, False)
                with contextlib.suppress(OSError):
                    await board.line.exchange(self._points.ask_for_flash(name, off))
            board.line.close()

    def _wall(self) -> Wall | None:
        now = time.time()
        if now < _CLOCK_MIN_S:
            return None
        local = self.local()
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        day_ms = (local - midnight) // timedelta(milliseconds=1)
        return Wall(f"{local:%Y-%m-%d}", local.weekday(), day_ms)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
