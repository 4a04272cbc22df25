# ruff: noqa: RUF009  `setting` returns a dataclass field, which is what a default may be
"""Sections of the alarm rules: [alarm], and the `stages` table of a device or sensor."""

from dataclasses import dataclass
from pathlib import Path

from gateway.config import setting

AWAS, SIAGA = "awas", "siaga"
# Worst last. Jakarta and the irrigation offices count down.
SCHEMES = {
    AWAS: ("Normal", "Waspada", "Siaga", "Awas"),
    SIAGA: ("Siaga 4", "Siaga 3", "Siaga 2", "Siaga 1"),
}


@dataclass(frozen=True, kw_only=True)
class Stages:
    """`stages` of a device: when its level is Waspada, Siaga, Awas."""

    waspada_mm: int = setting(low=-20000, high=100000, unit="mm", doc="first stage begins here")
    siaga_mm: int = setting(low=-20000, high=100000, unit="mm", doc="second stage begins here")
    awas_mm: int = setting(low=-20000, high=100000, unit="mm", doc="third stage begins here")
    hysteresis_mm: int = setting(
        100, low=0, high=5000, unit="mm", doc="a stage ends this far below where it began"
    )
    hold_s: int = setting(
        900, low=0, high=86400, unit="s", doc="and only after the level stayed below for so long"
    )
    value: str = setting("level_mm", doc="the value that is compared")
    low_mm: int | None = setting(
        None, low=-20000, high=100000, unit="mm", doc="lowest level that the sensor can tell here"
    )
    high_mm: int | None = setting(
        None,
        low=-20000,
        high=100000,
        unit="mm",
        doc="highest level that the sensor can tell here; beyond it is an error code, not water",
    )
    site: str = setting(
        "", doc="two sensors at one place carry the same name here and are judged together"
    )
    apart_mm: int = setting(
        150, low=10, high=5000, unit="mm", doc="two sensors of a place that differ more disagree"
    )
    steep_mm_min: int = setting(
        100, low=10, high=100000, unit="mm/min", doc="fastest rise that this water can do"
    )
    version: str = setting("", doc="name of this set of thresholds")
    set_by: str = setting("", doc="who set the thresholds")
    set_on: str = setting("", doc="when they were set, such as 2026-01-15")
    reason: str = setting("", doc="why they were set so")

    def __post_init__(self) -> None:
        if not self.waspada_mm < self.siaga_mm < self.awas_mm:
            raise ValueError(
                f"waspada_mm = {self.waspada_mm}, siaga_mm = {self.siaga_mm},"
                f" awas_mm = {self.awas_mm} do not rise"
            )
        low, high = self.low_mm, self.high_mm
        if low is not None and high is not None and low >= high:
            raise ValueError(f"low_mm = {low} is not below high_mm = {high}")
        if high is not None and high < self.awas_mm:
            raise ValueError(f"high_mm = {high} is below awas_mm = {self.awas_mm}")

    @property
    def limits_mm(self) -> tuple[int, int, int]:
        """Where each stage begins."""
        return self.waspada_mm, self.siaga_mm, self.awas_mm


@dataclass(frozen=True, kw_only=True)
class AlarmSettings:
    """Section [alarm]."""

    scheme: str = setting(
        AWAS, choices=tuple(SCHEMES), doc="names of the stages: Normal..Awas, or Siaga 4..1"
    )
    confirmations: int = setting(
        1, low=1, high=5, doc="readings in a row that must agree before a stage rises"
    )
    silent_after: float = setting(
        4.0, low=2, high=1000, doc="intervals without a reading before a device counts as silent"
    )
    forecast: Path | None = setting(
        None, doc="the site's forecast model; `tukad gateway forecast` makes it"
    )
    tip_um: int = setting(
        200, low=10, high=2000, unit="um", doc="rain of one tip of a node's bucket, for the model"
    )
