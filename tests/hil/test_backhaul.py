"""The faulty line: bytes are metered, late, slow, held back or reset, and never changed."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from hil.backhaul import Backhaul
from hil.pace import Pacer
from sim.kernel import Simulation


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                client.sendall(data)
        client.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for client in clients:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


@pytest.fixture
def line(echo: tuple[str, int]) -> Iterator[tuple[Backhaul, Pacer]]:
    sim = Simulation(1)
    backhaul = Backhaul(sim, echo)
    pacer = Pacer(sim, [backhaul], factor=20.0)
    pacer.start()
    yield backhaul, pacer
    pacer.stop()
    assert pacer.error is None


def connect(backhaul: Backhaul) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", backhaul.port), timeout=10)
    return client


def receive(client: socket.socket, count: int) -> bytes:
    out = b""
    while len(out) < count:
        data = client.recv(65_536)
        if not data:
            break
        out += data
    return out


def test_bytes_pass_unchanged_and_are_metered(line: tuple[Backhaul, Pacer]) -> None:
    backhaul, pacer = line
    message = bytes(range(256)) * 2_000
    with connect(backhaul) as client:
        threading.Thread(target=client.sendall, args=(message,)).start()
        assert receive(client, len(message)) == message
    with pacer.lock:
        assert backhaul.up_bytes == backhaul.down_bytes == len(message)
        assert backhaul.connections == 1


def test_latency_and_rate_cost_simulated_time(line: tuple[Backhaul, Pacer]) -> None:
    backhaul, pacer = line
    with pacer.lock:
        backhaul.latency_s, backhaul.rate_bps = 0.5, 80_000.0
        start_us = pacer.sim.now_us
    with connect(backhaul) as client:
        client.sendall(bytes(10_000))
        assert len(receive(client, 10_000)) == 10_000
    with pacer.lock:
        took_s = (pacer.sim.now_us - start_us) / 1e6
    assert took_s >= 2.0, "half a second and a second each way, in part at the same time"


def test_a_stall_holds_back_and_lets_go(line: tuple[Backhaul, Pacer]) -> None:
    backhaul, pacer = line
    with connect(backhaul) as client:
        client.sendall(b"before")
        assert receive(client, 6) == b"before"
        with pacer.lock:
            backhaul.stall()
        client.sendall(b"during")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        with pacer.lock:
            backhaul.mend()
        assert receive(client, 6) == b"during"


def test_a_cut_resets_and_refuses_until_it_is_mended(line: tuple[Backhaul, Pacer]) -> None:
    backhaul, pacer = line
    with connect(backhaul) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        with pacer.lock:
            backhaul.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with contextlib.suppress(ConnectionResetError), connect(backhaul) as client:
        assert client.recv(1) == b"", "refused, sooner or later"
    with pacer.lock:
        assert backhaul.refused == 1
        backhaul.mend()
    with connect(backhaul) as client:
        client.sendall(b"again")
        assert receive(client, 5) == b"again"
