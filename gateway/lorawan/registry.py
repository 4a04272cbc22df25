"""The devices in memory: `Device`, and `Registry`, which finds them by DevEUI and DevAddr.

The store is the truth; this is its image, changed only together with it. A DevAddr may belong to
several devices (25 random bits, and neighbours' networks): the MIC decides, so finding the
sender of a frame costs as much as there are devices with that very address, never more.
"""

from collections.abc import Iterator

from gateway.lorawan.keys import AesBlock
from gateway.lorawan.records import DeviceRecord, Queued, Session
from protocols.lorawan.crypto import BlockKey


class Device:
    """One registered device with its sessions and its queue. Mutable, of the server alone."""

    __slots__ = (
        "ack_due_ms",
        "app_key",
        "class_c",
        "current",
        "free_ms",
        "in_flight",
        "keys",
        "newest",
        "queue",
        "record",
        "undelivered",
    )

    def __init__(self, record: DeviceRecord) -> None:
        self.record = record
        self.current: Session | None = None  # the one the device was heard with
        self.newest: Session | None = None  # joined, and not heard with yet
        self.queue: list[Queued] = []
        self.in_flight = 0  # transmissions whose outcome is not known
        self.undelivered: tuple[int, int, int] | None = (
            None  # (session, f_cnt, inbox id) of the last
        )
        self.ack_due_ms: int | None = None  # class C: when a confirmed downlink counts as lost
        # Class C: gateway of the last frame, and the device's own counter then.
        self.class_c: tuple[str, int] | None = None
        self.free_ms = 0  # class C: not before this (mono) may it be sent to
        self.app_key: BlockKey | None = None  # made when first needed
        self.keys: dict[int, tuple[BlockKey, BlockKey]] = {}  # by session number

    def __repr__(self) -> str:
        return f"Device({self.record.name}, {self.record.dev_eui})"

    def join_key(self) -> BlockKey | None:
        """The AppKey ready for MICs; None for ABP."""
        if self.app_key is None and self.record.app_key is not None:
            self.app_key = BlockKey(AesBlock, self.record.app_key)
        return self.app_key

    def session_keys(self, session: Session) -> tuple[BlockKey, BlockKey]:
        """(NwkSKey, AppSKey) of one of its sessions, ready for use."""
        keys = self.keys.get(session.number)
        if keys is None:
            keys = (BlockKey(AesBlock, session.nwk_s_key), BlockKey(AesBlock, session.app_s_key))
            self.keys[session.number] = keys
        return keys

    def sessions(self) -> list[Session]:
        """The sessions whose frames count, the newest first."""
        return [one for one in (self.newest, self.current) if one is not None]


class Registry:
    """All devices, by DevEUI, name and DevAddr."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._names: dict[str, str] = {}
        self._addresses: dict[int, set[str]] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def get(self, dev_eui: str) -> Device | None:
        """By DevEUI."""
        return self._devices.get(dev_eui)

    def find(self, name_or_eui: str) -> Device | None:
        """By name or DevEUI."""
        return self._devices.get(self._names.get(name_or_eui, name_or_eui.lower()))

    def at(self, dev_addr: int) -> list[tuple[Device, Session]]:
        """The sessions that use an address."""
        found: list[tuple[Device, Session]] = []
        for dev_eui in self._addresses.get(dev_addr, ()):
            device = self._devices[dev_eui]
            found += [(device, one) for one in device.sessions() if one.dev_addr == dev_addr]
        return found

    def is_used(self, dev_addr: int) -> bool:
        """Whether one of our sessions has this address."""
        return dev_addr in self._addresses

    def set_sessions(self, device: Device, current: Session | None, newest: Session | None) -> None:
        """Replace a device's sessions and keep the address index right."""
        for session in device.sessions():
            users = self._addresses.get(session.dev_addr)
            if users is not None:
                users.discard(device.record.dev_eui)
                if not users:
                    del self._addresses[session.dev_addr]
        device.current, device.newest = current, newest
        numbers = {one.number for one in device.sessions()}
        for number in [one for one in device.keys if one not in numbers]:
            del device.keys[number]
        for session in device.sessions():
            self._addresses.setdefault(session.dev_addr, set()).add(device.record.dev_eui)

    def load(
        self, records: list[DeviceRecord], sessions: list[Session], queue: list[Queued]
    ) -> None:
        """Take over what the store holds; devices that are gone are forgotten."""
        by_device: dict[str, list[Session]] = {}
        for session in sessions:
            by_device.setdefault(session.dev_eui, []).append(session)
        waiting: dict[str, list[Queued]] = {}
        for item in queue:
            waiting.setdefault(item.dev_eui, []).append(item)
        fresh = {record.dev_eui: record for record in records}
        for dev_eui in [one for one in self._devices if one not in fresh]:
            self.set_sessions(self._devices[dev_eui], None, None)
            del self._devices[dev_eui]
        for dev_eui, record in fresh.items():
            device = self._devices.get(dev_eui)
            if device is None:
                device = self._devices[dev_eui] = Device(record)
            if device.record.app_key != record.app_key:
                device.app_key = None
                device.keys.clear()
            device.record = record
            own = by_device.get(dev_eui, [])
            current: Session | None = None
            newest: Session | None = None
            for session in own:  # in the order of their numbers
                if session.f_cnt_up >= 0 or record.activation == "abp":
                    current, newest = session, None
                else:
                    newest = session
            self.set_sessions(device, current, newest)
            device.queue = waiting.get(dev_eui, [])
        self._names = {record.name: record.dev_eui for record in records}
