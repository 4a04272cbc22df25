"""The compressed tail of flood payloads: older levels, newest first: `LevelCoder`, `decode_levels`.

Levels are raw 14-bit numbers (`schema.LEVEL`), 16383 missing. A mode, 4 bits in the frame, says how
the differences are coded; the encoder tries all and keeps the one that carries most readings.

order 1: predict the reading after it (in time); order 2: the straight line through two.
Rice code of u with parameter k: u >> k ones, a zero, the low k bits of u; u is the difference /
step, zigzag (0, -1, 1, -2, 2... are 0, 1, 2, 3, 4...). Eight ones are the escape: 14 bits of the
level itself follow. That also carries a missing reading and any difference off the step.
Run modes (JPEG-LS, ISO/IEC 14495-1 A.7): a bit 0 says that 2**J[state] readings equal the one
before; a bit 1, J[state] bits of a count and a Rice code of u - 1: so many do, then one differs.
The list ends where the next code would need more bits than are there; the spare bits,
seven at most, are ones, which never make a whole code.
"""

from protocols.errors import RemoteError
from protocols.payload.bits import BitReader, BitWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

MISSING = 16383
LEVEL_BITS = 14
ESCAPE_ONES = 8
READINGS_MAX = 512  # bound of one frame: a run code can claim 256 readings with one bit

# (order, k, step, first run state or -1). Chosen greedily on seven public level series,
# see tests/bench/payload.py; steps of 3 and 10 mm are sensors that count 0.01 ft and cm.
MODES = (
    (1, 0, 1, -1),
    (1, 1, 1, -1),
    (1, 2, 1, -1),
    (1, 3, 1, -1),
    (1, 5, 1, -1),
    (2, 1, 1, -1),
    (2, 2, 1, -1),
    (2, 3, 1, -1),
    (2, 4, 1, -1),
    (1, 1, 10, -1),
    (1, 0, 1, 0),
    (1, 0, 1, 8),
    (1, 1, 1, 4),
    (1, 3, 1, 0),
    (1, 0, 3, 0),
    (1, 0, 10, 0),
)
PLAIN_MODES = 10  # the modes without runs come first; only these go with rain
RUN_LENGTHS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8)
_RUN_STATE_MAX = len(RUN_LENGTHS) - 1
RAIN_BITS = 10


def rice_length(u: int, k: int, raw_bits: int) -> int:
    """Bits of `u` in the Rice code with parameter k, or of the escape with `raw_bits`."""
    quotient = u >> k
    return quotient + 1 + k if quotient < ESCAPE_ONES else ESCAPE_ONES + raw_bits


def put_rice(writer: BitWriter, u: int, k: int, raw: int, raw_bits: int) -> None:
    """Write `u`, or the escape and `raw` when u is too large (or negative: not codable)."""
    quotient = u >> k
    if 0 <= quotient < ESCAPE_ONES:
        writer.put((1 << (quotient + 1)) - 2, quotient + 1)
        writer.put(u, k)
    else:
        writer.put((1 << ESCAPE_ONES) - 1, ESCAPE_ONES)
        writer.put(raw, raw_bits)


def get_rice(reader: BitReader, k: int, raw_bits: int) -> int:
    """The next u >= 0; -1 - raw for an escape. Raises RemoteError("length") at the end."""
    quotient = 0
    while reader.get(1):
        quotient += 1
        if quotient == ESCAPE_ONES:
            return -1 - reader.get(raw_bits)
    return quotient << k | reader.get(k)


