"""The batch format: golden bytes, sizes, refusals that name what is missing, and limits."""

import random

import pytest

from gateway.codec import Batch, BatchError, Catalogue, Channel, Device, Record, decode, encode
from gateway.codec.batch import encode_batch
from gateway.codec.crc import crc32c
from gateway.codec.learning import learned
from gateway.codec.motion import sine
from gateway.codec.rangecoder import RangeDecoder, encode_decisions, raw_bits
from protocols.errors import LocalError
from tests.gateway.codec.examples import CATALOGUE, START_MS, flood, track


def refusal(data: bytes, *catalogues: Catalogue, references: tuple[Batch, ...] = ()) -> BatchError:
    with pytest.raises(BatchError) as caught:
        decode(data, catalogues, references)
    return caught.value


def test_crc32c_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"56789", crc32c(b"1234")) == crc32c(b"123456789")


def test_range_coder_by_hand() -> None:
    """Sixteen raw bits alone: the range is 15/16 of 2**48, so 0x1234 lands at 0x1234 * 15/16."""
    body = encode_decisions([raw_bits(0x1234, 16)], [], [])
    size = (1 << 48) // 16 * 15 >> 16
    low = size * 0x1234
    value = int.from_bytes(body.ljust(6, b"\0"), "big")
    assert low <= value < low + size
    assert len(body) <= 3
    assert RangeDecoder(body).raw(16) == 0x1234


def test_range_coder_carries_through_a_run_of_ff() -> None:
    """Any sequence of bits survives, also where the low end of the range overflows."""
    pattern = [i * 7919 % 13 < 12 for i in range(4000)]
    decisions = [0 if bit else 1 for bit in pattern] + [raw_bits(0xFFFF, 16)] * 40
    body = encode_decisions(decisions, [32768], [0])
    reader = RangeDecoder(body)
    reader.probs, reader.counts = [32768], [0]
    assert [reader.bit(0) for _ in pattern] == [int(not bit) for bit in pattern]
    assert all(reader.raw(16) == 0xFFFF for _ in range(40))


def test_sine_is_a_table_in_integers() -> None:
    assert [sine(a, 1) for a in (0, 30, 90, 180, 270, 360, -90)] == [
        0, 16384, 32768, 0, -32768, 0, -32768,
    ]  # fmt: skip
    assert sine(455, 10) == (23170 + 23571) // 2


def test_a_mixed_batch_comes_back() -> None:
    records = [*track(20), *flood(1, 5), *flood(0, 7)]
    data = encode(CATALOGUE, records, batch_number=3)
    batch = decode(data, (CATALOGUE,))
    assert batch.records == (*flood(0, 7), *flood(1, 5), *track(20))
    assert batch.number == 3
    assert len(data) < 80


def test_regular_rows_cost_nearly_nothing() -> None:
    """Time, sequence and quality of a regular stream are free once they are seen to be regular."""
    rows = [Record(0, i, START_MS + i * 300_000, (800, 0, 3600)) for i in range(1000)]
    assert len(encode(CATALOGUE, rows, batch_number=0)) < 40
    assert len(encode(CATALOGUE, rows, batch_number=0, profile=0)) < 40


def test_a_reference_makes_the_next_batch_smaller() -> None:
    first = encode_batch(CATALOGUE, flood(0, 10), batch_number=1)
    alone = encode(CATALOGUE, flood(0, 10, 10), batch_number=2)
    built_on = encode(CATALOGUE, flood(0, 10, 10), batch_number=2, reference=first)
    assert len(built_on) < len(alone) * 2 // 3
    got_first = decode(first.data, (CATALOGUE,))
    got = decode(built_on, (), (got_first,))
    assert got.records == tuple(flood(0, 10, 10))
    assert got.number == 2


def test_gnss_positions_are_reckoned() -> None:
    """A boat on a straight course leaves a fraction of a byte per fix."""
    assert len(encode(CATALOGUE, track(500), batch_number=0)) < 500


