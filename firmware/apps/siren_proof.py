"""Did it sound? `Signature` judges an amplifier's current over one sounding.

One look at a threshold is not enough: a relay that is welded shut, or a motor on the same supply,
draws current too. So the current must follow our output: little before the start, much in the
tones, little in the pauses. All in milliamperes above what flowed before the start.
"""

from protocols.payload.event import PROOF_CURRENT, PROOF_FAILED, PROOF_NONE

TONE_MA_MIN = 200  # an amplifier that drives a horn draws amperes
IDLE_MA_MAX = 150  # more than that, while nothing should sound, is a relay that sticks
_SHARE = 60  # percent of `siren_ma`: half of the drivers is too little, a weak battery is not
_SHARE_MAX = 180
TEST_MA_MIN = 100
_TEST_SHARE = 70  # the silent test's current does not hang on the battery so much

GOOD, DEAD, WEAK, STUCK, SHORTED = 0, 1, 2, 3, 4  # what is wrong with a tone, a pause or a test


def judge_tone(above_ma: int, usual_ma: int) -> int:
    """One tone's current; `usual_ma` is the whole siren's (0: not known)."""
    if above_ma < TONE_MA_MIN:
        return DEAD
    if usual_ma and above_ma * 100 < usual_ma * _SHARE:
        return WEAK
    if usual_ma and above_ma * 100 > usual_ma * _SHARE_MAX:
        return SHORTED
    return GOOD


def judge_test(above_ma: int, usual_ma: int) -> int:
    """The silent test's current; `usual_ma` is that of all drivers (0: not known)."""
    if above_ma < TEST_MA_MIN:
        return DEAD
    if usual_ma and above_ma * 100 < usual_ma * _TEST_SHARE:
        return WEAK
    if usual_ma and above_ma * 100 > usual_ma * _SHARE_MAX:
        return SHORTED
    return GOOD


class Signature:
    """`start` with the current before, `tone` and `pause` with each measurement, then `proof`."""

    def __init__(self, usual_ma: int) -> None:
        self._usual_ma = usual_ma
        self._idle_ma = 0
        self._tones = 0
        self._bad_tones = 0
        self._pauses = 0
        self._stuck_pauses = 0
        self._is_stuck = False
        self.best_ma = -1  # the most of any tone, -1: none was measured

    def start(self, idle_ma: int) -> None:
        """A sounding begins; `idle_ma` flowed before it."""
        self._is_stuck = idle_ma > IDLE_MA_MAX
        self._idle_ma = min(idle_ma, IDLE_MA_MAX)
        self._tones = self._bad_tones = self._pauses = self._stuck_pauses = 0
        self.best_ma = -1

    def tone(self, current_ma: int) -> None:
        """Measured in a tone that is well under way."""
        self._tones += 1
        self.best_ma = max(self.best_ma, current_ma)
        if judge_tone(current_ma - self._idle_ma, self._usual_ma) != GOOD:
            self._bad_tones += 1

    def pause(self, current_ma: int) -> None:
        """Measured in a pause, the amplifier has had time to fall silent."""
        self._pauses += 1
        if current_ma > IDLE_MA_MAX:
            self._stuck_pauses += 1

    @property
    def proof(self) -> int:
        """PROOF_NONE before the first tone; FAILED when more than a quarter was wrong."""
        if not self._tones:
            return PROOF_NONE
        if (
            self._is_stuck
            or self._bad_tones * 4 > self._tones
            or self._stuck_pauses * 4 > self._pauses
        ):
            return PROOF_FAILED
        return PROOF_CURRENT
