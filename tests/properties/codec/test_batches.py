"""Laws of the batch codec: lossless, and never a wrong reading."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec import (
    Batch,
    BatchError,
    Catalogue,
    Channel,
    Device,
    Record,
    decode,
    encode_batch,
    learned,
)
from gateway.codec.crc import crc32c
from tests.properties.codec.strategies import cases, rows

NUMBERS = st.integers(0, 1000)


def same(records: list[Record], batch: Batch) -> None:
    """The batch has the records, grouped by device, in the order given."""
    assert batch.records == tuple(sorted(records, key=lambda record: record.device))


@settings(max_examples=120, deadline=None)
@given(cases(), NUMBERS, st.sampled_from([0, 1]))
def test_what_goes_in_comes_out(
    case: tuple[Catalogue, list[Record]], number: int, profile: int
) -> None:
    """Every list of records within the ranges survives, in both profiles."""
    catalogue, records = case
    sent = encode_batch(catalogue, records, batch_number=number, profile=profile)
    got = decode(sent.data, (catalogue,))
    same(records, got)
    assert got.number == sent.number == number % 8


@settings(max_examples=200, deadline=None)
@given(
    st.permutations(["lat", "lon", "speed"]),
    st.lists(
        st.tuples(
            st.sampled_from([0, 3, 1000, 1001, 2000, 3000]),
            st.none() | st.tuples(st.integers(-300, 300), st.integers(-300, 300)),
            st.none() | st.integers(0, 300),
        ),
        min_size=2,
        max_size=12,
    ),
)
def test_a_track_comes_out_whatever_the_order_of_its_channels(
    kinds: list[str], fixes: list[tuple[int, tuple[int, int] | None, int | None]]
) -> None:
    """The decoder guesses a position from what it has by then, and from nothing else."""
    channels = tuple(Channel(kind, "deg" if kind != "speed" else "kn", 5, kind) for kind in kinds)
    catalogue = Catalogue(0, (Device("boat", "track", channels, 1),), 0)
    records: list[Record] = []
    time_ms = 0
    for later_ms, position, speed in fixes:
        time_ms += later_ms
        lat, lon = position or (None, None)
        values = {"lat": lat, "lon": lon, "speed": speed}
        records.append(Record(0, None, time_ms, tuple(values[kind] for kind in kinds)))
    sent = encode_batch(catalogue, records, batch_number=0)
    same(records, decode(sent.data, (catalogue,)))


@settings(max_examples=30, deadline=None)
@given(cases(), st.data())
def test_a_chain_of_acknowledged_batches_comes_out(
    case: tuple[Catalogue, list[Record]], data: st.DataObject
) -> None:
    """Each batch may build on any earlier one that both ends have."""
    catalogue, records = case
    sent = [encode_batch(catalogue, records, batch_number=0)]
    got = [decode(sent[0].data, (catalogue,))]
    for number in range(1, 4):
        more = data.draw(rows(catalogue))
        origin = data.draw(st.integers(0, number - 1))
        sent.append(encode_batch(catalogue, more, batch_number=number, reference=sent[origin]))
        got.append(decode(sent[-1].data, (catalogue,), got))
        same(more, got[-1])
        assert got[-1].number == number


@settings(max_examples=25, deadline=None)
@given(cases(), st.sampled_from([0, 1]), st.booleans())
def test_no_truncated_and_no_flipped_batch_is_read(
    case: tuple[Catalogue, list[Record]], profile: int, referring: bool
) -> None:
    """All prefixes and all single bit flips of a batch end in `BatchError`."""
    catalogue, records = case
    first = encode_batch(catalogue, records, batch_number=3)
    sent = first
    if referring:
        sent = encode_batch(catalogue, records[:3], batch_number=4, reference=first)
    elif profile == 0:
        sent = encode_batch(catalogue, records, batch_number=4, profile=0)
    data = sent.data
    for size in range(len(data)):
        with pytest.raises(BatchError):
            decode(data[:size], (catalogue,), (first,))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BatchError):
            decode(bytes(flipped), (catalogue,), (first,))


@settings(max_examples=50, deadline=None)
@given(cases(), st.binary(max_size=60))
def test_noise_is_refused(case: tuple[Catalogue, list[Record]], noise: bytes) -> None:
    """Arbitrary bytes end in `BatchError`, nothing else."""
    catalogue, records = case
    reference = encode_batch(catalogue, records, batch_number=noise[0] if noise else 0)
    with pytest.raises(BatchError):
        decode(noise, (catalogue,), (reference,))


@settings(max_examples=25, deadline=None)
@given(cases(), st.binary(min_size=1, max_size=60), st.sampled_from([0, 1]))
def test_noise_with_a_right_checksum_is_records_or_refused(
    case: tuple[Catalogue, list[Record]], noise: bytes, first: int
) -> None:
    """A sender gone mad cannot crash the reader: it reads records, or refuses."""
    catalogue, _ = case
    body = (b"\xf0" + bytes((catalogue.version & 7,)) if first else b"") + noise
    data = body + crc32c(body, catalogue.fingerprint).to_bytes(4, "big")
    try:
        got = decode(data, (catalogue,))
    except BatchError as error:
        assert error.code in (
            "truncated",
            "structure",
            "version",
            "prior",
            "catalogue",
            "reference",
        )
        return
    same(list(got.records), got)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_a_learned_catalogue_carries_the_same(case: tuple[Catalogue, list[Record]]) -> None:
    """Whatever was learned, the readings are the same; and the catalogue's message comes back."""
    catalogue, records = case
    better = learned(catalogue, records, version=(catalogue.version + 1) % 0x10000)
    assert Catalogue.from_json(better.to_json()) == better
    sent = encode_batch(better, records, batch_number=1)
    same(records, decode(sent.data, (catalogue, better)))


def test_a_leap_without_sense_leads_no_guess_astray() -> None:
    """A dead reckoning beyond all values would leave more than the format can tell."""
    far = -(1 << 60)
    channels = tuple(Channel(kind, "deg", 1, kind) for kind in ("lat", "lon"))
    catalogue = Catalogue(0, (Device("boat", "track", channels, 1),), 0)
    fixes = [(1000, 0, 0), (2000, 0, 0), (3000, 0, -1), (3001, -4, far), (0, -4, far)]
    records = [Record(0, None, time_ms, (lat, lon)) for time_ms, lat, lon in fixes]
    sent = encode_batch(catalogue, records, batch_number=0)
    same(records, decode(sent.data, (catalogue,)))
