"""Corrects the times of readings that were stored before the clock was right: `TimeKeeper`.

A Raspberry Pi has no clock of its own. Until a time service answers, readings carry the time it had
when it went down, labelled "unknown" or "estimated". When the clock is set, the jump tells by how
much those were wrong: they are corrected, and sent again, as the same readings with a better time.

Only readings since the clock was last known to be right are touched, and only those whose time came
from this gateway's clock. What was stored before a restart of the machine stays as it was: nobody
knows how long it was off. A restart of the agent alone loses nothing: the monotonic clock goes on.
"""

import logging
from collections.abc import Iterable
from typing import Any, cast

from gateway.clock import Jump
from gateway.ledger.store import DAY_MS, SOURCE_CODES, Store

log = logging.getLogger("tukad.ledger")

_KEY = "times"
_UNSURE = (SOURCE_CODES["estimated"], SOURCE_CODES["unknown"])
_TALLIES = ("live", "history", "backfill")  # by code of a reading's origin


class TimeKeeper:
    """Remembers since when times are uncertain, and what the clock did since."""

    def __init__(self, boot: str) -> None:
        self._boot = boot  # of this start of the machine (/proc/sys/kernel/random/boot_id)
        self._begin: int | None = None  # the last reading whose time was certain
        self._jumps: list[tuple[int, int, Jump]] = []  # last reading: surely before it, maybe
        self._offset_ms = 0  # of wall to monotonic clock, to find a jump between two agents
        self._last = 0  # number of the newest reading at the last look
        self._kept: object = None
        self._before: tuple[int | None, list[tuple[int, int, Jump]], object] = (None, [], None)

    def restore(self, store: Store, offset_ms: int, now_ms: int) -> None:
        """Take up where the agent before left off, if the machine did not restart since."""
        self._last = store.last_reading()
        state: dict[str, Any] | None = store.get_state(_KEY)
        if state is None or state["boot"] != self._boot:
            return
        self._begin = state["begin"]
        jumps = cast("list[list[int]]", state["jumps"])
        self._jumps = [(sure, maybe, Jump(old, step)) for sure, maybe, old, step in jumps]
        moved = offset_ms - state["offset_ms"]
        if abs(moved) >= 500:
            self._jumps.append((self._last, self._last, Jump(now_ms - moved, moved)))

    def look(self, store: Store, source: str, jumps: Iterable[Jump], offset_ms: int) -> int:
        """Look at the clock; `jumps` since the last look. Returns how many readings it corrected.

        Call it every few seconds, in a transaction.
        """
        last = store.last_reading()
        if source != "ntp" and self._begin is None:
            self._begin = self._last
        self._jumps += [(self._last, last, jump) for jump in jumps]
        self._last = last
        self._before = (self._begin, list(self._jumps), self._kept)
        if abs(offset_ms - self._offset_ms) > 100:  # what a time service slews is not worth a write
            self._offset_ms = offset_ms
        corrected = 0
        if source == "ntp":
            if self._begin is not None:
                corrected = self._correct(store, self._begin)
            self._begin, self._jumps = None, []
        self._keep(store)
        return corrected

    def failed(self) -> None:
        """The transaction of the last `look` was rolled back."""
        self._begin, self._jumps, self._kept = self._before

    def _correct(self, store: Store, begin: int) -> int:
        count = 0
        for (
            sure,
            maybe,
            jump,
        ) in self._jumps:  # a reading that lived through several is moved by each
            count = max(count, shift(store, begin, sure, maybe, jump))
        if count:
            _know(store, begin)
            log.info(
                "ledger.times corrected=%d by_ms=%d",
                count,
                sum(one[2].step_ms for one in self._jumps),
            )
        return count

    def _keep(self, store: Store) -> None:
        if self._begin is None:
            state = None
        else:
            jumps = [(sure, maybe, j.old_ms, j.step_ms) for sure, maybe, j in self._jumps]
            state = {"boot": self._boot, "begin": self._begin, "jumps": jumps}
            state |= {"offset_ms": self._offset_ms}
        if state != self._kept:
            store.set_state(_KEY, state)
            self._kept = state


def shift(store: Store, begin: int, sure: int, maybe: int, jump: Jump) -> int:
    """Move times that this gateway's clock gave before a jump; returns how many readings.

    Touches readings numbered above `begin` whose time is not known better: those up to `sure`, and
    those up to `maybe` that were received before the jump, which only a jump forward can tell.
    They count as never sent. Call it in a transaction.
    """
    last = maybe if jump.step_ms > 0 else sure
    where = "WHERE id > ? AND id <= ? AND time_source IN (?, ?) AND received_ms <= ?"
    found = (begin, last, *_UNSURE, jump.old_ms)
    for moved_ms, sign in ((0, -1), (jump.step_ms, 1)):
        _tally(store, where, found, moved_ms, sign)
    changed = store.db.execute(
        "UPDATE reading SET time_ms = time_ms + ?, received_ms = received_ms + ?, pending = ?"
        f" {where}",
        (jump.step_ms, jump.step_ms, store.all_sinks, *found),
    )
    return changed.rowcount


def _tally(store: Store, where: str, found: tuple[int, ...], moved_ms: int, sign: int) -> None:
    """Take readings from the counts of their days, or add them to those of the new ones."""
    counts = store.db.execute(
        f"SELECT stream, (time_ms + ?) / ?, origin, count(*) FROM reading {where} GROUP BY 1, 2, 3",
        (moved_ms, DAY_MS, *found),
    ).fetchall()
    for row in counts:
        stream, day, origin, count = (int(value) for value in row)
        name = _TALLIES[origin]
        store.db.execute(
            f"INSERT INTO tally (stream, day, live, history, backfill, repeats, dropped)"
            f" VALUES (?, ?, 0, 0, 0, 0, 0) ON CONFLICT DO UPDATE SET {name} = {name}",
            (stream, day),
        )
        store.db.execute(
            f"UPDATE tally SET {name} = {name} + ? WHERE stream = ? AND day = ?",
            (sign * count, stream, day),
        )
    store.db.execute("DELETE FROM tally WHERE live + history + backfill + repeats + dropped = 0")


def _know(store: Store, begin: int) -> None:
    """Times of wired readings above `begin` are now as good as the time service's."""
    store.db.execute(
        "UPDATE reading SET time_source = ? WHERE id > ? AND time_source IN (?, ?)"
        " AND link IS NULL",
        (SOURCE_CODES["ntp"], begin, *_UNSURE),
    )
