"""A whole batch: header, body by profile, checksum.

    byte 0      version 1 (2 bits) | mode (2) | builds on a reference (1) | low bits (3)
    ...         body
    last 4      CRC-32C, big-endian, seeded with the catalogue's fingerprint, or with the
                reference's checksum

The low bits are the last three of the catalogue's version, or of the reference's number.
"""

from collections.abc import Iterable, Sequence

from gateway.codec.catalogue import Catalogue
from gateway.codec.crc import crc32c
from gateway.codec.errors import BatchError
from gateway.codec.prior import FLAT, TRAINED
from gateway.codec.rangecoder import RangeDecoder, encode_decisions, raw_bits
from gateway.codec.records import TIME_SOURCES, Batch, Record
from gateway.codec.rows import LIMIT, get_groups, get_reference_step, put_groups, put_reference_step
from gateway.codec.state import Model
from protocols.errors import LocalError

VERSION = 1
RICE = 0  # modes: 0 is profile 0; 1 and 2 are profile 1 with the prior of that id
RECORDS_MAX = 0xFFFF
CHECK_BYTES = 4
NUMBER_BITS = 5
NUMBER_MASK = (1 << NUMBER_BITS) - 1


def encode(
    catalogue: Catalogue,
    records: Sequence[Record],
    *,
    batch_number: int,
    reference: Batch | None = None,
) -> bytes:
    """One MQTT payload with all `records` (1..65535), which may be of any devices, in any order.

    `batch_number` counts up per site; its last five bits are carried. `reference` is a batch
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
    groups = _grouped(catalogue, records)
    number = batch_number & NUMBER_MASK
    rows = tuple(row for _, group in groups for row in group)
    if reference is not None:
        if reference.catalogue.fingerprint != catalogue.fingerprint:
            raise LocalError("reference", "made with another catalogue")
        if not isinstance(reference.state, Model):
            raise LocalError("reference", "has no state")
        model = Model(TRAINED, reference.state)
        out: list[int] = []
        put_reference_step(out, model, number - reference.number & NUMBER_MASK)
        out += put_groups(catalogue, groups, model)
        body = encode_decisions(out, model.probs, model.counts)
        head = bytes((VERSION << 6 | model.prior_id << 4 | 8 | reference.number & 7,))
        seed = reference.check
    else:
        model = Model(TRAINED)
        out = [raw_bits(number, NUMBER_BITS), *put_groups(catalogue, groups, model)]
        body = encode_decisions(out, model.probs, model.counts)
        trained = model.probs[:], model.counts[:]
        model.restart(FLAT)
        flat = encode_decisions(out, model.probs, model.counts)
        if len(flat) < len(body):
            body = flat
        else:
            model.prior_id = TRAINED
            model.probs, model.counts = trained
        head = bytes((VERSION << 6 | model.prior_id << 4 | catalogue.version & 7,))
        seed = catalogue.fingerprint
    check = crc32c(head + body, seed)
    data = head + body + check.to_bytes(CHECK_BYTES, "big")
    return Batch(number, catalogue, rows, data, model)


def decode(data: bytes, catalogues: Iterable[Catalogue], references: Iterable[Batch] = ()) -> Batch:
    """Read one payload with the right one of `catalogues` and, if it has one, its reference.

    Raises `BatchError` (codes in gateway/codec/errors.py) and then has used nothing of it.
    """
    if len(data) < 1 + CHECK_BYTES:
        raise BatchError("truncated", f"{len(data)} bytes")
    first = data[0]
    if first >> 6 != VERSION:
        raise BatchError("version", f"format version {first >> 6}, this code reads {VERSION}")
    mode = first >> 4 & 3
    if mode not in (RICE, FLAT, TRAINED):
        raise BatchError("prior", f"mode {mode} is not known here")
    content = data[:-CHECK_BYTES]
    check = int.from_bytes(data[-CHECK_BYTES:], "big")
    if first & 8:
        named = f"batch {first & 7} (mod 8)"
        fitting = [b for b in references if b.number & 7 == first & 7]
        origin = next((b for b in fitting if crc32c(content, b.check) == check), None)
        if origin is None and not fitting:
            raise BatchError("reference", f"builds on {named}, which is not here")
        if origin is None:
            raise BatchError("checksum", f"damaged, or builds on a {named} that is not here")
        catalogue, body = origin.catalogue, content[1:]
        if not isinstance(origin.state, Model):
            raise BatchError("reference", f"builds on {named}, whose state was not kept")
        model = Model(mode, origin.state)
    else:
        origin = None
        named = f"catalogue {first & 7} (mod 8)"
        known = [c for c in catalogues if c.version & 7 == first & 7]
        chosen = next((c for c in known if crc32c(content, c.fingerprint) == check), None)
        if chosen is None and not known:
            raise BatchError("catalogue", f"made with {named}, which is not here")
        if chosen is None:
            raise BatchError("checksum", f"damaged, or made with a {named} that is not here")
        catalogue, body = chosen, content[1:]
        model = Model(mode)
    try:
        coder = RangeDecoder(body, model.probs, model.counts)
        if origin is None:
            number = coder.raw(NUMBER_BITS)
        else:
            number = origin.number + get_reference_step(coder, model) & NUMBER_MASK
        records = get_groups(catalogue, coder, model)
    except (ValueError, OverflowError) as error:
        raise BatchError("structure", str(error)) from None
    return Batch(number, catalogue, tuple(records), data, model)


def _grouped(catalogue: Catalogue, records: Sequence[Record]) -> list[tuple[int, list[Record]]]:
    """Rows by device; checks all that the format cannot carry."""
    if not 0 < len(records) <= RECORDS_MAX:
        raise LocalError("records", f"{len(records)} outside 1..{RECORDS_MAX}")
    groups: dict[int, list[Record]] = {}
    for row in records:
        group = groups.get(row.device)
        if group is None:
            if not 0 <= row.device < len(catalogue.devices):
                raise LocalError("device", f"index {row.device} is not in the catalogue")
            group = groups[row.device] = []
        group.append(row)
    for index, rows in groups.items():
        width = len(catalogue.devices[index].channels)
        numbered = rows[0].sequence is not None
        for row in rows:
            sequence = row.sequence
            if len(row.values) != width:
                raise LocalError("values", f"{len(row.values)} for {width} channels")
            if (sequence is not None) != numbered:
                raise LocalError("sequence", "some rows of a device have one, some not")
            if not 0 <= row.time_ms < LIMIT or numbered and not 0 <= (sequence or 0) < LIMIT:
                raise LocalError("range", f"time {row.time_ms} or sequence {sequence}")
            if not 0 <= row.quality <= 15 or row.time_source not in TIME_SOURCES:
                raise LocalError("range", f"quality {row.quality}, source {row.time_source}")
            for value in row.values:
                if value is not None and not -LIMIT < value < LIMIT:
                    raise LocalError("range", f"value {value}")
    return sorted(groups.items())
