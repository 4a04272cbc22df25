"""The other ends for tests of the whole agent: a Modbus TCP device, a broker, a link, the city.

The Modbus device is written from the specification (MODBUS Messaging on TCP/IP 1.0b) and shares
no code with the gateway. Its register 0 counts the answers it gave, so that a reading that was
polled and never arrived can be told from one that was never polled.
"""

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiomqtt

from gateway.codec import BatchError, Catalogue, decode

TUKAD = Path(sys.executable).with_name("tukad")
MOSQUITTO = Path("/usr/sbin/mosquitto")


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ModbusPeer:
    """Every unit answers; `answer(unit, address, count)` gives registers, or None for silence."""

    def __init__(self, answer: Callable[[int, int, int], list[int] | None] | None = None) -> None:
        self.answers: dict[int, int] = defaultdict(int)  # by unit
        self.requests: list[tuple[int, int, int]] = []
        self._answer = answer or self._counter
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.port = 0

    def _counter(self, unit: int, address: int, count: int) -> list[int]:
        value = self.answers[unit]
        return [value >> 16, value & 0xFFFF, *[0] * 123][address : address + count]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_answers(self, unit: int, count: int) -> None:
        """Wait until a unit has given so many more answers."""
        wanted = self.answers[unit] + count
        async with asyncio.timeout(20):
            while self.answers[unit] < wanted:
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(7)
            transaction, _, length, unit = struct.unpack(">HHHB", head)
            function, address, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
            self.requests.append((unit, address, count))
            registers = self._answer(unit, address, count)
            if registers is None:
                continue
            self.answers[unit] += 1
            self._changed.set()
            body = struct.pack(f">BB{count}H", function, 2 * count, *registers)
            writer.write(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)