class LevelCoder:
    """Fits or writes a list of levels in one mode. Results: `readings` carried, `used` bits.

    `levels` and `rains` are arrays used as rings of their own length: the newest reading is at
    index `newest`, older ones before it. Allocates nothing.
    """

    def __init__(self) -> None:
        self.readings = 0
        self.used = 0
        self.is_trial = False  # the list goes on: a run at its end costs nothing yet
        self._last = 0
        self._slope = 0

    def code(
        self,
        mode: int,
        levels: "array[int]",
        newest: int,
        count: int,
        bits: int,
        rains: "array[int] | None",
        writer: "BitWriter | None",
    ) -> None:
        """Code the `count` readings before `newest` into at most `bits`, and write if asked to."""
        self.readings = self.used = self._slope = 0
        first = levels[newest]
        self._last = 0 if first == MISSING else first
        if MODES[mode][3] >= 0:
            self._code_runs(mode, levels, newest, count, bits, writer)
        else:
            self._code_plain(mode, levels, newest, count, bits, rains, writer)

    def _code_plain(
        self,
        mode: int,
        levels: "array[int]",
        newest: int,
        count: int,
        bits: int,
        rains: "array[int] | None",
        writer: "BitWriter | None",
    ) -> None:
        order, k, step, _ = MODES[mode]
        size = len(levels)
        used = readings = 0
        before = newest
        while readings < count:
            at = before - 1 if before else size - 1
            raw = levels[at]
            u = self._difference(raw, order, step)
            cost = rice_length(u, k, LEVEL_BITS) if u >= 0 else ESCAPE_ONES + LEVEL_BITS
            tips = 0
            if rains is not None:
                tips = (rains[before] - rains[at]) & 1023
                cost += rice_length(tips, 0, RAIN_BITS)
            if used + cost > bits:
                break
            if writer is not None:
                put_rice(writer, u, k, raw, LEVEL_BITS)
                if rains is not None:
                    put_rice(writer, tips, 0, tips, RAIN_BITS)
            used += cost
            readings += 1
            before = at
            if raw == MISSING:
                self._slope = 0
            else:
                self._slope = raw - self._last
                self._last = raw
        self.readings = readings
        self.used = used

    def _code_runs(
        self,
        mode: int,
        levels: "array[int]",
        newest: int,
        count: int,
        bits: int,
        writer: "BitWriter | None",
    ) -> None:
        _, k, step, state = MODES[mode]
        size = len(levels)
        used = readings = 0
        at = newest
        last = self._last
        while readings < count:
            width = RUN_LENGTHS[state]
            run = 0
            raw = last
            while run < 1 << width and readings + run < count:
                at = at - 1 if at else size - 1
                raw = levels[at]
                if raw != last:
                    break
                run += 1
            if run == 1 << width:
                if used == bits:
                    break
                if writer is not None:
                    writer.put(0, 1)
                used += 1
                readings += run
                if state < _RUN_STATE_MAX:
                    state += 1
                continue
            u = -1
            if raw == last:
                if self.is_trial:
                    readings += run
                    break
                run -= 1  # no readings left: the last one goes as an escape
            elif raw != MISSING and (raw - last) % step == 0:
                steps = (raw - last) // step
                u = 2 * steps - 1 if steps > 0 else -2 * steps - 2
            cost = 1 + width
            cost += rice_length(u, k, LEVEL_BITS) if u >= 0 else ESCAPE_ONES + LEVEL_BITS
            if used + cost > bits:
                break
            if writer is not None:
                writer.put(1, 1)
                writer.put(run, width)
                put_rice(writer, u, k, raw, LEVEL_BITS)
            used += cost
            readings += run + 1
            if raw != MISSING:
                last = raw
            if state:
                state -= 1
        self.readings = readings
        self.used = used

    def _difference(self, raw: int, order: int, step: int) -> int:
        """Zigzag of the steps to `raw`, or -1 when only the escape can say it."""
        if raw == MISSING:
            return -1
        difference = raw - self._last
        if order == 2:
            difference -= self._slope
        if step != 1:
            if difference % step:
                return -1
            difference //= step
        return 2 * difference if difference >= 0 else -2 * difference - 1


def decode_levels(
    reader: BitReader, mode: int, newest: int, rain: "int | None"
) -> "tuple[list[int], list[int]]":
    """The older raw levels of a frame, newest first, and with `rain` their tip totals.

    Raises RemoteError("value") for a level out of range or bits that are no code.
    """
    order, k, step, state = MODES[mode]
    levels: list[int] = []
    rains: list[int] = []
    last = 0 if newest == MISSING else newest
    slope = 0
    while True:
        mark = reader.position
        left = reader.left
        try:
            if state >= 0:
                width = RUN_LENGTHS[state]
                if not reader.get(1):
                    levels.extend([last] * (1 << width))
                    state = min(state + 1, _RUN_STATE_MAX)
                    _check_count(levels)
                    continue
                run = reader.get(width)
                u = get_rice(reader, k, LEVEL_BITS)
                levels.extend([last] * run)
                state = max(state - 1, 0)
                if u >= 0:
                    u += 1
            else:
                u = get_rice(reader, k, LEVEL_BITS)
                if rain is not None:
                    tips = get_rice(reader, 0, RAIN_BITS)
                    rain = (rain - (tips if tips >= 0 else -1 - tips)) & 1023
                    rains.append(rain)
        except RemoteError:
            # Not a whole code: the end of the list, if all that is left are ones.
            reader.position = mark
            reader.left = left
            reader.expect_end(1)
            return levels, rains
        if u < 0:
            raw = -1 - u
        else:
            raw = last + (u >> 1 if not u & 1 else -1 - (u >> 1)) * step
            if order == 2:
                raw += slope
            if not 0 <= raw < MISSING:
                raise RemoteError("value", "level %d is out of range" % raw)
        levels.append(raw)
        _check_count(levels)
        if raw == MISSING:
            slope = 0
        else:
            slope = raw - last
            last = raw


def _check_count(levels: "list[int]") -> None:
    if len(levels) > READINGS_MAX:
        raise RemoteError("value", "more than %d readings in one frame" % READINGS_MAX)
