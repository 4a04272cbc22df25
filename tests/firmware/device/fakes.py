"""Doubles for the device tests, on both runtimes: `FlashFake`, `PowerCutError`."""


class PowerCutError(Exception):
    """The supply went away in the middle of a write."""


class FlashFake:
    """`firmware.store.files.Files` in memory, which loses power after `budget` written bytes.

    A write that does not fit the budget keeps its first bytes only and raises `PowerCutError`; so
    does a remove with nothing left. `budget` None: never. `rot` bytes follow a cut, as half-erased
    flash may hold anything.
    """

    def __init__(self, budget=None, rot=b""):
        self.data = {}
        self.budget = budget
        self.rot = rot
        self.spent = 0
        self.writes = 0

    def _take(self, count):
        self.writes += 1
        if self.budget is None or count <= self.budget:
            if self.budget is not None:
                self.budget -= count
            self.spent += count
            return count
        kept = self.budget
        self.budget = 0
        return kept

    def power_up(self):
        self.budget = None

    def read(self, name, offset=0, length=-1):
        if name not in self.data:
            return None
        data = self.data[name][offset:]
        return bytes(data if length < 0 else data[:length])

    def write(self, name, data):
        # One unit for the truncation, before any byte is written.
        if self._take(1) < 1:
            raise PowerCutError
        self.data[name] = b""
        self.append(name, data)

    def append(self, name, data):
        data = bytes(data)
        kept = self._take(len(data))
        self.data[name] = self.data.get(name, b"") + data[:kept]
        if kept < len(data):
            self.data[name] += self.rot[: len(data) - kept]
            raise PowerCutError

    def sizes(self):
        return {name: len(data) for name, data in self.data.items()}

    def remove(self, name):
        if self._take(1) < 1:
            raise PowerCutError
        self.data.pop(name, None)

    def names(self):
        return sorted(self.data)


class PinFake:
    """A `machine.Pin`: `level`, and `fire` runs the interrupt handler."""

    IRQ_RISING = 8
    IRQ_FALLING = 4

    def __init__(self, level=0):
        self.level = level
        self.handler = None
        self.writes = []

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level
        self.writes.append(level)
        return None

    def irq(self, handler=None, trigger=0, hard=False):
        self.handler = handler

    def fire(self):
        self.handler(self)
