"""The tracker of jacket, boat and fleet: `TrackerApp`.

Every good fix is compared with what the shore believes; a fix is sent when the shore would be
wrong by more than E metres, when the state changes, and by the heartbeat. E is the provisioned
(or commanded) one, a quarter of it in distress, twice it on a low battery. The SOS button, held
for three seconds, sends until a gateway acknowledges; LED and buzzer say step by step how far
the call has come. Held for six seconds it takes the call back.
"""

import struct

from micropython import const

from firmware import events as ev
from firmware import hardware
from firmware.apps.backfill import Backfill, Scratch
from firmware.apps.fences import Fences
from firmware.apps.motion import Contract, Motion, pack_position, unpack_position
from firmware.boards import Board
from firmware.clock import SOURCE_GNSS, SOURCE_NONE
from firmware.drivers.contact import Contact
from firmware.drivers.gnss import Gnss
from firmware.drivers.signals import (
    DARK,
    SOS_ACCEPTED,
    SOS_CLOSED,
    SOS_HEARD,
    SOS_SEEN,
    SOS_SENDING,
    SOS_STORED,
)
from firmware.node import App, Node
from firmware.store.files import Files
from firmware.store.readings import ReadingLog, Row
from firmware.store.record import Record
from firmware.store.settings import Settings
from protocols.gnss.sanity import GOOD, FixCheck
from protocols.payload import command as cmd
from protocols.payload import ports
from protocols.payload.backfill import TrackBackfill
from protocols.payload.event import EVENT_GEOFENCE, EVENT_MOB, EVENT_SOS, EVENT_SOS_CANCEL
from protocols.payload.status import FAULT_GNSS, ROLE_TRACKER, Status
from protocols.payload.track import (
    STATE_MOB,
    STATE_SOS,
    STATE_UNDER_WAY,
    TrackEncoder,
    TrackFix,
    TrackRing,
)
from protocols.ticks import ticks_diff

_RING = const(96)
_SCRATCH = const(64)  # fixes of a gap's answer in memory at once
_SLOT_S = const(10)
_POINT_S = const(60)  # between two points of the track under way
_REST_POINT_S = const(600)  # anchored or moored
_SOS_HOLD_MS = const(3000)
_CANCEL_HOLD_MS = const(6000)
_WATER_MS = const(5000)
_SOS_REPORT_S = const(60)
_NO_FIX_S = const(900)
_DOUBT_S = const(100)  # the check believes three fixes in a row: so a lie must last for 5 minutes
_STILL_DKN = const(10)  # faster than a knot it may be leaving: the receiver stays on
_TRIES = const(60_000)  # a call for help does not give up

_STEP_PATTERNS = {
    cmd.SOS_STEP_HEARD: SOS_HEARD,
    cmd.SOS_STEP_STORED: SOS_STORED,
    cmd.SOS_STEP_ACCEPTED: SOS_ACCEPTED,
    cmd.SOS_STEP_SEEN: SOS_SEEN,
    cmd.SOS_STEP_CLOSED: SOS_CLOSED,
}


