"""The application's part of updates: `Updates`, which confirms a release and takes new ones in.

The program's loop calls `step` when nothing is under way on the radio (it writes to the flash), and
`handle` with every downlink on the ports of `protocols.update.fragment` and `management`. A device
that was started without the loader has no slots: `is_fitted` says so, and the program does without
this module.
"""

from micropython import const

from firmware.update.health import CONFIRM, RESET, Trial
from firmware.update.parts import Parts
from firmware.update.slots import Slots
from firmware.update.tree import Tree
from protocols.update import management
from protocols.update.fragment import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.store.files import Files

GO_ON = const(0)
START_AGAIN = const(1)


def is_fitted(files: "Files") -> bool:
    """Whether the loader started us: it trusts a key."""
    return files.read("release.pub", 0, 1) is not None


class Updates:
    """One for a start. `needs_network` as for `firmware.update.health.Trial`."""

    def __init__(self, root: str, feed: "Callable[[], None]", needs_network: bool = True) -> None:
        self._files = Tree(root)
        self.slots = Slots(self._files)
        self._feed = feed
        self._parts = Parts(self._files, self.slots, root)
        self._session = Session(self._parts)
        self._trial = Trial(needs_network)

    @property
    def is_trial(self) -> bool:
        """The running release has not proved itself yet."""
        return self.slots.selection.is_trial

    def handle(self, port: int, data: "bytes | bytearray | memoryview") -> list[bytes]:
        """A downlink; the answers to send on the same port, each of 11 bytes at most.

        A flash that fails ends the session: the server will see it when it asks.
        """
        if port == management.PORT:
            selection = self.slots.selection
            image = management.IMAGE_VALID if selection.is_trial else management.IMAGE_NONE
            return management.answers(data, selection.version, image, selection.version)
        try:
            answer = self._session.handle(data)
        except OSError:
            self._session.close()
            return []
        return [answer] if answer else []

    def step(self, uptime_s: int, downlinks: int, is_flash_good: bool) -> int:
        """START_AGAIN: reset the board now (a release waits, or this one is to be left).

        `downlinks` received since the start.
        """
        if self._session.is_complete:
            length = self._session.length
            self._session.close()
            try:
                self._parts.hand_over(length, self._feed)
            except OSError:
                return GO_ON
            return START_AGAIN
        if not self.is_trial:
            return GO_ON
        if downlinks:
            self._trial.heard()
        verdict = self._trial.step(uptime_s, is_flash_good)
        if verdict == CONFIRM:
            try:
                self.slots.confirm()
            except OSError:
                pass  # on trial still: tried again, or left at the limit
        return START_AGAIN if verdict == RESET else GO_ON
