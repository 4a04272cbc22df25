"""The siren node (class C): `SirenApp` sounds for a bounded time, and says what it did.

It sounds on an authenticated command that is new (its number), in time (its expiry), and only
while the device knows the time; and by its own float switch with no network at all. Every sounding
ends by itself within `siren_max_s`, and a switch that stays wet sounds once: again only when
it was dry in between. How it went is an event each time, with the amplifier's current as proof
where the board can measure it.

Wiring: the float switch must also close the siren's circuit by itself (a relay in parallel to
ours), so that it sounds with a dead processor.
"""

from micropython import const

from firmware import hardware
from firmware.boards import Board
from firmware.drivers.battery import Voltmeter
from firmware.drivers.contact import Contact
from firmware.node import App, Node
from firmware.store.files import Files
from firmware.store.settings import Settings
from protocols.payload import command as cmd
from protocols.payload.event import (
    EVENT_SIREN,
    PROOF_CURRENT,
    PROOF_FAILED,
    PROOF_NONE,
    SIREN_BY_COMMAND,
    SIREN_BY_FLOAT,
    SIREN_BY_SELF_TEST,
)
from protocols.payload.status import FAULT_SIREN, ROLE_SIREN, Status
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import Pin

_FLOAT_PATTERN = const(3)
_FLOAT_S = const(180)
_TEST_PATTERN = const(0)
_TEST_S = const(3)  # the placard promises a short one
_CURRENT_MA_MIN = const(200)  # an amplifier that drives a horn draws amperes
_MEASURE_MS = const(400)  # after a tone began

# Milliseconds on and off, by pattern: one for each stage, the last one steady.
_PATTERNS = (
    (1000, 1000),  # 0 test
    (1000, 3000),  # 1 waspada
    (3000, 1500),  # 2 siaga
    (10_000, 500),  # 3 awas
    (500, 500),
    (250, 250),
    (5000, 5000),
    (60_000, 0),
)


class SirenApp(App):
    """`output` drives the siren; `current` (mA as its millivolts) and `float` may be absent."""

    def __init__(
        self,
        node: Node,
        output: "Pin",
        current: "Voltmeter | None",
        float_switch: "Contact | None",
        now_ms: int,
    ) -> None:
        self._node = node
        self._output = output
        self._current = current
        self._float = float_switch
        self._max_s = node.settings.integer("siren_max_s")
        self.answer = 0
        self.is_sounding = False
        self._pattern = 0
        self._end_ms = now_ms
        self._turn_ms = now_ms
        self._is_tone = False
        self._cause = 0
        self._number = 0
        self._duration_s = 0
        self._measured_ma = -1
        self._measure_ms = now_ms
        output.value(0)

    def step(self, now_ms: int) -> None:
        if self._float is not None and self._float.poll(now_ms) and self._float.is_closed:
            self._sound(_FLOAT_PATTERN, min(_FLOAT_S, self._max_s), SIREN_BY_FLOAT, 0, now_ms)
        if not self.is_sounding:
            return
        if ticks_diff(now_ms, self._end_ms) >= 0:
            self._end(now_ms)
            return
        if self._is_tone and ticks_diff(now_ms, self._measure_ms) >= 0:
            self._measure()
        if ticks_diff(now_ms, self._turn_ms) >= 0:
            self._turn(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        wait = -1
        if self.is_sounding:
            wait = min(ticks_diff(self._end_ms, now_ms), ticks_diff(self._turn_ms, now_ms), 200)
            wait = max(0, wait)
        if self._float is not None:
            settle = self._float.wait_ms(now_ms)
            if settle >= 0 and (wait < 0 or settle < wait):
                wait = settle
        return wait

    def _sound(self, pattern: int, seconds: int, cause: int, number: int, now_ms: int) -> None:
        """Begin; a sounding under way is taken over, and never ends later than `siren_max_s`."""
        self._pattern = pattern
        self._duration_s = min(seconds, self._max_s)
        self._cause = cause
        self._number = number
        self._measured_ma = -1
        self.is_sounding = True
        self._end_ms = ticks_add(now_ms, self._duration_s * 1000)
        self._is_tone = False
        self._turn_ms = now_ms
        self._turn(now_ms)

    def _turn(self, now_ms: int) -> None:
        on_ms, off_ms = _PATTERNS[self._pattern]
        self._is_tone = not self._is_tone or off_ms == 0
        self._output.value(1 if self._is_tone else 0)
        self._turn_ms = ticks_add(self._turn_ms, on_ms if self._is_tone else off_ms)
        self._measure_ms = ticks_add(now_ms, _MEASURE_MS if on_ms > _MEASURE_MS else on_ms // 2)

    def _measure(self) -> None:
        self._measure_ms = ticks_add(self._measure_ms, 60_000)
        if self._current is not None:
            self._measured_ma = max(self._measured_ma, self._current.read_mv())

    def _end(self, now_ms: int) -> None:
        """Silence, and say how it went."""
        self._output.value(0)
        self.is_sounding = False
        self._is_tone = False
        proof = PROOF_NONE
        if self._measured_ma >= 0:
            proof = PROOF_CURRENT if self._measured_ma >= _CURRENT_MA_MIN else PROOF_FAILED
            self._node.set_fault(FAULT_SIREN, proof == PROOF_FAILED, now_ms)
        self._node.post_event(
            EVENT_SIREN,
            {
                "command_number": self._number,
                "cause": self._cause,
                "pattern": self._pattern,
                "duration_s": self._duration_s,
                "proof": proof,
                "current_ma": self._measured_ma if self._measured_ma >= 0 else None,
            },
            now_ms,
        )

    def command(self, command: "cmd.Command", now_ms: int) -> int:
        kind = command.kind
        if kind not in (cmd.CMD_SIREN, cmd.CMD_SILENCE, cmd.CMD_TEST):
            return cmd.UNKNOWN
        values = command.values
        clock = self._node.clock
        if "expires_time_s" in values:
            # Without the time nobody can tell a fresh command from one that waited for an hour.
            if not clock.is_set:
                self._node.network.device.request_time()
                return cmd.REFUSED
            if clock.now_s(now_ms) > values["expires_time_s"]:
                return cmd.EXPIRED
        if kind == cmd.CMD_SIREN:
            duration_s = values["duration_s"]
            if duration_s <= 0:
                return cmd.REFUSED
            self._sound(values["pattern"], duration_s, SIREN_BY_COMMAND, command.number, now_ms)
            self.answer = self._duration_s
        elif kind == cmd.CMD_SILENCE:
            if self.is_sounding:
                self._end(now_ms)
        elif values["is_audible"]:
            self._sound(_TEST_PATTERN, _TEST_S, SIREN_BY_SELF_TEST, command.number, now_ms)
        return cmd.DONE

    def fill(self, status: Status) -> None:
        status.role = ROLE_SIREN


def build(files: Files, settings: Settings, board: Board, node: Node, now_ms: int) -> App:
    """The siren of `board`; raises ValueError on a board without one."""
    output = hardware.siren(board)
    if output is None:
        raise ValueError("board %s has no siren output" % board.name)
    return SirenApp(
        node, output, hardware.siren_current(board), hardware.contact(board, "float"), now_ms
    )
