"""Whole numbers from their low bits: `nearest`, `slot_before`, `unwrap_sequence`."""

from protocols.payload.ports import SLOT_S

_SPACING_S_MAX = 3600  # the slowest grid
_AHEAD_S = 120  # how far a device's clock may run ahead of the gateway's


def nearest(low: int, modulus: int, reference: int) -> int:
    """The number congruent to `low` that is nearest to `reference`; the higher one of two."""
    half = modulus // 2
    return reference + ((low - reference + half - 1) % modulus) - half + 1


def slot_before(low: int, grid_s: int, slots: int, received_time_s: int) -> int:
    """The latest time on a grid of `grid_s`, index congruent to `low` modulo `slots`.

    It is at most 120 s (8 grid steps if that is less) after `received_time_s`: the clocks differ.
    """
    ahead = min(_AHEAD_S, 8 * grid_s)
    index = (received_time_s + ahead) // grid_s
    return (index - (index - low) % slots) * grid_s


def unwrap_sequence(
    low: int,
    modulus: int,
    times_s: "list[int]",
    last_sequence: "int | None",
    last_time_s: "int | None",
) -> "tuple[int, bool]":
    """The sequence of the newest reading of a frame and whether only one is possible.

    `times_s`: the frame's reading times, newest first, sequences falling by one. `last_...`: a
    reading known to the gateway. It is certain when the frame's history reaches back to that
    reading, or when only one number fits the elapsed time (readings are 10 s or more apart). Else
    the best guess: the number at which the frame's own spacing, carried back over the gap, arrives
    if its low bits are right, or the lowest possible one.
    """
    if last_sequence is None:
        lowest = len(times_s) - 1  # no sequence is negative
        return lowest + (low - lowest) % modulus, False
    step = (low - last_sequence) % modulus
    if last_time_s is None:
        return last_sequence + step, False
    for i, time_s in enumerate(times_s):
        if time_s == last_time_s:
            if (last_sequence + i - low) % modulus == 0:
                return last_sequence + i, True
            break
    elapsed = times_s[0] - last_time_s
    if elapsed < 0:
        # Older than what is known: a repeated or a late frame.
        step -= modulus
        fits = -step <= -elapsed // SLOT_S
        return max(last_sequence + step, low), fits and -elapsed // SLOT_S < -step + modulus
    if step == 0:
        step = modulus
    most = elapsed // SLOT_S
    if step > most:
        return last_sequence + step, False
    if step + modulus > most:
        return last_sequence + step, True
    spacing = times_s[-2] - times_s[-1] if len(times_s) > 1 else 0
    if spacing:
        gap = times_s[-1] - last_time_s
        steps = len(times_s) - 1 + gap // spacing
        if gap > 0 and gap % spacing == 0 and (steps - step) % modulus == 0:
            return last_sequence + steps, False
    # Several are possible: at least one reading an hour was taken.
    least = elapsed // _SPACING_S_MAX
    while step < least:
        step += modulus
    return last_sequence + step, False
