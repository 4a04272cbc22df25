"""The edge between virtual time and the world outside: a paced loop with sockets.

Public: `Pacer`, `UdpEdge`, `ModbusTcpEdge`. One thread runs the simulation at `factor` times the
wall clock and hands it what arrives; nothing else may touch the simulation without `lock`.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from sim.chips.modbus import Slave, tcp_answer
from sim.kernel import Simulation

_STEP_US = 20_000  # sockets are looked at least this often in simulated time
_IDLE_S = 0.1
_SLIP_US = 30_000  # a stall longer than this is not made up for


class Edge(Protocol):
    """Something with sockets that the pacer serves."""

    def open(self, selector: selectors.BaseSelector, /) -> None:
        """Register sockets with their handler as data."""
        ...

    def close(self) -> None:
        """Close every socket."""
        ...


class UdpEdge:
    """A UDP socket to one server: `deliver` gets its datagrams, `send` sends."""

    def __init__(self, host: str, port: int) -> None:
        self.deliver: Callable[[bytes], object] = _ignore
        self.refused = 0
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def open(self, selector: selectors.BaseSelector) -> None:
        """See `Edge`."""
        family = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0][0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(self._address)
        selector.register(self._socket, selectors.EVENT_READ, self._readable)

    def _readable(self) -> None:
        assert self._socket
        while True:
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # nobody listens yet
                self.refused += 1
                return
            self.deliver(data)

    def send(self, data: bytes) -> None:
        """Send; a server that is not there loses it, as on any network."""
        if self._socket:
            try:
                self._socket.send(data)
            except (ConnectionRefusedError, BlockingIOError):
                self.refused += 1

    def close(self) -> None:
        """See `Edge`."""
        if self._socket:
            self._socket.close()
            self._socket = None


class ModbusTcpEdge:
    """A Modbus TCP server for one slave on the loopback; `port` is known at once."""

    def __init__(self, slave: Slave, unit: int | None = None, port: int = 0) -> None:
        self.slave = slave
        self.unit = unit
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._clients: dict[socket.socket, bytearray] = {}
        self._selector: selectors.BaseSelector | None = None

    def open(self, selector: selectors.BaseSelector) -> None:
        """See `Edge`."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        self._clients[client] = bytearray()
        assert self._selector
        self._selector.register(client, selectors.EVENT_READ, lambda: self._readable(client))

    def _readable(self, client: socket.socket) -> None:
        try:
            data = client.recv(4096)
            buffer = self._clients[client]
            buffer += data
            if data:
                client.sendall(tcp_answer(self.slave, buffer, self.unit))
                return
        except BlockingIOError:
            return
        except (OSError, ValueError):
            pass
        self._hang_up(client)

    def _hang_up(self, client: socket.socket) -> None:
        if self._selector:
            self._selector.unregister(client)
        del self._clients[client]
        client.close()

    def close(self) -> None:
        """See `Edge`."""
        self._selector = None
        for client in list(self._clients):
            client.close()
        self._clients.clear()
        self._listener.close()


class Pacer:
    """Runs `sim` at `factor` times the wall clock in a thread of its own, until `stop`.

    `lag_ms` is the most the simulation was behind, `slipped_ms` how much later than the wall clock
    it runs by now because of stalls; `error` is what ended the thread, if anything.
    """

    def __init__(self, sim: Simulation, edges: list[Edge], *, factor: float = 1.0) -> None:
        self.sim = sim
        self.edges = edges
        self.factor = factor
        self.lock = threading.Lock()
        self.lag_ms = 0.0
        self.slipped_ms = 0.0
        self.error: BaseException | None = None
        self.on_end: Callable[[], object] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ours, self._theirs = socket.socketpair()

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="tukad-simulation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, close the edges; safe to call twice."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._theirs.send(b"x")
        if self._thread:
            self._thread.join()
            self._thread = None
        for edge in self.edges:
            edge.close()
        self._ours.close()
        self._theirs.close()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - handed to whoever looks at `error`
            self.error = error
        finally:
            if self.on_end:
                self.on_end()

    def _loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ, lambda: None)
            with self.lock:
                for edge in self.edges:
                    edge.open(selector)
            start_s, start_us = time.monotonic(), self.sim.now_us
            while not self._stop.is_set():
                wanted_us = start_us + round((time.monotonic() - start_s) * self.factor * 1e6)
                due_us = self.sim.next_us()
                wait_s = 0.0
                if due_us is None or due_us > wanted_us:
                    ahead_s = _IDLE_S if due_us is None else (due_us - wanted_us) / 1e6
                    wait_s = min(ahead_s / self.factor, _IDLE_S)
                ready = selector.select(wait_s)
                wanted_us = start_us + round((time.monotonic() - start_s) * self.factor * 1e6)
                with self.lock:
                    behind_us = wanted_us - (self.sim.next_us() or wanted_us)
                    self.lag_ms = max(self.lag_ms, behind_us / 1000)
                    if behind_us > _SLIP_US:
                        # Never hurry after a stall: a receive window one simulated second after an
                        # uplink must leave the gateway outside one real second. Time slips instead.
                        start_s += behind_us / 1e6 / self.factor
                        self.slipped_ms += behind_us / 1000
                        wanted_us -= behind_us
                    self.sim.run_until(min(wanted_us, self.sim.now_us + _STEP_US))
                    for key, _ in ready:
                        key.data()


def _ignore(_: bytes) -> None:
    pass
