"""AES-128 for `protocols.lorawan`: `Aes`, one key of the chip's `cryptolib`."""

import cryptolib


class Aes:
    """Encrypts 16-byte blocks; cryptolib knows no CTR or CMAC, so those are built on this."""

    def __init__(self, key: bytes) -> None:
        self._cipher = cryptolib.aes(key, 1)

    def encrypt_into(self, src: bytearray, dst: bytearray) -> None:
        """One block of `src` into `dst`, which may be `src`. Allocates nothing."""
        self._cipher.encrypt(src, dst)
