"""Modbus RTU client, sans-IO: `RtuClient` makes requests and finds the replies in the noise.

length = client.read_into(unit, function, address, count)   # request is client.tx[:length]
... write it, then for whatever arrives:
client.feed(data); client.poll() -> None or True when the reply is there
on silence of 3.5 characters: client.line_idle(); on the caller's time-out: client.timed_out()
then client.exception (0: none) and client.register(i), client.count
"""

from protocols.errors import LocalError

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16


class RtuClient:
    """One outstanding request. Counters: noise_bytes, replies, exceptions, timeouts, strays."""

    def __init__(self) -> None:
        self.tx = bytearray(256)
        self.noise_bytes = 0
        self.replies = 0
        self.exceptions = 0
        self.timeouts = 0
        self.strays = 0  # good frames that answer nothing we asked
        self.exception = 0  # code of the last reply, 0 when it was data
        self.count = 0  # registers in the last reply

    def read_into(self, unit: int, function: int, address: int, count: int) -> int:
        """Put a read request (function 3 or 4, 1..125 registers) into `tx`; return its length."""
        raise LocalError("unfinished")

    def write_into(self, unit: int, address: int, values: "list[int]") -> int:
        """Put a write request (function 6 for one value, 16 for more) into `tx`."""
        raise LocalError("unfinished")

    def feed(self, data: "bytes | bytearray | memoryview", length: int = -1) -> bool:
        """Take what arrived; True when the outstanding request is answered."""
        raise LocalError("unfinished")

    def line_idle(self) -> bool:
        """The line was silent for 3.5 characters; True when the request is (now) answered."""
        raise LocalError("unfinished")

    def timed_out(self) -> None:
        """Give up the request; a late reply will be a stray."""

    def register(self, index: int) -> int:
        """Register `index` of the last reply, 0..65535."""
        raise LocalError("unfinished")
