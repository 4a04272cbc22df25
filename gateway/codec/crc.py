"""CRC-32C (Castagnoli, RFC 3720 section 12.1): reflected polynomial 0x82F63B78."""


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = tuple(_row(value) for value in range(256))


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C of `data`, continued from `crc`; `crc32c(b"123456789")` is 0xE3069283."""
    table = _TABLE
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
