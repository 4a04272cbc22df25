"""The broker that the agent runs itself, so that nobody must install one: `LocalBroker`.

"embedded" is rumqttd out of PyPI's `iotcore`, in a child process: MQTT 3.1.1, QoS 1, retained
messages; its sessions live in memory. "mosquitto" starts the Mosquitto that is installed, with a
private configuration and persistence under the data directory. Either ends with the agent.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import signal
import socket
import sys
from pathlib import Path

from gateway.config import split_address
from gateway.sinks.settings import EMBEDDED, BrokerSettings

log = logging.getLogger("tukad.broker")

_READY_S = 10.0
_PR_SET_PDEATHSIG = 1

# What `iotcore.Broker` runs as its child; its own class blocks the event loop while it waits.
# The child ends when our end of its standard input closes, so it cannot outlive us.
_EMBEDDED = (
    "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; "
    "from iotcore._serve import main; main()"
)


class BrokerError(Exception):
    """The broker could not be started; the text is for a person."""


def port_is_free(address: str, *, udp: bool = False) -> bool:
    """Whether nothing listens there yet."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with contextlib.closing(socket.socket(family, kind)) as probe:
        if not udp:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def local_url(bind: str) -> str:
    """Where clients on this machine find a broker that listens on `bind`."""
    host, port = split_address(bind)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"mqtt://[{host}]:{port}" if ":" in host else f"mqtt://{host}:{port}"


class LocalBroker:
    """A broker as a child process."""

    def __init__(self, kind: str, settings: BrokerSettings, folder: Path) -> None:
        self._kind = kind
        self._settings = settings
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        return local_url(self._settings.bind)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises BrokerError."""
        bind = self._settings.bind
        if not port_is_free(bind):
            raise BrokerError(
                f"broker.bind = {bind}: the port is in use; is another broker running?"
                f' Then set mqtt.url = "{self.url}", or choose another port'
            )
        command = self._embedded() if self._kind == EMBEDDED else self._mosquitto()
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the agent, which stops the broker last
            preexec_fn=None if self._kind == EMBEDDED else _die_with_parent,
        )
        try:
            async with asyncio.timeout(_READY_S):
                await self._until_ready()
        except TimeoutError:
            await self.stop()
            raise BrokerError(f"the {self._kind} broker did not answer on {bind}") from None
        except BaseException:
            await self.stop()
            raise
        log.info("broker.started kind=%s bind=%s", self._kind, bind)

    async def run(self) -> None:
        """Until the broker ends, which is an error."""
        if not self.is_running:
            await self.start()
        assert self._process is not None
        code = await self._process.wait()
        raise BrokerError(f"the {self._kind} broker ended with code {code}")

    async def stop(self) -> None:
        """End it; repeats are harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _until_ready(self) -> None:
        assert self._process is not None
        host, port = split_address(self.url.removeprefix("mqtt://"))
        while True:
            if self._process.returncode is not None:
                raise BrokerError(
                    f"the {self._kind} broker ended at once with code {self._process.returncode}"
                )
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return

    def _embedded(self) -> list[str]:
        host, port = split_address(self._settings.bind)
        options = {
            "listen": host,
            "port": port,
            "max_payload_size": 1_048_576,
            "max_inflight_count": 500,
        }
        return [sys.executable, "-c", _EMBEDDED, json.dumps(options)]

    def _mosquitto(self) -> list[str]:
        program = self._settings.mosquitto
        if not program.exists():
            raise BrokerError(
                f"broker.mosquitto = {program}: not installed; apt install mosquitto,"
                ' or set mqtt.url = "embedded"'
            )
        host, port = split_address(self._settings.bind)
        folder = self._folder / "mosquitto"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} {host}\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 100000\n"
            "max_inflight_messages 1000\nlog_dest none\nset_tcp_nodelay true\nuser root\n"
        )
        return [str(program), "-c", str(config)]


def _die_with_parent() -> None:
    """In the child: be ended by the kernel when the agent dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
