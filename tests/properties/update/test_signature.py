"""Our verification and the `cryptography` package's signatures agree; the parser is total."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RemoteError
from protocols.update.ed25519 import is_signed
from protocols.update.manifest import build, parse
from protocols.update.sha512 import sha512


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.integers(0, 511))
def test_what_cryptography_signs_is_accepted_and_one_flipped_bit_is_not(
    secret: bytes, message: bytes, bit: int
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(secret)
    public = key.public_key().public_bytes_raw()
    signature = key.sign(message)
    assert is_signed(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public, message, bytes(flipped))


@given(st.binary(max_size=600))
def test_sha512_is_that_of_hashlib(data: bytes) -> None:
    import hashlib

    assert sha512(data) == hashlib.sha512(data).digest()


@given(st.binary(max_size=400), st.booleans())
def test_the_parser_gives_a_manifest_with_one_encoding_or_remote_error(
    data: bytes, with_magic: bool
) -> None:
    data = b"TUKM\x01" + data if with_magic else data
    try:
        found = parse(data)
    except RemoteError:
        return
    assert build(found) == data[:-64]
