"""Which plan when: holidays first, then weekdays; without a clock the junction runs free."""

from dataclasses import dataclass

from gateway.atcs.plan import DAYS, FREE_PLAN, Plan


@dataclass(frozen=True, slots=True)
class Wall:
    """Local civil time as far as plans need it."""

    date: str
    """As 2027-03-08."""
    weekday: int
    """0 is Monday."""
    day_ms: int
    """Since local midnight."""


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def plan_name(plan: Plan, wall: Wall | None) -> str:
    """The name of the plan due at `wall`: a pattern's, `free` or `flash`."""
    if wall is None:
        return FREE_PLAN
    named = [day for day in plan.day if wall.date in day.dates]
    weekly = [day for day in plan.day if DAYS[wall.weekday] in day.days]
    for day in named or weekly:
        now = wall.day_ms // 60_000
        rows = sorted((_minutes(text), name) for text, name in day.at.items())
        due = [name for minute, name in rows if minute <= now]
        # Before the first row of the day the last one of the day still holds.
        return due[-1] if due else rows[-1][1]
    return FREE_PLAN