def test_steps_of_instruments_are_used_and_may_be_left() -> None:
    """0.25 dB steps save bits; one value between the steps makes the group an ordinary one."""
    channels = (Channel("snr_db", "dB", 2),)
    plain = Catalogue(1, (Device("n", "s", channels, 60),), START_MS // 1000)
    chance = random.Random(1)
    values = [25 * chance.randrange(40) for _ in range(200)]
    rows = [Record(0, i, START_MS + 60_000 * i, (v,)) for i, v in enumerate(values)]
    knows = learned(plain, rows, version=2)
    assert knows.devices[0].channels[0].step_micro == 25_000_000
    assert len(encode(knows, rows, batch_number=0)) < len(encode(plain, rows, batch_number=0)) - 60
    odd = [*rows, Record(0, 200, START_MS + 60_000 * 200, (26,))]
    assert decode(encode(knows, odd, batch_number=0), (knows,)).records == tuple(odd)


def test_learning_finds_feet_and_kilometres() -> None:
    channels = (Channel("stage_m", "m", 3), Channel("sog_kn", "kn", 1))
    catalogue = Catalogue(1, (Device("n", "s", channels, 60),))
    rows = [
        Record(0, i, START_MS + 300_000 * i, (round(3.048 * (100 + i * i % 37)), round(i / 0.1852)))
        for i in range(40)
    ]
    device = learned(catalogue, rows, version=2).devices[0]
    assert device.interval_s == 300
    assert [c.step_micro for c in device.channels] == [3_048_000, 5_399_568]


def test_a_course_crosses_north_without_a_jump() -> None:
    catalogue = Catalogue(1, (Device("n", "s", (Channel("cog_deg", "deg"),), 60),))
    rows = [
        Record(0, i, START_MS + 60_000 * i, ((350 + 5 * i) % 360,), 1, "gnss") for i in range(300)
    ]
    data = encode(catalogue, rows, batch_number=0)
    assert decode(data, (catalogue,)).records == tuple(rows)
    assert len(data) < 60


def test_refusals_name_what_is_missing() -> None:
    first = encode_batch(CATALOGUE, flood(0, 10), batch_number=11)
    second = encode(CATALOGUE, flood(0, 10, 10), batch_number=12, reference=first)
    other = Catalogue(8, CATALOGUE.devices, CATALOGUE.epoch_s)
    impostor = Catalogue(7, CATALOGUE.devices, CATALOGUE.epoch_s, "elsewhere")

    error = refusal(first.data)
    assert (error.code, error.detail) == (
        "catalogue",
        "made with a catalogue of version 3 modulo 4, which is not here",
    )
    assert refusal(first.data, other).code == "catalogue"
    assert refusal(first.data, impostor).code == "checksum"
    error = refusal(second, CATALOGUE)
    assert (error.code, error.detail) == (
        "reference",
        "builds on a batch of number 3 modulo 8, which is not here",
    )
    stranger = encode_batch(CATALOGUE, flood(1, 10), batch_number=19)
    assert refusal(second, CATALOGUE, references=(stranger,)).code == "checksum"
    assert refusal(b"\xf7" + first.data, CATALOGUE).code == "version"
    assert refusal(b"", CATALOGUE).code == "truncated"
    assert refusal(first.data[:4], CATALOGUE).code == "truncated"


def test_an_unknown_prior_is_refused() -> None:
    body = b"\xf1\x03" + encode(CATALOGUE, flood(0, 1), batch_number=0)[:-4]
    data = body + crc32c(body, CATALOGUE.fingerprint).to_bytes(4, "big")
    error = refusal(data, CATALOGUE)
    assert (error.code, error.detail) == ("prior", "prior 03 is not known here")


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Record(3, 0, 0, (1,)), "device"),
        (Record(0, 0, 0, (1,)), "values"),
        (Record(0, 0, -1, (1, 2, 3)), "range"),
        (Record(0, 1 << 63, 0, (1, 2, 3)), "range"),
        (Record(0, 0, 0, (1 << 63, 2, 3)), "range"),
        (Record(0, 0, 0, (1, 2, 3), 16), "range"),
        (Record(0, 0, 0, (1, 2, 3), 1, "sundial"), "range"),
    ],
)
def test_what_the_format_cannot_carry_is_a_local_error(record: Record, code: str) -> None:
    with pytest.raises(LocalError) as caught:
        encode(CATALOGUE, [record], batch_number=0)
    assert caught.value.code == code


def test_a_device_numbers_all_its_rows_or_none() -> None:
    rows = [Record(0, 1, 0, (1, 2, 3)), Record(0, None, 0, (1, 2, 3))]
    with pytest.raises(LocalError):
        encode(CATALOGUE, rows, batch_number=0)
    with pytest.raises(LocalError):
        encode(CATALOGUE, [], batch_number=0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        CATALOGUE.to_json().replace(b"badung", b"\\ud800"),
        b"{}",
        b"\xff",
        b'{"tukad_catalogue":1}',
    ],
)
def test_a_catalogue_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(BatchError) as caught:
        Catalogue.from_json(text)
    assert caught.value.code in ("catalogue", "version")


def test_the_catalogue_message_is_canonical() -> None:
    again = Catalogue.from_json(CATALOGUE.to_json())
    assert again == CATALOGUE
    assert again.fingerprint == CATALOGUE.fingerprint
