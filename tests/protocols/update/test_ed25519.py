"""SHA-512 and Ed25519 against published vectors, and what must be refused."""

from binascii import unhexlify

from protocols.update.ed25519 import Check, is_signed
from protocols.update.sha512 import CONSTANTS, START, sha512

# FIPS 180-4 examples (NIST, SHA512.pdf): one block, and two.
ABC = (
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)
TWO = (
    "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
    "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
)
# RFC 8032 section 7.1, tests 1, 2 and 3: public key, message, signature.
RFC_8032 = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)
ORDER = 2**252 + 27742317777372353535851937790883648493


def root_bits(number, power):
    """The first 64 bits behind the point of the square (2) or cube (3) root of `number`."""
    scaled = number << (64 * power)
    low, high = 0, 1 << 70
    while high - low > 1:
        middle = (low + high) >> 1
        if middle**power <= scaled:
            low = middle
        else:
            high = middle
    return low & (1 << 64) - 1


def primes(count):
    found = []
    candidate = 2
    while len(found) < count:
        for prime in found:
            if candidate % prime == 0:
                break
        else:
            found.append(candidate)
        candidate += 1
    return found


def test_the_constants_are_roots_of_primes():
    for at, prime in enumerate(primes(80)):
        assert CONSTANTS[8 * at : 8 * at + 8] == root_bits(prime, 3).to_bytes(8, "big")
    for at, prime in enumerate(primes(8)):
        assert START[8 * at : 8 * at + 8] == root_bits(prime, 2).to_bytes(8, "big")


def test_sha512_of_the_standards_examples():
    assert sha512(b"abc") == unhexlify(ABC)
    two = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
    two += b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
    assert sha512(two) == unhexlify(TWO)


def test_rfc_8032_vectors_are_accepted():
    for key, message, signature in RFC_8032:
        assert is_signed(unhexlify(key), unhexlify(message), unhexlify(signature))


def test_a_changed_bit_anywhere_is_refused():
    key, message, signature = [unhexlify(text) for text in RFC_8032[2]]
    for at in (0, 31, 32, 63):
        changed = bytearray(signature)
        changed[at] ^= 1
        assert not is_signed(key, message, bytes(changed))
    assert not is_signed(key, b"\xaf\x83", signature)
    other = bytearray(key)
    other[3] ^= 4
    assert not is_signed(bytes(other), message, signature)


def test_a_second_signature_made_by_adding_the_order_is_refused():
    key, message, signature = [unhexlify(text) for text in RFC_8032[1]]
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_signed(key, message, signature[:32] + s.to_bytes(32, "little"))


def test_keys_of_small_order_are_refused():
    # The neutral element signs anything with R = S*B: here S = 0, R = the neutral element.
    neutral = b"\x01" + bytes(31)
    assert not is_signed(neutral, b"anything", neutral + bytes(32))
    assert not is_signed(bytes(32), b"anything", neutral + bytes(32))


def test_wrong_lengths_and_points_off_the_curve_are_refused():
    key, message, signature = [unhexlify(text) for text in RFC_8032[1]]
    assert not is_signed(key[:31], message, signature)
    assert not is_signed(key, message, signature[:63])
    assert not is_signed(b"\x02" + bytes(31), message, signature)
    assert not is_signed(b"\xff" * 32, message, signature)


def test_steps_of_any_size_come_to_the_same_verdict():
    key, message, signature = [unhexlify(text) for text in RFC_8032[1]]
    check = Check(key, message, signature)
    steps = 0
    while check.step(10) is None:
        steps += 1
    assert check.step() is True
    assert steps == 25
