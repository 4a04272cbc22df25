"""AES-based primitives of LoRaWAN 1.0.4: `BlockKey` (CMAC, CTR) and `derive_session_keys`.

The AES itself comes from the caller as a factory: `aes(key)` returns an object with
`encrypt_into(src, dst)`, one 16-byte ECB block, where `dst` may be `src`. A network server's
object also has `decrypt_into(src, dst)`, needed for join accepts alone; a device never needs it.

Sources: LoRaWAN L2 1.0.4 sections 4.3.3, 4.4 and 6.2.5; RFC 4493 (CMAC).
"""

from protocols.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Block(Protocol):
        """One AES-128 key: encrypts 16-byte blocks in place or into another buffer."""

        def encrypt_into(self, src: bytearray, dst: bytearray) -> None: ...

    class ServerBlock(Block, Protocol):
        """As `Block`, and the inverse, which only a server needs (join accept)."""

        def decrypt_into(self, src: bytearray, dst: bytearray) -> None: ...

    Aes = Callable[[bytes], Block]
    ServerAes = Callable[[bytes], ServerBlock]


class BlockKey:
    """One AES-128 key with its CMAC subkeys and scratch blocks.

    Not re-entrant: one call at a time. No method allocates as long as the `aes` object does not.
    """

    def __init__(self, aes: "Aes", key: bytes) -> None:
        if len(key) != 16:
            raise LocalError("range", "a key of %d bytes, not 16" % len(key))
        self._cipher = aes(key)
        self._state = bytearray(16)
        # For callers' own A, B0 and MIC blocks, so that they need not allocate.
        self.block = bytearray(16)
        self.mac = bytearray(16)
        self._k1 = bytearray(16)
        self._k2 = bytearray(16)
        self._cipher.encrypt_into(self._state, self._k1)
        _double(self._k1, self._k1)
        _double(self._k1, self._k2)

    def encrypt_into(self, src: bytearray, dst: bytearray) -> None:
        """Encrypt the one block `src` into `dst`, which may be `src`."""
        self._cipher.encrypt_into(src, dst)

    def cmac_into(
        self, out: bytearray, data: "bytes | bytearray | memoryview", length: int
    ) -> None:
        """Write the 16-byte CMAC of `data[:length]` to `out[:16]`."""
        state = self._state
        for i in range(16):
            state[i] = 0
        self._finish(out, data, length, 0)

    def cmac_prefixed_into(
        self,
        out: bytearray,
        prefix: bytearray,
        data: "bytes | bytearray | memoryview",
        length: int,
    ) -> None:
        """Write the CMAC of the 16-byte `prefix` followed by `data[:length]` to `out[:16]`."""
        state = self._state
        for i in range(16):
            state[i] = prefix[i]
        self._finish(out, data, length, 16)

    def _finish(
        self,
        out: bytearray,
        data: "bytes | bytearray | memoryview",
        length: int,
        filled: int,
    ) -> None:
        state = self._state
        for i in range(length):
            if filled == 16:
                self._cipher.encrypt_into(state, state)
                filled = 0
            state[filled] ^= data[i]
            filled += 1
        last = self._k1
        if filled < 16:
            state[filled] ^= 0x80
            last = self._k2
        for i in range(16):
            state[i] ^= last[i]
        self._cipher.encrypt_into(state, out)

    def ctr(self, block: bytearray, data: bytearray, start: int, end: int) -> None:
        """Exclusive-or `data[start:end]` in place with the key stream of A blocks.

        `block` is the A block of LoRaWAN section 4.3.3.1; its last byte is overwritten with
        1, 2, ... for each 16 bytes. At most 4080 bytes.
        """
        stream = self._state
        filled = 16
        counter = 0
        for i in range(start, end):
            if filled == 16:
                counter += 1
                block[15] = counter
                self._cipher.encrypt_into(block, stream)
                filled = 0
            data[i] ^= stream[filled]
            filled += 1


def _double(src: bytearray, dst: bytearray) -> None:
    """Multiply by x in GF(2**128), RFC 4493 section 2.3; `dst` may be `src`."""
    carry = 0x87 if src[0] & 0x80 else 0
    for i in range(15):
        dst[i] = (src[i] << 1 | src[i + 1] >> 7) & 0xFF
    dst[15] = (src[15] << 1) & 0xFF ^ carry


def derive_session_keys(
    aes: "Aes", app_key: bytes, join_nonce: int, net_id: int, dev_nonce: int
) -> "tuple[bytes, bytes]":
    """(NwkSKey, AppSKey) of a 1.0.x join: 24-bit nonce and net id, 16-bit DevNonce."""
    cipher = aes(app_key)
    block = bytearray(16)
    keys: list[bytes] = []
    for kind in (1, 2):
        block[0] = kind
        for i in range(3):
            block[1 + i] = join_nonce >> 8 * i & 0xFF
            block[4 + i] = net_id >> 8 * i & 0xFF
        block[7] = dev_nonce & 0xFF
        block[8] = dev_nonce >> 8 & 0xFF
        for i in range(9, 16):
            block[i] = 0
        cipher.encrypt_into(block, block)
        keys.append(bytes(block))
    return keys[0], keys[1]
