"""What can be said of the next hours at a place: `Outlook`, for alerts, console and signs."""

from dataclasses import dataclass

from gateway.rules.trend import Minutes, Rate


@dataclass(frozen=True, slots=True)
class Expected:
    """A forecast level with the ends of its 80 % band."""

    minutes: int  # from the outlook's time
    level_mm: int
    low_mm: int
    high_mm: int


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The present stage, how fast the water moves, and when the next stage would come."""

    device: str
    time_ms: int
    level_mm: int
    stage: int
    name: str
    next_name: str  # "" at the highest
    next_mm: int | None
    rates: tuple[Rate, ...]  # over 5, 15, 60 minutes, as far as there are readings
    rate: Rate | None  # the one that `minutes` is reckoned with
    minutes: Minutes | None  # to the next stage; None when it does not rise towards it
    forecast: tuple[Expected, ...] = ()  # where the site has a forecast that proved to have skill
