"""Asks a node again for readings that never arrived, as the gateway does.

Public: `GapAsker`. One range at a time for each node, again after `AGAIN_S` when it did not come.
"""

from protocols.payload.command import CMD_GAP, encode_command
from protocols.payload.ports import PORT_COMMAND
from sim.kernel import SECOND
from sim.network import Network

AGAIN_S = 900
COUNT_MAX = 240  # readings in one request: a node on a slow link sends for a while


class GapAsker:
    """For one node: `have` is the mapping of sequences that arrived, `gone` those it has lost."""

    def __init__(self, network: Network, device: str) -> None:
        self.asked = 0
        self.gone: set[int] = set()
        self._network = network
        self._device = device
        self._complete = 0  # every number below this is here or gone
        self._again_us = 0

    def look(self, have: "dict[int, tuple[int, int | None]]", newest: int, now_us: int) -> None:
        """After an uplink: ask when something is missing below `newest`."""
        while self._complete < newest and (self._complete in have or self._complete in self.gone):
            self._complete += 1
            self._again_us = 0  # it moves: ask for the next at once
        if self._complete >= newest or now_us < self._again_us:
            return
        end = self._complete
        while end < newest and end - self._complete < COUNT_MAX:
            end += 1
            if end in have or end in self.gone:
                break
        self.asked += 1
        self._again_us = now_us + AGAIN_S * SECOND
        values = {"first_sequence": self._complete, "count": end - self._complete}
        payload = encode_command(CMD_GAP, self.asked, values)
        self._network.queue(self._device, PORT_COMMAND, payload)
