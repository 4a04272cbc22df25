"""Which acts a configuration asks for: `open_acts`. Each is imported only where it is used."""

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
    if context.settings.sensorthings is not None:
        from gateway.acts.sensorthings.act import SensorThingsAct

        acts.append(SensorThingsAct(context.settings.sensorthings, context))
    return acts


__all__ = ["open_acts"]
