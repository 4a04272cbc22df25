"""`Decoder`: readings once, whatever the order and number of deliveries."""

import json
from dataclasses import replace

from gateway.codec import Decoder, Event, Reading, Refusal
from gateway.codec.batch import encode_batch
from tests.gateway.codec.examples import CATALOGUE, flood, track

TOPIC = "tukad/badung/batch/live"
CATALOGUE_TOPIC = "tukad/badung/catalogue"


def test_readings_have_names_units_and_origin() -> None:
    decoder = Decoder()
    assert list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json())) == []
    data = encode_batch(CATALOGUE, track(1), batch_number=0).data
    (reading,) = decoder.feed("tukad/badung/batch/history", data)
    assert isinstance(reading, Reading)
    assert (reading.site, reading.klass, reading.device) == ("badung", "history", "jukung-12")
    assert reading.values == {
        "lat_udeg": -8.65, "lon_udeg": 115.21, "sog_dkn": 5.4, "cog_deg": 45,
    }  # fmt: skip


def test_duplicates_are_dropped_and_revisions_marked() -> None:
    decoder = Decoder()
    list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))
    rows = flood(0, 5)
    data = encode_batch(CATALOGUE, rows, batch_number=0).data
    assert len(list(decoder.feed(TOPIC, data))) == 5
    assert list(decoder.feed(TOPIC, data)) == []
    overlap = encode_batch(CATALOGUE, flood(0, 5, 3), batch_number=1).data
    assert [r.sequence for r in decoder.feed(TOPIC, overlap) if isinstance(r, Reading)] == [
        105, 106, 107,
    ]  # fmt: skip
    later = replace(rows[4], time_ms=rows[4].time_ms + 2000)
    (reading,) = decoder.feed(TOPIC, encode_batch(CATALOGUE, [later], batch_number=2).data)
    assert isinstance(reading, Reading) and reading.revised
    assert decoder.counts["readings"] == 8
    assert decoder.counts["duplicates"] == 7
    assert decoder.counts["revised"] == 1


def test_a_batch_waits_for_its_catalogue() -> None:
    """A retained message may come after the first batch."""
    decoder = Decoder()
    data = encode_batch(CATALOGUE, flood(0, 3), batch_number=0).data
    (refusal,) = decoder.feed(TOPIC, data)
    assert isinstance(refusal, Refusal) and refusal.code == "catalogue"
    assert len(list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))) == 3


def test_references_are_kept_and_a_missing_one_is_named() -> None:
    first = encode_batch(CATALOGUE, flood(0, 10), batch_number=30)
    second = encode_batch(CATALOGUE, flood(0, 10, 10), batch_number=31, reference=first)
    third = encode_batch(CATALOGUE, flood(0, 10, 20), batch_number=32, reference=second)
    decoder = Decoder()
    list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))
    for batch in (first, second, third):
        assert len(list(decoder.feed(TOPIC, batch.data))) == 10
    fresh = Decoder()
    list(fresh.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))
    (refusal,) = fresh.feed(TOPIC, third.data)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "reference" and "number 7 modulo 8" in refusal.detail
    assert fresh.counts["refused_reference"] == 1


def test_two_versions_of_the_catalogue_are_under_way_at_once() -> None:
    newer = replace(CATALOGUE, version=8)
    decoder = Decoder()
    old = encode_batch(CATALOGUE, flood(0, 2), batch_number=0).data
    new = encode_batch(newer, flood(1, 2), batch_number=1).data
    list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))
    list(decoder.feed(CATALOGUE_TOPIC, newer.to_json()))
    assert len(list(decoder.feed(TOPIC, new))) == 2
    assert len(list(decoder.feed(TOPIC, old))) == 2


def test_alarms_and_noise() -> None:
    decoder = Decoder()
    body = {"kind": "stage", "level": 2}
    (event,) = decoder.feed("tukad/badung/alarm/kumbasari-1", json.dumps(body).encode())
    assert event == Event("badung", "alarm", body)
    for topic, payload in (("tukad/badung/alarm/x", b"\xff"), ("elsewhere", b""), (TOPIC, b"12")):
        (refusal,) = decoder.feed(topic, payload)
        assert isinstance(refusal, Refusal)


def test_memory_is_bounded() -> None:
    decoder = Decoder(remember=20)
    list(decoder.feed(CATALOGUE_TOPIC, CATALOGUE.to_json()))
    list(decoder.feed(TOPIC, encode_batch(CATALOGUE, flood(0, 100), batch_number=0).data))
    again = list(decoder.feed(TOPIC, encode_batch(CATALOGUE, flood(0, 100), batch_number=1).data))
    assert len(again) >= 80  # forgotten, so yielded again: at least once, never lost
    for number in range(40):
        list(decoder.feed(TOPIC, encode_batch(CATALOGUE, flood(1, 1), batch_number=number).data))
    assert len(decoder.references("badung")) <= 32
