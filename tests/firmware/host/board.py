"""The driver's pins and bus on the simulator's radio chip, in one process: `RadioBoard`."""

from collections.abc import Callable

from firmware.drivers.sx126x import Sx126x as Driver
from sim.chips.sx126x import BoardFacts, Sx126x
from sim.kernel import Simulation
from sim.radio.medium import Medium

PIN_READ_US = 5
WRAP_MS = 1 << 30


class Line:
    """One pin: reads `level`, tells `changed` of writes, and runs `irq` on a rising edge."""

    IRQ_RISING = 8
    IRQ_FALLING = 4

    def __init__(self, board: "RadioBoard", changed: Callable[[int], object] | None = None) -> None:
        self._board = board
        self._changed = changed
        self.level = 0
        self.handler: Callable[[Line], object] | None = None

    def value(self, level: int | None = None) -> int:
        if level is None:
            self._board.pass_us(PIN_READ_US)
            return self.level
        if level != self.level and self._changed:
            self._changed(level)
        self.level = level
        return level

    def irq(self, handler: Callable[["Line"], object], trigger: int) -> None:
        assert trigger == self.IRQ_RISING
        self.handler = handler

    def drive(self, level: int) -> None:
        """The chip moves the pin."""
        rises = level and not self.level
        self.level = level
        if rises and self.handler:
            self.handler(self)


class Bus:
    """SPI at 8 MHz to one chip."""

    def __init__(self, board: "RadioBoard", chip: Sx126x) -> None:
        self._board = board
        self._chip = chip

    def write(self, data: bytes) -> None:
        self._chip.transfer(bytes(data))
        self._board.pass_us(len(data))

    def write_readinto(self, out: bytes, into: bytearray) -> None:
        into[:] = self._chip.transfer(bytes(out))
        self._board.pass_us(len(into))


class RadioBoard:
    """A chip, its board and our driver on it; ticks start a minute before their wrap."""

    def __init__(
        self,
        sim: Simulation,
        medium: Medium,
        name: str = "node",
        facts: BoardFacts | None = None,
        tcxo_mv: int = 1800,
        tcxo_us: int = 5000,
        dio2_switch: bool = True,
        start_ms: int = WRAP_MS - 60_000,
    ) -> None:
        self.sim = sim
        self._start_ms = start_ms
        self.chip = Sx126x(sim, medium, name, facts or BoardFacts())
        self.cs = Line(self, self.chip.select)
        self.cs.level = 1
        self.reset = Line(self, self.chip.reset)
        self.reset.level = 1
        self.busy = Line(self)
        self.dio1 = Line(self)
        self.chip.set_busy = self.busy.drive
        self.chip.set_dio1 = self.dio1.drive
        self.busy.level = self.chip.busy
        self.driver = Driver(
            Bus(self, self.chip),  # type: ignore[arg-type]
            self.cs,  # type: ignore[arg-type]
            self.reset,  # type: ignore[arg-type]
            self.busy,  # type: ignore[arg-type]
            self.dio1,  # type: ignore[arg-type]
            self.ticks_ms,
            self.sleep_ms,
            tcxo_mv,
            tcxo_us,
            dio2_switch,
        )

    def pass_us(self, us: int) -> None:
        self.sim.run_until(self.sim.now_us + us)

    def ticks_ms(self) -> int:
        return (self._start_ms + self.sim.now_us // 1000) % WRAP_MS

    def sleep_ms(self, ms: int) -> None:
        self.pass_us(1000 * ms)

    def run_to_end(self, limit_ms: int = 8000) -> int:
        """Poll until the operation ends; the driver's result."""
        for _ in range(limit_ms):
            result = self.driver.poll(self.ticks_ms())
            if result:
                return result
            self.sleep_ms(1)
        return 0
