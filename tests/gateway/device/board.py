"""A board on a serial port: MicroPython's unix port on a pseudo-terminal."""

import os
import pty
import select
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.micropython.interpreter import micropython

# What the loader and the probe touch of `machine`; the radio answers nothing but zeros.
MACHINE = """
class WDT:
    def __init__(self, timeout=0):
        pass
    def feed(self):
        pass
class Pin:
    IN = OUT = PULL_UP = IRQ_RISING = IRQ_FALLING = 1
    def __init__(self, *args, **kwargs):
        self.level = kwargs.get("value", 1)
    def value(self, *args):
        return 0
    __call__ = value
    def irq(self, *args, **kwargs):
        pass
class SPI:
    def __init__(self, *args, **kwargs):
        pass
    def write(self, data):
        pass
    def write_readinto(self, out, into):
        for at in range(len(into)):
            into[at] = 0
    def readinto(self, into, value=0):
        pass
class ADC:
    def __init__(self, pin):
        pass
    def read_u16(self):
        return 25700
class UART:
    # A Modbus sensor at the other end: 2000 in every register asked for.
    def __init__(self, *args, **kwargs):
        self.waiting = b""
    init = flush = lambda self, *args: None
    def any(self):
        return len(self.waiting)
    def write(self, data):
        count = data[5]
        out = bytes((data[0], data[1], 2 * count)) + b"\\x07\\xd0" * count
        crc = 0xFFFF
        for byte in out:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        self.waiting = out + bytes((crc & 255, crc >> 8))
        return len(data)
    def readinto(self, into, count=64):
        piece = self.waiting[:count]
        into[: len(piece)] = piece
        self.waiting = self.waiting[len(piece) :]
        return len(piece)
def reset():
    pass
def reset_cause():
    return 1
"""


def _relay(left: int, right: int, stop: int) -> None:
    """Bytes both ways until `stop` is readable: a null-modem cable."""
    while True:
        ready, _, _ = select.select([left, right, stop], [], [])
        if stop in ready:
            return
        for source, target in ((left, right), (right, left)):
            if source in ready:
                os.write(target, os.read(source, 4096))


@contextmanager
def board(folder: Path, machine: str = MACHINE) -> Iterator[tuple[str, Path]]:
    """A running interpreter: (its port, the folder that is its flash)."""
    chip = folder / "chip"
    flash = folder / "flash"
    chip.mkdir()
    flash.mkdir()
    (chip / "machine.py").write_text(machine)
    board_end, board_tty = pty.openpty()
    tool_end, tool_tty = pty.openpty()
    stop_read, stop_write = os.pipe()
    for end in (board_end, board_tty, tool_end, tool_tty):
        tty.setraw(end)
    process = subprocess.Popen(
        [*micropython(), "-X", "heapsize=2m", "-i"],
        stdin=board_tty,
        stdout=board_tty,
        stderr=board_tty,
        cwd=flash,
        env={**os.environ, "MICROPYPATH": f"{chip}:.frozen", "TERM": "dumb"},
        start_new_session=True,
    )
    cable = threading.Thread(target=_relay, args=(board_end, tool_end, stop_read))
    cable.start()
    try:
        yield os.ttyname(tool_tty), flash
    finally:
        os.write(stop_write, b"x")
        cable.join()
        process.kill()
        process.wait()
        for end in (board_end, board_tty, tool_end, tool_tty, stop_read, stop_write):
            os.close(end)
