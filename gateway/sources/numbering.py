"""Which reading of which log a frame begins with: `Numbering`, one for each stream of a device.

A frame carries the low bits of the number of its newest reading; the rest is worked out from what
is known (protocols/payload/unwrap.py). That goes wrong when the device's log was erased or its
flash swapped: it counts from 0 again, or from elsewhere. Signs of it, each enough by itself:

* the number would have to be further ahead than readings fit in the elapsed time;
* a reading in the frame has the number of a stored one, and another time;
* after a new join, the long form of the number (14 bits) is a small one;
* the log page of the status says a lower number: with a new join, or twice, counting on meanwhile.

Then a new epoch begins (gateway/ledger/epochs.py). To be wrong here costs an epoch; nothing is ever
dropped for it. A frame that is older than what is known (redelivered) begins none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.ledger.epochs import compose, epoch_of, number_of, readings_between
from gateway.lorawan.model import Uplink
from protocols.payload.ports import EPOCH_UNIX_S

HIGH_MODULUS = 1 << 14  # of the long form of a number
PROBE = HIGH_MODULUS // 2 - 1  # a reference that shows which form a frame has
_NUMBERS_APART = HIGH_MODULUS // 2
_AHEAD_S = 120  # a device's clock may run ahead so far
_MOVED_S = 120  # copies of one reading differ by less than this
_MOVED_UNSURE_S = 900  # the same when the device has no clock: then the time is that of reception
_FRESH = 256  # numbers that a new log has in its first hours
_NEARLY = 16  # readings that a crash may undo
_LAG = 2  # readings that a status page may be behind
_FITS_UNSURE = 32  # more readings fit when times are those of reception


@dataclass(slots=True)
class Newest:
    """The newest reading known of a stream."""

    number: int  # the device's own
    time_s: int | None  # since 2020; None when only the number is known, from a status frame
    epoch: int = 0
    session: int = 0  # of the frame that it came with
    f_cnt: int = -1  # -1: from before this start of the agent
    received_ms: int = 0
    is_guess: bool = False  # of a new epoch, by the low bits alone
    clock_steps: int = 0  # of this gateway's clock until then


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame's newest reading belongs."""

    epoch: int
    number: int
    reason: str  # why a new epoch begins, or ""
    is_guess: bool = False


