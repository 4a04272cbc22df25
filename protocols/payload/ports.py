"""LoRaWAN ports (FPort) of the payloads, their version and their epoch."""

VERSION = 0  # in the first two bits of every payload; a layout never changes inside a version

PORT_FLOOD = 1  # up: newest level and as many older ones as fit
PORT_TRACK = 2  # up: newest fix and as many older ones as fit
PORT_STATUS = 3  # up: health, identity, counters
PORT_EVENT = 4  # up: SOS, man overboard, stage alarm, tamper, proof of sound...
PORT_BACKFILL = 5  # up: readings asked for by a gap request
PORT_ANSWER = 6  # up: what became of a command
PORT_COMMAND = 10  # down: every command

# 2020-01-01T00:00:00Z in Unix seconds; a multiple of 86,400, so every slot grid agrees with UTC.
EPOCH_UNIX_S = 1577836800

TIME_S_MAX = (1 << 30) - 1  # a small integer on a 32-bit MicroPython; ends in 2054
SEQUENCE_MAX = (1 << 30) - 1  # readings are numbered from 0 by the device's log, over reboots
SLOT_S = 10  # readings are stamped to 10 s
