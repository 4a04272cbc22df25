"""An SX1261 or SX1262 at the level of its pins and SPI bytes.

Public: `Sx126x` (`select`, `transfer`, `reset`, and as a `Radio` on a `Medium`), `BoardFacts`.

The host sees what silicon shows: BUSY with its times, status bytes on every exchange, IRQ bits
masked to DIO1, registers, a 256-byte buffer, timeouts in 15.625 us steps. What the data sheet
forbids is refused as the chip refuses it *and* recorded by `Simulation.fault`, so a test can
assert that a driver never relies on luck. Fault names:

    busy            a command while BUSY was high (it is lost)
    wake_early      NSS low within 500 us of SetSleep
    opcode, length  an unknown opcode, or a wrong number of parameters
    mode            a command that the present mode does not allow
    order           SetTx, SetRx or SetCad before what must be set
    packet_type     LoRa parameters while the packet type is GFSK
    pa              SetTx without SetPaConfig, or with the other chip's settings
    tcxo            oscillator needed on a board whose TCXO has no supply, too little voltage
                    or too little time
    rf_switch       TX or RX on a board whose switch hangs on DIO2, without DIO2 set up
    image           TX or RX outside the band of the image calibration
    errata.modulation, errata.clamp, errata.iq   TX or RX without the workarounds of chapter 15
    reset_pulse     NRESET low for less than 50 us

GFSK is answered at command level but never heard on the air.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from sim.chips import sx126x_facts as f
from sim.kernel import Event, Simulation
from sim.radio import phy
from sim.radio.medium import Medium, Radio, Reception, Transmission


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


class Sx126x(Radio):
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
        self.tx_count = 0
        self.rx_count = 0
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

    # The SPI frame as it is clocked: what each byte of MISO carries.

    def _answer(self, i: int) -> int:
        frame = self._frame
        op = frame[0]
        if i == 0:
            self._read = self._prepare(op)
            return self._status()
        if op == 0x1D:
            address = (frame[1] << 8 | frame[2]) if len(frame) > 2 else 0
            return self._status() if i < 4 else self._register(address + i - 4)
        if op == 0x1E:
            return self._status() if i < 3 else self._buffer[(frame[1] + i - 3) & 0xFF]
        if self._read and i >= 2:
            return self._read[i - 2] if i - 2 < len(self._read) else self._read[-1]
        return self._status()

    def _prepare(self, op: int) -> bytes:
        if op == 0x12:
            return self._irq.to_bytes(2, "big")
        if op == 0x11:
            return bytes([self._packet_type])
        if op == 0x13:
            return bytes([self._rx_length, self._rx_start])
        if op == 0x14:
            return self._packet_status
        if op == 0x15:
            if self.mode != f.RX:
                return b"\xff"
            level = self.medium.rssi_dbm(self, self._freq_hz, self._bw_hz)
            return bytes([_rssi(level)])
        if op == 0x10:
            return b"".join(n.to_bytes(2, "big") for n in self._stats)
        if op == 0x17:
            return self._errors.to_bytes(2, "big")
        return b""

    def _register(self, address: int) -> int:
        if f.REG_RANDOM <= address < f.REG_RANDOM + 4:
            return self.sim.rng("chip/" + self.name).randrange(256) if self.mode == f.RX else 0
        return self._registers.get(address, 0)

    def _status(self) -> int:
        return (self.mode << 4) | (self._command_status << 1)

    # Commands, at the rising edge of NSS.

    def _execute(self, frame: bytes) -> None:
        op, args = frame[0], frame[1:]
        if op not in f.COMMANDS:
            self._fault("opcode", op=op)
            self._command_status = f.STATUS_PROCESSING
            return
        name, count = f.COMMANDS[op]
        if op in f.READS:
            if op == 0xC0 and self._command_status != f.STATUS_DATA:
                self._command_status = f.STATUS_NONE
            return
        gfsk_sizes = {0x8B: 8, 0x8C: 9}
        if op in gfsk_sizes and self._packet_type == f.GFSK:
            if len(args) == count:
                self._fault("packet_type", command=name)
                self._command_status = f.STATUS_PROCESSING
                return
            count = gfsk_sizes[op]
        if len(args) != count and not (op in f.OPEN_ENDED and len(args) >= count):
            self._fault("length", command=name, got=len(args), wants=count)
            self._command_status = f.STATUS_PROCESSING
            return
        self._command_status = f.STATUS_NONE
        busy_us = self._handlers[op](self, args)
        self._hold_busy(busy_us)

    def _allowed(self, name: str, modes: tuple[int, ...]) -> bool:
        if self.mode in modes:
            return True
        self._fault("mode", command=name, mode=self.mode)
        self._command_status = f.STATUS_EXECUTE
        return False

    def _set_sleep(self, args: bytes) -> int:
        if not self._allowed("SetSleep", (f.STDBY_RC, f.STDBY_XOSC)):
            return f.COMMAND_BUSY_US
        self._warm = bool(args[0] & 4)
        self._sleep_us = self.sim.now_us
        self._buffer = bytearray(256)  # not retained (table 8-1 and 7.2)
        self._enter(f.SLEEP)
        self._set_busy(1)
        return -1

    def _set_standby(self, args: bytes) -> int:
        target = f.STDBY_XOSC if args[0] else f.STDBY_RC
        if target == f.STDBY_XOSC and not self._oscillator():
            return f.COMMAND_BUSY_US
        return self._switch(target)

    def _set_fs(self, _: bytes) -> int:
        if not self._oscillator():
            return f.COMMAND_BUSY_US
        return self._switch(f.FS)

    def _set_tx(self, args: bytes) -> int:
        if not self._oscillator() or not self._ready("SetTx"):
            return f.COMMAND_BUSY_US
        if self._pa is None:
            self._fault("pa", why="SetTx without SetPaConfig")
            return self._refuse()
        if self._tx_power is None:
            self._fault("order", why="SetTx without SetTxParams")
            return self._refuse()
        busy_us = self._switch(f.TX)
        timeout = int.from_bytes(args, "big")
        self._check_errata_tx()
        session = self._session
        self.sim.after(busy_us, self._start_tx, session, timeout)
        return busy_us

    def _set_rx(self, args: bytes) -> int:
        if not self._oscillator() or not self._ready("SetRx"):
            return f.COMMAND_BUSY_US
        timeout = int.from_bytes(args, "big")
        self._continuous = timeout == 0xFFFFFF
        busy_us = self._switch(f.RX)
        self._listen_after(busy_us, 0 if self._continuous else timeout)
        return busy_us

    def _set_rx_duty_cycle(self, args: bytes) -> int:
        if not self._oscillator() or not self._ready("SetRxDutyCycle"):
            return f.COMMAND_BUSY_US
        self._continuous = False
        self._duty = (int.from_bytes(args[:3], "big"), int.from_bytes(args[3:], "big"))
        busy_us = self._switch(f.RX, keep_duty=True)
        self._listen_after(busy_us, self._duty[0])
        return busy_us

    def _set_cad(self, _: bytes) -> int:
        if not self._oscillator() or not self._ready("SetCad"):
            return f.COMMAND_BUSY_US
        if self._cad is None:
            self._fault("order", why="SetCad without SetCadParams")
            return self._refuse()
        busy_us = self._switch(f.RX)
        # Listening takes the symbols asked for, and about half a symbol of sums after them.
        symbols = f.CAD_SYMBOLS.get(self._cad[0], 1) + 0.5
        length = busy_us + round(symbols * phy.symbol_us(self._sf, self._bw_hz))
        self._timer = self.sim.after(length, self._cad_over, self._session)
        return busy_us

    def _set_tx_test(self, _: bytes) -> int:
        if not self._oscillator() or not self._ready("SetTxContinuousWave"):
            return f.COMMAND_BUSY_US
        return self._switch(f.TX)

    def _set_regulator(self, args: bytes) -> int:
        if self._allowed("SetRegulatorMode", (f.STDBY_RC,)):
            self.dcdc = bool(args[0])
        return f.COMMAND_BUSY_US

    def _calibrate(self, args: bytes) -> int:
        if not self._allowed("Calibrate", (f.STDBY_RC,)):
            return f.COMMAND_BUSY_US
        # The PLL, ADC and image blocks are calibrated against the 32 MHz oscillator.
        if args[0] & 0x78 and self._tcxo_problem():
            self._errors |= f.ERROR_XOSC
            self._fault("tcxo", why=self._tcxo_problem())
        return f.CALIBRATE_US

    def _calibrate_image(self, args: bytes) -> int:
        if not self._allowed("CalibrateImage", (f.STDBY_RC, f.STDBY_XOSC)):
            return f.COMMAND_BUSY_US
        low, high = args
        if low > high or self._tcxo_problem():
            self._errors |= f.ERROR_IMAGE
            self._fault("image", why="bad range" if low > high else self._tcxo_problem())
        else:
            self._image_hz = (low * 4_000_000, high * 4_000_000)
        return f.CALIBRATE_IMAGE_US

    def _set_pa_config(self, args: bytes) -> int:
        duty, hp_max, device, lut = args
        wrong = device != int(self.board.sx1261) or lut != 1
        if wrong or duty > (7 if self.board.sx1261 else 4) or hp_max > 7:
            self._fault("pa", args=args)
        self._pa = (duty, hp_max)
        self._registers[f.REG_OCP] = f.OCP_SX1261 if device else f.OCP_SX1262
        return f.COMMAND_BUSY_US

    def _set_fallback(self, args: bytes) -> int:
        modes = {0x20: f.STDBY_RC, 0x30: f.STDBY_XOSC, 0x40: f.FS}
        if args[0] not in modes:
            return self._refuse()
        self._fallback = modes[args[0]]
        return f.COMMAND_BUSY_US

    def _write_register(self, args: bytes) -> int:
        address = args[0] << 8 | args[1]
        for i, value in enumerate(args[2:]):
            self._registers[address + i] = value
            if address + i == f.REG_EVENT_CLEAR and value & 2:
                self.sim.cancel(self._stray_timer)
        return f.COMMAND_BUSY_US

    def _nothing(self, _: bytes) -> int:
        return 1

    def _write_buffer(self, args: bytes) -> int:
        for i, value in enumerate(args[1:]):
            self._buffer[(args[0] + i) & 0xFF] = value
        return 1

    def _set_dio_irq(self, args: bytes) -> int:
        self._irq_mask = args[0] << 8 | args[1]
        self._dio1_mask = args[2] << 8 | args[3]
        self._update_dio1()
        return f.COMMAND_BUSY_US

    def _clear_irq(self, args: bytes) -> int:
        self._irq &= ~(args[0] << 8 | args[1])
        self._update_dio1()
        return f.COMMAND_BUSY_US

    def _set_dio2(self, args: bytes) -> int:
        self._dio2_switch = bool(args[0])
        return f.COMMAND_BUSY_US

    def _set_dio3(self, args: bytes) -> int:
        if self._allowed("SetDio3AsTcxoCtrl", (f.STDBY_RC,)):
            self._tcxo = (f.TCXO_MV.get(args[0] & 7, 0), int.from_bytes(args[1:], "big"))
        return f.COMMAND_BUSY_US

    def _set_frequency(self, args: bytes) -> int:
        steps = int.from_bytes(args, "big")
        self._freq_hz = round(steps * 32_000_000 / (1 << 25))
        return f.COMMAND_BUSY_US

    def _set_packet_type(self, args: bytes) -> int:
        if self._allowed("SetPacketType", (f.STDBY_RC, f.STDBY_XOSC, f.FS)):
            self._packet_type = args[0]
            self._modulation_set = self._packet_set = False
        return f.COMMAND_BUSY_US

    def _set_tx_params(self, args: bytes) -> int:
        power = args[0] - 256 if args[0] > 127 else args[0]
        low, high = (-17, 15) if self.board.sx1261 else (-9, 22)
        if not low <= power <= high or args[1] not in f.RAMP_US:
            self._fault("pa", power=power, ramp=args[1])
        self._tx_power = max(low, min(high, power))
        self._ramp_us = f.RAMP_US.get(args[1], 40)
        return f.COMMAND_BUSY_US

    def _set_modulation(self, args: bytes) -> int:
        self._modulation_set = True
        if self._packet_type == f.LORA:
            sf, bw, cr, ldro = args
            if not 5 <= sf <= 12 or bw not in f.LORA_BW_HZ or not 1 <= cr <= 4:
                return self._refuse()
            self._sf, self._bw_hz, self._cr = sf, f.LORA_BW_HZ[bw], cr
            self._ldro = bool(ldro)
        return f.COMMAND_BUSY_US

    def _set_packet(self, args: bytes) -> int:
        self._packet_set = True
        if self._packet_type == f.LORA:
            self._preamble = args[0] << 8 | args[1]
            self._explicit = args[2] == 0
            self._length = args[3]
            self._crc = bool(args[4])
            self._iq_inverted = bool(args[5])
        return f.COMMAND_BUSY_US

    def _set_cad_params(self, args: bytes) -> int:
        self._cad = (args[0], args[3], int.from_bytes(args[4:], "big"))
        return f.COMMAND_BUSY_US

    def _set_base(self, args: bytes) -> int:
        self._tx_base, self._rx_base = args
        return f.COMMAND_BUSY_US

    def _set_symbol_timeout(self, args: bytes) -> int:
        self._symbol_timeout = args[0]
        self._registers.pop(f.REG_SYNCH_TIMEOUT, None)
        return f.COMMAND_BUSY_US

    def _set_stop_on_preamble(self, args: bytes) -> int:
        self._stop_on_preamble = bool(args[0])
        return f.COMMAND_BUSY_US

    def _reset_stats(self, _: bytes) -> int:
        self._stats = [0, 0, 0]
        return f.COMMAND_BUSY_US

    def _clear_errors(self, _: bytes) -> int:
        self._errors = 0
        return f.COMMAND_BUSY_US

    # What must be true before the radio may be used.

    def _tcxo_problem(self) -> str:
        if not self.board.tcxo_mv:
            return ""
        if self._tcxo is None:
            return "the TCXO has no supply: SetDio3AsTcxoCtrl is missing"
        millivolts, steps = self._tcxo
        if millivolts < self.board.tcxo_mv:
            return f"{millivolts} mV on DIO3, the TCXO needs {self.board.tcxo_mv} mV"
        if steps * f.RTC_STEP_US < self.board.tcxo_start_us:
            return f"{steps} steps on DIO3, the TCXO needs {self.board.tcxo_start_us} us"
        return ""

    def _oscillator(self) -> bool:
        problem = self._tcxo_problem()
        if not problem:
            return True
        self._errors |= f.ERROR_XOSC
        self._fault("tcxo", why=problem)
        self._refuse()
        self._enter(f.STDBY_RC)
        return False

    def _refuse(self) -> int:
        self._command_status = f.STATUS_EXECUTE
        return f.COMMAND_BUSY_US

    def _ready(self, name: str) -> bool:
        missing = [
            what
            for what, there in (
                ("SetRfFrequency", self._freq_hz != 0),
                ("SetModulationParams", self._modulation_set),
                ("SetPacketParams", self._packet_set or name == "SetCad"),
            )
            if not there
        ]
        if missing:
            self._fault("order", command=name, missing=",".join(missing))
            self._refuse()
            return False
        if self.board.rf_switch_dio2 and not self._dio2_switch:
            self._fault("rf_switch", command=name)
        low, high = self._image_hz
        if not low <= self._freq_hz <= high:
            self._fault("image", command=name, hz=self._freq_hz)
        if self._packet_type == f.LORA and self._iq_inverted == bool(
            self._registers[f.REG_IQ_POLARITY] & 4
        ):
            self._fault("errata.iq", command=name)
        return True

    def _check_errata_tx(self) -> None:
        wide = self._packet_type == f.LORA and self._bw_hz == 500_000
        if bool(self._registers[f.REG_TX_MODULATION] & 4) == wide:
            self._fault("errata.modulation")
        if not self.board.sx1261 and self._registers[f.REG_TX_CLAMP] & 0x1E != 0x1E:
            self._fault("errata.clamp")

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
        self._irq = self._irq_mask = self._dio1_mask = 0
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

    # Transmission.

    def power_dbm(self) -> float:
        """What leaves the chip with the present PA settings."""
        assert self._tx_power is not None and self._pa is not None
        if self.board.sx1261:
            return float(self._tx_power)
        full = f.PA_MAX_DBM.get(self._pa)
        if full is None:  # between the tabulated points: roughly by the larger step
            full = 22 - 2 * (4 - min(self._pa[0], 4)) - (7 - min(self._pa[1], 7))
        return float(self._tx_power - (22 - full))

    def _start_tx(self, session: int, timeout: int) -> None:
        if session != self._session:
            return
        if timeout:
            limit = round(timeout * f.RTC_STEP_US)
            self._timer = self.sim.after(limit, self._timed_out, session)
        if self._packet_type != f.LORA:
            self.sim.after(10_000, self._tx_over, session)
            return
        base = self._tx_base
        tx = Transmission(
            sender=self.name,
            freq_hz=self._freq_hz,
            sf=self._sf,
            bw_hz=self._bw_hz,
            cr=self._cr,
            preamble=self._preamble,
            explicit=self._explicit,
            crc=self._crc,
            iq_inverted=self._iq_inverted,
            sync_word=self._sync_word(),
            power_dbm=self.power_dbm(),
            payload=bytes(self._buffer[(base + i) & 0xFF] for i in range(self._length)),
            start_us=self.sim.now_us,
            ldro=self._ldro,
        )
        self.tx_count += 1
        self.medium.transmit(self, tx)
        self.sim.at(tx.end_us + self._ramp_us, self._tx_over, session)

    def _sync_word(self) -> int:
        return self._registers[f.REG_SYNC_WORD] << 8 | self._registers[f.REG_SYNC_WORD + 1]

    def _tx_over(self, session: int) -> None:
        if session == self._session:
            self._finish(f.STATUS_TX_DONE, self._fallback)
            self._raise(f.IRQ_TX_DONE)

    # Reception.

    def _listen_after(self, busy_us: int, timeout: int) -> None:
        self.sim.after(busy_us, self._start_rx, self._session, timeout)

    def _start_rx(self, session: int, timeout: int) -> None:
        if session != self._session:
            return
        self._listening_us = self.sim.now_us
        symbols = self._timeout_symbols()
        limits = [round(timeout * f.RTC_STEP_US)] if timeout else []
        if symbols and not self._continuous and self._packet_type == f.LORA:
            limits.append(round(symbols * phy.symbol_us(self._sf, self._bw_hz)))
        if limits:
            self._timer = self.sim.after(min(limits), self._timed_out, session)
        self._rx_timeout_us = limits[0] if timeout else 0
        self._rx_began_us = self.sim.now_us
        if self._packet_type == f.LORA:
            self.medium.listen(self)

    def _timeout_symbols(self) -> int:
        register = self._registers.get(f.REG_SYNCH_TIMEOUT)
        if register is not None:
            return (register >> 3) << (2 * (register & 7) + 1)
        return self._symbol_timeout

    def _timed_out(self, session: int) -> None:
        if session != self._session:
            return
        if self.mode == f.RX and self._duty is not None:
            self._abort()
            asleep = round(self._duty[1] * f.RTC_STEP_US)
            self.sim.after(asleep, self._duty_again, self._session)
            return
        self._finish(f.STATUS_TIMEOUT if self.mode == f.RX else f.STATUS_NONE, f.STDBY_RC)
        self._raise(f.IRQ_TIMEOUT)

    def _duty_again(self, session: int) -> None:
        if session == self._session and self._duty is not None:
            self._start_rx(session, self._duty[0])

    def _cad_over(self, session: int) -> None:
        if session != self._session or self._cad is None:
            return
        found = self.medium.activity(self, self._freq_hz, self._sf, self._bw_hz)
        _, exit_mode, timeout = self._cad
        self._abort()
        if found and exit_mode == 1:
            self._continuous = False
            self._start_rx(self._session, timeout)
        else:
            self._enter(f.STDBY_RC)
        self._raise(f.IRQ_CAD_DONE | (f.IRQ_CAD_DETECTED if found else 0))

    def listening_since(self, tx: Transmission) -> int | None:
        """See `Radio`."""
        heard = (
            self.mode == f.RX
            and self._locked is None
            and self._listening_us is not None
            and self._packet_type == f.LORA
            and abs(tx.freq_hz - self._freq_hz) < tx.bw_hz // 4
            and (tx.sf, tx.bw_hz, tx.iq_inverted) == (self._sf, self._bw_hz, self._iq_inverted)
        )
        return self._listening_us if heard else None

    def on_preamble(self, reception: Reception) -> None:
        """See `Radio`."""
        self._locked = reception
        self._lock_session = self._session
        # The symbol timeout is met; the RTC timer goes on unless it stops at the preamble.
        self.sim.cancel(self._timer)
        if self._duty is not None:
            # 13.1.7: the window is prolonged by twice the listening and once the sleeping time.
            steps = 2 * self._duty[0] + self._duty[1]
            longer = round(steps * f.RTC_STEP_US)
            self._timer = self.sim.after(longer, self._timed_out, self._session)
        elif self._rx_timeout_us and not self._stop_on_preamble:
            due = self._rx_began_us + self._rx_timeout_us
            if reception.tx.header_end_us > due:
                self._timer = self.sim.at(due, self._timed_out, self._session)
        self._raise(f.IRQ_PREAMBLE)

    def on_header(self, reception: Reception, ok: bool) -> None:
        """See `Radio`."""
        if self._locked is not reception or self._lock_session != self._session:
            return
        if reception.tx.sync_word != self._sync_word():
            self._locked = None
            reception.outcome = "lost"
            self._resume_rx()
            return
        self.sim.cancel(self._timer)
        self._raise((f.IRQ_HEADER | f.IRQ_SYNC) if ok else (f.IRQ_HEADER_ERROR | f.IRQ_SYNC))
        if not ok:
            self._stats[2] += 1

    def _resume_rx(self) -> None:
        self._listen_on()
        if self._continuous:
            return
        if self._rx_timeout_us:  # the search goes on; the window's end is what it was
            self._timer = self.sim.at(
                self._rx_began_us + self._rx_timeout_us, self._timed_out, self._session
            )
        elif self._timeout_symbols():
            self._timer = self.sim.after(0, self._timed_out, self._session)

    def _listen_on(self) -> None:
        """Search for the next preamble, from now."""
        self._listening_us = self.sim.now_us
        self.medium.listen(self)

    def on_end(self, reception: Reception) -> None:
        """See `Radio`."""
        if self._locked is not reception or self._lock_session != self._session:
            return
        self._locked = None
        if self._continuous:
            self._listen_on()
        if reception.outcome == "lost" or reception.tx.sync_word != self._sync_word():
            return
        if reception.outcome == "header" or reception.tx.explicit != self._explicit:
            if not self._continuous:
                self._finish(f.STATUS_NONE, self._fallback)
            return
        payload = reception.tx.payload
        if not self._explicit:
            payload = payload[: self._length]
        damaged = reception.outcome == "crc"
        if damaged:
            rng = self.sim.rng("chip/" + self.name)
            payload = bytes(b ^ (rng.randrange(256) if rng.random() < 0.2 else 0) for b in payload)
        for i, value in enumerate(payload):
            self._buffer[(self._rx_base + i) & 0xFF] = value
        self._rx_start, self._rx_length = self._rx_base, len(payload)
        snr = max(-32.0, min(reception.snr_db, 13.0))
        # RssiPkt is the average with noise, SignalRssiPkt the despread signal alone.
        total = 10 * math.log10(1 + 10 ** (reception.snr_db / 10)) - reception.snr_db
        self._packet_status = bytes(
            [_rssi(reception.rssi_dbm + total), round(snr * 4) & 0xFF, _rssi(reception.rssi_dbm)]
        )
        checked = reception.tx.crc and damaged
        self._stats[0] += 1
        self._stats[1] += int(checked)
        self.rx_count += int(not damaged)
        if not self._continuous:
            self._finish(f.STATUS_DATA, self._fallback)
            self._stray()
        self._command_status = f.STATUS_DATA
        self.sim.record(self.name, "radio.rx", data=payload, crc_error=checked)
        self._raise(f.IRQ_RX_DONE | (f.IRQ_CRC_ERROR if checked else 0))

    def _stray(self) -> None:
        """Errata 15.3: in implicit header mode the timer runs on after RxDone."""
        if not self._explicit and self._rx_timeout_us:
            due = self._rx_began_us + self._rx_timeout_us
            self._stray_timer = self.sim.at(due, self._raise, f.IRQ_TIMEOUT)

    _handlers: ClassVar[dict[int, Callable[[Any, bytes], int]]] = {
        0x84: _set_sleep,
        0x80: _set_standby,
        0xC1: _set_fs,
        0x83: _set_tx,
        0x82: _set_rx,
        0x9F: _set_stop_on_preamble,
        0x94: _set_rx_duty_cycle,
        0xC5: _set_cad,
        0xD1: _set_tx_test,
        0xD2: _set_tx_test,
        0x96: _set_regulator,
        0x89: _calibrate,
        0x98: _calibrate_image,
        0x95: _set_pa_config,
        0x93: _set_fallback,
        0x0D: _write_register,
        0x1D: _nothing,
        0x0E: _write_buffer,
        0x1E: _nothing,
        0x08: _set_dio_irq,
        0x02: _clear_irq,
        0x9D: _set_dio2,
        0x97: _set_dio3,
        0x86: _set_frequency,
        0x8A: _set_packet_type,
        0x8E: _set_tx_params,
        0x8B: _set_modulation,
        0x8C: _set_packet,
        0x88: _set_cad_params,
        0x8F: _set_base,
        0xA0: _set_symbol_timeout,
        0x00: _reset_stats,
        0x07: _clear_errors,
    }


def _ignore(_: object) -> None:
    pass


def _rssi(dbm: float) -> int:
    return max(0, min(255, round(-2 * dbm)))


_MODE_NAMES = {
    f.SLEEP: "sleep", f.STDBY_RC: "standby_rc", f.STDBY_XOSC: "standby_xosc",
    f.FS: "fs", f.RX: "rx", f.TX: "tx",
}  # fmt: skip
