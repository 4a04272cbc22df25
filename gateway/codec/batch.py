"""A whole batch: header, body by profile, checksum; the contract of `gateway.codec`."""

from collections.abc import Iterable, Sequence

from gateway.codec.catalogue import Catalogue
from gateway.codec.records import Batch, Record


def encode(
    catalogue: Catalogue,
    records: Sequence[Record],
    *,
    batch_number: int,
    reference: Batch | None = None,
) -> bytes:
    """One MQTT payload with all `records` (1..65535), which may be of any devices, in any order.

    `batch_number` counts up per site; its last eight bits are carried. `reference` is a batch
    that the far application (not the broker) acknowledged, made with the same catalogue.
    Raises `LocalError` for values outside the ranges of `Record`.
    """
    return encode_batch(catalogue, records, batch_number=batch_number, reference=reference).data


def encode_batch(
    catalogue: Catalogue,
    records: Sequence[Record],
    *,
    batch_number: int,
    reference: Batch | None = None,
) -> Batch:
    """Like `encode`; the `Batch` can be a later batch's reference once it is acknowledged."""
    raise NotImplementedError


def decode(data: bytes, catalogues: Iterable[Catalogue], references: Iterable[Batch] = ()) -> Batch:
    """Read one payload with the right one of `catalogues` and, if it has one, its reference.

    Raises `BatchError` (codes in gateway/codec/errors.py) and then has used nothing of it.
    """
    raise NotImplementedError
