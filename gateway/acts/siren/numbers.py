"""Numbers of commands to devices, which rise for ever: `CommandNumbers`."""

from gateway.ledger.ledger import Ledger
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store
from protocols.payload.command import NUMBER_MAX


class CommandNumbers:
    """Shared with everybody who commands a device through the ledger's key "command/DEVICE"."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._taken: dict[str, int] = {}

    async def next(self, device: str) -> int:
        """The device's next command number, on disk before it is used where the disk lets us."""
        key = f"command/{device}"

        def take(store: Store) -> int:
            number = self._after(device, store.get_state(key) or 0)
            store.set_state(key, number)
            return number

        try:
            number = await self._ledger.write(take)
        except LedgerFullError:
            # Sirens do not depend on a disk: the store can still be read.
            last = await self._ledger.read(lambda store: store.get_state(key) or 0)
            number = self._after(device, last)
        self._taken[device] = number
        return number

    def _after(self, device: str, last: int) -> int:
        return min(max(last, self._taken.get(device, 0)) + 1, NUMBER_MAX)
