"""The flood node as a Modbus server on its second UART, asked by pymodbus' own framer."""

from pathlib import Path

from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, WriteSingleRegisterRequest

from sim.board import Uart
from tests.firmware.host.world import World, running

FORMAT_8E1 = 0x68


class Master:
    """The gateway's end of the wires."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._uart: Uart = world.node.board.uarts[world.node.pins["gnss_uart"]]
        self._uart.device = self
        self._framer = FramerRTU(DecodePDU(False))
        self.heard = b""

    def receive(self, data: bytes) -> None:
        self.heard += data

    def send(self, raw: bytes) -> bytes:
        self.heard = b""
        self._uart.from_device(raw, 9600, FORMAT_8E1)
        self._world.run(1)
        return self.heard

    def read(self, address: int, count: int) -> list[int]:
        request = ReadHoldingRegistersRequest(address=address, count=count, dev_id=5)
        raw = self.send(self._framer.buildFrame(request))
        used, answer = self._framer.handleFrame(raw, 5, 0)
        assert answer is not None and used == len(raw), raw.hex()
        assert not answer.isError(), answer
        return list(answer.registers)


def test_a_wired_gateway_reads_what_the_radio_says(tmp_path: Path) -> None:
    settings: dict[str, object] = {"wired_address": 5}
    level = lambda now_s: 600.0 + now_s / 10  # noqa: E731
    with running(World(tmp_path, level_mm=level, rain_mm_h=lambda _: 60.0, settings=settings)) as w:
        w.run(290)  # between two readings
        master = Master(w)
        now = master.read(0, 17)
        newest = w.samples[max(w.samples)]
        assert now[0] == 1
        assert now[1] == newest.level_mm
        assert now[2] == 1 and now[3] == 0
        assert (now[4] << 16 | now[5]) == newest.sequence
        assert (now[6] << 16 | now[7]) == newest.time_s
        assert (now[8] << 16 | now[9]) in range(15, 30)
        assert 3800 < now[10] < 4000 and now[11] == 28 and now[12] == 42
        assert now[13] == 60 and now[14] == 1 and now[15] == 1
        count = now[16]
        levels = master.read(100, count)
        ages = master.read(200, count)
        for i in range(count):
            sample = w.samples[newest.sequence - i]
            assert levels[i] == sample.level_mm
            assert ages[i] == (newest.time_s - sample.time_s) // 10
        # The radio goes on meanwhile, and nothing can be written.
        refused = master.send(
            FramerRTU(DecodePDU(False)).buildFrame(
                WriteSingleRegisterRequest(address=2, registers=[0], dev_id=5)
            )
        )
        assert refused[:3] == bytes([5, 0x86, 2])
        frames = len(w.flood)
        w.run(130)
        assert len(w.flood) >= frames + 2
