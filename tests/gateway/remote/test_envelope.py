"""The signed envelope: what is genuine passes once, anything else is refused and nothing breaks."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.remote.envelope import Command, Gate, Refused, allows, seal
from gateway.remote.keys import public_text
from gateway.remote.settings import Operator

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
WAYAN = Operator(name="wayan", role="operator", key=public_text(KEY))
MADE = Operator(name="made", role="viewer", key=public_text(OTHER))
NOW = 1_795_000_000_000


def gate(numbers: dict[str, int] | None = None) -> Gate:
    return Gate("kumbasari", (WAYAN, MADE), 3600, numbers)


def command(**more: Any) -> Command:
    base: dict[str, Any] = {
        "site": "kumbasari",
        "operator": "wayan",
        "number": 7,
        "issued_ms": NOW,
        "expires_ms": NOW + 60_000,
        "command": "siren.silence",
        "args": {"device": "siren-1"},
        "reason": "false alarm",
    }
    return Command(**(base | more))


def admit(one: Gate, message: bytes, now_ms: int | None = NOW) -> Command:
    found, operator = one.open(message)
    one.admit(found, operator, now_ms)
    return found


def by_hand(body: dict[str, Any], key: Ed25519PrivateKey = KEY) -> bytes:
    """A message as the documentation says it, without our code."""
    text = json.dumps(body)
    signature = base64.b64encode(key.sign(b"tukad command 1\n" + text.encode())).decode()
    return json.dumps({"tukad_command": 1, "body": text, "signature": signature}).encode()


BODY: dict[str, Any] = {
    "site": "kumbasari",
    "operator": "wayan",
    "number": 7,
    "issued_ms": NOW,
    "expires_ms": NOW + 60_000,
    "command": "siren.silence",
    "args": {"device": "siren-1"},
    "reason": "false alarm",
}


def refusal(one: Gate, message: bytes, now_ms: int | None = NOW) -> str:
    with pytest.raises(Refused) as caught:
        admit(one, message, now_ms)
    assert caught.value.text
    return caught.value.code


def test_a_message_made_by_hand_and_one_of_ours_are_the_same_command() -> None:
    assert admit(gate(), by_hand(BODY)) == admit(gate(), seal(command(), KEY)) == command()


def test_a_command_is_taken_once_and_never_again_over_restarts() -> None:
    one = gate()
    message = seal(command(), KEY)
    admit(one, message)
    assert refusal(one, message) == "replayed"
    again = gate(dict(one.numbers))  # as read from the disk
    assert refusal(again, message) == "replayed"
    assert refusal(again, seal(command(number=3), KEY)) == "replayed"
    admit(again, seal(command(number=8), KEY))


def test_a_number_belongs_to_the_key_so_a_renamed_operator_cannot_start_again() -> None:
    one = gate()
    admit(one, seal(command(), KEY))
    renamed = Operator(name="ketut", role="operator", key=WAYAN.key)
    again = Gate("kumbasari", (renamed,), 3600, one.numbers)
    assert refusal(again, seal(command(operator="ketut"), KEY)) == "replayed"


@pytest.mark.parametrize(
    ("change", "now_ms", "code"),
    [
        ({"site": "benoa"}, NOW, "site"),
        ({}, NOW + 60_000, "expired"),
        ({"expires_ms": NOW + 3_600_001}, NOW, "expired"),
        ({"expires_ms": NOW}, NOW, "expired"),
        ({"issued_ms": NOW + 200_000, "expires_ms": NOW + 260_000}, NOW, "clock"),
        ({}, None, "clock"),
        ({"operator": "nobody"}, NOW, "signature"),
        ({"operator": "made"}, NOW, "signature"),
        ({"number": 0}, NOW, "form"),
        ({"number": -1}, NOW, "form"),
        ({"number": True}, NOW, "form"),
        ({"number": 2**60}, NOW, "form"),
        ({"number": "8"}, NOW, "form"),
        ({"args": []}, NOW, "form"),
        ({"reason": "x" * 501}, NOW, "form"),
        ({"more": 1}, NOW, "form"),
    ],
)
def test_what_is_not_for_here_and_now_is_refused(
    change: dict[str, Any], now_ms: int | None, code: str
) -> None:
    one = gate()
    assert refusal(one, by_hand(BODY | change), now_ms) == code
    assert not one.numbers, "a refused command used its number up"


def test_each_role_may_what_those_below_it_may() -> None:
    admin = Operator(name="a", role="admin", key=WAYAN.key)
    allowed = [
        [allows(who, least) for least in ("viewer", "operator", "admin")]
        for who in (MADE, WAYAN, admin)
    ]
    assert allowed == [[True, False, False], [True, True, False], [True, True, True]]


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused(position: int, bit: int) -> None:
    """But for the base64 text, whose last character has bits that mean nothing."""
    message = bytearray(seal(command(), KEY))
    message[position % len(message)] ^= 1 << bit
    try:
        found = admit(gate(), bytes(message))
    except Refused:
        return
    assert found == command()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    message=st.binary(max_size=200)
    | json_values.map(lambda v: json.dumps(v).encode())
    | st.tuples(json_values, json_values, json_values).map(
        lambda v: json.dumps({"tukad_command": v[0], "body": v[1], "signature": v[2]}).encode()
    )
    | st.text(max_size=80).map(
        lambda v: json.dumps({"tukad_command": 1, "body": v, "signature": "AAAA"}).encode()
    )
)
def test_no_hostile_message_does_more_than_be_refused(message: bytes) -> None:
    with pytest.raises(Refused):
        gate().open(message)


@given(field=st.sampled_from(sorted(BODY)), value=json_values)
def test_a_genuine_signature_over_odd_fields_is_refused_or_taken_as_it_says(
    field: str, value: Any
) -> None:
    message = by_hand(BODY | {field: value})
    try:
        found = admit(gate(), message)
    except Refused:
        return
    assert getattr(found, field) == value


def test_deep_nesting_and_great_length_are_refused_at_once() -> None:
    deep = b"[" * 200_000
    assert refusal(gate(), deep) == "form"
    assert refusal(gate(), b'{"tukad_command":1,"body":"' + b"a" * 500_000 + b'"}') == "form"
    nested = by_hand(BODY)[:-1] + b',"x":' + b"[" * 90_000 + b"}"
    assert refusal(gate(), nested) == "form"
