"""What the SX126x model stands on: pins, BUSY, modes, power-up, interrupts and faults.

Public: `BoardFacts`, `ChipCore`. `sim.chips.sx126x` describes the whole model.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sim.chips import sx126x_facts as f
from sim.kernel import Event, Simulation
from sim.radio.medium import Medium, Radio, Reception


@dataclass(frozen=True, kw_only=True)
class BoardFacts:
    """How the chip is wired on a board.

    `tcxo_mv` 0 means a plain crystal; otherwise DIO3 must supply at least that much, for at least
    `tcxo_start_us`. `rf_switch_dio2` is the usual antenna switch. `sx1261` is the 15 dBm chip.
    """

    sx1261: bool = False
    tcxo_mv: int = 1_800
    tcxo_start_us: int = 1_500
    rf_switch_dio2: bool = True


class ChipCore(Radio):
    """One chip; `set_busy` and `set_dio1` are called with the new level of those pins."""

    def __init__(
        self,
        sim: Simulation,
        medium: Medium,
        name: str,
        board: BoardFacts | None = None,
        *,
        x_m: float = 0.0,
        y_m: float = 0.0,
        gain_dbi: float = 0.0,
    ) -> None:
        super().__init__(name, x_m=x_m, y_m=y_m, gain_dbi=gain_dbi, noise_figure_db=6.0)
        self.sim = sim
        self.medium = medium
        self.board = board or BoardFacts()
        self.set_busy: Callable[[int], object] = _ignore
        self.set_dio1: Callable[[int], object] = _ignore
        self.energy_state: Callable[[str], object] = _ignore  # told the mode's name when it changes
        self.mode = f.SLEEP
        self.busy = 1
        self.dio1 = 0
        self.busy_until_us = 0
        self.tx_count: int = 0
        self.rx_count: int = 0
        self._selected = False
        self._frame = bytearray()
        self._sleep_us = -(10**9)
        self._warm = False
        self._reset_since: int | None = None
        self._in_reset = False
        self._settle: Event | None = None
        self._power_up()
        self.busy, self.mode = 0, f.STDBY_RC  # the board was powered before the firmware ran
        medium.join(self)

    # Pins.

    def reset(self, level: int) -> None:
        """NRESET changed."""
        if not level and not self._in_reset:
            self._in_reset = True
            self._reset_since = self.sim.now_us
            self._abort()
            self._set_busy(1)
        elif level and self._in_reset:
            self._in_reset = False
            assert self._reset_since is not None
            if self.sim.now_us - self._reset_since < f.RESET_PULSE_US:
                self._fault("reset_pulse", us=self.sim.now_us - self._reset_since)
            self._power_up()
            self.sim.record(self.name, "radio.reset")
            self._hold_busy(f.COLD_START_US)

    def power_cycle(self) -> None:
        """The supply went and came back: as a reset, without its pin."""
        self._abort()
        self._in_reset = self._selected = False
        self._power_up()
        self._hold_busy(f.COLD_START_US)

    def select(self, level: int) -> None:
        """NSS changed; the command is carried out when it rises."""
        if not level and not self._selected:
            self._selected = True
            self._frame = bytearray()
            self._lost = False
            if self._in_reset:
                self._lost = True
            elif self.mode == f.SLEEP:
                self._lost = True
                if self.sim.now_us - self._sleep_us < f.SLEEP_STORE_US:
                    self._fault("wake_early", us=self.sim.now_us - self._sleep_us)
                self._wake()
            elif self.busy:
                self._lost = True
                self._fault("busy")
        elif level and self._selected:
            self._selected = False
            if self._frame and not self._lost:
                self._execute(bytes(self._frame))

    def transfer(self, data: bytes) -> bytes:
        """Exchange bytes while selected; returns what MISO carried."""
        if not self._selected:
            return b"\0" * len(data)
        start = len(self._frame)
        self._frame += data
        if self._lost:
            return bytes([self._status()]) * len(data)
        return bytes(self._answer(i) for i in range(start, len(self._frame)))

    def _execute(self, frame: bytes) -> None:
        """Carry out a command; the class of the commands has it."""
        raise NotImplementedError

    def _answer(self, i: int) -> int:
        """What MISO carries with byte `i` of the frame."""
        raise NotImplementedError

    def _status(self) -> int:
        return (self.mode << 4) | (self._command_status << 1)

    # Modes and time.

    def _switch(self, target: int, *, keep_duty: bool = False) -> int:
        if not keep_duty:
            self._duty = None
        origin = self.mode
        self._abort()
        busy_us = f.SWITCH_US.get((origin, target), f.COMMAND_BUSY_US)
        starts = target not in (f.STDBY_RC,) and origin == f.STDBY_RC
        if starts and self._tcxo is not None:
            busy_us += round(self._tcxo[1] * f.RTC_STEP_US)
        self._enter(target)
        return busy_us

    def _enter(self, mode: int) -> None:
        if mode != self.mode:
            self.mode = mode
            self.energy_state(_MODE_NAMES[mode])

    def _abort(self) -> None:
        """Leave whatever was going on: timers, reception, transmission."""
        self._session += 1
        self._listening_us = None
        self._locked = None
        self.sim.cancel(self._timer)
        self._timer = None
        self.sim.cancel(self._stray_timer)

    def _wake(self) -> None:
        if self._warm:
            kept = self._registers
            listed = kept.get(f.REG_RETENTION, 0)
            names = [
                kept.get(f.REG_RETENTION + 1 + 2 * i, 0) << 8
                | kept.get(f.REG_RETENTION + 2 + 2 * i, 0)
                for i in range(min(listed, 4))
            ]
            if f.REG_RX_GAIN not in names:
                kept[f.REG_RX_GAIN] = f.RESET_REGISTERS[f.REG_RX_GAIN]
            self._enter(f.STDBY_RC)
            self._command_status = f.STATUS_NONE
            self._hold_busy(f.WARM_START_US)
        else:
            self._power_up()
            self._hold_busy(f.COLD_START_US)

    def _power_up(self) -> None:
        self._session = getattr(self, "_session", 0) + 1
        self._command_status = f.STATUS_NONE
        self._registers = dict(f.RESET_REGISTERS)
        self._buffer = bytearray(256)
        self._irq: int = 0
        self._irq_mask: int = 0
        self._dio1_mask: int = 0
        # On a board with a TCXO the calibration at power-on cannot find its clock (9.2.1).
        self._errors = f.ERROR_XOSC if self.board.tcxo_mv else 0
        self._packet_type = f.GFSK
        self._modulation_set = self._packet_set = False
        self._sf, self._bw_hz, self._cr, self._ldro = 7, 125_000, 1, False
        self._preamble, self._explicit, self._length = 8, True, 0
        self._crc = self._iq_inverted = False
        self._freq_hz = 0
        self._pa: tuple[int, int] | None = None
        self._tx_power: int | None = None
        self._ramp_us = 40
        self._tcxo: tuple[int, int] | None = None
        self._dio2_switch = False
        self._image_hz = (902_000_000, 928_000_000)
        self._fallback = f.STDBY_RC
        self._tx_base = self._rx_base = 0
        self._rx_length = self._rx_start = 0
        self._packet_status = b"\0\0\0"
        self._stats = [0, 0, 0]
        self._symbol_timeout = 0
        self._stop_on_preamble = False
        self._continuous = False
        self._duty: tuple[int, int] | None = None
        self._cad: tuple[int, int, int] | None = None
        self._read = b""
        self._lost = False
        self._listening_us: int | None = None
        self._locked: Reception | None = None
        self._timer: Event | None = None
        self._stray_timer: Event | None = None
        self.dcdc = False
        self._enter(f.STDBY_RC)
        self._update_dio1()

    def _hold_busy(self, us: int) -> None:
        """BUSY is high for `us` from now; -1 leaves it as it is."""
        if us < 0:
            return
        self.busy_until_us = max(self.busy_until_us, self.sim.now_us + us)
        self._set_busy(1)
        self.sim.cancel(self._settle)
        self._settle = self.sim.at(self.busy_until_us, self._settled)

    def _settled(self) -> None:
        if self.mode != f.SLEEP and not self._in_reset:
            self._set_busy(0)

    def _set_busy(self, level: int) -> None:
        if level != self.busy:
            self.busy = level
            self.set_busy(level)

    def _raise(self, bits: int) -> None:
        self._irq |= bits & self._irq_mask
        self._update_dio1()

    def _update_dio1(self) -> None:
        level = 1 if self._irq & self._dio1_mask else 0
        if level != self.dio1:
            self.dio1 = level
            self.set_dio1(level)

    def _fault(self, what: str, **fields: object) -> None:
        self.sim.fault(self.name, "sx126x." + what, **fields)

    def _finish(self, status: int, mode: int) -> None:
        self._abort()
        self._command_status = status
        self._enter(mode)


def _ignore(_: object) -> None:
    pass


_MODE_NAMES = {
    f.SLEEP: "sleep", f.STDBY_RC: "standby_rc", f.STDBY_XOSC: "standby_xosc",
    f.FS: "fs", f.RX: "rx", f.TX: "tx",
}  # fmt: skip
