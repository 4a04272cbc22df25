"""What both ends know while a batch is coded: contexts by block, and the state of each device."""

from copy import copy
from itertools import pairwise

from gateway.codec.catalogue import Device
from gateway.codec.columns import Column
from gateway.codec.motion import Motion
from gateway.codec.prior import prior

PAIRED = ("level", "value")
PAIRS_MAX = 256


class DeviceState:
    """One device after its last row. Times and steps are in units of 1 s or 1 ms."""

    __slots__ = (
        "by_slot", "columns", "first", "last", "mask", "meta", "motion", "offsets", "regular",
        "row_base", "sequence", "sequences", "steps", "unit_ms",
    )  # fmt: skip

    def __init__(self, unit_ms: int, row_base: int) -> None:
        self.unit_ms = unit_ms
        self.row_base = row_base
        self.first = self.last = 0  # time of the first and of the last row, in units
        self.sequence: int | None = None
        self.by_slot = True  # does the sequence number count time slots (or rows)?
        self.meta = 0
        self.mask: list[bool] = []  # which channels the last row had
        self.regular = 1  # was the last row on time, in sequence and like the one before?
        self.steps: Column
        self.offsets: Column
        self.sequences: Column
        self.columns: list[Column] = []
        self.motion: Motion | None = None

    def clone(self) -> "DeviceState":
        """A state that can go on without changing this one."""
        twin = copy(self)
        twin.steps = self.steps.clone()
        twin.offsets = self.offsets.clone()
        twin.sequences = self.sequences.clone()
        twin.columns = [column.clone() for column in self.columns]
        twin.motion = copy(self.motion)
        return twin


class Model:
    """Contexts and device states; starts empty, or from those after an acknowledged batch."""

    def __init__(self, prior_id: int, origin: "Model | None" = None) -> None:
        self.prior_id = origin.prior_id if origin else prior_id
        self.kinds: list[str] = list(origin.kinds) if origin else []
        self.blocks: dict[object, int] = dict(origin.blocks) if origin else {}
        self.devices: dict[int, DeviceState] = dict(origin.devices) if origin else {}
        self.firsts: dict[object, list[int]] = dict(origin.firsts) if origin else {}
        self.probs: list[int] = list(origin.probs) if origin else []
        self.counts: list[int] = list(origin.counts) if origin else []
        self.rows = origin.rows if origin else 1  # in the last group
        self.groups = origin.groups if origin else 1
        self.first_ms: int | None = None  # time of the first row of the last group

    def block(self, key: object, kind: str) -> int:
        """The first context of the block with that key, made from the prior if it is new."""
        base = self.blocks.get(key)
        if base is None:
            base = self.blocks[key] = len(self.probs)
            self.kinds.append(kind)
            probs, counts = prior(self.prior_id, kind)
            self.probs += probs
            self.counts += counts
        return base

    def device(self, device: Device, unit_ms: int) -> DeviceState:
        """A new state for a device."""
        layout = device.layout
        state = DeviceState(unit_ms, self.block(layout, "row"))
        unit = "s" if unit_ms == 1000 else "ms"
        state.steps = Column(self.block((layout, "steps", unit), "steps"))
        state.offsets = Column(self.block((layout, "offset", unit), "offset_" + unit))
        state.sequences = Column(self.block((layout, "sequence"), "sequence"))
        state.regular = int(device.on_grid)
        state.steps.start(1)
        state.offsets.start(0)
        state.sequences.start(0)
        moves = Motion.fits(device)
        state.columns = [
            Column(
                self.block((layout, "position"), "lat")  # both parts share one block
                if moves and channel.kind in ("lat", "lon")
                else self.block((layout, i), channel.kind)
            )
            for i, channel in enumerate(device.channels)
        ]
        for left, i in pairwise(device.order):
            if device.channels[i].kind in PAIRED and device.channels[left].kind in PAIRED:
                state.columns[i].pairs = {}
                state.columns[i].decay = 3
        if moves:
            state.motion = Motion(device)
            state.columns[state.motion.lat].decay = state.columns[state.motion.lon].decay = 3
        state.mask = [True] * len(state.columns)
        return state
