"""A little assembler: register pokes, peeks and waits as ARM Thumb code for an RP2040.

Hand-assembled from the ARMv6-M manual, so that the emulator's wiring is tested without any
firmware. The program runs from flash; what it reads goes to RAM at `RESULTS`.
"""

import struct

RESULTS = 0x2000_1000
VECTORS = 0x2000_0100
FLASH = 0x1000_0000


class Program:
    """Collects code; `image()` is the flash. r4 holds the address of the next result."""

    def __init__(self) -> None:
        self._code: list[int] = []
        self._constants: list[int] = []
        self._loads: list[tuple[int, int, int]] = []  # at, register, constant
        # b over; the interrupt handler: disable all interrupts, return.
        self._code.append(0xE003)
        self._load(0, 0xE000_E180)
        self._load(1, 0xFFFF_FFFF)
        self._code += [0x6001, 0x4770]  # str r1, [r0]; bx lr
        self._load(0, RESULTS)
        self._code.append(0x4685)  # mov sp, r0
        self._load(4, RESULTS)
        self.poke(0xE000_ED08, VECTORS)

    def _load(self, register: int, value: int) -> None:
        self._loads.append((len(self._code), register, len(self._constants)))
        self._constants.append(value & 0xFFFFFFFF)
        self._code.append(0)

    def poke(self, address: int, value: int) -> "Program":
        """Store a word."""
        self._load(0, address)
        self._load(1, value)
        self._code.append(0x6001)  # str r1, [r0]
        return self

    def peek(self, address: int) -> "Program":
        """Append a word to the results."""
        self._load(0, address)
        self._code += [0x6801, 0x6021, 0x3404]  # ldr r1, [r0]; str r1, [r4]; adds r4, #4
        return self

    def wait(self, address: int, mask: int, value: int) -> "Program":
        """Until (word & mask) == value."""
        self._load(0, address)
        self._load(2, mask)
        self._load(3, value)
        # ldr r1,[r0]; ands r1,r2; cmp r1,r3; bne -8 (to the ldr)
        self._code += [0x6801, 0x4011, 0x4299, 0xD1FB]
        return self

    def delay(self, loops: int) -> "Program":
        """Three cycles a loop."""
        self._load(0, loops)
        self._code += [0x3801, 0xD1FD]  # subs r0, #1; bne to it
        return self

    def sleep(self, irq: int) -> "Program":
        """Until interrupt `irq` comes (WFI); it is disabled then."""
        self.poke(VECTORS + 4 * (16 + irq), FLASH + 2 | 1).poke(0xE000_E100, 1 << irq)
        self._code.append(0xBF30)
        return self

    def image(self) -> bytes:
        """The flash, ending in sleep."""
        code = [*self._code, 0xBF30, 0xE7FD]  # wfi; b to it
        if len(code) % 2:
            code.append(0xBF00)
        assert len(code) * 2 <= 1000, "literals would be out of reach: split the program"
        base = len(code) * 2
        for at, register, constant in self._loads:
            offset = base + 4 * constant - ((2 * at + 4) & ~3)
            assert 0 <= offset <= 1020
            code[at] = 0x4800 | register << 8 | offset >> 2  # ldr rN, [pc, #offset]
        return struct.pack(f"<{len(code)}H", *code) + struct.pack(
            f"<{len(self._constants)}I", *self._constants
        )


def uf2(image: bytes, address: int = FLASH) -> bytes:
    """The image as a UF2 file (github.com/microsoft/uf2)."""
    blocks = [image[i : i + 256].ljust(256, b"\0") for i in range(0, len(image), 256)]
    return b"".join(
        struct.pack(
            "<8I", 0x0A324655, 0x9E5D5157, 0x2000, address + 256 * i, 256, i, len(blocks),
            0xE48BFF56,
        )
        + block.ljust(476, b"\0")
        + struct.pack("<I", 0x0AB16F30)
        for i, block in enumerate(blocks)
    )  # fmt: skip
