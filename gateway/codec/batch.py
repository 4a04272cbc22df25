"""A whole batch: header, body by profile, checksum (docs/batch-format.md, section 3).

profile 1   the range coder's bytes: header fields, then rows; the first is below 0xF0
profile 0   0xF0, catalogue version (1 byte), batch number (1), then Rice codes
last 4      CRC-32C, big-endian, seeded with the catalogue's fingerprint, or with the
            reference's checksum
"""

from collections.abc import Iterable, Sequence

from gateway.codec.catalogue import Catalogue
from gateway.codec.crc import crc32c
from gateway.codec.errors import BatchError
from gateway.codec.groups import get_groups, get_reference_step, put_groups, put_reference_step
from gateway.codec.prior import FLAT, TRAINED
from gateway.codec.rangecoder import HALF, RangeDecoder, encode_decisions, raw_bits
from gateway.codec.records import LIMIT, TIME_SOURCES, Batch, Record
from gateway.codec.rice import get_rice, put_rice
from gateway.codec.state import Model
from protocols.errors import LocalError

RICE = 0xF0
OTHER_PRIOR = 0xF1  # profile 1 with a prior of a later version, whose id is the next byte
EXTENDED = 0xF0  # first bytes from here: profile 0 and later formats
RECORDS_MAX = 0xFFFF
CHECK_BYTES = 4
NUMBER_MASK = 7  # of a batch's number, three bits are carried
VERSION_MASK = 3  # of a catalogue's version, two
# From so many rows, and ten a device, only the trained prior is tried, to save time. (First rows
# are where a catalogue that was not learned makes the trained prior wrong.)
_PRIOR_FADES = 50


def encode(
    catalogue: Catalogue,
    records: Sequence[Record],
    *,
    batch_number: int,
    reference: Batch | None = None,
    profile: int = 1,
) -> bytes:
    """One MQTT payload with all `records` (1..65535), which may be of any devices, in any order.

    `batch_number` counts up per site; its last three bits are carried. `reference` is a batch
    that the far application (not the broker) acknowledged, made with the same catalogue.
    Profile 0 is Rice codes, cheaper to make and longer; it neither takes nor can be a reference.
    Raises `LocalError` for values outside the ranges of `Record`.
    """
    return encode_batch(
        catalogue, records, batch_number=batch_number, reference=reference, profile=profile
    ).data


def encode_batch(
    catalogue: Catalogue,
    records: Sequence[Record],
    *,
    batch_number: int,
    reference: Batch | None = None,
    profile: int = 1,
) -> Batch:
    """Like `encode`; the `Batch` can be a later batch's reference once it is acknowledged."""
    groups = grouped(catalogue, records)
    number = batch_number & NUMBER_MASK
    rows = tuple(row for _, group in groups for row in group)
    model: Model | None = None
    if profile == 0:
        if reference is not None:
            raise LocalError("reference", "profile 0 takes none")
        seed = catalogue.fingerprint
        body = bytes((RICE, catalogue.version & 0xFF, number)) + put_rice(catalogue, groups)
    elif reference is None:
        seed = catalogue.fingerprint
        body, model = _alone(catalogue, groups, number)
    else:
        if reference.catalogue.fingerprint != catalogue.fingerprint:
            raise LocalError("reference", "made with another catalogue")
        seed = reference.check
        body, model = _built_on(reference, catalogue, groups, number)
    data = body + crc32c(body, seed).to_bytes(CHECK_BYTES, "big")
    return Batch(number, catalogue, rows, data, model)


def _alone(
    catalogue: Catalogue, groups: list[tuple[int, list[Record]]], number: int
) -> tuple[bytes, Model]:
    """A self-contained body: the shorter of two, by the trained prior and by the flat one.

    The flat one is not tried where it would need luck, or where the prior hardly matters.
    """
    model = Model(TRAINED)
    out = [0, *put_groups(catalogue, groups, model)]
    out[0] = _header(catalogue, TRAINED, number)
    body = encode_decisions(out, model.probs, model.counts)
    rows = sum(len(group) for _, group in groups)
    fades = rows >= _PRIOR_FADES and rows >= 10 * len(groups)
    if fades or _least_flat_bits(out) >= len(body) * 8:
        return body, model
    probs, counts = [HALF] * len(model.probs), [0] * len(model.probs)
    out[0] = _header(catalogue, FLAT, number)
    flat = encode_decisions(out, probs, counts)
    if len(flat) < len(body):
        model.prior_id, model.probs, model.counts = FLAT, probs, counts
        return flat, model
    return body, model


def _least_flat_bits(decisions: list[int]) -> int:
    """A lower bound of what the flat prior takes: it knows nothing when a context is first met."""
    distinct = set(decisions)
    raw = sum(-1 - d & 31 for d in decisions if d < 0)
    bits = sum(d >= 0 for d in distinct)
    contexts = len({d >> 1 for d in distinct if d >= 0})
    # The first bit of a context costs 1; the first that differs comes after one that was learned
    # from, and costs -log2((1 - 1 / 1.6) / 2) = 2.4.
    return raw + contexts + 2 * (bits - contexts)


