"""u-blox UBX: frames and the few messages that save power; `UbxReader`, `power_mode`, `sleep`.

Frame (u-blox M8 protocol specification UBX-13003221 R26, 32.2):

    B5 62  class  id  length u16 little-endian  payload  CK_A CK_B

CK is the 8-bit Fletcher sum over class to payload. NMEA runs on the same line beside it.

    CFG-PMS  06 86  8 B: version 0, powerSetupValue, period u16 s, onTime u16 s, reserved 2
    RXM-PMREQ 02 41 16 B: version 0, reserved 3, duration u32 ms (0: until woken), flags u32
                    (bit 1: backup, bit 2: force), wakeupSources u32 (bit 3: a byte on RXD)
    ACK-ACK  05 01, ACK-NAK 05 00: 2 B, class and id of what is answered

A receiver that does not know CFG-PMS answers NAK and keeps full power.
"""

import struct

from protocols.errors import LocalError

FULL, BALANCED, INTERVAL, AGGRESSIVE_1HZ = 0, 1, 2, 3  # powerSetupValue
PAYLOAD_MAX = 40  # longer messages are not ours; they are passed over and counted

_CFG, _PMS = 0x06, 0x86
_RXM, _PMREQ = 0x02, 0x41
_ACK = 0x05
_WAKE_UART = 0x08
_BACKUP, _FORCE = 0x02, 0x04


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """A whole message."""
    body = struct.pack("<BBH", kind, number, len(payload)) + payload
    a = b = 0
    for byte in body:
        a = (a + byte) & 0xFF
        b = (b + a) & 0xFF
    return b"\xb5\x62" + body + bytes((a, b))


def power_mode(setup: int, period_s: int = 0, on_s: int = 0) -> bytes:
    """CFG-PMS: FULL, BALANCED, or INTERVAL with a fix every `period_s`, the receiver on for `on_s`.

    Raises LocalError("range"): a period outside 0..65535 s, or for another mode than INTERVAL.
    """
    if not 0 <= setup <= 3 or not 0 <= period_s <= 65_535 or not 0 <= on_s <= period_s:
        raise LocalError("range", "mode %d, period %d s, on %d s" % (setup, period_s, on_s))
    if (setup == INTERVAL) != (period_s > 0):
        raise LocalError("range", "a period goes with the interval mode, and only with it")
    return frame(_CFG, _PMS, struct.pack("<BBHHH", 0, setup, period_s, on_s, 0))


def sleep(duration_ms: int = 0) -> bytes:
    """RXM-PMREQ: backup now, for `duration_ms` (0: until a byte comes on its RXD).

    Time, position and orbits stay: the next fix is a hot start. Raises LocalError("range").
    """
    if not 0 <= duration_ms <= 0x3FFF_FFFF:
        raise LocalError("range", "%d ms" % duration_ms)
    payload = struct.pack("<IIII", 0, duration_ms, _BACKUP | _FORCE, _WAKE_UART)
    return frame(_RXM, _PMREQ, payload)


WAKE = b"\xff"  # one byte wakes it; it is lost, and no beginning of a sentence or frame


class UbxReader:
    """Bytes in, acknowledgements out: `feed` each byte; True when `kind`, `number` are new.

    Everything else (NMEA above all) is passed over; `payload` holds the last message's.
    """

    def __init__(self) -> None:
        self.kind = 0
        self.number = 0
        self.length = 0
        self.payload = bytearray(PAYLOAD_MAX)
        self.bad = 0  # frames with a wrong checksum, or too long
        self._at = 0  # bytes of the frame so far
        self._a = 0
        self._b = 0

    def feed(self, byte: int) -> bool:
        """One byte."""
        at = self._at
        if at == 0:
            self._at = 1 if byte == 0xB5 else 0
            return False
        if at == 1:
            self._at = 2 if byte == 0x62 else 1 if byte == 0xB5 else 0
            self._a = self._b = 0
            return False
        self._at = at + 1
        if at < 6 + self.length or at < 6:
            self._a = (self._a + byte) & 0xFF
            self._b = (self._b + self._a) & 0xFF
            self._keep(at, byte)
            return False
        if at == 6 + self.length:
            if byte != self._a:
                self._lose()
            return False
        self._at = 0
        if byte != self._b:
            self.bad += 1
            return False
        return True

    def _keep(self, at: int, byte: int) -> None:
        if at == 2:
            self.kind = byte
        elif at == 3:
            self.number = byte
        elif at == 4:
            self.length = byte
        elif at == 5:
            self.length |= byte << 8
            if self.length > PAYLOAD_MAX:
                self._lose()
        else:
            self.payload[at - 6] = byte

    def _lose(self) -> None:
        self.bad += 1
        self._at = 0
        self.length = 0

    def answer_to(self, kind: int, number: int) -> "bool | None":
        """After True of `feed`: whether it accepts (True) or refuses (False) that message."""
        if self.kind != _ACK or self.length != 2 or self.number > 1:
            return None
        if self.payload[0] != kind or self.payload[1] != number:
            return None
        return self.number == 1
