"""`select.poll` for simulated UARTs, which is all a node has to wait for."""

import time

import simwire

POLLIN = 1
POLLOUT = 4
POLLERR = 8
POLLHUP = 16


class poll:
    """Objects with `any()` are ready for POLLIN when it is not zero; all are for POLLOUT."""

    def __init__(self):
        self._wanted = []

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        """Watch `obj`; a second call replaces the mask."""
        self.unregister(obj)
        self._wanted.append((obj, eventmask))

    def unregister(self, obj):
        """Stop watching `obj`."""
        self._wanted = [item for item in self._wanted if item[0] is not obj]

    def modify(self, obj, eventmask):
        """Replace the mask of `obj`."""
        self.register(obj, eventmask)

    def _ready(self):
        found = []
        for obj, wanted in self._wanted:
            flags = wanted & POLLOUT
            if wanted & POLLIN and obj.any():
                flags |= POLLIN
            if flags:
                found.append((obj, flags))
        return found

    def poll(self, timeout=-1):
        """Wait at most `timeout` ms (-1: for ever) and list what is ready."""
        found = self._ready()
        start = time.ticks_ms()
        while not found and timeout != 0:
            left = -1
            if timeout > 0:
                left = timeout - time.ticks_diff(time.ticks_ms(), start)
                if left <= 0:
                    break
            simwire.wait(left * 1000 if left > 0 else -1, simwire.WAKE_UART)
            found = self._ready()
        return found

    def ipoll(self, timeout=-1, flags=0):
        """As `poll`, as an iterator."""
        return iter(self.poll(timeout))
