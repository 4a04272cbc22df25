"""The network server as a part of the agent: `NetworkServerService` and `open_service`.

Contract for the rest of the agent:

    service = open_service(config, data_dir)            # embedded or ChirpStack, same interface
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(on_uplink))       # until cancelled
    ...
    await service.queue_downlink("siren-1", 10, b"\x01", confirmed=True, expiry_s=600)

`on_uplink(uplink)` is awaited once for every accepted frame, in order within one device; when it
returns, the frame counts as delivered, and only then an acknowledgement leaves (within RX1, or
else RX2). When it raises, the frame stays in the store and is handed over again after a pause.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.model import DownlinkReport, LorawanStatus, Uplink

OnUplink = Callable[[Uplink], Awaitable[None]]
OnDownlink = Callable[[DownlinkReport], Awaitable[None]]


class NetworkServerService(Protocol):
    """What both network servers offer the agent."""

    async def run(self, on_uplink: OnUplink, on_downlink: OnDownlink | None = None) -> None:
        """Serve until cancelled. Raises OSError if a port cannot be bound."""
        ...

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:
        """Queue application data for a device, durably; returns the number reports carry.

        `device` is its name or DevEUI, `f_port` 1..223. Raises KeyError for an unknown device,
        LocalError("range") for a bad port or more than 242 bytes, LocalError("queue_full"), and
        LocalError("store") when the disk refuses it.
        """
        ...

    async def status(self) -> LorawanStatus:
        """Counters and gateways, for health records and the console."""
        ...

    def close(self) -> None:
        """Release files and threads, after `run` has ended; idempotent."""
        ...


def open_service(config: LorawanConfig, data_dir: Path) -> NetworkServerService:
    """The service that `config.server` names; opens `data_dir/lorawan.db` for the embedded one.

    Raises SettingError, one line for the operator, if the configuration cannot be used.
    """
    # Imported here: each needs libraries that the other's users need not have.
    from gateway.lorawan.fragments import FragmentService

    if config.server == "chirpstack":
        from gateway.lorawan.chirpstack import ChirpStackService

        return FragmentService(ChirpStackService(config), data_dir, config)
    from gateway.lorawan.embedded import EmbeddedService

    return FragmentService(EmbeddedService(config, data_dir), data_dir, config)
