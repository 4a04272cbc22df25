"""The asyncio shell of the embedded network server: `EmbeddedService`.

Sockets and clocks only: every decision is in `server.NetworkServer`, which runs in a thread of
its own because each commit waits for the disk. Calls are queued to that thread in order.
"""

import asyncio
import logging
import os
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway.lorawan.config import LorawanConfig, SettingError, host_port
from gateway.lorawan.enrol import synchronise
from gateway.lorawan.model import LorawanStatus
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant
from gateway.lorawan.server import NetworkServer, Output
from gateway.lorawan.service import OnDownlink, OnUplink
from gateway.lorawan.sessions import SessionStore, StoreError, Undelivered
from gateway.lorawan.station import discover, id6
from gateway.lorawan.udp import Address

log = logging.getLogger("tukad.lorawan")

_T = TypeVar("_T")
_RETRY_S = (1.0, 2.0, 5.0, 15.0, 60.0)  # between attempts to hand over one uplink
_STATION_QUEUE = 64  # messages for a station that reads slowly; more are dropped
_BATCH = 256  # datagrams in one commit


def _clock() -> Instant:
    return Instant(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


class _UdpShell(asyncio.DatagramProtocol):
    """Collects datagrams for the pump."""

    def __init__(self, wake: asyncio.Event) -> None:
        self.received: deque[tuple[bytes, Address]] = deque(maxlen=65_536)
        self._wake = wake

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))
        self._wake.set()

    def error_received(self, exc: Exception) -> None:
        """A gateway went away (ICMP); the forwarder's next datagram mends it."""


