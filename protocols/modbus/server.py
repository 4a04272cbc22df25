"""Modbus RTU server, sans-IO: `RtuServer` answers functions 3, 4, 6 and 16 from a provider.

provider.read(function, address) -> int 0..65535, or -1: no such register
provider.write(address, value, check) -> 0 or an exception code; with check=True only judges
"""

from protocols.errors import LocalError

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4


class RtuServer:
    """feed() bytes, line_idle() on 3.5 silent characters -> length of the answer in `tx`, or 0."""

    def __init__(self, unit: int, provider: object) -> None:
        raise LocalError("unfinished")

    def feed(self, data: "bytes | bytearray | memoryview", length: int = -1) -> int:
        """Take what arrived; the length of an answer that is due in `tx`, or 0."""
        raise LocalError("unfinished")

    def line_idle(self) -> int:
        """The line was silent for 3.5 characters."""
        raise LocalError("unfinished")
