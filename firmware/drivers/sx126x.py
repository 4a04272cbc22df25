"""SX1262 LoRa radio over SPI: `Sx126x` and its events `RADIO_...`.

transmit() and receive() start an operation and return; `poll(now_ms)` says how it ended. The DIO1
interrupt only notes a flag and the tick. All commands of a receive window are built in
preallocated buffers: nothing is allocated between TX_DONE and the end of the last window
(tested with the heap locked), so no collection can fall into it.

Sources: SX1261/2 datasheet DS.SX1261-2.W.APP rev. 2.1 (commands in chapter 13, known limitations
in chapter 15), and Lora-net/LoRaMac-node src/radio/sx126x (order of steps).
"""

from micropython import const

from firmware.drivers.sx126x_bus import FRAME_MAX, RadioError, Sx126xBus
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from machine import SPI, Pin

RADIO_NONE = 0  # still at work, or idle
RADIO_TX_DONE = 1
RADIO_RX_DONE = 2
RADIO_RX_TIMEOUT = 3
RADIO_CRC_ERROR = 4  # a packet arrived damaged
RADIO_STUCK = 5  # the chip says nothing: reset it with `start`

_WRITE_REGISTER = const(0x0D)
_SET_SLEEP = const(0x84)
_SET_STANDBY = const(0x80)
_SET_TX = const(0x83)
_SET_RX = const(0x82)
_SET_REGULATOR = const(0x96)
_CALIBRATE = const(0x89)
_CALIBRATE_IMAGE = const(0x98)
_SET_PA_CONFIG = const(0x95)
_SET_FALLBACK = const(0x93)
_SET_DIO_IRQ = const(0x08)
_GET_IRQ = const(0x12)
_CLEAR_IRQ = const(0x02)
_SET_DIO2_SWITCH = const(0x9D)
_SET_DIO3_TCXO = const(0x97)
_SET_FREQUENCY = const(0x86)
_SET_PACKET_TYPE = const(0x8A)
_SET_TX_PARAMS = const(0x8E)
_SET_MODULATION = const(0x8B)
_SET_PACKET = const(0x8C)
_SET_BUFFER_BASE = const(0x8F)
_SET_SYMBOL_TIMEOUT = const(0xA0)
_SET_RX_DUTY_CYCLE = const(0x94)
_GET_RX_BUFFER = const(0x13)
_GET_PACKET_STATUS = const(0x14)
_GET_ERRORS = const(0x17)
_CLEAR_ERRORS = const(0x07)

_REG_SYNC_WORD = const(0x0740)
_REG_IQ_POLARITY = const(0x0736)
_REG_TX_MODULATION = const(0x0889)
_REG_RX_GAIN = const(0x08AC)
_REG_TX_CLAMP = const(0x08D8)
_REG_OCP = const(0x08E7)
_REG_RTC_CONTROL = const(0x0902)
_REG_EVENT_MASK = const(0x0944)
_REG_SYNCH_TIMEOUT = const(0x0706)

_IRQ_TX_DONE = const(0x0001)
_IRQ_RX_DONE = const(0x0002)
_IRQ_HEADER_ERROR = const(0x0020)
_IRQ_CRC_ERROR = const(0x0040)
_IRQ_TIMEOUT = const(0x0200)
_IRQ_OURS = const(0x0263)

_STANDBY_RC = const(0)
_STANDBY_XOSC = const(1)
_RX_TIMER_UNITS = const(262_144)  # 4.096 s in 15.625 us: longer than any window and its packet
_TCXO_MV = (1600, 1700, 1800, 2200, 2400, 2700, 3000, 3300)  # datasheet 13.3.6


