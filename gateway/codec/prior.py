"""The start of the contexts: flat, or trained statistics from an asset file.

The asset `prior_1.bin` (made by tests/bench/codec_train.py) is zlib over one byte per context,
`BLOCK` bytes for each of `PRIOR_KINDS`: 0 where nothing is known, else 8 * probability index +
strength index into the two tables below. It holds nothing but such statistics.
"""

import zlib
from functools import cache
from pathlib import Path

from gateway.codec.catalogue import KINDS
from gateway.codec.columns import BLOCK
from gateway.codec.rangecoder import HALF

FLAT = 0
TRAINED = 1
# Kinds of blocks: one for each kind of channel, one for its first value, and those of the rows.
PRIOR_KINDS = (
    *KINDS,
    *("first_" + kind for kind in KINDS),
    "head", "row", "steps", "offset_s", "offset_ms", "sequence", "first", "first_offset", "meta",
)  # fmt: skip
# 65536 / (1 + exp(-(i - 15.5) / 2)), rounded, for i in 0..31.
PROBABILITIES = (
    28, 47, 77, 126, 208, 342, 562, 922, 1506, 2446, 3938, 6249, 9702, 14595, 21025, 28693,
    36843, 44511, 50941, 55834, 59287, 61598, 63090, 64030, 64614, 64974, 65194, 65328, 65410,
    65459, 65489, 65508,
)  # fmt: skip
STRENGTHS = (0, 1, 2, 4, 8, 16, 32, 64)

_override: list[dict[str, tuple[list[int], list[int]]]] = []
_FLAT = ([HALF] * BLOCK, [0] * BLOCK)


def unpack(packed: bytes) -> dict[str, tuple[list[int], list[int]]]:
    """Probabilities and counts by kind from the bytes of an asset. Raises ValueError."""
    table = zlib.decompress(packed)
    if len(table) != BLOCK * len(PRIOR_KINDS):
        raise ValueError(f"{len(table)} contexts")
    blocks: dict[str, tuple[list[int], list[int]]] = {}
    for i, kind in enumerate(PRIOR_KINDS):
        block = table[i * BLOCK : (i + 1) * BLOCK]
        probs = [PROBABILITIES[byte >> 3] if byte else HALF for byte in block]
        blocks[kind] = probs, [STRENGTHS[byte & 7] for byte in block]
    return blocks


@cache
def _trained() -> dict[str, tuple[list[int], list[int]]]:
    return unpack(Path(__file__).with_name("prior_1.bin").read_bytes())


def prior(prior_id: int, kind: str) -> tuple[list[int], list[int]]:
    """Probabilities and counts of a block of that kind; not to be changed."""
    if prior_id == FLAT:
        return _FLAT
    return (_override[0] if _override else _trained())[kind]


def use(blocks: dict[str, tuple[list[int], list[int]]] | None) -> None:
    """Take another table for the trained prior (None: the asset again); for its training only."""
    _override.clear()
    if blocks is not None:
        _override.append(blocks)