def _header(catalogue: Catalogue, prior_id: int, number: int) -> int:
    fields = (catalogue.version & VERSION_MASK) << 4 | prior_id << 3 | number
    return raw_bits(fields, 1 + 2 + 1 + 3)


def _built_on(
    reference: Batch, catalogue: Catalogue, groups: list[tuple[int, list[Record]]], number: int
) -> tuple[bytes, Model]:
    if not isinstance(reference.state, Model):
        raise LocalError("reference", "has no state: it was not made by profile 1")
    model = Model(TRAINED, reference.state)
    out = [raw_bits(8 | reference.number, 1 + 3)]
    put_reference_step(out, model, number - reference.number & NUMBER_MASK)
    out += put_groups(catalogue, groups, model)
    return encode_decisions(out, model.probs, model.counts), model


def decode(data: bytes, catalogues: Iterable[Catalogue], references: Iterable[Batch] = ()) -> Batch:
    """Read one payload with the right one of `catalogues` and, if it has one, its reference.

    Raises `BatchError` (codes in gateway/codec/errors.py) and then has used nothing of it.
    """
    if len(data) <= CHECK_BYTES:
        raise BatchError("truncated", f"{len(data)} bytes")
    body = data[:-CHECK_BYTES]
    check = int.from_bytes(data[-CHECK_BYTES:], "big")
    if body[0] == RICE:
        return _decode_rice(data, body, check, catalogues)
    if body[0] == OTHER_PRIOR:
        raise BatchError("prior", f"prior {body[1:2].hex()} is not known here")
    if body[0] >= EXTENDED:
        raise BatchError("version", f"format 0x{body[0]:02x} is not known here")
    coder = RangeDecoder(body)
    if coder.raw(1):
        origin = _reference(coder.raw(3), body, check, references)
        catalogue, model = origin.catalogue, Model(TRAINED, _state(origin))
        number = origin.number
    else:
        origin = None
        catalogue = _catalogue(coder.raw(2), body, check, catalogues)
        model = Model(coder.raw(1))
        number = coder.raw(3)
    coder.probs, coder.counts = model.probs, model.counts
    try:
        if origin is not None:
            number = number + get_reference_step(coder, model) & NUMBER_MASK
        records = get_groups(catalogue, coder, model)
    except (ValueError, OverflowError) as error:
        raise BatchError("structure", str(error)) from None
    return Batch(number, catalogue, tuple(records), data, model)


def _decode_rice(data: bytes, body: bytes, check: int, catalogues: Iterable[Catalogue]) -> Batch:
    if len(body) < 4:
        raise BatchError("truncated", f"{len(data)} bytes")
    catalogue = _catalogue(body[1] & VERSION_MASK, body, check, catalogues)
    try:
        records = get_rice(catalogue, body[3:])
    except ValueError as error:
        raise BatchError("structure", str(error)) from None
    return Batch(body[2] & NUMBER_MASK, catalogue, tuple(records), data)


def _catalogue(low: int, body: bytes, check: int, catalogues: Iterable[Catalogue]) -> Catalogue:
    """The catalogue whose version ends in `low` and that makes the checksum right."""
    known = [c for c in catalogues if c.version & VERSION_MASK == low]
    for catalogue in known:
        if crc32c(body, catalogue.fingerprint) == check:
            return catalogue
    name = f"a catalogue of version {low} modulo {VERSION_MASK + 1}"
    if known:
        raise BatchError("checksum", f"damaged, or made with {name} that is not here")
    raise BatchError("catalogue", f"made with {name}, which is not here")


def _reference(low: int, body: bytes, check: int, references: Iterable[Batch]) -> Batch:
    """The batch whose number ends in `low` and that makes the checksum right."""
    known = [b for b in references if b.number == low]
    for batch in known:
        if crc32c(body, batch.check) == check:
            return batch
    name = f"a batch of number {low} modulo 8"
    if known:
        raise BatchError("checksum", f"damaged, or builds on {name} that is not here")
    raise BatchError("reference", f"builds on {name}, which is not here")


def _state(batch: Batch) -> Model:
    if not isinstance(batch.state, Model):
        raise BatchError("reference", f"builds on batch {batch.number}, whose state was not kept")
    return batch.state


def grouped(catalogue: Catalogue, records: Sequence[Record]) -> list[tuple[int, list[Record]]]:
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
            if not 0 <= row.time_ms < LIMIT or (numbered and not 0 <= (sequence or 0) < LIMIT):
                raise LocalError("range", f"time {row.time_ms} or sequence {sequence}")
            if not 0 <= row.quality <= 15 or row.time_source not in TIME_SOURCES:
                raise LocalError("range", f"quality {row.quality}, source {row.time_source}")
            for value in row.values:
                if value is not None and not -LIMIT < value < LIMIT:
                    raise LocalError("range", f"value {value}")
    return sorted(groups.items())
