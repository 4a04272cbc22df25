"""A device's events: `EventQueue`, fixed in size, with the one buffer of downlink data."""

from protocols.lorawan.interface import EV_DOWNLINK, Event

_SIZE = 8
_ROOM = 4  # events one downlink can cause: data, acknowledgement, link check, time


class EventQueue:
    """Events in the order they happened. Nothing here allocates after construction."""

    def __init__(self) -> None:
        self.data = bytearray(242)
        self.lost = 0  # events that found the queue full
        self._events = [Event() for _ in range(_SIZE)]
        self._first = 0
        self._count = 0
        self._has_data = False  # `data` belongs to an event not yet given back
        self._is_lent = False

    def has_room(self) -> bool:
        """Whether a downlink with data can be told."""
        return not self._has_data and self._count <= _SIZE - _ROOM

    def emit(self, kind: int, value: int = 0) -> Event:
        """Queue an event; when the queue is full, over the newest one."""
        if self._count == _SIZE:
            self.lost += 1
            self._count -= 1
        event = self._events[(self._first + self._count) % _SIZE]
        self._count += 1
        event.kind = kind
        event.value = value
        if kind == EV_DOWNLINK:
            self._has_data = True
        return event

    def next(self) -> "Event | None":
        """The oldest event, or None; gives back the data of the one before."""
        if self._is_lent:
            self._is_lent = self._has_data = False
        if not self._count:
            return None
        event = self._events[self._first]
        self._first = (self._first + 1) % _SIZE
        self._count -= 1
        self._is_lent = event.kind == EV_DOWNLINK
        return event