class Numbering:
    """The state of one stream; decisions only, no clock and no ledger."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus  # of the short form
        self.newest: Newest | None = None
        self._said: int | None = None  # a lower number that a status page gave

    def recall(self, sequence: int, time_ms: int, clock_steps: int) -> None:
        """What the ledger has of the stream, at the start of the agent."""
        number, epoch = number_of(sequence), epoch_of(sequence)
        time_s = time_ms // 1000 - EPOCH_UNIX_S
        self.newest = Newest(number, time_s, epoch, clock_steps=clock_steps)

    def is_late(self, uplink: Uplink) -> bool:
        """The frame was sent before, or is, the one that the newest reading came with."""
        newest = self.newest
        if uplink.again or newest is None or newest.f_cnt < 0:
            return uplink.again
        if (uplink.session, uplink.f_cnt) == (newest.session, newest.f_cnt):
            return True
        # A lower count that was received later is a new session (ChirpStack does not number them).
        is_before = (uplink.session, uplink.f_cnt) < (newest.session, newest.f_cnt)
        return is_before and uplink.received_ms <= newest.received_ms

    def _is_joined(self, uplink: Uplink) -> bool:
        """A join lies between the newest reading and this frame."""
        newest = self.newest
        if newest is None or newest.f_cnt < 0 or self.is_late(uplink):
            return False
        return uplink.session > newest.session or uplink.f_cnt < newest.f_cnt

    def reference(self, uplink: Uplink, clock_steps: int) -> tuple[int | None, int | None]:
        """The known number and time to decode a frame with; a time only if it can be trusted."""
        newest = self.newest
        if newest is None:
            return None, None
        if self.is_late(uplink):
            return newest.number, newest.time_s
        received_s = uplink.received_ms // 1000 - EPOCH_UNIX_S
        is_ahead = newest.time_s is not None and newest.time_s > received_s + _AHEAD_S
        if is_ahead or newest.clock_steps != clock_steps:
            return newest.number, None
        return newest.number, newest.time_s

    def place(
        self,
        uplink: Uplink,
        times_s: Sequence[int],
        number: int,
        probe: Callable[[], int],
        known_s: int | None,
        *,
        is_clock_set: bool = True,
    ) -> Place:
        """Place a frame with readings at these times, the newest first.

        `number`: as decoded with `reference`, whose time was `known_s`; `probe` decodes with
        the reference (PROBE, None), which shows the low bits and how many there are.
        """
        newest = self.newest
        if newest is None:
            return Place(0, number, "")
        if self.is_late(uplink):
            return Place(newest.epoch, number, "")
        step = number - newest.number
        if known_s is not None:
            fits = readings_between(known_s * 1000, times_s[0] * 1000)
            fits += 0 if is_clock_set else _FITS_UNSURE
            if step > fits:
                if step % self.modulus == 0 and not self._is_long(probe()):
                    # Sent once more by a device without a clock: its time is that of reception.
                    return Place(newest.epoch, newest.number, "")
                return self.anew(times_s, probe(), f"{step} readings ahead, {fits} fit")
        if not self._is_joined(uplink):
            return Place(newest.epoch, number, "")
        low = probe()
        fresh = low % HIGH_MODULUS
        if self._is_long(low) and fresh < min(_FRESH, newest.number):
            spacing_s = times_s[-2] - times_s[-1] if len(times_s) > 1 else 0
            usual = (times_s[0] - known_s) // spacing_s if spacing_s and known_s is not None else 0
            if not usual // 2 <= step <= 2 * usual + _NEARLY:
                return self.anew(times_s, low, f"joined anew, counts {fresh}")
        return Place(newest.epoch, number, "")

    def conflict(
        self,
        place: Place,
        rows: Mapping[int, tuple[int, Mapping[str, int]]],  # stored: time, values
        stored: Mapping[int, tuple[int, Mapping[str, int]]],
        *,
        is_clock_set: bool,
        clock_steps: int,
    ) -> bool:
        """Whether a frame's readings (by sequence) cannot be the stored ones of those numbers.

        If this gateway's clock was set meanwhile, times say nothing, and values decide.
        """
        newest = self.newest
        if newest is None or place.reason:
            return False
        moved_ms = 1000 * (_MOVED_S if is_clock_set else _MOVED_UNSURE_S)
        for sequence, (time_ms, values) in rows.items():
            if sequence not in stored:
                continue
            known_ms, known = stored[sequence]
            if abs(known_ms - time_ms) <= moved_ms:
                continue
            is_other = any(known.get(name, value) != value for name, value in values.items())
            if is_other or newest.clock_steps == clock_steps:
                return True
        return False

    def note(self, place: Place, time_s: int, uplink: Uplink, clock_steps: int) -> None:
        """Remember a placed frame's newest reading, if it is newer than what is known."""
        newest = self.newest
        if newest is not None:
            is_older = (place.epoch, place.number) < (newest.epoch, newest.number)
            if is_older or (self.is_late(uplink) and newest.f_cnt >= 0):
                return
        is_guess = newest is not None and newest.epoch == place.epoch and newest.is_guess
        self.newest = Newest(
            place.number,
            time_s,
            place.epoch,
            session=uplink.session,
            f_cnt=uplink.f_cnt,
            received_ms=uplink.received_ms,
            is_guess=is_guess or place.is_guess,
            clock_steps=clock_steps,
        )

    def note_log(self, number: int, uplink: Uplink) -> str:
        """The status frame's own number of the newest reading; why it changed ours, or ""."""
        newest = self.newest
        if newest is None:
            self.newest = Newest(number, None)
            return ""
        if self.is_late(uplink):
            return ""
        before, self._said = self._said, None
        received_ms = uplink.received_ms - EPOCH_UNIX_S * 1000
        time_s = received_ms // 1000 if newest.time_s is None else newest.time_s
        fits = readings_between(1000 * time_s, received_ms)
        if newest.is_guess and newest.time_s is not None:
            newest.is_guess = not -_NEARLY <= number - newest.number <= fits
            if newest.is_guess:
                self._begin(number, uplink)
                return "the new log's numbers were guessed wrong"
        if number < newest.number - _LAG:
            is_far = number < newest.number - _NEARLY
            if (is_far and self._is_joined(uplink)) or (before is not None and before < number):
                self._begin(number, uplink)
                return "new log"
            self._said = number
        elif number > newest.number + (
            _NUMBERS_APART if newest.time_s is None else min(_NUMBERS_APART, fits + _NEARLY)
        ):
            # After a long outage, or on a gateway new to the device, the lowest was taken.
            newest.number, newest.time_s = number, None
            return "numbered too low"
        return ""

    def _begin(self, number: int, uplink: Uplink) -> None:
        newest = self.newest
        assert newest is not None
        self.newest = Newest(
            number,
            None,
            newest.epoch + 1,
            session=uplink.session,
            f_cnt=uplink.f_cnt,
            received_ms=uplink.received_ms,
            clock_steps=newest.clock_steps,
        )

    def anew(self, times_s: Sequence[int], probe: int, reason: str) -> Place:
        """A new epoch for a frame, numbered as low as its bits and a status page allow."""
        newest = self.newest
        assert newest is not None
        epoch, said, self._said = newest.epoch + 1, self._said, None
        lowest = len(times_s) - 1  # no number is negative
        if said is not None and said < newest.number:
            # It counted at least that far.
            lowest = max(lowest, said)
            return Place(epoch, lowest + (probe - lowest) % self.modulus, reason)
        if self._is_long(probe):
            return Place(epoch, lowest + (probe - lowest) % HIGH_MODULUS, reason)
        back = (newest.number - probe) % self.modulus
        if back <= _NEARLY and newest.number - back >= lowest:
            # A crash undid the last few readings, and their numbers come again.
            return Place(epoch, newest.number - back, reason, is_guess=True)
        return Place(epoch, lowest + (probe - lowest) % self.modulus, reason, is_guess=True)

    def _is_long(self, probe: int) -> bool:
        return probe - PROBE >= self.modulus


def stored_sequence(place: Place, back: int) -> int:
    """The ledger's sequence of the reading `back` before the newest of a placed frame."""
    return compose(place.epoch, place.number - back)
