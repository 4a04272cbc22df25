"""What the demo shows: plain state, filled by `hil.demo.storm`, drawn by `hil.demo.screen`."""

from collections import deque
from dataclasses import dataclass, field

STAGES = ("normal", "waspada", "siaga", "awas")


@dataclass
class DeviceView:
    """One device as the city and the simulator see it."""

    name: str
    kind: str  # "flood", "vessel", "modbus" or "siren"
    what: str = ""  # one phrase: where it hangs, over which link it reports
    stage: str = "normal"
    latest: str = ""  # the newest value that reached the city, worded
    link: str = ""  # data rate, RSSI and SNR of the last uplink
    sent: int = 0  # readings that exist at the device
    delivered: int = 0  # distinct readings that the city has decoded
    frames: int = 0  # transmitted, join requests included


@dataclass
class AlarmView:
    """An alarm as the city received it, or what warns people."""

    at_s: float  # seconds since the storm began
    device: str
    stage: str
    text: str
    latency_s: float | None  # from the true crossing; None when it was no crossing
    kind: str = "alarm"  # "alarm" in the city, "siren" at its relay, "cap" as a file


@dataclass
class DemoView:
    """Everything on the screen at one moment."""

    title: str
    duration_s: float
    storm_factor: float  # storm seconds per second of the demo
    storm_start: str = "02:00"
    elapsed_s: float = 0.0
    phase: str = "starting"
    devices: dict[str, DeviceView] = field(default_factory=dict[str, DeviceView])
    thresholds_mm: tuple[int, int, int] = (300, 1160, 2660)
    gauge: str = ""  # the device whose river is charted
    truth_mm: deque[tuple[float, int]] = field(
        default_factory=lambda: deque[tuple[float, int]](maxlen=4000)
    )
    seen_mm: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    alarms: list[AlarmView] = field(default_factory=list[AlarmView])
    batches: int = 0
    batch_bytes: int = 0
    radio_bytes: int = 0  # of all data frames of the nodes, as transmitted
    broker: str = ""
    alerts: int = 0  # CAP files
    alerts_good: int = 0  # of them signed by the pinned key and whole
    proof: str = ""  # that the siren sounded, as the city was told; "" before
    frames_heard: int = 0  # intact at the concentrator, from all nodes

    @property
    def sent(self) -> int:
        return sum(d.sent for d in self.devices.values())

    @property
    def delivered(self) -> int:
        return sum(d.delivered for d in self.devices.values())

    @property
    def frames(self) -> int:
        return sum(d.frames for d in self.devices.values())

    def storm_clock(self) -> str:
        """The time of day in the storm that is played, HH:MM."""
        hours, minutes = (int(part) for part in self.storm_start.split(":"))
        total = hours * 60 + minutes + int(self.elapsed_s * self.storm_factor / 60)
        return f"{total // 60 % 24:02d}:{total % 60:02d}"
