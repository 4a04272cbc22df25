"""The air between the radios: who hears whom, how well, and what collides.

Public: `Medium` (`join`, `transmit`, `listen`, `activity`, `jam`), `Radio` (what a chip or a
concentrator must offer), `Transmission`, `Reception`, `Path` (path loss), `BurstLoss`.

A transmission is heard by a radio that listens on its frequency, bandwidth, spreading factor and
IQ polarity for at least `DETECT_SYMBOLS` symbols of its preamble. What decides the packet is the
signal-to-noise ratio at its end against the limit of its spreading factor, and every other
transmission that overlapped it from the last symbols of its preamble on.
"""

import math
import random
from dataclasses import dataclass, field

from sim.kernel import SECOND, Simulation
from sim.radio import phy

DETECT_SYMBOLS = 5


@dataclass(frozen=True, kw_only=True)
class Transmission:
    """One LoRa packet on the air; times in microseconds of the simulation."""

    sender: str
    freq_hz: int
    sf: int
    bw_hz: int
    cr: int
    preamble: int
    explicit: bool
    crc: bool
    iq_inverted: bool
    sync_word: int  # 16 bits as in registers 0x0740 and 0x0741
    power_dbm: float  # at the antenna connector
    payload: bytes
    start_us: int
    ldro: bool = False

    @property
    def symbol_us(self) -> float:
        """Length of a symbol."""
        return phy.symbol_us(self.sf, self.bw_hz)

    @property
    def preamble_end_us(self) -> int:
        """End of the programmed preamble: the start delimiter follows."""
        return self.start_us + round(self.preamble * self.symbol_us)

    @property
    def header_end_us(self) -> int:
        """End of the explicit header: the first 8 symbols after the start delimiter."""
        return self.start_us + round(
            (phy.preamble_symbols(self.sf, self.preamble) + 8) * self.symbol_us
        )

    @property
    def end_us(self) -> int:
        """End of the packet."""
        return self.start_us + phy.airtime_us(
            self.sf,
            self.bw_hz,
            len(self.payload),
            self.cr,
            self.preamble,
            explicit=self.explicit,
            crc=self.crc,
            ldro=self.ldro,
        )


@dataclass(kw_only=True)
class Reception:
    """A transmission as one radio has it; `outcome` is final when `Radio.on_end` gets it."""

    tx: Transmission
    rssi_dbm: float
    snr_db: float
    outcome: str = "pending"  # then "ok", "crc", "header" or "lost"
    cause: str = ""  # of anything but "ok": "snr", "collision", "burst", "jam"


