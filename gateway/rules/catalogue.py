"""The rules that a configuration asks for: `stage_rules`, `pair_rules`, `forecaster`."""

from collections.abc import Mapping
from pathlib import Path

from gateway.config import ConfigError
from gateway.rules.forecast import Forecaster, load_model
from gateway.rules.pairs import PairRule
from gateway.rules.settings import AlarmSettings, Stages
from gateway.rules.stages import Site, StageRule


def places(stages: Mapping[str, Stages], file: Path) -> list[list[str]]:
    """The devices of each place, the first one first. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    for device, one in stages.items():
        found.setdefault(f"site {one.site}" if one.site else f"device {device}", []).append(device)
    for label, devices in found.items():
        if len(devices) > 2:
            raise ConfigError(
                f"{file}: stages.{label} has {len(devices)} sensors ({', '.join(devices)}); two are"
                " judged together, give the others a site of their own"
            )
        first = stages[devices[0]]
        for other in devices[1:]:
            if stages[other].limits_mm != first.limits_mm:
                raise ConfigError(
                    f"{file}: {devices[0]} and {other} are both at {label}, but their thresholds"
                    f" {first.limits_mm} and {stages[other].limits_mm} mm differ; make them equal"
                )
    return list(found.values())


def stage_rules(
    stages: Mapping[str, Stages], alarm: AlarmSettings, site: Site, file: Path = Path()
) -> list[StageRule]:
    """One for each place, and the pairs of sensors there. Raises ConfigError."""
    return [
        StageRule(first, stages[first], alarm, site, {name: stages[name] for name in others})
        for first, *others in places(stages, file)
    ]


def pair_rules(stages: Mapping[str, Stages], file: Path = Path()) -> list[PairRule]:
    """One for each place with two sensors. Raises ConfigError."""
    return [PairRule(d[0], d[1], stages) for d in places(stages, file) if len(d) == 2]


def forecaster(alarm: AlarmSettings, stages: Mapping[str, Stages], file: Path) -> Forecaster | None:
    """The forecast of the site's model, if it has one. Raises ConfigError."""
    if alarm.forecast is None:
        return None
    model = load_model(alarm.forecast)
    if model.target not in stages:
        raise ConfigError(
            f"{file}: alarm.forecast = {alarm.forecast}: it is for {model.target}, which has no"
            f" stages here; there are: {', '.join(stages) or 'none'}"
        )
    return Forecaster(model, tide=model.tide_points(alarm.forecast.parent), tip_um=alarm.tip_um)
