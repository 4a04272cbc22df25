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

from collections.abc import Callable
from typing import Any, ClassVar

from sim.chips import sx126x_facts as f
from sim.chips.sx126x_air import ChipAir, rssi_code
from sim.chips.sx126x_core import BoardFacts
from sim.radio import phy

__all__ = ["BoardFacts", "Sx126x"]


class Sx126x(ChipAir):
    """One chip; `set_busy` and `set_dio1` are called with the new level of those pins."""

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
            return bytes([rssi_code(level)])
        if op == 0x10:
            return b"".join(n.to_bytes(2, "big") for n in self._stats)
        if op == 0x17:
            return self._errors.to_bytes(2, "big")
        return b""

    def _register(self, address: int) -> int:
        if f.REG_RANDOM <= address < f.REG_RANDOM + 4:
            return self.sim.rng("chip/" + self.name).randrange(256) if self.mode == f.RX else 0
        return self._registers.get(address, 0)

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
