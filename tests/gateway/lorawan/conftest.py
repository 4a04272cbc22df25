"""These tests commit thousands of times: on a disk they would mostly wait for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.lorawan.memory import in_memory_path


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's own, in memory."""
    with in_memory_path() as folder:
        yield folder
