"""The `aes` factory for tests: `cryptolib` under MicroPython, `cryptography` under CPython."""

import sys

if sys.implementation.name == "micropython":
    import cryptolib

    class Block:
        def __init__(self, key):
            self._encryptor = cryptolib.aes(key, 1)
            self._key = key

        def encrypt_into(self, src, dst):
            self._encryptor.encrypt(src, dst)

        def decrypt_into(self, src, dst):
            # A MicroPython cipher object goes one way for ever, so this is another one.
            cryptolib.aes(self._key, 1).decrypt(src, dst)

else:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    class Block:
        def __init__(self, key):
            cipher = Cipher(algorithms.AES(bytes(key)), modes.ECB())
            self._encryptor = cipher.encryptor()
            self._decryptor = cipher.decryptor()

        def encrypt_into(self, src, dst):
            dst[:16] = self._encryptor.update(bytes(src))

        def decrypt_into(self, src, dst):
            dst[:16] = self._decryptor.update(bytes(src))


def aes(key):
    return Block(key)
