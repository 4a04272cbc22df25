"""A simulated level sensor for a real gateway: Modbus TCP on the loopback, or RTU on a pty.

Public: `PtyRtuEdge`, `SensorServer`. The sensor hangs over the golden storm, paced to the clock.
"""

import os
import selectors
import tty

from hil.pace import Edge, ModbusTcpEdge, Pacer
from sim.chips.level_sensors import LevelSensor
from sim.chips.modbus import Slave, crc16
from sim.kernel import MILLISECOND, Event, Simulation, Trace
from sim.world.river import Gauge, golden_stage

_SILENCE_US = 20 * MILLISECOND  # ends a frame: USB adapters and ptys deliver in bursts


class PtyRtuEdge:
    """An RTU slave behind a pseudo terminal; `path` is what a gateway opens as its port.

    A pty takes any baud rate but no parity (Linux refuses it with EINVAL), so the gateway's port is
    to be set to 8N1. `noise` is the chance that an answer is damaged.
    """

    def __init__(self, sim: Simulation, slave: Slave, address: int) -> None:
        self.sim = sim
        self.slave = slave
        self.address = address
        self.noise = 0.0
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.path = os.ttyname(theirs)
        # Kept open, or reading our end would fail whenever no gateway has the port.
        self._theirs = theirs
        os.set_blocking(self._ours, False)
        self._buffer = bytearray()
        self._gap: Event | None = None
        self._rng = sim.rng("pty")

    def open(self, selector: selectors.BaseSelector) -> None:
        """See `Edge`."""
        selector.register(self._ours, selectors.EVENT_READ, self._readable)

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._ours, 4096)
        except BlockingIOError:
            return
        self.sim.cancel(self._gap)
        self._gap = self.sim.after(_SILENCE_US, self._frame)

    def _frame(self) -> None:
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) < 4 or crc16(frame[:-2]) != frame[-2:] or frame[0] != self.address:
            return
        body = frame[:1] + self.slave.answer(frame[1:-2])
        whole = bytearray(body + crc16(body))
        if self._rng.random() < self.noise:
            whole[self._rng.randrange(len(whole))] ^= 1
        os.write(self._ours, whole)

    def close(self) -> None:
        """See `Edge`."""
        os.close(self._ours)
        os.close(self._theirs)


class SensorServer:
    """One sensor of `kind` over the storm; `where` is "tcp://127.0.0.1:PORT" or a pty's path."""

    def __init__(
        self,
        kind: str,
        *,
        port: int | None = None,
        address: int = 1,
        height_mm: int = 7_000,
        speed: float = 1.0,
        from_h: float = 7.0,
        fault: str = "",
        seed: int = 1,
    ) -> None:
        self.sim = Simulation(seed, Trace(keep=100))
        self.gauge = Gauge(
            golden_stage(), lambda: self.sim.now_us / 1e6, speed=speed, start_s=3600 * from_h
        )
        rng = self.sim.rng("sensor")
        self.sensor = LevelSensor(kind, self.gauge, height_mm, rng, address=address)
        self.sensor.fault = fault
        edge: Edge
        if port is None:
            edge = pty = PtyRtuEdge(self.sim, self.sensor.slave, address)
            self.where = pty.path
        else:
            edge = tcp = ModbusTcpEdge(self.sensor.slave, unit=address, port=port)
            self.where = f"tcp://127.0.0.1:{tcp.port}"
        self._pacer = Pacer(self.sim, [edge])

    def level_mm(self) -> int:
        """The true water level now."""
        with self._pacer.lock:
            return round(self.gauge())

    def __enter__(self) -> "SensorServer":
        self._pacer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pacer.stop()