class Sx126x:
    """One SX1262. Owns the SPI bus and four pins; call `start` before anything else.

    `sleep_ms` waits while the chip starts; `ticks_ms` is read in the interrupt.
    """

    def __init__(
        self,
        spi: "SPI",
        cs: "Pin",
        reset: "Pin",
        busy: "Pin",
        dio1: "Pin",
        ticks_ms: "Callable[[], int]",
        sleep_ms: "Callable[[int], None]",
        tcxo_mv: int = 0,
        tcxo_us: int = 5000,
        dio2_switch: bool = True,
        dcdc: bool = True,
        power_max_dbm: int = 22,
    ) -> None:
        self._bus = Sx126xBus(spi, cs, busy, ticks_ms, sleep_ms)
        self._cs = cs
        self._reset = reset
        self._dio1 = dio1
        self._ticks_ms = ticks_ms
        self._sleep_ms = sleep_ms
        self._tcxo_mv = tcxo_mv
        self._tcxo_us = tcxo_us
        self._dio2_switch = dio2_switch
        self._dcdc = dcdc
        self._power_max_dbm = power_max_dbm
        self._is_receiving = False
        self._is_continuous = False
        self._freq_hz = 0
        self._sf = 0
        self._bw_hz = 0
        self._limit_ms = 0  # when the operation must be over
        self._is_running = False
        self.irq_seen = False
        self.irq_ms = 0  # tick of the last DIO1 edge: the end of the packet
        self.rx_length = 0
        self._rx_offset = 0
        self.rssi_dbm = 0
        self.snr_q4 = 0
        self.errors = 0  # device error bits after the last start
        self.resets = 0
        self.crc_errors = 0
        self.stuck = 0
        self._handler = self._on_dio1  # taking a bound method allocates: not in an interrupt

    def _on_dio1(self, _pin: "Pin") -> None:
        self.irq_ms = self._ticks_ms()
        self.irq_seen = True

    # --- life -----------------------------------------------------------------------------------

    def start(self, low_hz: int, high_hz: int) -> None:
        """Reset the chip and set it up for the band low_hz..high_hz; it then stands by.

        Raises RadioError("busy") when it does not come up, ("status") when nobody answers.
        """
        self.resets += 1
        self._cs.value(1)
        self._reset.value(0)
        self._sleep_ms(1)
        self._reset.value(1)
        self._sleep_ms(5)
        self._bus.is_asleep = False
        self._is_running = False
        self._bus.command1(_SET_STANDBY, _STANDBY_RC)
        mode = (self._bus.status() >> 4) & 7
        if mode not in (2, 3):
            raise RadioError("status", "mode %d after reset" % mode)
        if self._dio2_switch:
            self._bus.command1(_SET_DIO2_SWITCH, 1)
        if self._tcxo_mv:
            self._start_tcxo()
        self._bus.command1(_SET_REGULATOR, 1 if self._dcdc else 0)
        out = self._bus.out
        out[0] = _CALIBRATE_IMAGE
        out[1] = _band_low(low_hz)
        out[2] = _band_high(high_hz)
        self._bus.send(3)
        self._bus.command1(_SET_PACKET_TYPE, 1)
        out[0] = _SET_BUFFER_BASE
        out[1] = 0
        out[2] = 0
        self._bus.send(3)
        out[0] = _WRITE_REGISTER  # public network: 0x3444
        out[1] = _REG_SYNC_WORD >> 8
        out[2] = _REG_SYNC_WORD & 0xFF
        out[3] = 0x34
        out[4] = 0x44
        self._bus.send(5)
        # The oscillator runs on after a packet, so a receive window opens in 0.1 ms and not after
        # the TCXO's start; `sleep` ends that.
        self._bus.command1(_SET_FALLBACK, 0x30)
        for i in range(9):
            out[i] = 0
        out[0] = _SET_DIO_IRQ
        out[1] = out[3] = _IRQ_OURS >> 8
        out[2] = out[4] = _IRQ_OURS & 0xFF
        self._bus.send(9)
        self._clear_irq()
        self.errors = self._bus.read2(_GET_ERRORS)
        self.irq_seen = False
        self._dio1.irq(handler=self._handler, trigger=self._dio1.IRQ_RISING)
        self.sleep()

    def _start_tcxo(self) -> None:
        code = 0
        while _TCXO_MV[code] < self._tcxo_mv:
            code += 1
        units = self._tcxo_us * 64 // 1000  # of 15.625 us
        out = self._bus.out
        out[0] = _SET_DIO3_TCXO
        out[1] = code
        out[2] = units >> 16
        out[3] = (units >> 8) & 0xFF
        out[4] = units & 0xFF
        self._bus.send(5)
        # The crystal oscillator failed to start at power-on because there is none: clear that
        # error, then calibrate everything on the TCXO (datasheet 9.2.1, 13.3.6).
        out[0] = _CLEAR_ERRORS
        out[1] = 0
        out[2] = 0
        self._bus.send(3)
        self._bus.command1(_CALIBRATE, 0x7F)

    def sleep(self) -> None:
        """Lowest power; the settings stay. Wakes by itself on the next operation."""
        if self._bus.is_asleep:
            return
        self._bus.command1(_SET_STANDBY, _STANDBY_RC)
        self._bus.command1(_SET_SLEEP, 0x04)  # warm start
        self._sleep_ms(1)  # NSS must stay high for 500 us while it stores its settings
        self._bus.is_asleep = True
        self._is_running = False

    def standby(self) -> None:
        """Oscillator on, ready for the next window; ends a running operation."""
        self._bus.command1(_SET_STANDBY, _STANDBY_XOSC)
        self._is_running = False

    def _clear_irq(self) -> None:
        out = self._bus.out
        out[0] = _CLEAR_IRQ
        out[1] = 0xFF
        out[2] = 0xFF
        self._bus.send(3)

    # --- operations -----------------------------------------------------------------------------

    def transmit(
        self,
        data: "bytes | bytearray | memoryview",
        length: int,
        freq_hz: int,
        sf: int,
        bw_hz: int,
        power_dbm: int,
        now_ms: int,
        iq_inverted: bool = False,
        crc_on: bool = True,
        preamble: int = 8,
        airtime_ms_max: int = 4000,
    ) -> None:
        """Send data[:length]; `poll` says RADIO_TX_DONE. `power_dbm` is at the chip's pin."""
        if not 0 < length <= FRAME_MAX:
            raise RadioError("length", str(length))
        self._bus.command1(_SET_STANDBY, _STANDBY_XOSC)
        self._bus.write_buffer(data, length)
        self._configure(freq_hz, sf, bw_hz, length, iq_inverted, crc_on, preamble)
        # Known limitation 15.1: modulation quality at 500 kHz.
        value = self._bus.read_register(_REG_TX_MODULATION)
        value = value & 0xFB if bw_hz == 500_000 else value | 0x04
        self._bus.write_register(_REG_TX_MODULATION, value)
        # Known limitation 15.2: the PA clamps too early when the antenna is mismatched.
        self._bus.write_register(_REG_TX_CLAMP, self._bus.read_register(_REG_TX_CLAMP) | 0x1E)
        out = self._bus.out
        out[0] = _SET_PA_CONFIG  # SX1262 up to +22 dBm
        out[1] = 4
        out[2] = 7
        out[3] = 0
        out[4] = 1
        self._bus.send(5)
        self._bus.write_register(_REG_OCP, 0x38)  # 140 mA; SetPaConfig resets it
        power_dbm = max(-9, min(self._power_max_dbm, power_dbm))
        out[0] = _SET_TX_PARAMS
        out[1] = power_dbm & 0xFF
        out[2] = 4  # ramp 200 us
        self._bus.send(3)
        self._start(now_ms, airtime_ms_max + 500, False, False)
        units = (airtime_ms_max + 200) * 64
        self._bus.command3(_SET_TX, units >> 16, (units >> 8) & 0xFF, units & 0xFF)

    def receive(
        self,
        freq_hz: int,
        sf: int,
        bw_hz: int,
        symbols: int,
        now_ms: int,
        is_continuous: bool = False,
        iq_inverted: bool = True,
        crc_on: bool = False,
        preamble: int = 8,
    ) -> None:
        """Open a window of `symbols`, or listen until the next operation. Allocates nothing."""
        self._bus.command1(_SET_STANDBY, _STANDBY_XOSC)
        self._configure(freq_hz, sf, bw_hz, FRAME_MAX, iq_inverted, crc_on, preamble)
        if is_continuous:
            symbols = 0
        self._set_symbol_timeout(symbols)
        self._bus.write_register(_REG_RX_GAIN, 0x96)  # boosted: 3 dB for 2 mA
        units = 0xFFFFFF if is_continuous else _RX_TIMER_UNITS
        self._start(now_ms, 6000, True, is_continuous)
        self._bus.command3(_SET_RX, units >> 16, (units >> 8) & 0xFF, units & 0xFF)

    def _set_symbol_timeout(self, symbols: int) -> None:
        if symbols > 248:
            symbols = 248
        self._bus.command1(_SET_SYMBOL_TIMEOUT, symbols)
        # The command alone is exact only below 64 symbols: the register holds mantissa and
        # exponent, symbols = mantissa * 2**(2 * exponent + 1) (LoRaMac-node sx126x.c).
        mantissa = symbols >> 1
        exponent = 0
        while mantissa > 31:
            mantissa >>= 2
            exponent += 1
        self._bus.write_register(_REG_SYNCH_TIMEOUT, exponent + (mantissa << 3))

    def _start(self, now_ms: int, limit_ms: int, receiving: bool, continuous: bool) -> None:
        self._clear_irq()
        self.irq_seen = False
        self._is_receiving = receiving
        self._is_continuous = continuous
        self._limit_ms = ticks_add(now_ms, limit_ms)
        self._is_running = True

    def _configure(
        self,
        freq_hz: int,
        sf: int,
        bw_hz: int,
        length: int,
        iq_inverted: bool,
        crc_on: bool,
        preamble: int,
    ) -> None:
        self._freq_hz = freq_hz
        self._sf = sf
        self._bw_hz = bw_hz
        out = self._bus.out
        out[0] = _SET_MODULATION
        out[1] = sf
        if bw_hz == 125_000:
            out[2] = 4
        elif bw_hz == 250_000:
            out[2] = 5
        elif bw_hz == 500_000:
            out[2] = 6
        else:
            raise RadioError("bandwidth", str(bw_hz))
        out[3] = 1  # coding rate 4/5
        # Low data rate optimise from 16.38 ms a symbol: SF11 and SF12 at 125, SF12 at 250 kHz.
        out[4] = 1 if (1 << sf) >= (bw_hz >> 6) else 0
        self._bus.send(5)
        out[0] = _SET_PACKET
        out[1] = preamble >> 8
        out[2] = preamble & 0xFF
        out[3] = 0  # explicit header
        out[4] = length
        out[5] = 1 if crc_on else 0
        out[6] = 1 if iq_inverted else 0
        self._bus.send(7)
        # Known limitation 15.4: inverted IQ.
        value = self._bus.read_register(_REG_IQ_POLARITY)
        value = value & 0xFB if iq_inverted else value | 0x04
        self._bus.write_register(_REG_IQ_POLARITY, value)
        self._set_frequency(freq_hz)

    def _set_frequency(self, freq_hz: int) -> None:
        # freq * 2**25 / 32e6, without leaving 30 bits: whole 15,625 Hz are 2**14 steps each.
        whole = freq_hz // 15_625
        part = ((freq_hz - whole * 15_625) << 14) // 15_625
        # whole << 14 is below 2**30 up to 1,023 MHz.
        steps = (whole << 14) + part
        out = self._bus.out
        out[0] = _SET_FREQUENCY
        out[1] = steps >> 24
        out[2] = (steps >> 16) & 0xFF
        out[3] = (steps >> 8) & 0xFF
        out[4] = steps & 0xFF
        self._bus.send(5)

    def poll(self, now_ms: int) -> int:
        """How the operation ended, once; else RADIO_NONE. After RADIO_RX_DONE: `read_into`."""
        if not self._is_running:
            return RADIO_NONE
        if not self.irq_seen:
            if self._is_continuous or ticks_diff(now_ms, self._limit_ms) < 0:
                return RADIO_NONE
            self._is_running = False
            self.stuck += 1
            return RADIO_STUCK
        self.irq_seen = False
        flags = self._bus.read2(_GET_IRQ)
        self._clear_irq()
        if flags & _IRQ_TX_DONE:
            self._is_running = False
            return RADIO_TX_DONE
        if flags & (_IRQ_CRC_ERROR | _IRQ_HEADER_ERROR):
            self.crc_errors += 1
            if not self._is_continuous:
                self._end_receive()
            return RADIO_CRC_ERROR
        if flags & _IRQ_RX_DONE:
            self._note_packet()
            if not self._is_continuous:
                self._end_receive()
            return RADIO_RX_DONE
        if flags & _IRQ_TIMEOUT:
            was_receiving = self._is_receiving
            self._is_running = False
            if was_receiving:
                return RADIO_RX_TIMEOUT
            self.stuck += 1
            return RADIO_STUCK
        return RADIO_NONE

    def _end_receive(self) -> None:
        self._is_running = False
        # Known limitation 15.3: the timer runs on behind a packet and would cut a later one.
        self._bus.write_register(_REG_RTC_CONTROL, 0)
        self._bus.write_register(_REG_EVENT_MASK, self._bus.read_register(_REG_EVENT_MASK) | 0x02)

    def _note_packet(self) -> None:
        both = self._bus.read2(_GET_RX_BUFFER)
        self.rx_length = both >> 8
        self._rx_offset = both & 0xFF
        out = self._bus.out
        out[0] = _GET_PACKET_STATUS
        for i in range(1, 5):
            out[i] = 0
        self._bus.send(5)
        self.rssi_dbm = -(out[2] >> 1)
        snr = out[3]
        self.snr_q4 = snr - 256 if snr > 127 else snr

    def read_into(self, buf: bytearray) -> int:
        """Copy the received packet into `buf` (255 bytes); return its length."""
        length = min(self.rx_length, len(buf))
        self._bus.read_buffer(self._rx_offset, buf, length)
        return length

    def wait_ms(self, now_ms: int) -> int:
        """How long `poll` may be left alone when no interrupt comes; -1: for ever."""
        if self.irq_seen:
            return 0
        if not self._is_running or self._is_continuous:
            return -1
        return max(0, ticks_diff(self._limit_ms, now_ms))

    def is_listening(self, freq_hz: int, sf: int, bw_hz: int) -> bool:
        """Continuous reception with these parameters is under way."""
        return (
            self._is_running
            and self._is_continuous
            and self._freq_hz == freq_hz
            and self._sf == sf
            and self._bw_hz == bw_hz
        )

    @property
    def is_sending(self) -> bool:
        """A transmission is under way."""
        return self._is_running and not self._is_receiving


# Image calibration bands (datasheet 9.2.1, table 9-2), else the nearest 4 MHz steps.
_BANDS = (
    (902_000_000, 928_000_000, 0xE1, 0xE9),
    (863_000_000, 870_000_000, 0xD7, 0xDB),
    (779_000_000, 787_000_000, 0xC1, 0xC5),
    (470_000_000, 510_000_000, 0x75, 0x81),
    (430_000_000, 440_000_000, 0x6B, 0x6F),
)


def _band_low(low_hz: int) -> int:
    for low, high, code, _ in _BANDS:
        if low <= low_hz <= high:
            return code
    return low_hz // 4_000_000


def _band_high(high_hz: int) -> int:
    for low, high, _, code in _BANDS:
        if low <= high_hz <= high:
            return code
    return -(-high_hz // 4_000_000)
