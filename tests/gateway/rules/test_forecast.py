"""The forecast: on a river whose law is known, on one that has none, and as a site's file."""

import random
from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.ledger.schema import connect
from gateway.ledger.store import Store
from gateway.rules.engine import Rules
from gateway.rules.events import EventRule
from gateway.rules.forecast import (
    SKILL_MIN,
    Forecaster,
    History,
    Model,
    Series,
    expect,
    fit,
    load_model,
    read_tide,
    ridge,
)
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.silence import SilenceRule
from gateway.rules.stages import Site, StageRule
from tests.gateway.samples import START_MS, reading

STEP_MS = 300_000


def river(seed: int, days: int = 30) -> Series:
    """A gauge that shows what one upstream showed 45 minutes before, half as high."""
    dice = random.Random(seed)
    up: list[float] = []
    level = 0.0
    rise = 0.0
    for _ in range(days * 288):
        if dice.random() < 0.004:
            rise = dice.uniform(40, 150)
        rise *= 0.8
        level = 0.97 * level + rise
        up.append(level)
    times = [START_MS + STEP_MS * n for n in range(len(up))]
    down = [0.5 * up[max(0, n - 9)] + dice.gauss(0, 2) for n in range(len(up))]
    return Series(
        History(list(zip(times, down, strict=True))),
        [History(list(zip(times, up, strict=True)))],
        [],
    )


def test_it_finds_what_comes_from_upstream_and_its_band_holds() -> None:
    model = fit("market", river(1), ("weir",))
    near = {one.minutes: one for one in model.horizons}
    assert near[45].skill > 0.8
    unseen = river(2)
    times, levels = list(unseen.target.times), list(unseen.target.values)
    inside = count = 0
    errors = still = 0.0
    for n in range(60, len(times) - 20):
        if abs(levels[n] - levels[n - 12]) < 30:
            continue
        found = {one.minutes: one for one in expect(model, unseen, times[n])}[45]
        truth = levels[n + 9]
        inside += found.low_mm <= truth <= found.high_mm
        errors += abs(found.level_mm - truth)
        still += abs(levels[n] - truth)
        count += 1
    assert count > 100 and errors < 0.3 * still
    assert 0.65 < inside / count < 0.95


def test_where_nothing_can_be_known_it_says_nothing() -> None:
    dice = random.Random(4)
    points = [(START_MS + STEP_MS * n, 400 + dice.gauss(0, 60)) for n in range(4000)]
    walk: list[tuple[int, float]] = []
    level = 0.0
    for time_ms, _ in points:
        level += dice.gauss(0, 15)
        walk.append((time_ms, level))
    model = fit("market", Series(History(walk), [], []))
    assert all(one.skill < SKILL_MIN for one in model.horizons)
    assert expect(model, Series(History(walk), [], []), walk[-1][0]) == ()


def test_too_little_that_moved_is_said() -> None:
    flat = Series(History([(START_MS + STEP_MS * n, 100.0) for n in range(2000)]), [], [])
    with pytest.raises(ValueError, match="too few"):
        fit("market", flat)


def test_the_sites_file_says_the_same_as_the_fit_and_a_broken_one_is_refused(
    tmp_path: Path,
) -> None:
    model = fit("market", river(1, 10), ("weir",))
    path = tmp_path / "market.json"
    model.save(path)
    assert load_model(path) == model
    assert "weir rise in 30 min" in path.read_text()
    path.write_text(path.read_text().replace("weir rise in 30 min", "x", 1)[:-20])
    with pytest.raises(ConfigError, match="is no forecast model"):
        load_model(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_model(tmp_path / "other.json")


def test_fed_as_readings_come_it_says_what_it_says_of_the_whole_series() -> None:
    series = river(1, 10)
    model = fit("market", series, ("weir",))
    live = Forecaster(model)
    moments = list(series.target.times)[:600]
    last = moments[-1]
    for index, time_ms in enumerate(moments):
        for name, history in (("market", series.target), ("weir", series.upstream[0])):
            live.feed_level(name, time_ms, round(history.values[index]))
    rounded = [
        History([(t, round(v)) for t, v in zip(h.times, h.values, strict=True)])
        for h in (series.target, *series.upstream)
    ]
    assert live.expect(last) == expect(model, Series(rounded[0], rounded[1:], []), last) != ()
    assert live.expect(last + 3 * 3_600_000) == ()  # what is old is not forecast from


def engine(model: Model) -> Rules:
    stages = Stages(waspada_mm=3000, siaga_mm=4000, awas_mm=5000)
    return Rules(
        [StageRule("market", stages, AlarmSettings(), Site())],
        EventRule(AlarmSettings(), Site(), frozenset({"market"})),
        SilenceRule({}, 4, Site(), 0),
        forecaster=Forecaster(model),
    )


def test_the_outlook_carries_it_also_after_a_restart(tmp_path: Path) -> None:
    series = river(1, 10)
    model = fit("market", series, ("weir",))
    db = connect(tmp_path / "ledger.db")
    store = Store(db)
    it = engine(model)
    it.recover(store, START_MS)
    for n in range(200):
        pair = [
            reading(n, round(h.values[n]), device=name, stream="radar", at_s=300 * n)
            for name, h in (("market", series.target), ("weir", series.upstream[0]))
        ]
        it.decide(store.add(pair), START_MS + 300_000 * n)
        it.save(store)
    first = it.outlook("market")
    assert first is not None and first.forecast[0].minutes == 15
    again = engine(model)
    again.recover(store, START_MS + 60_000_000)
    second = again.outlook("market")
    assert second is not None and second.forecast == first.forecast
    db.close()


def test_least_squares_finds_weights_that_are_exact() -> None:
    dice = random.Random(1)
    rows = [[1.0, dice.uniform(-9, 9), dice.uniform(0, 500)] for _ in range(200)]
    want = (3.0, -2.0, 0.5)
    found = ridge(rows, [sum(w * x for w, x in zip(want, row, strict=True)) for row in rows], 0.0)
    assert found == pytest.approx(want, abs=1e-6)


def test_a_tide_table_is_read_with_its_zone(tmp_path: Path) -> None:
    path = tmp_path / "benoa.csv"
    path.write_text("time,level_mm\n2025-09-09T23:00:00+08:00,2600\n2025-09-09T23:10+08:00,2590\n")
    first, second = read_tide(path)
    assert first[1] == 2600 and second[0] - first[0] == 600_000
    path.write_text("time,level_mm\n2025-09-09T23:00:00,2600\n")
    with pytest.raises(ConfigError, match="zone"):
        read_tide(path)
