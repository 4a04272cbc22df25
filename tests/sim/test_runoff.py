"""Runoff against the handbook's own numbers and against conservation of water."""

import pytest

from sim.world.river import golden_rain
from sim.world.runoff import TUKAD_MATI, Catchment, peak, stage_from_rain
from sim.world.sea import Tide


@pytest.mark.parametrize(
    ("curve", "rain_in", "runoff_in"),
    # NEH 630 chapter 10, table 10-1: runoff depth in inches.
    [(80, 4.0, 2.04), (70, 5.0, 2.04), (90, 3.0, 1.98), (75, 1.0, 0.03)],
)
def test_losses_agree_with_the_handbook(curve: int, rain_in: float, runoff_in: float) -> None:
    made = Catchment(area_km2=1, lag_h=1, curve_number=curve)
    assert made.excess_mm(rain_in * 25.4) / 25.4 == pytest.approx(runoff_in, abs=0.01)


def test_unit_hydrograph_holds_one_millimetre() -> None:
    unit = TUKAD_MATI.unit_m3s()
    assert sum(unit) * 300 == pytest.approx(38.4e6 * 0.001, rel=1e-6)
    assert unit.index(max(unit)) * 300 / 3600 == pytest.approx(2.5, abs=0.15)


def test_no_water_is_made_or_lost() -> None:
    flows = TUKAD_MATI.flow_m3s(lambda t: 30.0 if t < 6 * 3600 else 0.0, 40 * 3600)
    volume = sum(q - TUKAD_MATI.base_m3s for q in flows) * 300
    assert volume == pytest.approx(TUKAD_MATI.excess_mm(180) / 1000 * 38.4e6, rel=0.01)


def test_golden_rain_gives_a_flood_of_the_published_size() -> None:
    """25-year floods of the Tukad Mati are put at 150 to 243 m3/s; this storm was a rare one."""
    flows = TUKAD_MATI.flow_m3s(golden_rain(), 30 * 3600)
    assert 150 <= max(flows) <= 500
    when, level = peak(stage_from_rain(TUKAD_MATI, golden_rain(), 30 * 3600))
    assert 9 * 3600 <= when <= 13 * 3600, "the peak came at 05:00, eleven hours in"
    assert 2_660 <= level <= 8_000


def test_tide_holds_the_river_up_at_the_mouth() -> None:
    tide = Tide()
    free = stage_from_rain(TUKAD_MATI, lambda _: 0.0, 86_400)
    held = stage_from_rain(TUKAD_MATI, lambda _: 0.0, 86_400, tide_mm=tide, mouth_mm=1_000)
    assert all(held(t) >= free(t) for t in range(0, 86_400, 1_800))
    assert (
        max(held(t) for t in range(0, 86_400, 600)) >= max(tide(t) for t in range(86_400)) - 1_000
    )
