"""How well devices are heard: `link_stats`, from the frame log."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from gateway.lorawan.adr import REQUIRED_SNR_DB
from gateway.lorawan.records import LoggedFrame


@dataclass(frozen=True, slots=True)
class LinkStats:
    """One device over the frames given."""

    dev_eui: str
    frames: int  # different uplinks accepted
    lost: int  # counters missing between the first and the last of each session
    repeats: int  # uplinks that the device sent again: it missed our answer
    downlinks: int
    rssi_dbm: float  # median of the best gateway's
    snr_db: float  # median
    snr_min_db: float
    margin_db: float  # median SNR above what the data rate needs
    rates: tuple[tuple[int, int], ...]  # (data rate, frames), most used first
    gateways: float  # that heard a frame, on average
    last_ms: int

    @property
    def loss_percent(self) -> float:
        """Lost of all that must have been sent."""
        return 100.0 * self.lost / (self.lost + self.frames) if self.frames else 0.0


def _lost(counters: list[int]) -> int:
    """Missing counters; one that falls starts a new session."""
    lost = 0
    for before, after in pairwise(counters):
        if after > before:
            lost += after - before - 1
    return lost


def link_stats(frames: Iterable[LoggedFrame]) -> list[LinkStats]:
    """Statistics by device, worst margin first; `frames` in the order of time."""
    by_device: dict[str, list[LoggedFrame]] = {}
    for frame in frames:
        by_device.setdefault(frame.dev_eui, []).append(frame)
    found: list[LinkStats] = []
    for dev_eui, own in by_device.items():
        data = [one for one in own if one.what == "data"]
        if not data:
            continue
        margins = [
            one.snr_db - REQUIRED_SNR_DB[one.sf] for one in data if one.sf in REQUIRED_SNR_DB
        ]
        found.append(
            LinkStats(
                dev_eui=dev_eui,
                frames=len(data),
                lost=_lost([one.f_cnt for one in data]),
                repeats=sum(one.what == "repeat" for one in own),
                downlinks=sum(one.direction == "down" for one in own),
                rssi_dbm=median(one.rssi_dbm for one in data),
                snr_db=median(one.snr_db for one in data),
                snr_min_db=min(one.snr_db for one in data),
                margin_db=median(margins) if margins else 0.0,
                rates=tuple(Counter(one.dr for one in data).most_common()),
                gateways=sum(one.gateways for one in data) / len(data),
                last_ms=data[-1].time_ms,
            )
        )
    return sorted(found, key=lambda one: one.margin_db)
