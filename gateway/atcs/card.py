"""The conflict monitor's program card from a plan: written at commissioning, checked by a person.

The layout is in docs/atcs.md. The monitor shares no code with the gateway, so this is the other
half of the format, written apart. Printed next to the plan it is what the second person signs.
"""

import binascii

from gateway.atcs.plan import LEFT, PEDESTRIAN, Plan

TOGETHER = 255
CHANNELS_MAX = 16


def card(plan: Plan) -> bytes:
    """The card; ValueError for more than 16 movements or a time over 25.4 s in the matrix."""
    count = len(plan.movement)
    if count > CHANNELS_MAX:
        raise ValueError(f"{count} movements; a monitor has {CHANNELS_MAX} channels")
    yellows = bytearray()
    flags = bytearray()
    for m in plan.movement:
        yellows.append(0 if m.kind == PEDESTRIAN else round(m.yellow_s * 10))
        flags.append((1 if m.kind == LEFT else 0) | (2 if m.kind == PEDESTRIAN else 0))
    matrix = bytearray()
    for i, m in enumerate(plan.movement):
        for j in range(count):
            clearance = plan.clearance_ms[i][j]
            if i == j or clearance < 0:
                matrix.append(TOGETHER)
                continue
            tenths = round(clearance / 100)
            if m.kind == PEDESTRIAN:
                # The walk ends where don't walk begins to flash: its length is clearance too.
                tenths += round(m.yellow_s * 10)
            if tenths >= TOGETHER:
                raise ValueError(f"{tenths / 10:g} s after {m.name} do not fit a card")
            matrix.append(tenths)
    body = b"TKC1" + bytes((count,)) + bytes(yellows) + bytes(flags) + bytes(matrix)
    return body + binascii.crc32(body).to_bytes(4, "big")