class Radio:
    """Base of everything with an antenna: subclasses say what they hear and act on it.

    `x_m`, `y_m` is the position, `gain_dbi` the antenna, `noise_figure_db` the receiver.
    """

    def __init__(
        self,
        name: str,
        *,
        x_m: float = 0.0,
        y_m: float = 0.0,
        gain_dbi: float = 0.0,
        noise_figure_db: float = 6.0,
    ) -> None:
        self.name = name
        self.x_m = x_m
        self.y_m = y_m
        self.gain_dbi = gain_dbi
        self.noise_figure_db = noise_figure_db

    def listening_since(self, tx: Transmission) -> int | None:
        """Since when this radio could lock on to `tx`, or None when it cannot now."""
        raise NotImplementedError

    def on_preamble(self, reception: Reception) -> None:
        """The preamble was detected: the receiver is locked on it from now."""
        raise NotImplementedError

    def on_header(self, reception: Reception, ok: bool) -> None:
        """The explicit header arrived."""

    def on_end(self, reception: Reception) -> None:
        """The packet is over; `reception.outcome` says how."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Path:
    """Log-distance path loss with log-normal shadowing per link and fading per packet.

    `exponent` 2.0 over open water to about 3.5 in a built-up valley; `sigma_db` is drawn once for
    a link, `fading_db` for each packet.
    """

    exponent: float = 2.9
    sigma_db: float = 4.0
    fading_db: float = 1.0
    reference_m: float = 1.0

    def loss_db(self, distance_m: float, freq_hz: int) -> float:
        """Mean loss; free space up to the reference distance."""
        near = 20 * math.log10(4 * math.pi * self.reference_m * freq_hz / 299_792_458.0)
        ratio = max(distance_m, self.reference_m) / self.reference_m
        return near + 10 * self.exponent * math.log10(ratio)


@dataclass(kw_only=True)
class BurstLoss:
    """A Gilbert-Elliott channel in continuous time: good and bad spells of exponential length.

    `good_s` and `bad_s` are their means, `loss_good` and `loss_bad` the chances that a packet in
    such a spell is lost.
    """

    good_s: float
    bad_s: float
    loss_good: float = 0.0
    loss_bad: float = 1.0
    bad: bool = False
    until_us: int = 0
    _started: bool = field(default=False, repr=False)

    def step(self, now_us: int, rng: random.Random) -> bool:
        """Advance to `now_us`; True when a packet now is lost."""
        if not self._started:
            self._started = True
            self.bad = rng.random() < self.bad_s / (self.good_s + self.bad_s)
            self.until_us = now_us + self._spell(rng)
        while self.until_us <= now_us:
            self.bad = not self.bad
            self.until_us += self._spell(rng)
        return rng.random() < (self.loss_bad if self.bad else self.loss_good)

    def _spell(self, rng: random.Random) -> int:
        return 1 + int(rng.expovariate(1.0) * (self.bad_s if self.bad else self.good_s) * SECOND)


class Medium:
    """All radios of a world and what is on the air between them."""

    def __init__(self, sim: Simulation, path: Path | None = None) -> None:
        self.sim = sim
        self.path = path or Path()
        self.paths: dict[frozenset[str], Path] = {}  # for links unlike the rest
        self.bursts: dict[frozenset[str], BurstLoss] = {}
        self.sent = 0
        self.lost = {"snr": 0, "collision": 0, "burst": 0, "jam": 0}
        self._radios: dict[str, Radio] = {}
        self._active: list[Transmission] = []
        self._shadow: dict[frozenset[str], float] = {}
        self._jams: list[tuple[int, int, int, float]] = []

    def join(self, radio: Radio) -> None:
        """Add a radio; its name is its identity, so it must be new."""
        if radio.name in self._radios:
            raise ValueError(f"two radios are called {radio.name}")
        self._radios[radio.name] = radio

    def jam(self, freq_hz: int, start_us: int, end_us: int, power_dbm: float = -80.0) -> None:
        """Noise of `power_dbm` at every receiver on the channel around `freq_hz`."""
        self._jams.append((freq_hz, start_us, end_us, power_dbm))

    def mean_rssi_dbm(self, sender: Radio, receiver: Radio, power_dbm: float, hz: int) -> float:
        """Power at `receiver` without the fading of single packets."""
        link = frozenset((sender.name, receiver.name))
        path = self.paths.get(link, self.path)
        shadow = self._shadow.get(link)
        if shadow is None:
            name = "/".join(sorted(link))
            shadow = self.sim.rng("shadow/" + name).gauss(0.0, 1.0)
            self._shadow[link] = shadow
        distance = math.hypot(sender.x_m - receiver.x_m, sender.y_m - receiver.y_m)
        gains = sender.gain_dbi + receiver.gain_dbi
        return power_dbm + gains - path.loss_db(distance, hz) + shadow * path.sigma_db

    def transmit(self, sender: Radio, tx: Transmission) -> None:
        """Put `tx` on the air, now; every radio that can hear it will."""
        assert tx.start_us == self.sim.now_us, "a transmission starts now"
        self.sent += 1
        self._active = [t for t in self._active if t.end_us > self.sim.now_us - 5 * SECOND]
        self._active.append(tx)
        self.sim.record(
            tx.sender,
            "air.tx",
            hz=tx.freq_hz,
            sf=tx.sf,
            bw=tx.bw_hz,
            us=tx.end_us - tx.start_us,
            dbm=tx.power_dbm,
            iq=tx.iq_inverted,
            data=tx.payload,
        )
        for radio in self._radios.values():
            if radio is not sender:
                since = radio.listening_since(tx)
                if since is not None:
                    self._expect(radio, tx, self.sim.now_us)

    def listen(self, radio: Radio) -> None:
        """`radio` has begun to listen: it may still catch what is on the air."""
        for tx in self._active:
            if tx.sender != radio.name and tx.end_us > self.sim.now_us:
                self._expect(radio, tx, max(self.sim.now_us, tx.start_us))

    def activity(self, radio: Radio, freq_hz: int, sf: int, bw_hz: int) -> bool:
        """What channel activity detection finds now: a chirp of this kind above the noise."""
        return any(
            tx.sender != radio.name
            and tx.start_us <= self.sim.now_us < tx.end_us
            and (tx.sf, tx.bw_hz) == (sf, bw_hz)
            and abs(tx.freq_hz - freq_hz) < bw_hz // 4
            and self._power(tx, radio) - phy.noise_dbm(bw_hz, radio.noise_figure_db)
            >= phy.SNR_LIMIT_DB[sf]
            for tx in self._active
        )

    def rssi_dbm(self, radio: Radio, freq_hz: int, bw_hz: int) -> float:
        """Power in the channel now, noise included."""
        total = 10 ** (phy.noise_dbm(bw_hz, radio.noise_figure_db) / 10)
        for tx in self._active:
            on_air = tx.start_us <= self.sim.now_us < tx.end_us and tx.sender != radio.name
            if on_air and abs(tx.freq_hz - freq_hz) < (tx.bw_hz + bw_hz) // 2:
                total += 10 ** (self._power(tx, radio) / 10)
        return 10 * math.log10(total)

    def _power(self, tx: Transmission, receiver: Radio) -> float:
        return self.mean_rssi_dbm(self._radios[tx.sender], receiver, tx.power_dbm, tx.freq_hz)

    def _expect(self, radio: Radio, tx: Transmission, heard_from_us: int) -> None:
        detected = heard_from_us + math.ceil(DETECT_SYMBOLS * tx.symbol_us)
        if detected <= tx.preamble_end_us + 1:
            self.sim.at(detected, self._detect, radio, tx, heard_from_us)

    def _detect(self, radio: Radio, tx: Transmission, heard_from_us: int) -> None:
        since = radio.listening_since(tx)
        if since is None or since > heard_from_us:
            return
        rng = self.sim.rng("air/" + radio.name)
        path = self.paths.get(frozenset((tx.sender, radio.name)), self.path)
        rssi = self._power(tx, radio) + rng.gauss(0.0, 1.0) * path.fading_db
        snr = rssi - phy.noise_dbm(tx.bw_hz, radio.noise_figure_db)
        # The preamble is found about 2 dB below the level at which a packet is decoded.
        if rng.random() > phy.packet_success(snr - phy.SNR_LIMIT_DB[tx.sf] + 2.0, DETECT_SYMBOLS):
            return
        reception = Reception(tx=tx, rssi_dbm=rssi, snr_db=snr)
        radio.on_preamble(reception)
        if tx.explicit:
            self.sim.at(tx.header_end_us, self._header, radio, reception)
        self.sim.at(tx.end_us, self._end, radio, reception)

    def _header(self, radio: Radio, reception: Reception) -> None:
        # The header is coded 4/8 and short: it fails only well below the limit of the payload.
        margin = reception.snr_db - phy.SNR_LIMIT_DB[reception.tx.sf] + 1.0
        rng = self.sim.rng("air/" + radio.name)
        ok = rng.random() <= phy.packet_success(margin, 8)
        if not ok:
            reception.outcome, reception.cause = "header", "snr"
        radio.on_header(reception, ok)

    def _end(self, radio: Radio, reception: Reception) -> None:
        if reception.outcome == "pending":
            cause = self._cause(radio, reception)
            reception.outcome = "crc" if cause else "ok"
            reception.cause = cause
        if reception.cause:
            self.lost[reception.cause] += 1
        radio.on_end(reception)

    def _cause(self, radio: Radio, reception: Reception) -> str:
        tx = reception.tx
        rng = self.sim.rng("air/" + radio.name)
        burst = self.bursts.get(frozenset((tx.sender, radio.name)))
        if burst and burst.step(tx.start_us, self.sim.rng(f"burst/{tx.sender}/{radio.name}")):
            return "burst"
        for freq_hz, start_us, end_us, power_dbm in self._jams:
            overlaps = start_us < tx.end_us and tx.start_us < end_us
            near = abs(freq_hz - tx.freq_hz) < tx.bw_hz // 2
            if overlaps and near and reception.rssi_dbm - power_dbm < phy.SNR_LIMIT_DB[tx.sf]:
                return "jam"
        if self._collides(radio, reception):
            return "collision"
        symbols = phy.payload_symbols(
            tx.sf, len(tx.payload), tx.cr, explicit=tx.explicit, crc=tx.crc, ldro=tx.ldro
        )
        margin = reception.snr_db - phy.SNR_LIMIT_DB[tx.sf]
        return "" if rng.random() <= phy.packet_success(margin, symbols) else "snr"

    def _collides(self, radio: Radio, reception: Reception) -> bool:
        tx = reception.tx
        critical_us = tx.preamble_end_us - round(DETECT_SYMBOLS * tx.symbol_us)
        for other in self._active:
            if other is tx or other.sender in (tx.sender, radio.name):
                continue
            if other.start_us >= tx.end_us or other.end_us <= critical_us:
                continue
            if abs(other.freq_hz - tx.freq_hz) >= (other.bw_hz + tx.bw_hz) // 2:
                continue
            ratio = reception.rssi_dbm - self._power(other, radio)
            same = other.iq_inverted == tx.iq_inverted and other.bw_hz == tx.bw_hz
            if ratio < phy.rejection_db(tx.sf, other.sf, same_polarity=same):
                return True
        return False