class EmbeddedService:
    """The embedded network server behind `service.NetworkServerService`."""

    def __init__(
        self,
        config: LorawanConfig,
        data_dir: Path,
        clock: Callable[[], Instant] = _clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Opens `data_dir/lorawan.db` and registers the configured devices.

        Raises SettingError if the configuration, a key file or the database cannot be used.
        """
        self._config = config
        self._clock = clock
        now = clock()
        try:
            self._store = SessionStore(data_dir / "lorawan.db", config.log_frames)
        except StoreError as error:
            raise SettingError(str(error)) from error
        try:
            synchronise(self._store, RadioPlan(config), config.devices, now.unix_ms)
            self._server = NetworkServer(config, self._store, entropy, now)
        except BaseException:
            self._store.close()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lorawan")
        self._wake = asyncio.Event()
        self._udp: asyncio.DatagramTransport | None = None
        self._stations: dict[str, asyncio.Queue[str]] = {}  # what waits to be sent, by EUI
        self._lanes: dict[str, deque[Undelivered]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._on_uplink: OnUplink | None = None
        self._on_downlink: OnDownlink | None = None
        self._is_closed = False
        self._deadline_ms = 0
        self.ready = asyncio.Event()  # set while the sockets are bound
        self.udp_address: tuple[str, int] | None = None  # while running: where it listens
        self.station_address: tuple[str, int] | None = None

    # -- the core's thread

    async def _call(self, function: Callable[..., _T], *args: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *args)

    async def _act(self, function: Callable[..., Output], *args: Any) -> None:
        """Call the core and let out what it returned, even if the caller is cancelled meanwhile."""
        await asyncio.shield(self._call_and_emit(function, *args))

    async def _call_and_emit(self, function: Callable[..., Output], *args: Any) -> None:
        self._emit(await self._call(function, *args))

    def _emit(self, out: Output) -> None:
        self._deadline_ms = out.deadline_ms
        self._wake.set()
        for datagram, address in out.datagrams:
            if self._udp is not None:
                self._udp.sendto(datagram, address)
        for eui, text in out.messages:
            queue = self._stations.get(eui)
            if queue is not None and not queue.full():
                queue.put_nowait(text)
        for waiting in out.deliveries:
            self._deliver(waiting)
        if self._on_downlink is not None and self._group is not None:
            for report in out.reports:
                self._group.create_task(self._report(self._on_downlink, report))

    async def _report(self, on_downlink: OnDownlink, report: Any) -> None:
        await on_downlink(report)

    # -- deliveries: one lane a device, so that its frames stay in order

    def _deliver(self, waiting: Undelivered) -> None:
        if self._group is None:
            return  # not running: it is in the store and comes again at the start
        lane = self._lanes.get(waiting.uplink.dev_eui)
        if lane is not None:
            lane.append(waiting)
            return
        lane = self._lanes[waiting.uplink.dev_eui] = deque([waiting])
        self._group.create_task(self._run_lane(waiting.uplink.dev_eui, lane))

    async def _run_lane(self, dev_eui: str, lane: deque[Undelivered]) -> None:
        assert self._on_uplink is not None
        while lane:
            waiting = lane[0]
            await self._hand_over(self._on_uplink, waiting)
            await self._act(self._server.delivered, waiting.id, self._clock())
            lane.popleft()
        del self._lanes[dev_eui]

    async def _hand_over(self, on_uplink: OnUplink, waiting: Undelivered) -> None:
        """Until the agent has it. Its own faults are its own; the frame waits on our disk."""
        tries = 0
        while True:
            try:
                await on_uplink(waiting.uplink)
            except Exception:
                log.exception(
                    "lorawan.delivery_failed device=%s f_cnt=%d tries=%d",
                    waiting.uplink.device,
                    waiting.uplink.f_cnt,
                    tries + 1,
                )
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1
            else:
                return

    # -- running

    async def run(self, on_uplink: OnUplink, on_downlink: OnDownlink | None = None) -> None:
        """See `service.NetworkServerService.run`. May be run again after it ended."""
        config = self._config
        self._on_uplink, self._on_downlink = on_uplink, on_downlink
        self._lanes.clear()
        self._wake = asyncio.Event()
        shell = _UdpShell(self._wake)
        station: Server | None = None
        loop = asyncio.get_running_loop()
        try:
            if config.bind:
                host, port = host_port(config.bind, "lorawan.bind")
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: shell, local_addr=(host, port)
                )
                self.udp_address = self._udp.get_extra_info("sockname")[:2]
            if config.station.listen:
                station = await self._serve_stations()
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._act(self._server.start, self._clock())
                await self._pump(shell)
        finally:
            self.ready.clear()
            self._group = None
            if self._udp is not None:
                self._udp.close()
                self._udp = None
            if station is not None:
                station.close()
                await station.wait_closed()
            self.udp_address = self.station_address = None
            await self._call(self._server.close)

    async def _pump(self, shell: _UdpShell) -> None:
        """Feed what arrived, step when due, for ever."""
        while True:
            now = self._clock()
            if shell.received:
                count = min(len(shell.received), _BATCH)
                batch = [shell.received.popleft() for _ in range(count)]
                await self._act(self._server.feed_udp, batch, now)
            if self._deadline_ms <= now.mono_ms:
                await self._act(self._server.step, now)
            if shell.received:
                continue
            self._wake.clear()
            wait_s = (self._deadline_ms - self._clock().mono_ms) / 1000
            if wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    # -- Basics Station

    def _tls(self) -> ssl.SSLContext | None:
        settings = self._config.station
        if settings.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(settings.certificate, settings.key)
            if settings.client_ca is not None:
                context.load_verify_locations(settings.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise SettingError(f"lorawan.station.certificate cannot be used: {error}") from error
        return context

    async def _serve_stations(self) -> Server:
        host, port = host_port(self._config.station.listen, "lorawan.station.listen")
        server = await serve(
            self._station,
            host,
            port,
            ssl=self._tls(),
            process_request=self._path_check,
            max_size=65_536,
            ping_interval=30,
        )
        self.station_address = next(iter(server.sockets)).getsockname()[:2]
        return server

    def _path_check(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.rstrip("/")
        if path == "/router-info" or path.startswith("/gateway/"):
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, "expected /router-info\n")

    async def _station(self, connection: ServerConnection) -> None:
        request = connection.request
        path = request.path.rstrip("/") if request is not None else ""
        try:
            if path == "/router-info":
                async for message in connection:
                    await connection.send(discover(message, self._base_uri(connection)))
                return
            await self._station_data(connection, path.rpartition("/")[2])
        except ConnectionClosed:
            pass

    def _base_uri(self, connection: ServerConnection) -> str:
        settings = self._config.station
        if settings.uri:
            return settings.uri.rstrip("/")
        scheme = "ws" if settings.certificate is None else "wss"
        request = connection.request
        host = request.headers.get("Host") if request is not None else None
        return f"{scheme}://{host or settings.listen}"

    async def _station_data(self, connection: ServerConnection, name: str) -> None:
        try:
            eui = id6(name)
        except ValueError:
            await connection.close(1008, "no EUI in the path")
            return
        if not await self._call(self._server.connect_station, eui, self._clock()):
            await connection.close(1008, "not allowed")
            return
        # Its own task and queue: a station that does not read must not hold up the others.
        queue: asyncio.Queue[str] = asyncio.Queue(_STATION_QUEUE)
        self._stations[eui] = queue
        writer = asyncio.create_task(self._write(connection, queue))
        try:
            async for message in connection:
                await self._act(self._server.feed_station, eui, message, self._clock())
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._stations.get(eui) is queue:  # it may have connected again meanwhile
                del self._stations[eui]
                await self._call(self._server.disconnect_station, eui)

    async def _write(self, connection: ServerConnection, queue: asyncio.Queue[str]) -> None:
        while True:
            await connection.send(await queue.get())

    # -- for the agent

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:
        """See `service.NetworkServerService.queue_downlink`."""
        numbers: list[int] = []

        def queue() -> Output:
            number, out = self._server.queue_downlink(
                device, f_port, data, confirmed, expiry_s, self._clock()
            )
            numbers.append(number)
            return out

        await self._act(queue)
        return numbers[0]

    async def status(self) -> LorawanStatus:
        """See `service.NetworkServerService.status`."""
        return await self._call(self._server.status, self._clock())

    def close(self) -> None:
        """Close the database and end the thread; idempotent, after `run` has ended."""
        if not self._is_closed:
            self._is_closed = True
            self._thread.submit(self._store.close).result()
            self._thread.shutdown()
