"""CMAC against RFC 4493 section 4, key derivation against lora-packet's published values."""

from binascii import unhexlify

from protocols.errors import LocalError
from protocols.lorawan.crypto import BlockKey, derive_session_keys
from tests.protocols.lorawan.aes import aes

RFC_KEY = unhexlify("2b7e151628aed2a6abf7158809cf4f3c")
RFC_MESSAGE = unhexlify(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
RFC_MACS = (
    (0, "bb1d6929e95937287fa37d129b756746"),
    (16, "070a16b46b4d4144f79bdd9dd04a287c"),
    (40, "dfa66747de9ae63030ca32611497c827"),
    (64, "51f0bebf7e3b9d92fc49741779363cfe"),
)


def test_cmac_of_rfc_4493():
    key = BlockKey(aes, RFC_KEY)
    out = bytearray(16)
    for length, mac in RFC_MACS:
        key.cmac_into(out, RFC_MESSAGE, length)
        assert bytes(out) == unhexlify(mac), length


def test_cmac_with_a_prefix_is_the_cmac_of_both():
    key = BlockKey(aes, RFC_KEY)
    out = bytearray(16)
    for length, mac in RFC_MACS[1:]:
        key.cmac_prefixed_into(out, bytearray(RFC_MESSAGE[:16]), RFC_MESSAGE[16:], length - 16)
        assert bytes(out) == unhexlify(mac), length


def test_session_keys_of_a_published_join():
    nwk, app = derive_session_keys(
        aes, unhexlify("98929b92c49edba9676d646d3b612456"), 0x376338, 0xAABBCC, 0xF18E
    )
    assert nwk == unhexlify("4e3d6e6afbcc67af2ba3c8e8ec4acf4b")
    assert app == unhexlify("610897aa6f1460623443b527d3ac6a9d")


def test_a_key_of_another_length_is_refused():
    try:
        BlockKey(aes, b"short")
    except LocalError as error:
        assert error.code == "range"
    else:
        assert False
