"""AIS messages as NMEA 0183 sentences: `Bits`, `sentences`.

`Bits` puts fields together as ITU-R M.1371-5 lists them; `sentences` armours them (IEC 61162-1,
!AIVDM), splits what is longer than a sentence and adds the checksums. No tag blocks.
"""

import unicodedata

_LINE_MAX = 82  # characters with "!" and the line's end, IEC 61162-1
_PAYLOAD_MAX = _LINE_MAX - len("!AIVDM,2,1,0,A,,0*00\r\n")
_SIX_BIT = "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_ !\"#$%&'()*+,-./0123456789:;<=>?"


def six_bit_text(text: str, length: int) -> str:
    """The text in the letters that AIS has, at most `length`: accents off, capitals, "?" else."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).upper()
    # "@" ends a text on the air, so it is no letter.
    return "".join(c if c in _SIX_BIT[1:] else "?" for c in plain)[:length].rstrip()


class Bits:
    """Fields of a message, the highest bit first."""

    def __init__(self) -> None:
        self._value = 0
        self.length = 0

    def put(self, value: int, bits: int) -> "Bits":
        """Add an unsigned field. Raises ValueError when the value does not fit."""
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        self._value = self._value << bits | value
        self.length += bits
        return self

    def put_signed(self, value: int, bits: int) -> "Bits":
        """Add a field in two's complement. Raises ValueError when the value does not fit."""
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"{value} does not fit in {bits} signed bits")
        return self.put(value & (1 << bits) - 1, bits)

    def put_text(self, text: str, letters: int) -> "Bits":
        """Add so many six-bit letters, filled up with "@"."""
        for letter in six_bit_text(text, letters).ljust(letters, "@"):
            self.put(_SIX_BIT.index(letter), 6)
        return self

    def armour(self) -> tuple[str, int]:
        """The payload's letters and how many bits were added to fill the last one."""
        fill = -self.length % 6
        value = self._value << fill
        count = (self.length + fill) // 6
        codes = (value >> 6 * (count - 1 - i) & 63 for i in range(count))
        return "".join(chr(code + (48 if code < 40 else 56)) for code in codes), fill


def checksum(body: str) -> int:
    """Of what is between "!" and "*"."""
    total = 0
    for byte in body.encode("ascii"):
        total ^= byte
    return total


def sentences(message: Bits, group: int) -> bytes:
    """The message's sentences, each with its line end; `group` (0..9) ties them together."""
    payload, fill = message.armour()
    parts = [payload[i : i + _PAYLOAD_MAX] for i in range(0, len(payload), _PAYLOAD_MAX)]
    tie = str(group % 10) if len(parts) > 1 else ""
    lines: list[str] = []
    for number, part in enumerate(parts, 1):
        rest = fill if number == len(parts) else 0
        body = f"AIVDM,{len(parts)},{number},{tie},A,{part},{rest}"
        lines.append(f"!{body}*{checksum(body):02X}\r\n")
    return "".join(lines).encode("ascii")