class Hold:
    """How long a contact has been closed: fires once when it passes each limit."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        self._since_ms = 0
        self._fired = 0

    def poll(self, now_ms: int, limit_ms: int) -> bool:
        """True once when the contact has been closed for `limit_ms`."""
        if self._contact.poll(now_ms):
            self._since_ms = now_ms
            self._fired = 0
        if not self._contact.is_closed or self._fired >= limit_ms:
            return False
        if ticks_diff(now_ms, self._since_ms) < limit_ms:
            return False
        self._fired = limit_ms
        return True

    def wait_ms(self, now_ms: int) -> int:
        """-1: nobody touches it."""
        wait = self._contact.wait_ms(now_ms)
        return 100 if wait < 0 and self._contact.is_closed else wait


class TrackerApp(App):
    """One receiver, one button, one water contact; button and contact may be absent."""

    port = ports.PORT_TRACK

    def __init__(
        self,
        node: Node,
        log: ReadingLog,
        files: Files,
        gnss: Gnss,
        button: "Contact | None",
        water: "Contact | None",
        now_ms: int,
    ) -> None:
        settings = node.settings
        self._node = node
        self._log = log
        self._gnss = gnss
        self._button = None if button is None else Hold(button)
        self._water = None if water is None else Hold(water)
        self._profile = settings.text("profile")
        self._rest_s = settings.integer("gnss_rest_s")
        self._fix_s = max(_SLOT_S, settings.integer("fix_s") // _SLOT_S * _SLOT_S)
        self._contract_record = Record(files, "contract")
        self._contract = Contract(settings.integer("error_m"))
        self._heartbeat_s = settings.integer("heartbeat_s")
        self._load_contract()
        self._fences = Fences(files)
        self._motion = Motion()
        self._check = FixCheck()
        self._ring = TrackRing(_RING)
        self._encoder = TrackEncoder(self._ring)
        self._backfill = Backfill(log, node.counters, self._is_idle, TrackScratch())
        self._is_its_turn = False  # back-fill's: it and live frames share the air when it is short
        self._frame_bytes = settings.integer("frame_bytes")
        self.answer = 0
        self.alarm = 0  # STATE_SOS or STATE_MOB while one is on
        self._alarm_event = -1
        self._alarm_step = 0
        self._drill_until_s = 0
        self._fix = TrackFix(0, 0, 0, 0, None, None)  # the newest good one
        self._has_fix = False
        self._doubted_s = -1  # time of a fix that was not believed
        self._fix_at_s = 0  # uptime of it
        self._point_s = -_REST_POINT_S  # time of the newest point of the track
        self._has_news = False
        self._reported_s = 0  # uptime of the last frame
        self._boot = node.counters.boots & 0xFFFF
        self._next_ms = now_ms

    def _load_contract(self) -> None:
        content = self._contract_record.load()
        if content is not None and len(content) == 6:
            self._contract.error_m, self._heartbeat_s = struct.unpack(">HI", content)

    # --- the loop -------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        self._watch_button(now_ms)
        while self._gnss.step(now_ms):
            self._take(now_ms)
        uptime_s = self._node.clock.uptime_s
        self._node.set_fault(FAULT_GNSS, uptime_s - self._fix_at_s > _NO_FIX_S, now_ms)
        if self._has_fix and uptime_s - self._reported_s >= self._report_s():
            self._has_news = self._has_news or self._ring.count > 0

    def _report_s(self) -> int:
        return _SOS_REPORT_S if self.alarm else self._heartbeat_s

    def _is_idle(self, now_ms: int) -> bool:
        return not self._node.network.is_busy(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        wait = self._gnss.wait_ms(now_ms)
        for hold in (self._button, self._water):
            if hold is not None:
                part = hold.wait_ms(now_ms)
                if 0 <= part < wait:
                    wait = part
        return wait

    @property
    def is_active(self) -> bool:
        return not self._gnss.is_resting  # awake it talks all the time

    @property
    def holds_signals(self) -> bool:
        return self.alarm != 0

    # --- fixes ----------------------------------------------------------------------------------

    def _take(self, now_ms: int) -> None:
        fix = self._gnss.fix
        node = self._node
        if fix.time_s is None:
            return
        if fix.is_valid and (not node.clock.is_set or fix.time_s % 600 == 0):
            node.set_time(fix.time_s, self._gnss.fix_ms, now_ms, SOURCE_GNSS)
        if not fix.is_valid or fix.lat_e5 is None or fix.lon_e5 is None:
            return
        if fix.time_s % self._fix_s and not self.alarm:
            return
        if fix.time_s % _SLOT_S:
            return
        if self._doubted_s >= 0 and 0 <= fix.time_s - self._doubted_s < _DOUBT_S:
            return
        verdict = self._check.judge(fix.time_s, fix.lat_e5, fix.lon_e5, fix.sog_dkn)
        if verdict != GOOD:
            node.events.note(node.clock.uptime_s, ev.GNSS_BAD, verdict)
            self._doubted_s = fix.time_s
            return
        self._doubted_s = -1
        mine = self._fix
        mine.time_s, mine.lat_e5, mine.lon_e5 = fix.time_s, fix.lat_e5, fix.lon_e5
        mine.sog_dkn, mine.cog_deg = fix.sog_dkn, fix.cog_deg
        self._has_fix = True
        self._fix_at_s = node.clock.uptime_s
        self._judge(now_ms)

    def _judge(self, now_ms: int) -> None:
        """What this fix means: state, fences, contract, track."""
        fix = self._fix
        changed = self._motion.feed(fix.time_s, fix.lat_e5, fix.lon_e5, fix.sog_dkn)
        crossed = self._fences.feed(fix.lat_e5, fix.lon_e5)
        if crossed is not None:
            self._node.post_event(
                EVENT_GEOFENCE,
                {
                    "fence": crossed[0],
                    "is_inside": int(crossed[1]),
                    "lat_e5": fix.lat_e5,
                    "lon_e5": fix.lon_e5,
                },
                now_ms,
            )
        error_m = self._error_m()
        due = changed or self._contract.is_broken(fix.time_s, fix.lat_e5, fix.lon_e5, error_m)
        resting = self._motion.state != STATE_UNDER_WAY and not self.alarm
        point_s = _REST_POINT_S if resting else _POINT_S
        if due or fix.time_s - self._point_s >= point_s:
            self._add_point(now_ms)
        self._has_news = self._has_news or due
        if self._rest_s and resting and not changed and (fix.sog_dkn or 0) <= _STILL_DKN:
            self._gnss.rest(self._rest_s * 1000, now_ms)

    def _error_m(self) -> int:
        error_m = self._contract.error_m
        if self.alarm:
            return max(10, error_m // 4)
        battery_mv = self._node.battery_mv()
        if battery_mv is not None and battery_mv < self._node.battery_low_mv:
            return 2 * error_m
        return error_m

    def _add_point(self, now_ms: int) -> None:
        """The newest fix becomes part of the track: in the log first, then in the ring."""
        fix = self._fix
        if self._node.network.is_busy(now_ms):
            # The flash must wait for the receive windows; the next fix will do.
            return
        a, b, c = pack_position(fix.lat_e5, fix.lon_e5, fix.sog_dkn)
        try:
            sequence = self._log.append(fix.time_s, self._boot, a, b, c)
        except OSError:
            self._node.store_failed(now_ms)
            sequence = self._log.skip()
        fix.sequence = sequence
        self._point_s = fix.time_s
        self._ring.push(sequence, fix.time_s, fix.lat_e5, fix.lon_e5, fix.sog_dkn, fix.cog_deg)

    # --- distress -------------------------------------------------------------------------------

    def _watch_button(self, now_ms: int) -> None:
        button = self._button
        if button is not None:
            if self.alarm:
                if button.poll(now_ms, _CANCEL_HOLD_MS):
                    self._cancel(now_ms)
            elif button.poll(now_ms, _SOS_HOLD_MS):
                self._alarm(EVENT_SOS, STATE_SOS, now_ms)
        water = self._water
        if self._profile != "jacket" or water is None:
            return
        if water.poll(now_ms, _WATER_MS) and not self.alarm:
            self._alarm(EVENT_MOB, STATE_MOB, now_ms)

    def _position(self) -> "dict[str, int | None]":
        if not self._has_fix:
            return {"lat_e5": None, "lon_e5": None, "fix_age_s": None}
        return {
            "lat_e5": self._fix.lat_e5,
            "lon_e5": self._fix.lon_e5,
            "fix_age_s": self._node.clock.uptime_s - self._fix_at_s,
        }

    def _is_drill(self) -> bool:
        clock = self._node.clock
        return clock.is_set and clock.uptime_s + clock.offset_s < self._drill_until_s

    def _alarm(self, kind: int, state: int, now_ms: int) -> None:
        self.alarm = state
        self._gnss.wake()
        self._alarm_step = 0
        self._alarm_event = self._node.post_event(
            kind, self._position(), now_ms, _TRIES, self._is_drill()
        )
        self._node.blinker.show(SOS_SENDING, now_ms)
        self._has_news = self._ring.count > 0

    def _cancel(self, now_ms: int) -> None:
        self.alarm = 0
        self._alarm_event = -1
        self._has_news = self._ring.count > 0
        self._node.post_event(EVENT_SOS_CANCEL, self._position(), now_ms, 6, self._is_drill())
        self._node.blinker.show(DARK, now_ms)
        self._node.blinker.show(SOS_CLOSED, now_ms)

    def delivered(self, port: int, tag: int, is_acknowledged: bool, now_ms: int) -> None:
        if port == ports.PORT_EVENT and is_acknowledged and tag == self._alarm_event:
            self._climb(cmd.SOS_STEP_HEARD, now_ms)

    def _climb(self, step: int, now_ms: int) -> None:
        """The call has come further; it never goes back, whatever order the news arrives in."""
        if not self.alarm or step <= self._alarm_step:
            return
        self._alarm_step = step
        if step == cmd.SOS_STEP_CLOSED:
            self.alarm = 0
            self._has_news = self._ring.count > 0
            self._node.blinker.show(DARK, now_ms)
        self._node.blinker.show(_STEP_PATTERNS[step], now_ms)

    # --- sending --------------------------------------------------------------------------------

    def wants_to_send(self, now_ms: int) -> bool:
        return self._is_news_due() or self._backfill.is_ready(now_ms)

    def _is_news_due(self) -> bool:
        since_s = self._node.clock.uptime_s - self._reported_s
        return self._has_news and self._ring.count > 0 and since_s >= _SLOT_S

    def frame_into(self, buf: bytearray, limit: int, now_ms: int) -> int:
        """The newest point and the track behind it; else the next frame of a gap's answer."""
        if self._backfill.is_ready(now_ms) and (self._is_its_turn or not self._is_news_due()):
            self._is_its_turn = False
            self.port = ports.PORT_BACKFILL
            return self._backfill.frame_into(buf, limit, now_ms)
        if not self._is_news_due():
            return 0
        self._is_its_turn = True
        self.port = ports.PORT_TRACK
        fix = self._fix
        if self._has_fix and fix.time_s > self._point_s:
            self._add_point(now_ms)  # the air was not free at once: send where we are now
        encoder = self._encoder
        encoder.state = self.alarm or self._motion.state
        encoder.is_drill = self._is_drill()
        encoder.has_fault = self._node.faults != 0
        encoder.is_clock_set = self._node.clock.source != SOURCE_NONE
        length = encoder.encode_into(buf, min(limit, self._frame_bytes))
        self._contract.sent(fix.time_s, fix.lat_e5, fix.lon_e5, fix.sog_dkn, fix.cog_deg)
        self._has_news = False
        self._reported_s = self._node.clock.uptime_s
        return length

    def fill(self, status: Status) -> None:
        status.role = ROLE_TRACKER
        status.sequence = max(0, self._log.next_sequence - 1)
        status.stored = self._log.stored

    # --- commands -------------------------------------------------------------------------------

    def command(self, command: "cmd.Command", now_ms: int) -> int:
        kind = command.kind
        values = command.values
        if kind == cmd.CMD_GAP:
            return self._backfill.add(values["first_sequence"], values["count"])
        if kind == cmd.CMD_SOS_STEP:
            if values["event_number"] != self._alarm_event:
                return cmd.EXPIRED
            self._climb(values["step"], now_ms)
            return cmd.DONE
        if kind == cmd.CMD_DRILL:
            self._drill_until_s = values["until_time_s"]
            return cmd.DONE
        try:
            if kind == cmd.CMD_CONTRACT:
                return self._set_contract(values["error_m"], values["heartbeat_s"])
            if kind == cmd.CMD_GEOFENCE:
                done = self._fences.set(
                    values["fence"],
                    values["lat_e5"],
                    values["lon_e5"],
                    values["radius_m"],
                    bool(values["is_forbidden"]),
                )
                return cmd.DONE if done else cmd.REFUSED
        except OSError:
            self._node.store_failed(now_ms)
            return cmd.BUSY
        return cmd.UNKNOWN

    def _set_contract(self, error_m: int, heartbeat_s: int) -> int:
        if not 10 <= error_m <= 5000 or not 60 <= heartbeat_s <= 86_400:
            return cmd.REFUSED
        self._contract_record.save(struct.pack(">HI", error_m, heartbeat_s))
        self._contract.error_m = error_m
        self._heartbeat_s = heartbeat_s
        return cmd.DONE


class TrackScratch(Scratch):
    """Fixes on their way into back-fill frames."""

    capacity = _SCRATCH

    def __init__(self) -> None:
        self._ring = TrackRing(_SCRATCH)
        self._encoder = TrackBackfill(self._ring)

    def push(self, row: Row, time_s: int) -> None:
        lat_e5, lon_e5, sog_dkn = unpack_position(row.a, row.b, row.c)
        self._ring.push(row.sequence, time_s, lat_e5, lon_e5, sog_dkn, None)

    def encode_into(self, buf: bytearray, limit: int) -> int:
        return self._encoder.encode_into(buf, limit)

    @property
    def count(self) -> int:
        return self._ring.count


def build(files: Files, settings: Settings, board: Board, node: Node, now_ms: int) -> App:
    """The tracker of `board`."""
    return TrackerApp(
        node,
        ReadingLog(files),
        files,
        Gnss(hardware.gnss_uart(board)),
        hardware.contact(board, "sos"),
        hardware.contact(board, "float"),
        now_ms,
    )
