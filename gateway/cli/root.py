"""`tukad`, the one command: finds its subcommands by entry point and words every error.

The import rules keep gateway, sim and hil apart, so none is imported here: each registers its
command group under the entry point `tukad.commands`, and a group loads when it is called.
"""

import sys
from importlib.metadata import EntryPoint, entry_points, version

import rich_click as click


class CommandsByEntryPoint(click.RichGroup):
    """A group whose commands are entry points, loaded only when they are used."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group="tukad.commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self._points().get(cmd_name)
        if point is None:
            return None
        try:
            command: click.Command = point.load()
        except ModuleNotFoundError as error:
            if error.name is None:
                raise
            message = str(error)

            @click.command(cmd_name, help=f"Not available here: {message}.", hidden=True)
            def missing() -> None:
                raise click.ClickException(f"`tukad {cmd_name}` is not available here: {message}.")

            return missing
        return command


@click.group(cls=CommandsByEntryPoint, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tukad"), prog_name="tukad")
def root() -> None:
    """Tukad, the edge half of a smart city: flood sensors, trackers, gateway, signal cabinet."""


def main() -> None:
    """The entry point of the `tukad` command."""
    try:
        root()
    except BrokenPipeError:
        # The reader of our output went away (`tukad decode | head`); that is not an error.
        sys.stderr.close()
        sys.exit(0)
