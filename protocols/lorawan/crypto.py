"""AES-based primitives of LoRaWAN 1.0.4: `BlockKey` (CMAC, CTR) and `derive_session_keys`.

The AES itself comes from the caller as a factory: `aes(key)` returns an object with
`encrypt_into(src, dst)`, one 16-byte ECB block, where `dst` may be `src`. A network server's
object also has `decrypt_into(src, dst)`, needed for join accepts alone; a device never needs it.

Sources: LoRaWAN L2 1.0.4 sections 4.3.3, 4.4 and 6.2.5; RFC 4493 (CMAC).
"""

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
    """One AES-128 key with its CMAC subkeys and scratch blocks; 5 blocks of RAM.

    Not re-entrant: one call at a time. No method allocates as long as the `aes` object does not.
    """

    def __init__(self, aes: "Aes", key: bytes) -> None:
        raise NotImplementedError

    def cmac_into(
        self, out: bytearray, data: "bytes | bytearray | memoryview", length: int
    ) -> None:
        """Write the 16-byte CMAC of `data[:length]` to `out[:16]`."""
        raise NotImplementedError

    def cmac_prefixed_into(
        self,
        out: bytearray,
        prefix: bytearray,
        data: "bytes | bytearray | memoryview",
        length: int,
    ) -> None:
        """Write the CMAC of the 16-byte `prefix` followed by `data[:length]` to `out[:16]`."""
        raise NotImplementedError

    def ctr(self, block: bytearray, data: bytearray, start: int, end: int) -> None:
        """Exclusive-or `data[start:end]` in place with the key stream of A blocks.

        `block` is the A block of LoRaWAN section 4.3.3.1; its last byte is overwritten with
        1, 2, ... for each 16 bytes.
        """
        raise NotImplementedError


def derive_session_keys(
    aes: "Aes", app_key: bytes, join_nonce: int, net_id: int, dev_nonce: int
) -> "tuple[bytes, bytes]":
    """(NwkSKey, AppSKey) of a 1.0.x join: 24-bit nonce and net id, 16-bit DevNonce."""
    raise NotImplementedError
