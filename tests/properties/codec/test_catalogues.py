"""Laws of the catalogue message."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec import BatchError, Catalogue
from tests.properties.codec.strategies import catalogues

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])


def _places(value: object) -> list[tuple[Any, Any]]:
    """Every (container, key) inside."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    found = [(value, key) for key in keys]
    for key in keys:
        found += _places(value[key])
    return found


@settings(max_examples=40, deadline=None)
@given(catalogues())
def test_the_message_comes_back(catalogue: Catalogue) -> None:
    """Reading a catalogue's message gives the catalogue."""
    assert Catalogue.from_json(catalogue.to_json()) == catalogue


@settings(max_examples=200, deadline=None)
@given(catalogues(), st.data())
def test_a_spoilt_message_is_a_catalogue_or_refused(
    catalogue: Catalogue, data: st.DataObject
) -> None:
    """Whatever one member is replaced with, there is a catalogue or a `BatchError`."""
    body = json.loads(catalogue.to_json())
    container, key = data.draw(st.sampled_from(_places(body)))
    if data.draw(st.booleans()):
        container[key] = data.draw(ANYTHING)
    else:
        del container[key]
    try:
        again = Catalogue.from_json(json.dumps(body).encode())
    except BatchError:
        return
    assert Catalogue.from_json(again.to_json()) == again


@given(st.binary(max_size=40))
def test_noise_is_refused(noise: bytes) -> None:
    """Arbitrary bytes are no catalogue."""
    with pytest.raises(BatchError):
        Catalogue.from_json(noise)
