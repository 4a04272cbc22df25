"""Which acts a configuration asks for: `open_acts`. Each is imported only where it is used."""

from gateway.acts.part import Act, Context


def open_acts(context: Context) -> list[Act]:
    """The acts of this configuration. Raises ConfigError."""
    acts: list[Act] = []
    return acts


__all__ = ["open_acts"]
