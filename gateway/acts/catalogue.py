"""Which acts a configuration asks for: `open_acts`. Each is imported only where it is used."""

import sys

from gateway.acts.part import Act, Context


def open_acts(context: Context) -> list[Act]:
    """The acts of this configuration. Raises ConfigError."""
    acts: list[Act] = []
    if context.settings.ais is not None:
        from gateway.acts.ais.act import AisAct

        acts.append(AisAct(context.settings.ais, context))
    if context.settings.cap is not None:
        from gateway.acts.cap.act import CapAct

        acts.append(CapAct(context, context.settings.cap))
    if context.settings.geojson is not None:
        from gateway.acts.geojson import GeojsonAct

        acts.append(GeojsonAct(context.settings.geojson, context))
    if context.settings.gtfs is not None:
        from gateway.acts.gtfs import GtfsAct

        acts.append(GtfsAct(context.settings.gtfs, context))
    if context.settings.sensorthings is not None:
        from gateway.acts.sensorthings.act import SensorThingsAct

        acts.append(SensorThingsAct(context.settings.sensorthings, context))
    if context.settings.storm is not None:
        from gateway.acts.storm.act import StormAct

        acts.append(StormAct(context.settings.storm, context))
    from gateway.acts.watch import WatchAct
    from gateway.acts.watch_settings import WatchSettings

    watch = WatchAct(context.settings.watch or WatchSettings(), context)
    acts.append(watch)
    if context.settings.open311 is not None:
        from gateway.acts.open311.act import Open311Act

        acts.append(Open311Act(context.settings.open311, context))
    if context.settings.assets is not None:
        from gateway.acts.assets import AssetsAct

        acts.append(AssetsAct(context.settings.assets, context))
    if context.settings.siren is not None:
        from gateway.acts.siren.act import SirenAct

        acts.append(SirenAct(context.settings.siren, context))
    if context.settings.junction or "gateway.acts.junction" in sys.modules:
        # Also for none, once there was one: its process has to end.
        from gateway.acts.junction import JunctionAct, open_junctions

        for act in open_junctions(context):
            acts.append(act)
            if isinstance(act, JunctionAct):
                watch.listeners.append(act.arrival)
    if context.settings.sos is not None:
        from gateway.acts.sos import SosAct

        acts.append(SosAct(context.settings.sos, context))
    if context.settings.signs is not None:
        from gateway.acts.signs.act import SignsAct

        acts.append(SignsAct(context.settings.signs, context))
    return acts


__all__ = ["open_acts"]
