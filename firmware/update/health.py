"""Whether a release on trial is good: `Trial`, stepped by the application's loop.

Good is: it has run for `SETTLED_S` without a reset, the flash takes what it is given, and a
gateway has answered since the start. A release that is not good after `LIMIT_S` is left: the
caller resets, which counts as one of the `TRIES` starts. A site without any gateway in reach would
lose every update that way, so a device that heard none in the release before need not hear one
now (`needs_network` False); the caller knows.
"""

from micropython import const

SETTLED_S = const(600)
LIMIT_S = const(7200)

WAIT = const(0)
CONFIRM = const(1)
RESET = const(2)


class Trial:
    """One release on trial; say nothing to it when none is."""

    def __init__(self, needs_network: bool = True) -> None:
        self._needs_network = needs_network
        self._is_heard = False

    def heard(self) -> None:
        """A downlink of ours was received and its MIC was right."""
        self._is_heard = True

    def step(self, uptime_s: int, is_flash_good: bool) -> int:
        """WAIT, CONFIRM (then call `Slots.confirm`) or RESET (then reset the board)."""
        if uptime_s < SETTLED_S:
            return WAIT
        if is_flash_good and (self._is_heard or not self._needs_network):
            return CONFIRM
        return RESET if uptime_s >= LIMIT_S else WAIT
