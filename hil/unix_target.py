"""A node whose firmware runs in a MicroPython process on this machine, in virtual time.

Public: `UnixNode`, `micropython`. The child runs in zero time between its calls; each call costs
what it costs on a board, and `wait` passes the time. A call whose cost reaches past the next event
of the simulation becomes an event itself, so devices and other nodes never see the future.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections import deque
from functools import cache
from pathlib import Path
from typing import IO

from hil import wire
from hil.mpy import FOLDERS, compiled
from sim.board import Board
from sim.chips.flash import NorFlash, PowerCutError
from sim.kernel import Event, Simulation

ROOT = Path(__file__).parents[1]
HEAP = "640k"  # for 190 KB on a 32-bit chip: objects of the 64-bit port are up to twice as large
FLASH_SECTORS = 352  # what MicroPython leaves for files on a 2 MB Pico
BOOT_US = 60_000  # from power or reset to the first line of the firmware
CALL_US = 3  # of a call without a cost of its own
WAIT_US = 20  # of going to sleep and waking up
_QUIET_MAX_US = 1_000_000  # a child that never calls must meet the watchdog some time
POLL_US = 1_000  # a loop that reads one pin over and over is told of a change, or after this
CLOCK_START_US = 1_609_459_200_000_000  # 2021-01-01, where an RP2040's clock starts

PWRON, WATCHDOG = 1, 3
_WAKE_PIN, _WAKE_UART, _HANDLES_UART = 1, 2, 4  # as in simwire


def micropython() -> str:
    """Path of the interpreter; raises FileNotFoundError saying what to do when there is none."""
    beside = Path(sys.executable).with_name("micropython")
    found = os.environ.get("TUKAD_MICROPYTHON") or (
        str(beside) if beside.exists() else shutil.which("micropython")
    )
    if not found:
        raise FileNotFoundError(
            "no MicroPython found: run `make setup`, or set TUKAD_MICROPYTHON=/path/to/micropython"
        )
    return found


@cache
def _compiled(root: Path) -> Path | None:
    """Device code and shim as `.mpy`, compiled once for a run of the harness."""
    return compiled(root, (*FOLDERS, "hil/shim"))


class UnixNode:
    """One powered node: its process, its flash, its watchdog.

    `files` are put on the flash at the first boot (name -> content). `entry` is (module, function)
    of the firmware; `uid` is `machine.unique_id()`. Output of the child goes to `log` (a path) or
    nowhere.
    """

    def __init__(
        self,
        sim: Simulation,
        board: Board,
        *,
        files: dict[str, bytes] | None = None,
        entry: tuple[str, str] = ("firmware.main", "run"),
        uid: bytes = b"\xff" * 8,
        ticks_start_us: int = 0,
        heap: str = HEAP,
        log: Path | None = None,
        root: Path = ROOT,
    ) -> None:
        self.sim = sim
        self.board = board
        self.name = board.name
        self.files = dict(files or {})
        self.flash = NorFlash(FLASH_SECTORS, sim.rng(f"flash/{self.name}"))
        self.flash.on_fault = lambda what: sim.fault(self.name, "flash." + what)
        self.boots = 0
        self.calls = 0
        self.crashes: list[str] = []
        self.on_message: list[str] = []
        self.running = False
        self._entry = entry
        self._uid = uid
        self._ticks_start_us = ticks_start_us
        self._heap = heap
        self._log = log
        self._root = root
        self._cause = PWRON
        self._pending_files: list[tuple[str, bytes]] = sorted(self.files.items())
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._wire: wire.Wire | None = None
        self._life = 0
        self._ppb = 0
        self._from = (0, 0)  # since when the drift is what it is: simulation and board time, us
        self._events: deque[int] = deque()
        self._uart_came = False
        self._wait: Event | None = None
        self._waiting = False
        self._wait_mask = 0
        self._polled = -1  # the pin that the last call read
        self._polling: tuple[Event, int, int] | None = None  # until when, which pin, cost of a read
        self._watchdog: Event | None = None
        self._watchdog_us = 0
        self._fed_us = 0
        board.target = self
        board.on_input = self._input

    # Power.

    def power_on(self) -> None:
        """Apply the supply: the firmware starts `BOOT_US` later."""
        assert not self.running
        self._cause = PWRON
        self._start_in(BOOT_US)

    def power_off(self) -> None:
        """Cut the supply, at this instant; flash keeps what it has."""
        self.sim.record(self.name, "node.power_off")
        self._stop()
        self.board.release()

    def reset(self) -> None:
        """Pull the processor's reset line: everything but the flash starts anew."""
        if self.running:
            self.sim.record(self.name, "node.reset_line")
            self._restart(0)

    def set_drift(self, ppm: float) -> None:
        """Let the board's clock run `ppm` millionths too fast (or slow) from now on."""
        self._from = (self.sim.now_us, self._board_us())
        self._ppb = round(1000 * ppm)

    def _board_us(self) -> int:
        """Time since the boot by the board's own clock."""
        since_us, then_us = self._from
        return then_us + self._on_board(self.sim.now_us - since_us)

    def _on_board(self, true_us: int) -> int:
        return true_us * (1_000_000_000 + self._ppb) // 1_000_000_000

    def _in_truth(self, board_us: int) -> int:
        # Rounded up: the board's clock never goes back.
        return -(-board_us * 1_000_000_000 // (1_000_000_000 + self._ppb))

    def close(self) -> None:
        """End the child for good and wait for it."""
        self._stop()

    def _start_in(self, delay_us: int) -> None:
        self._life += 1
        self.running = True
        self.sim.after(delay_us, self._start, self._life)

    def _start(self, life: int) -> None:
        if life != self._life:
            return
        self.boots += 1
        self._from = (self.sim.now_us, 0)
        self._events.clear()
        self.sim.record(self.name, "node.boot", cause=self._cause)
        self._wire = link = wire.Wire()
        descriptor = link.theirs.fileno()
        if self._log:
            self._output = self._log.open("ab")
        output = self._output or subprocess.DEVNULL
        command = [micropython(), "-X", f"heapsize={self._heap}"]
        command += [str(self._root / "hil/shim/boot_unix.py"), str(descriptor), str(self._root)]
        command.append(str(_compiled(self._root) or self._root))
        self._process = subprocess.Popen(
            [*command, *self._entry],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(descriptor,),
            env={"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent"},
            start_new_session=True,  # Ctrl-C in the terminal is for the harness alone
        )
        link.started()
        self._turn()

    def _stop(self) -> None:
        self._life += 1
        self.running = False
        self._waiting = False
        self._polling = None
        self._wait_mask = 0
        self.sim.cancel(self._wait)
        self.sim.cancel(self._watchdog)
        self._watchdog_us = 0
        if self._process:
            # Before its wire closes: a child that outlives it for a moment would complain.
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._wire:
            self._wire.close()
            self._wire = None
        if self._output:
            self._output.close()
            self._output = None

    # What the board tells.

    def on_pin(self, pin: int, level: int) -> None:
        """See `sim.board.Target`."""
        self._events.append(pin)
        self._events.append(level)
        if self._waiting:
            self._wake(_WAKE_PIN)

    def on_uart(self, uart: int) -> None:
        """See `sim.board.Target`."""
        if self._wait_mask & _HANDLES_UART:
            self._events.append(0x80 + uart)
            self._events.append(1)
        if self._waiting and self._wait_mask & (_WAKE_UART | _HANDLES_UART):
            self._wake(_WAKE_UART)

    def _wake(self, flag: int) -> None:
        # Handlers run even when the sleep goes on: the child is told, and waits for the rest.
        self._waiting = False
        self.sim.cancel(self._wait)
        self._wait = self.sim.after(WAIT_US, self._woken, self._life, flag)

    def _woken(self, life: int, flags: int) -> None:
        if life == self._life:
            self._waiting = False
            self._answer(b"", flags)
            self._turn()

    def _poll(self, pin: int, cost_us: int) -> None:
        """A repeated read: the loop is skipped to the next change of the pin."""
        due = self.sim.after(POLL_US, self._polled_enough, self._life)
        self._polling = (due, pin, cost_us)

    def _input(self, pin: int) -> None:
        if self._polling and self._polling[1] == pin:
            due, _, cost_us = self._polling
            self.sim.cancel(due)
            due = self.sim.after(cost_us, self._polled_enough, self._life)
            self._polling = (due, -1, cost_us)

    def _polled_enough(self, life: int) -> None:
        if life == self._life and self._polling:
            self._polling = None
            self._answer(bytes([self.board.level(self._polled)]), 0)
            self._turn()

    # The child's turn: from an answer to the next call that takes time.

    def _turn(self) -> None:
        while True:
            assert self._wire
            try:
                request = self._wire.receive()
            except TimeoutError:
                self.sim.fault(self.name, "node.spins", limit_s=20)
                self._stop()
                return
            if request is None:
                self._ended()
                return
            self.calls += 1
            spent = self._in_truth(request.elapsed_us)
            if spent and not self.sim.advance(spent, self.sim.limit_us):
                self.sim.after(spent, self._resume, self._life, request)
                return
            if not self._step(request):
                return

    def _resume(self, life: int, request: wire.Request) -> None:
        if life == self._life and self._step(request):
            self._turn()

    def _step(self, request: wire.Request) -> bool:
        """Carry out a request; True when it was answered and the turn goes on."""
        writes = request.writes
        for i in range(0, len(writes), 2):
            if writes[i] == wire.FEED:
                self._fed_us = self.sim.now_us
            else:
                self.board.write_pin(writes[i], writes[i + 1])
        try:
            outcome = self._perform(request)
        except PowerCutError:
            self.sim.record(self.name, "node.power_cut")
            self._stop()
            self.board.release()
            self.sim.after(1_000_000, self.power_on)
            return False
        if outcome is None:
            return False
        data, cost_us = outcome
        if not self.sim.advance(cost_us, self.sim.limit_us):
            self.sim.after(cost_us, self._answer_later, self._life, data)
            return False
        self._answer(data, 0)
        return True

    def _answer_later(self, life: int, data: bytes) -> None:
        if life == self._life:
            self._answer(data, 0)
            self._turn()

    def _answer(self, data: bytes, flags: int) -> None:
        assert self._wire
        events = bytes(self._events)[:254]
        for _ in range(len(events)):
            self._events.popleft()
        sim, board = self.sim, self.board
        due = sim.next_us()
        quiet_us = (sim.limit_us if due is None else min(due, sim.limit_us)) - sim.now_us
        self._wire.answer(
            self._board_us(),
            self._on_board(max(0, min(quiet_us, _QUIET_MAX_US))),
            board.levels,
            data,
            (board.uarts[0].waiting(), board.uarts[1].waiting()),
            events,
            flags,
        )

    def _perform(self, request: wire.Request) -> tuple[bytes, int] | None:
        op, x, arg, data = request.op, request.x, request.arg, request.data
        board = self.board
        polled, self._polled = self._polled, -1
        if op == wire.WAIT:
            self._waiting = True
            self._wait_mask = x
            self._wait = self.sim.after(self._in_truth(arg) + WAIT_US, self._woken, self._life, 0)
            return None
        if op == wire.SPI:
            return board.spi(x, data)
        if op == wire.PIN_READ:
            self._polled = x
            if polled == x:
                self._poll(x, arg)
            elif self.sim.advance(arg, self.sim.limit_us):
                return bytes([board.level(x)]), 0
            else:  # what happens while it reads is seen by the read
                self._polling = (self.sim.after(arg, self._polled_enough, self._life), -1, arg)
            return None
        if op == wire.PIN_WRITE:
            return b"", CALL_US
        if op == wire.UART_ANY:
            return board.uarts[x].waiting().to_bytes(2, "little"), CALL_US
        if op == wire.UART_READ:
            return board.uarts[x].read(arg), CALL_US
        if op == wire.UART_WRITE:
            blocked_us = board.uarts[x].write(data)
            pending_us = board.uarts[x].pending_us() - blocked_us
            return max(pending_us, 0).to_bytes(4, "little"), CALL_US + blocked_us
        if op == wire.UART_PENDING:
            return board.uarts[x].pending_us().to_bytes(4, "little"), CALL_US
        if op == wire.ADC:
            return board.read_adc(x).to_bytes(2, "little"), CALL_US
        if op == wire.FLASH_READ:
            return self.flash.read(arg, x), CALL_US
        if op == wire.FLASH_WRITE:
            return b"", self.flash.program(arg, data)
        if op == wire.FLASH_ERASE:
            return b"", self.flash.erase(arg)
        return self._perform_rarely(op, x, arg, data)

    def _perform_rarely(self, op: int, x: int, arg: int, data: bytes) -> tuple[bytes, int] | None:
        board = self.board
        if op == wire.WDT:
            self._watchdog_us = 1000 * arg
            self._fed_us = self.sim.now_us
            self.sim.cancel(self._watchdog)
            self._watchdog = self.sim.after(self._watchdog_us, self._bite, self._life)
        elif op == wire.PIN_SETUP:
            board.setup_pin(x, arg & 15, arg >> 4 & 15, arg >> 8 & 15)
        elif op == wire.SPI_SETUP:
            board.setup_spi(x, arg & 0xFFFFFFFF, arg >> 32)
        elif op == wire.UART_SETUP:
            uart, baud = board.uarts[x], arg & 0xFFFFFF
            if baud:
                uart.open(baud, arg >> 24 & 0xFF, arg >> 32)
            else:
                uart.close()
        elif op == wire.PWM:
            board.pwm[x] = (arg & 0xFFFFFFFF, arg >> 32)
            self.sim.record(self.name, "pin.pwm", pin=x, hz=arg & 0xFFFFFFFF, duty=arg >> 32)
        elif op == wire.RANDOM:
            return self.sim.rng(f"urandom/{self.name}").randbytes(arg), CALL_US
        elif op == wire.HELLO:
            seed = self.sim.rng(f"random/{self.name}").getrandbits(30)
            hello = struct.pack(
                "<qqIHB", self._ticks_start_us, CLOCK_START_US, seed, FLASH_SECTORS, self._cause
            )
            return hello + self._uid, CALL_US
        elif op == wire.FILE:
            if not self._pending_files:
                return b"", CALL_US
            name, content = self._pending_files.pop(0)
            return name.encode() + b"\0" + content, CALL_US
        elif op == wire.LOG:
            text = data.decode(errors="replace")
            self.on_message.append(text)
            self.sim.record(self.name, "node.log", level=arg, text=text)
            if arg == 2:
                self.crashes.append(text)
        elif op in (wire.RESET, wire.DEEPSLEEP):
            self.sim.record(self.name, "node.reset" if op == wire.RESET else "node.deepsleep")
            self._restart(arg if op == wire.DEEPSLEEP else 0)
            return None
        else:
            self.sim.fault(self.name, "node.operation", op=op)
        return b"", CALL_US

    def _restart(self, delay_us: int) -> None:
        self._stop()
        self.board.release()
        self._cause = WATCHDOG  # on an RP2040 reset and deepsleep go through the watchdog too
        self._start_in(delay_us + BOOT_US)

    def _bite(self, life: int) -> None:
        if life != self._life:
            return
        due_us = self._fed_us + self._watchdog_us
        if due_us > self.sim.now_us:  # it was fed since
            self._watchdog = self.sim.at(due_us, self._bite, life)
            return
        self.sim.record(self.name, "node.watchdog")
        self._restart(0)

    def _ended(self) -> None:
        """The firmware returned or crashed: a board would sit at its prompt until the watchdog."""
        self.sim.record(self.name, "node.ended")
        if self._process:
            self._process.wait()
            self._process = None
        if self._wire:
            self._wire.close()
            self._wire = None
        if self._watchdog is None or not self._watchdog.alive:
            self.running = False
