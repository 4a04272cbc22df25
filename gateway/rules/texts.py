"""The sentences of a stage's alarm, Indonesian and English: `stage_texts`."""

from gateway.model import ESCALATED, RAISED
from gateway.rules.outlook import Outlook

_SOON_MIN = 360  # nobody acts on a rate for longer


def stage_texts(
    event: str,
    device: str,
    names: tuple[str, str],
    value_mm: int | None,
    at: str,
    outlook: Outlook | None,
) -> tuple[str, str]:
    """Indonesian and English; `names` are the stage now and before, `at` the local time of day."""
    now, before = names
    height_id = f"muka air {_metres(value_mm, ',')} m pukul {at}"
    height_en = f"water level {_metres(value_mm, '.')} m at {at}"
    more_id, more_en = _rise(outlook)
    if event in (RAISED, ESCALATED):
        return (
            f"{now.upper()} di {device}: {height_id}, naik dari {before}.{more_id}",
            f"{now.upper()} at {device}: {height_en}, up from {before}.{more_en}",
        )
    return (
        f"{device} turun ke {now} dari {before}: {height_id}.",
        f"{device} down to {now} from {before}: {height_en}.",
    )


def _metres(value_mm: int | None, comma: str) -> str:
    return "?" if value_mm is None else f"{value_mm / 1000:.2f}".replace(".", comma)


def _rise(outlook: Outlook | None) -> tuple[str, str]:
    """How fast it rises and when the next stage comes, if both can be told."""
    if outlook is None or outlook.rate is None or outlook.rate.low_mm_h <= 0:
        return "", ""
    speed = f"{outlook.rate.mm_h / 1000:.1f}"
    text_id = f" Naik {speed.replace('.', ',')} m/jam"
    text_en = f" Rising {speed} m/h"
    minutes = outlook.minutes
    if minutes is None or minutes.likely > _SOON_MIN:
        return text_id + ".", text_en + "."
    if minutes.latest is None or minutes.latest > 2 * _SOON_MIN:
        span_id, span_en = f"paling cepat {minutes.earliest}", f"in {minutes.earliest} or more"
    elif minutes.earliest == minutes.latest:
        span_id, span_en = f"dalam {minutes.likely}", f"in {minutes.likely}"
    else:
        span = f"{minutes.earliest}-{minutes.latest}"
        span_id, span_en = f"dalam {span}", f"in {span}"
    return (
        f"{text_id}; {outlook.next_name} {span_id} menit.",
        f"{text_en}; {outlook.next_name} {span_en} minutes.",
    )
