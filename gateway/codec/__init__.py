"""The batch codec: readings in, a few bytes out, and back without loss (docs/batch-format.md).

    catalogue = Catalogue(version=1, devices=(Device("node-7", "flood", channels, interval_s=300),))
    data = encode(catalogue, records, batch_number=17)
    batch = decode(data, (catalogue,))

`Record.device` is an index into `Catalogue.devices` (`catalogue.index(device, stream)`).
A later batch may build on one that the far application has acknowledged: pass that `Batch`
(from `encode_batch` or `decode`) as `reference`. `Decoder` is the receiving end with a memory:
it takes (topic, payload) and yields readings.
"""

from gateway.codec.batch import decode, encode, encode_batch
from gateway.codec.catalogue import Catalogue, Channel, Device, kind_of
from gateway.codec.errors import BatchError
from gateway.codec.learning import learned
from gateway.codec.receiver import Decoder, Event, Reading, Refusal
from gateway.codec.records import TIME_SOURCES, Batch, Record

__all__ = [
    "TIME_SOURCES",
    "Batch",
    "BatchError",
    "Catalogue",
    "Channel",
    "Decoder",
    "Device",
    "Event",
    "Reading",
    "Record",
    "Refusal",
    "decode",
    "encode",
    "encode_batch",
    "kind_of",
    "learned",
]
