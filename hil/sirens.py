"""The siren's end of a scenario: `SirenOrders` orders every siren when a gauge reports a rise.

It stands for the gateway's siren act (`gateway/acts/siren`), which the bench runs itself
(`tests/bench/siren.py`): a stage event is answered by an order with a rising number, sent again
while the siren says nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocols.payload import ports
from protocols.payload.command import CMD_SIREN, encode_command
from protocols.payload.event import PROOF_CURRENT, PROOF_FAILED
from sim.kernel import SECOND, Simulation
from sim.network import Network

_AGAIN_US = 5 * SECOND
_COPIES = 4
_SOUND_S = 30
_VALID_S = 600


@dataclass
class _Siren:
    number: int = 0
    sent: bytes = b""
    is_answered: bool = True
    proofs: list[int] = field(default_factory=list[int])


class SirenOrders:
    """All sirens of a world."""

    def __init__(self, sim: Simulation, network: Network, now_s: Callable[[], int]) -> None:
        """`now_s` gives seconds since 2020."""
        self._sim = sim
        self._network = network
        self._now_s = now_s
        self._sirens: dict[str, _Siren] = {}
        self._stage = 0

    def add(self, name: str) -> None:
        """A siren node."""
        self._sirens[name] = _Siren()

    def stage(self, stage: int) -> None:
        """A gauge told its stage: on a rise every siren is to sound."""
        rose, self._stage = stage > self._stage, stage
        if rose:
            for name in self._sirens:
                self.order(name, stage)

    def order(self, name: str, pattern: int) -> None:
        """Order one siren with a fresh number."""
        siren = self._sirens[name]
        siren.number += 1
        expires_s = self._now_s() + _VALID_S
        values = {"pattern": pattern, "duration_s": _SOUND_S, "expires_time_s": expires_s}
        siren.sent = encode_command(CMD_SIREN, siren.number, values)
        siren.is_answered = False
        self._send(name, siren.number, _COPIES)

    def _send(self, name: str, number: int, copies: int) -> None:
        siren = self._sirens[name]
        if siren.is_answered or siren.number != number or not copies:
            return
        self._network.send_now(name, ports.PORT_COMMAND, siren.sent)
        self._sim.after(_AGAIN_US, self._send, name, number, copies - 1)

    def replay(self, name: str) -> None:
        """Somebody who holds the network's keys sends the last order again."""
        if self._sirens[name].sent:
            self._network.send_now(name, ports.PORT_COMMAND, self._sirens[name].sent)

    def answered(self, name: str) -> None:
        """The siren answered a command."""
        if name in self._sirens:
            self._sirens[name].is_answered = True

    def told(self, name: str, proof: int) -> None:
        """The siren told how a sounding or a test went."""
        if name in self._sirens:
            self._sirens[name].is_answered = True
            self._sirens[name].proofs.append(proof)

    def proofs(self, name: str) -> Sequence[str]:
        """What it told, in order."""
        words = {PROOF_CURRENT: "good", PROOF_FAILED: "failed"}
        return [words.get(proof, "none") for proof in self._sirens[name].proofs]
