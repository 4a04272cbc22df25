"""Link health: `Link` decides when to probe, to slow down, to give the link up and to rejoin.

OK       downlinks come. ADR's own back-off (ADR_ACK_LIMIT, ADR_ACK_DELAY) counts uplinks.
PROBING  none came for `probe_after_s` (less some jitter): every uplink asks for an answer, and if
         the application sends none the device does, a minute apart. From the second unanswered
         one on, each raises the power or else lowers the data rate.
LOST     the slowest data rate had no answer either. For ever: probes with the old session, which
         find a gateway that was only away, and beside them (OTAA) joins, which find a network that
         forgot us; each with its own back-off, from a minute (joins: seconds) to `rejoin_max_s`,
         times 0.5..1 at random so that a city of devices does not come back in the same second.

Any authenticated downlink leads back to OK.

Joins keep to LoRaWAN L2 1.0.4 section 7: 1 % on air in the first hour of trying, 0.1 % in the
next ten, 8.7 s a day after that.
"""

from protocols.lorawan.interface import Settings
from protocols.lorawan.regions import ADR_ACK_DELAY, ADR_ACK_LIMIT
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OK = 0
PROBING = 1
LOST = 2

_BOTTOM_PROBES = 2  # unanswered at the slowest data rate before the link is lost
_FIRST_ROUND_S = 60
_JOIN_FIRST_S = 8
_SUSPECT_MS = 1000


class Link:
    """The policy's state. `due_ms` is the tick of the next thing it wants; all else is asked."""

    def __init__(self, settings: Settings, entropy: "Callable[[], int]") -> None:
        self._settings = settings
        self._entropy = entropy
        self.phase = OK
        self.due_ms = 0
        self.adr_ack_count = 0  # uplinks since the last downlink
        self._misses = 0  # unanswered in a row
        self._at_bottom = 0
        self._rounds = 0
        # Joins.
        self.is_joining = False
        self._is_forced = False  # the application asked: a downlink does not call it off
        self.join_ms = 0
        self.join_attempts = 0
        self._join_age_s = 0

    def _jitter_ms(self, low_s: int, high_s: int) -> int:
        return low_s * 1000 + self._entropy() % ((high_s - low_s) * 1000 + 1)

    def start(self, now_ms: int) -> None:
        """Power up with a session: probe soon, as the network may have forgotten it."""
        self.phase = OK
        self.due_ms = ticks_add(now_ms, self._jitter_ms(30, 90))

    def heard(self, now_ms: int) -> bool:
        """An authenticated downlink came; True if the link had been lost."""
        was_lost = self.phase == LOST
        self.phase = OK
        self.adr_ack_count = 0
        self._misses = 0
        self._at_bottom = 0
        self.is_joining = self._is_forced
        quarter_s = self._settings.probe_after_s // 4
        self.due_ms = ticks_add(now_ms, self._jitter_ms(3 * quarter_s, 4 * quarter_s))
        return was_lost

    def wants_answer(self) -> bool:
        """Whether the next uplink should ask the network for a downlink."""
        return self.phase != OK or self.adr_ack_count >= ADR_ACK_LIMIT

    def uplink_sent(self) -> int:
        """A new frame is on air: the step of ADR's back-off that is due now, 1, 2, ..., or 0."""
        self.adr_ack_count = self.adr_ack_count + 1 if self.adr_ack_count < 1 << 20 else 1 << 19
        over = self.adr_ack_count - ADR_ACK_LIMIT
        return over // ADR_ACK_DELAY if over > 0 and over % ADR_ACK_DELAY == 0 else 0

    def is_due(self, now_ms: int) -> bool:
        """Whether a probe should be sent now (or the phase changed to want one)."""
        if ticks_diff(now_ms, self.due_ms) < 0:
            return False
        if self.phase == OK:
            self.phase = PROBING
            self._at_bottom = 0
        return True

    def suspect(self, now_ms: int) -> None:
        """A confirmed uplink had no acknowledgement: probe soon, after its repetition."""
        if self.phase == OK:
            self.phase = PROBING
            self._at_bottom = 0
            self.due_ms = ticks_add(now_ms, _SUSPECT_MS)

    def missed(self) -> bool:
        """Count an unanswered frame; True if the next should be more robust, as from the second."""
        self._misses = min(self._misses + 1, 1000)
        return self._misses > 1

    def unanswered(self, is_bottom: bool, now_ms: int) -> bool:
        """A frame that asked for an answer had none; True if the link is lost by this.

        `is_bottom`: neither power nor data rate can be more robust.
        """
        if self.phase == PROBING:
            self.due_ms = ticks_add(now_ms, self._jitter_ms(20, 60))
            self._at_bottom += 1 if is_bottom else 0
            if self._at_bottom < _BOTTOM_PROBES:
                return False
            self.phase = LOST
            self._rounds = 0
            self._schedule_round(now_ms)
            return True
        if self.phase == LOST and ticks_diff(now_ms, self.due_ms) >= 0:
            self._schedule_round(now_ms)
        return False

    def _schedule_round(self, now_ms: int) -> None:
        wait_s = min(_FIRST_ROUND_S << min(self._rounds, 16), self._settings.rejoin_max_s)
        self._rounds += 1
        self.due_ms = ticks_add(now_ms, self._jitter_ms(wait_s // 2, wait_s))

    def start_join(self, now_ms: int, forced: bool = False) -> None:
        """Begin to join, at a random moment of the next seconds; `forced` until it succeeds."""
        self._is_forced = self._is_forced or forced
        if not self.is_joining:
            self.is_joining = True
            self.join_attempts = 0
            self._join_age_s = 0
            self.join_ms = ticks_add(now_ms, self._jitter_ms(0, 3))

    def join_unanswered(self, airtime_us: int, now_ms: int) -> None:
        """A join request had no answer: schedule the next."""
        self.join_attempts += 1
        wait_s = min(_JOIN_FIRST_S << min(self.join_attempts, 16), self._settings.rejoin_max_s)
        wait_ms = self._jitter_ms(wait_s // 2, wait_s)
        share = 100 if self._join_age_s < 3600 else 1000 if self._join_age_s < 39600 else 10000
        wait_ms = max(wait_ms, airtime_us // 1000 * share)
        self._join_age_s = min(self._join_age_s + wait_ms // 1000, 1 << 20)
        self.join_ms = ticks_add(now_ms, wait_ms)

    def joined(self, now_ms: int) -> None:
        """A join succeeded."""
        self._rounds = 0
        self._is_forced = False
        self.heard(now_ms)
