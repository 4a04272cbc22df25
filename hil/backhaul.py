"""The line between agent and broker, with its faults: a TCP relay with latency, rate, outages.

Public: `Backhaul` (an `Edge`). The agent connects to `port` on 127.0.0.1 instead of the broker; the
relay meters every byte both ways. Set any time, under the pacer's lock:

    latency_s   one way; jitter_s is added evenly from 0 to that much
    rate_bps    bits per second each way, 0 for no limit
    stall()     nothing moves any more, as when a modem hangs: no reset, no end
    cut()       every connection is reset and new ones are refused until `mend()`
    mend()      all is well again; what a stall held back arrives
"""

import contextlib
import selectors
import socket
import struct

from sim.kernel import SECOND, Simulation

_CHUNK = 65_536
_HELD_MAX = 1 << 20  # bytes on the way in one direction: then the sender has to wait


class _Flow:
    """One direction of one connection: what is on the way, and what could not be written yet."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.held = 0
        self.free_us = 0  # when the line is done with what was read so far
        self.waiting: list[bytes] = []  # held back by a stall
        self.unsent = bytearray()
        self.ended = False


class Backhaul:
    """One relay to `upstream`; `up_bytes` went to the broker, `down_bytes` came from it."""

    def __init__(self, sim: Simulation, upstream: tuple[str, int], port: int = 0) -> None:
        self.sim = sim
        self.latency_s = 0.0
        self.jitter_s = 0.0
        self.rate_bps = 0.0
        self.up_bytes = 0
        self.down_bytes = 0
        self.connections = 0
        self.refused = 0
        self._upstream = upstream
        self._stalled = False
        self._cut = False
        self._rng = sim.rng("backhaul")
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector: selectors.BaseSelector | None = None
        self._pairs: dict[socket.socket, tuple[_Flow, _Flow]] = {}  # by either socket: (out, in)

    def open(self, selector: selectors.BaseSelector) -> None:
        """See `Edge`."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """See `Edge`."""
        self._selector = None  # it is closed already
        for client in list(self._pairs):
            self._drop(client, reset=False)
        self._listener.close()

    # Faults.

    def stall(self) -> None:
        """Hold everything back from now on."""
        self._stalled = True

    def cut(self) -> None:
        """Reset what there is and refuse what comes."""
        self._cut = True
        for client in list(self._pairs):
            self._drop(client, reset=True)

    def mend(self) -> None:
        """Undo `stall` and `cut`."""
        self._stalled = self._cut = False
        for client in list(self._pairs):
            for flow in self._pairs.get(client, ()):
                waiting, flow.waiting = flow.waiting, []
                for data in waiting:
                    self._arrive(flow, data)

    # Sockets.

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self._cut:
            self.refused += 1
            _abort(client)
            return
        try:
            broker = socket.create_connection(self._upstream, timeout=2.0)
        except OSError:
            self.refused += 1
            _abort(client)
            return
        self.connections += 1
        for one in (client, broker):
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up, down = _Flow(client, broker), _Flow(broker, client)
        self._pairs[client] = (up, down)
        self._pairs[broker] = (down, up)
        assert self._selector
        for one in (client, broker):
            self._selector.register(one, selectors.EVENT_READ, lambda s=one: self._ready(s))

    def _ready(self, source: socket.socket) -> None:
        if source not in self._pairs:
            return
        flow, back = self._pairs[source]
        self._flush(back)
        if flow.held > _HELD_MAX or source not in self._pairs:
            return
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(source, reset=True)
            return
        if self._is_up(flow):
            self.up_bytes += len(data)
        else:
            self.down_bytes += len(data)
        flow.held += len(data)
        if not data:
            self._watch(source, reading=False)
        start = max(self.sim.now_us, flow.free_us)
        busy_us = round(8 * len(data) / self.rate_bps * SECOND) if self.rate_bps else 0
        flow.free_us = start + busy_us
        delay_s = self.latency_s + self.jitter_s * self._rng.random()
        # TCP keeps the order: nothing overtakes what was sent before.
        self.sim.at(flow.free_us + round(delay_s * SECOND), self._arrive, flow, data)

    def _is_up(self, flow: _Flow) -> bool:
        local = flow.source.getsockname()
        return bool(local[1] == self.port)

    def _arrive(self, flow: _Flow, data: bytes) -> None:
        if flow.source not in self._pairs:
            return
        if self._stalled or flow.waiting:
            flow.waiting.append(data)
            if self._stalled:
                return
            waiting, flow.waiting = flow.waiting, []
            data = b"".join(waiting)
        if data:
            flow.unsent += data
        else:
            flow.ended = True
        self._flush(flow)

    def _flush(self, flow: _Flow) -> None:
        if flow.source not in self._pairs:
            return
        try:
            while flow.unsent:
                sent = flow.target.send(flow.unsent)
                del flow.unsent[:sent]
                flow.held -= sent
        except BlockingIOError:
            pass
        except OSError:
            self._drop(flow.source, reset=True)
            return
        self._watch(flow.target, writing=bool(flow.unsent))
        if flow.ended and not flow.unsent:
            self._drop(flow.source, reset=False)

    def _watch(
        self, one: socket.socket, *, reading: bool | None = None, writing: bool | None = None
    ) -> None:
        if self._selector is None:
            return
        key = self._selector.get_map().get(one)
        before = events = key.events if key else 0
        for bit, wanted in ((selectors.EVENT_READ, reading), (selectors.EVENT_WRITE, writing)):
            if wanted is not None:
                events = events | bit if wanted else events & ~bit
        if events == before:
            return
        if before:
            self._selector.unregister(one)
        if events:
            self._selector.register(one, events, lambda: self._ready(one))

    def _drop(self, one: socket.socket, *, reset: bool) -> None:
        if one not in self._pairs:
            return
        flow, _ = self._pairs[one]
        for each in (flow.source, flow.target):
            self._pairs.pop(each, None)
            if self._selector is not None and each in self._selector.get_map():
                self._selector.unregister(each)
            if reset:
                _abort(each)
            else:
                each.close()


def _abort(one: socket.socket) -> None:
    """Close with a reset, as a line that broke looks."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
