"""An SX1302 concentrator: eight channels of all spreading factors, one wide one, one transmitter.

Public: `Concentrator` (a `Radio`), `Uplink`, `Downlink`, `EIGHT_CHANNELS` for AS923-2.

Timestamps are the chip's 32-bit microsecond counter, taken at the end of a packet. The radio is
half duplex: what arrives while it transmits is lost. At most sixteen packets are demodulated at
once. Only the public LoRaWAN sync word is heard.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sim.chips.sx126x_facts import PUBLIC_SYNC_WORD
from sim.kernel import Simulation
from sim.radio.medium import Medium, Radio, Reception, Transmission

DEMODULATORS = 16
# AS923-2: the two join channels and six more that a network adds (921.4 to 922.8 MHz).
EIGHT_CHANNELS = tuple(921_400_000 + 200_000 * i for i in range(8))
_LEAST_LEAD_US = 32_500  # packet forwarder: start delay 1.5 ms, margin 1 ms, fetch period 30 ms
_MOST_LEAD_US = 384_000_000  # three beacon periods of 128 s (jitqueue.c)
_GUARD_US = 1_000  # between two transmissions


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """A packet as the concentrator hands it over."""

    tmst: int
    freq_hz: int
    channel: int
    sf: int
    bw_hz: int
    cr: int
    rssi_dbm: float
    snr_db: float
    payload: bytes
    crc_ok: bool


@dataclass(frozen=True, kw_only=True)
class Downlink:
    """A packet to send when the counter is at `tmst` (None: at once)."""

    tmst: int | None
    freq_hz: int
    sf: int
    bw_hz: int
    cr: int
    power_dbm: float
    payload: bytes
    iq_inverted: bool = True
    preamble: int = 8
    crc: bool = False


class Concentrator(Radio):
    """`on_uplink` gets every packet with its outcome; `send` books one to transmit."""

    def __init__(
        self,
        sim: Simulation,
        medium: Medium,
        name: str = "gateway",
        *,
        x_m: float = 0.0,
        y_m: float = 0.0,
        gain_dbi: float = 3.0,
        channels_hz: tuple[int, ...] = EIGHT_CHANNELS,
        wide_hz: int | None = 921_600_000,
        counter_us: int = 0,
    ) -> None:
        # A noise figure of 3 dB gives the chip's published -141 dBm at SF12 within a decibel.
        super().__init__(name, x_m=x_m, y_m=y_m, gain_dbi=gain_dbi, noise_figure_db=3.0)
        self.sim = sim
        self.medium = medium
        self.on_uplink: Callable[[Uplink], object] = _ignore
        self.received = 0
        self.damaged = 0
        self.sent = 0
        self.powered = True
        self._channels = channels_hz
        self._wide_hz = wide_hz
        self._counter_us = counter_us
        self._locked: set[int] = set()
        self._queue: list[tuple[int, int]] = []  # (start, end) of what is booked
        medium.join(self)

    def tmst(self) -> int:
        """The counter now."""
        return (self.sim.now_us + self._counter_us) & 0xFFFFFFFF

    def send(self, down: Downlink) -> str:
        """Book a transmission; "" or an error of the forwarder protocol."""
        if not self._freq_ok(down.freq_hz):
            return "TX_FREQ"
        lead = 1_000 if down.tmst is None else (down.tmst - self.tmst()) & 0xFFFFFFFF
        if down.tmst is not None:
            if lead < _LEAST_LEAD_US or lead >= 0x80000000:
                return "TOO_LATE"
            if lead > _MOST_LEAD_US:
                return "TOO_EARLY"
        if down.power_dbm > 27:
            return "TX_POWER"
        start = self.sim.now_us + lead
        tx = self._transmission(down, start)
        if any(s < tx.end_us + _GUARD_US and start < e + _GUARD_US for s, e in self._queue):
            return "COLLISION_PACKET"
        self._queue = [(s, e) for s, e in self._queue if e > self.sim.now_us]
        self._queue.append((start, tx.end_us))
        self.sim.at(start, self._transmit, tx)
        return ""

    def _freq_ok(self, freq_hz: int) -> bool:
        return 863_000_000 <= freq_hz <= 928_000_000

    def _transmission(self, down: Downlink, start: int) -> Transmission:
        return Transmission(
            sender=self.name,
            freq_hz=down.freq_hz,
            sf=down.sf,
            bw_hz=down.bw_hz,
            cr=down.cr,
            preamble=down.preamble,
            explicit=True,
            crc=down.crc,
            iq_inverted=down.iq_inverted,
            sync_word=PUBLIC_SYNC_WORD,
            power_dbm=down.power_dbm,
            payload=down.payload,
            start_us=start,
            ldro=(1 << down.sf) * 1e6 / down.bw_hz >= 16_380,
        )

    def _transmit(self, tx: Transmission) -> None:
        if not self.powered:
            return
        self.sent += 1
        self._locked.clear()  # what was being received is lost
        self.medium.transmit(self, tx)

    def _transmitting(self) -> bool:
        return any(s <= self.sim.now_us < e for s, e in self._queue)

    def _channel(self, tx: Transmission) -> int | None:
        if tx.bw_hz == 125_000:
            for i, hz in enumerate(self._channels):
                if abs(tx.freq_hz - hz) < 30_000:
                    return i
        wide = tx.bw_hz == 250_000 and tx.sf == 7 and self._wide_hz is not None
        if wide and self._wide_hz is not None and abs(tx.freq_hz - self._wide_hz) < 30_000:
            return len(self._channels)
        return None

    def listening_since(self, tx: Transmission) -> int | None:
        """See `Radio`: always, but for its own transmissions and when all demodulators work."""
        deaf = (
            not self.powered
            or tx.iq_inverted
            or tx.sync_word != PUBLIC_SYNC_WORD
            or self._transmitting()
            or len(self._locked) >= DEMODULATORS
            or self._channel(tx) is None
        )
        return None if deaf else 0

    def on_preamble(self, reception: Reception) -> None:
        """See `Radio`."""
        self._locked.add(id(reception))

    def on_end(self, reception: Reception) -> None:
        """See `Radio`."""
        if id(reception) not in self._locked:
            return
        self._locked.discard(id(reception))
        tx = reception.tx
        channel = self._channel(tx)
        if reception.outcome in ("header", "lost") or channel is None:
            return
        # The chip knows its own channel, not the device's crystal.
        centre_hz = (*self._channels, self._wide_hz or 0)[channel]
        good = reception.outcome == "ok"
        self.received += 1
        self.damaged += int(not good)
        self.sim.record(self.name, "gateway.rx", node=tx.sender, ok=good, data=tx.payload, sf=tx.sf)
        self.on_uplink(
            Uplink(
                tmst=self.tmst(),
                freq_hz=centre_hz,
                channel=channel,
                sf=tx.sf,
                bw_hz=tx.bw_hz,
                cr=tx.cr,
                rssi_dbm=reception.rssi_dbm,
                snr_db=min(reception.snr_db, 13.5),
                payload=tx.payload,
                crc_ok=good,
            )
        )


def _ignore(_: Uplink) -> None:
    pass
