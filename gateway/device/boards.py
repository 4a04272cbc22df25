"""What a board is to the cable: `BOARDS`, `Identity`, `identify`, `check`."""

from dataclasses import dataclass

from gateway.device.link import DeviceError, Link

OLDEST = (1, 24)


@dataclass(frozen=True)
class BoardKind:
    """One row of `BOARDS`: how MicroPython calls the chip, and how MicroPython itself gets on."""

    platform: str
    image: str
    step: str


_UF2 = "hold BOOTSEL while plugging in, then copy the UF2 file to the drive RPI-RP2"
_ESP = "hold BOOT, press RESET, then: esptool --chip esp32s3 write-flash 0 IMAGE.bin"
BOARDS = {
    "pico-waveshare": BoardKind("rp2", "RPI_PICO (.uf2)", _UF2),
    "heltec-v3": BoardKind("esp32", "ESP32_GENERIC_S3 (.bin)", _ESP),
    "tbeam-supreme": BoardKind("esp32", "ESP32_GENERIC_S3-SPIRAM_OCT (.bin)", _ESP),
    "unix-pico": BoardKind("linux", "none, this is the simulator", "nothing to do"),
}


def how_to_install(board: str) -> str:
    """The step that puts MicroPython itself on a board; ours begin after it."""
    kind = BOARDS[board]
    return f"MicroPython image {kind.image}, 1.24 or newer: {kind.step}"


@dataclass(frozen=True)
class Identity:
    """What the interpreter says of itself."""

    platform: str
    machine: str
    version: tuple[int, ...]
    mpy: int

    @property
    def release(self) -> str:
        """As 1.28.0."""
        return ".".join(str(part) for part in self.version[:3])


def identify(link: Link) -> Identity:
    """Ask the board."""
    platform, machine, version, mpy = link.ask(
        "(sys.platform, getattr(sys.implementation, '_machine', ''),"
        " tuple(sys.implementation[1])[:3], getattr(sys.implementation, '_mpy', 0) & 255)"
    )
    return Identity(platform, machine, version, mpy)


def check(identity: Identity, board: str, mpy: int = 0) -> None:
    """Whether this is `board`, new enough for files of .mpy version `mpy` (0: any)."""
    kind = BOARDS[board]
    if identity.platform != kind.platform:
        raise DeviceError(
            f"wrong board: this is a {identity.machine or identity.platform}, not a {board}"
        )
    if identity.version[:2] < OLDEST or (mpy and identity.mpy != mpy):
        raise DeviceError(
            f"MicroPython {identity.release} on the board does not fit (needs .mpy {mpy or 6}, has"
            f" {identity.mpy}); {how_to_install(board)}"
        )
