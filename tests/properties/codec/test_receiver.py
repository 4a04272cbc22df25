"""Laws of the receiving end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec import Catalogue, Decoder, Event, Reading, Record, Refusal, encode
from tests.properties.codec.strategies import cases

TOPICS = st.sampled_from(
    ["tukad/s/batch/live", "tukad/s/catalogue", "tukad/s/alarm/a/b", "tukad/s/health", "x", ""]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TOPICS, st.binary(max_size=40)), max_size=6))
def test_no_payload_raises(messages: list[tuple[str, bytes]]) -> None:
    """Whatever comes on whatever topic is an item or nothing."""
    decoder = Decoder()
    for topic, payload in messages:
        for item in decoder.feed(topic, payload):
            assert isinstance(item, Reading | Event | Refusal)


@settings(max_examples=40, deadline=None)
@given(cases(), st.lists(st.integers(0, 4), min_size=5, max_size=12))
def test_every_reading_is_yielded_once(
    case: tuple[Catalogue, list[Record]], order: list[int]
) -> None:
    """Batches may overlap, repeat and come before the catalogue: identities are yielded once."""
    catalogue, records = case
    unique = {
        (r.device, r.time_ms if r.sequence is None else r.sequence): r for r in records
    }  # the last of those that share an identity
    rows = list(unique.values())
    parts = [rows[i : i + 4] for i in range(0, len(rows), 3)]
    payloads = [encode(catalogue, part, batch_number=i) for i, part in enumerate(parts)]
    decoder = Decoder()
    got: list[tuple[int, int]] = []
    sent = [*order, *range(len(payloads))]
    for turn, i in enumerate(sent):
        messages = [("tukad/s/batch/live", payloads[i % len(payloads)])]
        if turn == 2:
            messages.append(("tukad/s/catalogue", catalogue.to_json()))
        for topic, payload in messages:
            for item in decoder.feed(topic, payload):
                if isinstance(item, Reading):
                    key = item.time_ms if item.sequence is None else item.sequence
                    got.append((catalogue.index(item.device, item.stream), key))
    assert sorted(got) == sorted(unique)
