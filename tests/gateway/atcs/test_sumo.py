"""One short SUMO run with our controller: safe from outside, everybody counted. Needs `sumo`."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gateway.atcs.adapters.sumo import controller

pytestmark = pytest.mark.sumo
pytest.importorskip(
    "libsumo",
    reason="SUMO is not installed (sh deploy/setup.sh sumo)",
    exc_type=ImportError,  # it is there, and the X11 libraries that it wants are not
)


def test_a_generated_grid_runs_without_a_violation(tmp_path: Path) -> None:
    from sim.junction.sumo import Scenario, run
    from tests.bench.atcs import find, network, trips

    if find("netgenerate") is None:
        pytest.skip("SUMO's netgenerate is not installed (sh deploy/setup.sh sumo)")
    net = network("grid", tmp_path)
    routes = trips(net, 1200, 1, tmp_path / "t.rou.xml")
    scenario = Scenario("grid", net, routes, 0, 400)
    outcome = run(scenario, 1, tmp_path, maker=controller)
    rows = [r for r in ET.parse(routes).getroot() if float(r.get("depart", "0")) < 400]
    assert outcome.violations == [] and outcome.red_max_s <= 180
    assert abs(outcome.due - len(rows)) <= 2
    assert 0 < outcome.mean_s < 60