def die_with_parent() -> None:
    """In the child: SIGTERM when the parent ends (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Broker:
    """A broker of its own process on a fixed port, so that it can be killed and come back."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.more = ""  # more lines of Mosquitto's configuration
        self.port = free_port()
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        if self.kind == "mosquitto":
            config = self._folder / "broker.conf"
            config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nuser root\n"
                f"persistence true\npersistence_location {self._folder}/\n"
                "autosave_interval 1\nautosave_on_changes true\n"
                "max_queued_messages 0\nmax_inflight_messages 0\n"
                f"{self.more}"
            )
            command = [str(MOSQUITTO), "-c", str(config)]
        else:
            options = {
                "listen": "127.0.0.1",
                "port": self.port,
                "max_payload_size": 1_048_576,
                "max_inflight_count": 500,
            }
            code = "from iotcore._serve import main; main()"
            command = [sys.executable, "-c", code, json.dumps(options)]
        # Whatever becomes of the test, the broker ends with it: by the end of its input, or by
        # the kernel.
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def stop(self, number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()


class Link:
    """A TCP proxy: `pass` forwards, `refuse` closes, `swallow` loses bytes as a dead radio link."""

    def __init__(self, target: int) -> None:
        self.mode = "pass"
        self.bytes_per_s = 0  # 0: as fast as it goes
        self.swallowed = 0
        self.port = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        for task in tuple(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.mode == "refuse":
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(self.bytes_per_s // 10 or 65536):
                if self.bytes_per_s:
                    await asyncio.sleep(0.1)
                if self.mode == "pass":
                    writer.write(data)
                    await writer.drain()
                else:
                    self.swallowed += len(data)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class City:
    """The control room: a persistent subscriber that decodes, counts and drops repeats.

    Of several ports it takes the next when one refuses it.
    """

    def __init__(self, *ports: int, site: str = "test") -> None:
        self._ports = ports
        self._site = site
        self._catalogues: dict[int, Catalogue] = {}
        self._early: list[bytes] = []
        self.rows: dict[tuple[str, str, int], tuple[int, dict[str, int]]] = {}
        self.repeats = 0
        self.conflicts = 0  # the same identity with other content: must never be
        self.alarms: list[dict[str, Any]] = []
        self.health: dict[str, Any] = {}
        self.bytes = 0
        self.batches: list[str] = []
        self.changed = asyncio.Event()
        self.subscriptions = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator["City"]:
        task = asyncio.create_task(self._listen())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        for port in itertools.cycle(self._ports):
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", port, identifier="city", clean_session=False, timeout=3
                ) as client:
                    await client.subscribe(f"tukad/{self._site}/#", qos=1)
                    self.subscriptions += 1
                    self.changed.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        self.take(str(message.topic), message.payload)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)

    def take(self, topic: str, payload: bytes) -> None:
        """One message."""
        kind = topic.split("/")[2]
        if kind == "catalogue":
            catalogue = Catalogue.from_json(payload)
            self._catalogues[catalogue.version] = catalogue
            early, self._early = self._early, []
            for data in early:
                self._batch(data)
        elif kind == "batch":
            self.bytes += len(payload)
            self.batches.append(topic.split("/")[3])
            self._batch(payload)
        elif kind == "alarm":
            self.alarms.append(json.loads(payload))
        elif kind == "health":
            self.health = json.loads(payload)
        elif kind in ("reading", "history"):
            body = json.loads(payload)
            key = (body["device"], body["stream"], body["sequence"])
            self._row(key, (body["time_ms"], body["values"]))
        self.changed.set()

    def _batch(self, data: bytes) -> None:
        try:
            batch = decode(data, self._catalogues.values())
        except BatchError:
            self._early.append(data)  # its catalogue comes with the next connection
            return
        for record in batch.records:
            device = batch.catalogue.devices[record.device]
            assert record.sequence is not None
            names = [channel.name for channel in device.channels]
            values = {
                name: value
                for name, value in zip(names, record.values, strict=True)
                if value is not None
            }
            self._row((device.id, device.stream, record.sequence), (record.time_ms, values))

    def _row(self, key: tuple[str, str, int], row: tuple[int, dict[str, int]]) -> None:
        if key in self.rows:
            self.repeats += 1
            self.conflicts += self.rows[key] != row
        self.rows[key] = row

    async def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Wait for a condition on what arrived."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"still not so after {timeout_s} s: {len(self.rows)} rows, {self.repeats} repeats,"
                f" holes {self.holes()}, {len(self._early)} batches without a catalogue,"
                f" {self.subscriptions} subscriptions, health {self.health}"
            ) from None

    def latest(self, device: str) -> int:
        """The highest count of a counting sensor that arrived."""
        found = [v["answers"] for (name, _, _), (_, v) in self.rows.items() if name == device]
        return max(found, default=-1)

    def holes(self) -> dict[tuple[str, str], list[int]]:
        """Missing sequences by stream, between the first and the last of each log that came."""
        logs: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for device, stream, sequence in self.rows:
            logs[device, stream, sequence >> 32].append(sequence)
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for (device, stream, _), numbers in logs.items():
            whole = range(min(numbers), max(numbers) + 1)
            found[device, stream] += sorted(set(whole) - set(numbers))
        return found


class AgentProcess:
    """`tukad gateway run FILE` as its own process."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self._process: asyncio.subprocess.Process | None = None
        self.log = b""

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            TUKAD,
            "gateway",
            "run",
            self.config,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes that it started."""
        assert self._process is not None
        pid = self._process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """Its files cannot grow beyond `size` bytes, as on a full disk; -1: no limit."""
        assert self._process is not None
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    async def end(self, number: int = signal.SIGTERM, timeout_s: float = 15) -> int:
        """Signal it, wait for its end; returns the exit code."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.wait(timeout_s)

    async def wait(self, timeout_s: float = 15) -> int:
        """Wait for its end; returns the exit code, -9 after SIGKILL."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            _, error = await self._process.communicate()
        self.log += error
        code = self._process.returncode
        assert code is not None
        return code


@contextlib.asynccontextmanager
async def running(config: Path) -> AsyncGenerator[AgentProcess]:
    """An agent that is ended by SIGTERM, whatever happens in the test."""
    agent = AgentProcess(config)
    await agent.start()
    try:
        yield agent
    finally:
        if agent.is_running:
            await agent.end()
