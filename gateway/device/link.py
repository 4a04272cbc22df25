"""A board on a serial port: `Link`, which runs Python there over MicroPython's raw REPL.

The transport is mpremote's (the `device` extra). A running application is interrupted; its
watchdog cannot be stopped, so the link arms it itself and feeds it with every command, and
`close` resets the board into its application again. Every failure is a `DeviceError`: one line, in
the words of the person at the cable.
"""

import ast
import errno
import hashlib
import io
import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from types import TracebackType
from typing import Any, Self

_CHUNK = 512
_ANSWER_S = 5  # Ctrl-C ends any Python at once
_HELPERS = """
import sys, os, gc
try:
    import machine
    _w = machine.WDT(timeout=8000)
    _f = _w.feed
except (ImportError, AttributeError):
    _f = lambda: None
def _hash(n):
    import hashlib
    h = hashlib.sha256()
    try:
        f = open(n, 'rb')
    except OSError:
        return None
    b = bytearray(512)
    while True:
        c = f.readinto(b)
        if not c:
            break
        h.update(memoryview(b)[:c])
        _f()
    f.close()
    return h.digest()
def _dirs(n):
    p = n.find('/', 1)
    while p > 0:
        try:
            os.mkdir(n[:p])
        except OSError:
            pass
        p = n.find('/', p + 1)
"""


class DeviceError(Exception):
    """The device, its cable or its program: the text says what, and what to do."""


def _explain(port: str, error: BaseException) -> DeviceError:
    if not os.path.exists(port) and not port.upper().startswith("COM"):
        return DeviceError(f"{port}: there is no such port; is the cable a data cable?")
    if os.path.exists(port) and not os.access(port, os.R_OK | os.W_OK):
        return DeviceError(f"{port}: you may not use it; join the group of the port (dialout)")
    number = getattr(error, "errno", None)
    if number == errno.EBUSY or "failed to access" in str(error):
        return DeviceError(f"{port}: busy; close the other program that has it open")
    return DeviceError(f"{port}: no answer from MicroPython: {error}")


def ports() -> list[str]:
    """Serial ports that may be a board's, for a message."""
    from serial.tools.list_ports import comports

    return [str(port.device) for port in comports() if port.vid is not None]


class Link:
    """One board, as a context manager. `root` is its file system's top ("" or "/...").

    Not to be held open while a person thinks: the watchdog bites after 8 s without a command.
    """

    def __init__(self, port: str, root: str = "/", patience_s: float = 0) -> None:
        """Open `port`, again for `patience_s` when it is not there: a reset takes USB away."""
        try:
            from mpremote.transport import TransportError
            from mpremote.transport_serial import SerialTransport
        except ImportError:
            raise DeviceError("mpremote is not installed: pip install 'tukad[device]'") from None
        self.root = root if root.endswith("/") else root + "/"
        self.port = port
        self._failures: tuple[type[Exception], ...] = (TransportError, OSError)
        end = time.monotonic() + patience_s
        while True:
            try:
                self._link: Any = SerialTransport(port, timeout=5)
                break
            except self._failures as error:
                if time.monotonic() >= end:
                    raise _explain(port, error) from None
                time.sleep(0.5)
        try:
            with redirect_stdout(io.StringIO()):  # it prints what it heard before it gives up
                self._link.enter_raw_repl(soft_reset=False, timeout_overall=_ANSWER_S)
                self._link.exec(_HELPERS)
        except self._failures as error:
            self._link.close()
            raise _explain(port, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self, code: str, timeout_s: float = 10, follow: Callable[[bytes], None] | None = None
    ) -> str:
        """Run Python there; what it printed. An exception there is a DeviceError with its name."""
        try:
            out, err = self._link.exec_raw("_f()\n" + code, timeout_s, follow)
        except self._failures as error:
            raise DeviceError(f"{self.port}: the device stopped answering ({error})") from None
        if err:
            last = err.decode(errors="replace").strip().splitlines()[-1]
            raise DeviceError(f"the device says: {last}")
        return out.decode(errors="replace") if out else ""

    def ask(self, expression: str, timeout_s: float = 10) -> Any:
        """The value of an expression there: numbers, texts, bytes, lists."""
        lines = self.run(f"print(repr({expression}))", timeout_s).strip().splitlines()
        said = lines[-1] if lines else ""  # what the device printed by the way stands before it
        try:
            return ast.literal_eval(said)
        except (ValueError, SyntaxError):
            raise DeviceError(f"{self.port}: not an answer: {said[:80]!r}") from None

    # -- files, by names below `root`

    def digest(self, name: str) -> bytes | None:
        """SHA-256 of a file, worked out by the device; None: there is none."""
        return self.ask(f"_hash({self.root + name!r})", 30)

    def put(self, name: str, data: bytes) -> None:
        """Write a file and check it by its hash; nothing is sent if it is there already."""
        wanted = hashlib.sha256(data).digest()
        if self.digest(name) == wanted:
            return
        path = self.root + name
        self.run(f"_dirs({path!r})\nf = open({path!r}, 'wb')")
        for at in range(0, len(data), _CHUNK):
            self.run(f"f.write({data[at : at + _CHUNK]!r})")
        self.run("f.close()")
        if self.digest(name) != wanted:
            raise DeviceError(f"{name} did not arrive whole; is the flash full or worn?")

    def get(self, name: str) -> bytes | None:
        """A file's content; None: there is none."""
        path = self.root + name
        if self.digest(name) is None:
            return None
        out = bytearray()
        self.run(f"f = open({path!r}, 'rb')")
        while True:
            piece: bytes = self.ask(f"f.read({_CHUNK})")
            out += piece
            if len(piece) < _CHUNK:
                self.run("f.close()")
                return bytes(out)

    def names(self) -> list[str]:
        """What is in the top folder."""
        return list(self.ask(f"os.listdir({self.root!r})"))

    def use_application(self, folder: str) -> None:
        """From now on imports come from `folder` below the root."""
        self.run(
            f"sys.path[:] = [{self.root + folder!r}] + [p for p in sys.path if 'app.' not in p"
            " and 'loader' not in p]\n"
            "for n in list(sys.modules):\n"
            "    if n.split('.')[0] in ('firmware', 'protocols'):\n"
            "        del sys.modules[n]\n"
            "gc.collect()"
        )

    def reset(self) -> None:
        """Start the board again, without waiting for it."""
        with suppress(*self._failures):  # it went already
            self._link.exec_raw_no_follow("import machine\nmachine.reset()")

    def close(self) -> None:
        """Leave the board to its application, and the port to others."""
        with suppress(*self._failures):
            self._link.exit_raw_repl()
        self._link.close()
