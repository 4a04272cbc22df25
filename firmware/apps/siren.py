"""The siren node (class C): `SirenApp` sounds for a bounded time, and proves what it did.

It sounds on an authenticated command that is new (its number, kept over restarts), in time (its
expiry), and only while the device knows the time; and by its own float switch with no network at
all. Every sounding ends by itself within `siren_max_s`. A stage's pattern (1 to 3) is not repeated
within ten minutes, only a higher one is: a command that comes again gets the proof again instead.
A switch that stays wet sounds once, and again only after it was dry for a minute.

An event says how it went: one as soon as the current proves the first tone or belies it
(`duration_s` 0: it goes on), one more when that changes, and one at the end. `CheckPlan` tests it
weekly in silence and monthly aloud. Wiring and wording: docs/siren.md.
"""

from micropython import const

from firmware import hardware
from firmware.apps.siren_plan import AUDIBLE, NOTHING, CheckPlan
from firmware.apps.siren_proof import GOOD, Signature, judge_test
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
_FLOAT_DRY_S = const(60)  # waves lift a float again and again: one alarm, not one a wave
_TEST_PATTERN = const(0)
_TEST_S = const(3)  # the placard promises a short one
_MEASURE_MS = const(400)  # after a tone or a pause began
_AGAIN_MS = const(5000)  # within a long tone
_QUIET_MS = const(250)  # of the silent test, until its current stands
_LOOK_S = const(30)  # between two looks at the plan of tests
_STAGES = const(3)  # patterns 1..3 are the stages'
_REPEAT_S = const(600)  # no pattern of a stage again within this, only a higher one
_NEVER = const(-100_000)

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
    """`output` drives the siren, `test_output` its amplifier's silent test; others may lack."""

    needs_clock = True

    def __init__(
        self,
        node: Node,
        plan: CheckPlan,
        output: "Pin",
        test_output: "Pin | None",
        current: "Voltmeter | None",
        float_switch: "Contact | None",
        now_ms: int,
    ) -> None:
        settings = node.settings
        self._node = node
        self._plan = plan
        self._output = output
        self._test_output = test_output
        self._current = current
        self._float = float_switch
        self._max_s = settings.integer("siren_max_s")
        self._test_ma = settings.integer("siren_test_ma")
        self._signature = Signature(settings.integer("siren_ma"))
        self.answer = 0
        self.is_sounding = False
        self._is_tone = False
        self._is_measured = False  # this tone or pause
        self._is_testing = False  # in silence
        self._pattern = 0
        self._cause = 0
        self._number = 0
        self._start_ms = now_ms
        self._end_ms = now_ms
        self._turn_ms = now_ms
        self._measure_ms = now_ms
        self._told = PROOF_NONE
        self._idle_ma = 0
        self._stage_pattern = 0  # of the last stage that sounded with proof, and when it ended
        self._stage_s = _NEVER
        self._dry_s = _NEVER  # uptime when the float fell
        self._look_s = 0
        output.value(0)

    def step(self, now_ms: int) -> None:
        self._watch_float(now_ms)
        if self._is_testing and ticks_diff(now_ms, self._measure_ms) >= 0:
            self._end_silent(now_ms)
        if not self.is_sounding:
            self._keep_plan(now_ms)
            return
        if not self._is_measured and ticks_diff(now_ms, self._measure_ms) >= 0:
            self._measure(now_ms)
        if ticks_diff(now_ms, self._end_ms) >= 0:
            self._end(now_ms)
        elif ticks_diff(now_ms, self._turn_ms) >= 0:
            self._turn(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        wait = -1
        if self.is_sounding:
            wait = min(ticks_diff(self._end_ms, now_ms), ticks_diff(self._turn_ms, now_ms), 200)
        elif self._is_testing:
            wait = ticks_diff(self._measure_ms, now_ms)
        if wait >= 0 or self.is_sounding or self._is_testing:
            wait = max(0, wait)
        if self._float is not None:
            settle = self._float.wait_ms(now_ms)
            if settle >= 0 and (wait < 0 or settle < wait):
                wait = settle
        return wait

    def _watch_float(self, now_ms: int) -> None:
        switch = self._float
        if switch is None or not switch.poll(now_ms):
            return
        uptime_s = self._node.clock.uptime_s
        if not switch.is_closed:
            self._dry_s = uptime_s
            return
        is_wave = self._dry_s != _NEVER and uptime_s - self._dry_s < _FLOAT_DRY_S
        if not is_wave and not (self.is_sounding and self._pattern == _FLOAT_PATTERN):
            seconds = min(_FLOAT_S, self._max_s)
            self._sound(_FLOAT_PATTERN, seconds, SIREN_BY_FLOAT, 0, now_ms)

    # --- one sounding ---------------------------------------------------------------------------

    def _sound(self, pattern: int, seconds: int, cause: int, number: int, now_ms: int) -> None:
        """Begin; a sounding under way is taken over, and never ends later than `siren_max_s`."""
        self._stop_silent()
        if not self.is_sounding and self._current is not None:
            self._idle_ma = self._current.read_mv()
        self._signature.start(self._idle_ma)
        self._pattern = pattern
        self._cause = cause
        self._number = number
        self._told = PROOF_NONE
        self.is_sounding = True
        self._start_ms = now_ms
        self._end_ms = ticks_add(now_ms, min(seconds, self._max_s) * 1000)
        self._is_tone = False
        self._turn_ms = now_ms
        self._turn(now_ms)

    def _turn(self, now_ms: int) -> None:
        on_ms, off_ms = _PATTERNS[self._pattern]
        self._is_tone = not self._is_tone or off_ms == 0
        self._output.value(1 if self._is_tone else 0)
        length_ms = on_ms if self._is_tone else off_ms
        self._turn_ms = ticks_add(self._turn_ms, length_ms)
        self._is_measured = False
        self._measure_ms = ticks_add(now_ms, min(_MEASURE_MS, length_ms * 3 // 4))

    def _measure(self, now_ms: int) -> None:
        """The current must follow our output; what it says first, or newly, is told at once."""
        if ticks_diff(self._turn_ms, now_ms) > _AGAIN_MS:
            self._measure_ms = ticks_add(now_ms, _AGAIN_MS)
        else:
            self._is_measured = True
        if self._current is None:
            return
        if self._is_tone:
            self._signature.tone(self._current.read_mv())
        else:
            self._signature.pause(self._current.read_mv())
        proof = self._signature.proof
        if proof != self._told:
            self._tell(proof, 0, now_ms)

    def _tell(self, proof: int, duration_s: int, now_ms: int) -> None:
        self._told = proof
        if proof != PROOF_NONE:
            self._node.set_fault(FAULT_SIREN, proof == PROOF_FAILED, now_ms)
        best_ma = self._signature.best_ma
        values: dict[str, int | None] = {
            "command_number": self._number,
            "cause": self._cause,
            "pattern": self._pattern,
            "duration_s": duration_s,
            "proof": proof,
            "current_ma": best_ma if best_ma >= 0 else None,
        }
        self._node.post_event(EVENT_SIREN, values, now_ms)

    def _end(self, now_ms: int) -> None:
        """Silence, and say how it went."""
        self._output.value(0)
        self.is_sounding = False
        self._is_tone = False
        seconds = max(1, (ticks_diff(now_ms, self._start_ms) + 500) // 1000)
        self._tell(self._signature.proof, seconds, now_ms)
        if 0 < self._pattern <= _STAGES and self._told == PROOF_CURRENT:
            self._stage_pattern = self._pattern
            self._stage_s = self._node.clock.uptime_s

    # --- tests ----------------------------------------------------------------------------------

    def _keep_plan(self, now_ms: int) -> None:
        clock = self._node.clock
        if clock.uptime_s < self._look_s or self._is_testing or not clock.is_set:
            return
        if self._node.network.is_busy(now_ms):
            return  # the flash must wait for the receive windows
        self._look_s = clock.uptime_s + _LOOK_S
        what = self._plan.due(clock.now_s(now_ms))
        if what == NOTHING:
            return
        try:
            self._plan.done(what, clock.now_s(now_ms))
        except OSError:
            self._node.store_failed(now_ms)
            self._look_s = clock.uptime_s + 3600
            return  # it would be tested for an hour
        if what == AUDIBLE:
            self._sound(_TEST_PATTERN, _TEST_S, SIREN_BY_SELF_TEST, 0, now_ms)
        else:
            self._test_silent(0, now_ms)

    def _test_silent(self, number: int, now_ms: int) -> bool:
        """Begin a silent test; False on a board that has no means for one."""
        if self._test_output is None or self._current is None:
            return False
        self._number = number
        self._idle_ma = self._current.read_mv()
        self._test_output.value(1)
        self._is_testing = True
        self._measure_ms = ticks_add(now_ms, _QUIET_MS)
        return True

    def _stop_silent(self) -> None:
        if self._test_output is not None:
            self._test_output.value(0)
        self._is_testing = False

    def _end_silent(self, now_ms: int) -> None:
        current_ma = 0 if self._current is None else self._current.read_mv()
        self._stop_silent()
        signature = self._signature
        signature.start(self._idle_ma)
        signature.tone(current_ma)  # for the event's current
        self._pattern = _TEST_PATTERN
        self._cause = SIREN_BY_SELF_TEST
        is_good = judge_test(current_ma - self._idle_ma, self._test_ma) == GOOD
        self._tell(PROOF_CURRENT if is_good else PROOF_FAILED, 0, now_ms)

    # --- commands -------------------------------------------------------------------------------

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
            return self._order(values["pattern"], values["duration_s"], command.number, now_ms)
        if kind == cmd.CMD_SILENCE:
            self._stop_silent()
            if self.is_sounding:
                self._end(now_ms)
        elif self.is_sounding:
            return cmd.BUSY  # no test takes over an alarm
        elif values["is_audible"]:
            self._sound(_TEST_PATTERN, _TEST_S, SIREN_BY_SELF_TEST, command.number, now_ms)
        elif not self._test_silent(command.number, now_ms):
            return cmd.REFUSED
        return cmd.DONE

    def _order(self, pattern: int, duration_s: int, number: int, now_ms: int) -> int:
        if duration_s <= 0:
            return cmd.REFUSED
        if 0 < pattern <= _STAGES:
            is_heard = self._told != PROOF_FAILED
            if self.is_sounding and is_heard and pattern <= self._pattern <= _STAGES:
                # Asked again, perhaps because our event was lost: no more noise, but the proof.
                self._number = number
                if self._told != PROOF_NONE:
                    self._tell(self._told, 0, now_ms)
                self.answer = max(0, ticks_diff(self._end_ms, now_ms)) // 1000
                return cmd.DONE
            since_s = self._node.clock.uptime_s - self._stage_s
            if not self.is_sounding and pattern <= self._stage_pattern and since_s < _REPEAT_S:
                self._pattern = self._stage_pattern
                self._cause = SIREN_BY_COMMAND
                self._number = number
                self._tell(PROOF_CURRENT, 0, now_ms)
                return cmd.REPEATED
        self._sound(pattern, duration_s, SIREN_BY_COMMAND, number, now_ms)
        self.answer = min(duration_s, self._max_s)
        return cmd.DONE

    def fill(self, status: Status) -> None:
        status.role = ROLE_SIREN


def build(files: Files, settings: Settings, board: Board, node: Node, now_ms: int) -> App:
    """The siren of `board`; raises ValueError on a board without one."""
    output = hardware.siren(board)
    if output is None:
        raise ValueError("board %s has no siren output" % board.name)
    return SirenApp(
        node,
        CheckPlan(files, settings),
        output,
        hardware.siren_test(board),
        hardware.siren_current(board),
        hardware.contact(board, "float"),
        now_ms,
    )
