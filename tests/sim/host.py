"""A host for the chip model that knows the data sheet only, never our driver."""

from sim.chips import sx126x_facts as facts
from sim.chips.sx126x import BoardFacts, Sx126x
from sim.kernel import Simulation
from sim.radio.medium import Medium, Path

FLAT = Path(exponent=2.0, sigma_db=0.0, fading_db=0.0)


class Host:
    """One chip in a world of its own, or in a given one."""

    def __init__(
        self,
        sim: Simulation | None = None,
        medium: Medium | None = None,
        name: str = "chip",
        board: BoardFacts | None = None,
        x_m: float = 0.0,
    ) -> None:
        self.sim = sim or Simulation(1)
        self.medium = medium or Medium(self.sim, FLAT)
        self.chip = Sx126x(self.sim, self.medium, name, board, x_m=x_m)
        self.dio1: list[tuple[int, int]] = []
        self.chip.set_dio1 = lambda level: self.dio1.append((self.sim.now_us, level))

    def settle(self) -> int:
        """Let time pass until BUSY is low; returns how long it was high, us."""
        start = self.sim.now_us
        while self.chip.busy:
            due = self.sim.next_us()
            assert due is not None, "BUSY for ever"
            self.sim.run_until(due)
        return self.sim.now_us - start

    def raw(self, *data: int) -> bytes:
        """One frame, without looking at BUSY."""
        self.chip.select(0)
        answer = self.chip.transfer(bytes(data))
        self.chip.select(1)
        return answer

    def send(self, *data: int) -> bytes:
        """One frame when BUSY is low; waits for the end of the command."""
        self.settle()
        answer = self.raw(*data)
        self.settle()
        return answer

    def run(self, us: int) -> None:
        self.sim.run_until(self.sim.now_us + us)

    def faults(self) -> list[str]:
        return [what for _, who, what in self.sim.faults if who == self.chip.name]

    def irq(self) -> int:
        answer = self.send(0x12, 0, 0, 0)
        return answer[2] << 8 | answer[3]

    def errors(self) -> int:
        answer = self.send(0x17, 0, 0, 0)
        return answer[2] << 8 | answer[3]

    def mode(self) -> int:
        return self.send(0xC0, 0)[1] >> 4 & 7

    def status(self) -> int:
        return self.send(0xC0, 0)[1] >> 1 & 7

    def register(self, address: int, *values: int) -> int:
        high, low = address >> 8, address & 0xFF
        if values:
            self.send(0x0D, high, low, *values)
        return self.send(0x1D, high, low, 0, 0)[4]

    def configure(
        self,
        hz: int = 921_400_000,
        sf: int = 7,
        *,
        length: int = 12,
        iq: int = 0,
        crc: int = 1,
        header: int = 0,
        dbm: int = 14,
        preamble: int = 8,
        bw: int = 4,
        sync: int = facts.PUBLIC_SYNC_WORD,
    ) -> None:
        """The order of the data sheet's 14.2 and 14.3, with the workarounds of chapter 15."""
        self.send(0x80, 0)
        if self.chip.board.tcxo_mv:
            self.send(0x97, 2, 0, 1, 0x40)  # 1.8 V, 5 ms
            self.send(0x07, 0, 0)
            self.send(0x89, 0x7F)
        self.send(0x9D, 1)
        self.send(0x8A, 1)
        steps = hz * (1 << 25) // 32_000_000
        self.send(0x86, *steps.to_bytes(4, "big"))
        self.send(0x95, 4, 7, 0, 1)
        self.send(0x8E, dbm & 0xFF, 4)
        self.send(0x8F, 0, 0)
        self.send(0x8B, sf, bw, 1, 1 if sf >= 11 and bw == 4 else 0)
        self.send(0x8C, preamble >> 8, preamble & 0xFF, header, length, crc, iq)
        self.send(0x08, 0x03, 0xFF, 0x03, 0xFF, 0, 0, 0, 0)
        self.register(facts.REG_SYNC_WORD, sync >> 8, sync & 0xFF)
        clamp = self.register(facts.REG_TX_CLAMP)
        self.register(facts.REG_TX_CLAMP, clamp | 0x1E)
        modulation = self.register(facts.REG_TX_MODULATION)
        self.register(facts.REG_TX_MODULATION, modulation & ~4 if bw == 6 else modulation | 4)
        polarity = self.register(facts.REG_IQ_POLARITY)
        self.register(facts.REG_IQ_POLARITY, polarity & ~4 if iq else polarity | 4)

    def transmit(self, payload: bytes) -> None:
        """Send a packet and let it end."""
        self.send(0x0E, 0, *payload)
        self.send(0x83, 0, 0, 0)

    def receive_into(self, timeout: int = 0xFFFFFF) -> None:
        self.send(0x82, *timeout.to_bytes(3, "big"))
