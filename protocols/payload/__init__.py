"""Application payloads of Tukad's LoRaWAN devices: bit-packed, versioned, the same on both ends.

`ports` numbers them; `flood`, `track`, `status`, `event`, `backfill` go up, `command` comes down
and `answer` confirms it. Bit layouts are the tables in `schema`; docs/payload.md prints them.

Times are whole seconds since 2020-01-01T00:00:00Z (`ports.EPOCH_UNIX_S`), below 2**30 until 2054.
Decoders raise RemoteError; encoders raise LocalError for a value outside its range.
"""
