"""CPython stand-ins for the modules of MicroPython that device code imports."""

import sys
import types
from typing import Any


class _Cipher:
    """`cryptolib.aes(key, 1)`: ECB on whole blocks."""

    def __init__(self, key: bytes, mode: int) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        assert mode == 1
        self._ecb = Cipher(algorithms.AES(key), modes.ECB())

    def encrypt(self, src: Any, dst: Any = None) -> bytes:
        encryptor = self._ecb.encryptor()
        out = encryptor.update(bytes(src)) + encryptor.finalize()
        if dst is not None:
            dst[:] = out
        return out


def _module(name: str, **content: Any) -> None:
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module


_module("micropython", const=lambda value: value)
_module("cryptolib", aes=_Cipher)
