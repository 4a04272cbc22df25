"""The flood node: `FloodApp` measures, decides, remembers and says.

A burst of readings on the sampling grid becomes one level (median); a jump is measured again at
once; what persists is believed after two samples at most. Every reading goes into the flash log
first and then into frames, each with as many older readings as fit. A change of stage is an event
that is sent at once and until it is acknowledged. A gap request is answered from the log, one
frame at a time, behind everything else.
"""

from micropython import const

from firmware import events as ev
from firmware import hardware
from firmware.apps.backfill import Backfill
from firmware.apps.flood_log import FloodScratch, fill_ring
from firmware.apps.gauges import Gauges, Probe
from firmware.apps.rainfall import Rainfall
from firmware.apps.watch import LOOK_MS, Watch
from firmware.boards import Board
from firmware.clock import SOURCE_NONE
from firmware.drivers.contact import Contact
from firmware.drivers.profiles import profile
from firmware.drivers.rain import RainGauge
from firmware.drivers.wired import WiredServer
from firmware.node import App, Node
from firmware.store.files import Files
from firmware.store.readings import FLAG_UPTIME, ReadingLog
from firmware.store.settings import Settings
from firmware.store.tuning import Tuning
from protocols.filters.despike import Despike
from protocols.filters.interval import IntervalPolicy
from protocols.filters.rate import RateOfRise
from protocols.filters.stage import StageFilter
from protocols.payload import command as cmd
from protocols.payload import ports
from protocols.payload.event import EVENT_STAGE
from protocols.payload.flood import INTERVALS_S, FloodEncoder, FloodRing
from protocols.payload.status import (
    FAULT_SENSOR,
    FAULT_SENSOR_DISAGREE,
    FAULT_SENSOR_NOISY,
    ROLE_FLOOD,
    Status,
)
from protocols.ticks import ticks_add, ticks_diff

_RING = const(128)
_AGAIN_MS = const(6000)  # between two looks at a jump: a boat has passed by then
_AGAIN_MAX = const(3)
_FAST_REPORT_S = const(30)  # no two frames closer than this, whatever the interval,
_ALARM_REPORT_S = const(15)  # or than this from siaga on; the duty cycle may say more
_HELD_REPORT_S = const(120)  # or than this while the next stage is about to be reached:
_ABOUT_MM = const(20)  # so near,
_ABOUT_S = const(30)  # or so soon
_ALARM_MS = const(6000)  # no frame between an alarm's first copies: its windows would hold them up
_REPORT_NOW_S = const(100_000)  # so long ago that a frame is due
_NOISY_MAD_MM = const(50)
_RAIN_UM = const(5000)  # in ten minutes: counts like a rise


class FloodApp(App):
    """One sensor, one bucket, one float switch; each but the sensor may be absent."""

    port = ports.PORT_FLOOD

    def __init__(
        self,
        node: Node,
        log: ReadingLog,
        tuning: Tuning,
        gauges: Gauges,
        rain: "RainGauge | None",
        float_switch: "Contact | None",
        now_ms: int,
    ) -> None:
        settings = node.settings
        self.node = node
        self._log = log
        self._tuning = tuning
        self._gauges = gauges
        self.rainfall = Rainfall(rain, node.counters)
        self._rain_tips = max(1, _RAIN_UM // settings.integer("rain_tip_um"))
        self._float = float_switch
        self._report_max_s = settings.integer("report_max_s")
        self._jump_mm = settings.integer("jump_mm")
        self._despike = Despike(self._jump_mm, self._jump_mm)
        self._recorded_s = 0  # uptime of the last reading
        self._rate = RateOfRise()
        self.ring = FloodRing(_RING)
        self._encoder = FloodEncoder(self.ring)
        self._encoder.is_clock_set = False
        self._is_its_turn = False  # back-fill's: it and live frames share the air when it is short
        self._frame_bytes = settings.integer("frame_bytes")
        self.answer = 0
        self.wired: WiredServer | None = None
        self.stage = 0
        self.level_mm: int | None = None
        self.interval_s = tuning.intervals_s[0]
        self._stage_filter = self._new_stage_filter()
        self._policy = self._new_policy()
        self._next_s = 0  # the slot of the next reading, by `clock.now_s`
        self._slot_s = 0  # the slot of the reading being taken
        self._again = 0
        self._again_ms = now_ms
        self._watch = Watch(settings)
        self._is_heard = True  # the last reading was one
        self._has_news = False
        self._reported_s = -_REPORT_NOW_S  # uptime of the last frame
        self._alarm = -1  # number of the last alarm, until it was heard, and when it was made
        self._alarm_ms = now_ms
        self._sensed = 0  # the stage by the sensor alone
        self._backfill = Backfill(log, node.counters, self._is_idle, FloodScratch())
        self._boot = node.counters.boots & 0xFFFF
        fill_ring(self.ring, log, node.counters)

    def _new_stage_filter(self) -> StageFilter:
        stages = self._tuning.stages_mm
        return StageFilter(
            stages[0], stages[1], stages[2], self._tuning.hysteresis_mm, self._tuning.hold_s
        )

    def _new_policy(self) -> IntervalPolicy:
        calm_s, rising_s, stage_s, storm_s = self._tuning.intervals_s
        rise_mm_h = 6 * self._tuning.rise_mm_10min
        return IntervalPolicy(calm_s, rising_s, stage_s, storm_s, rise_mm_h, self._rain_tips)

    # --- the loop -------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Sample when it is time, unless the radio's windows are open."""
        gauges = self._gauges
        gauges.step(now_ms)
        if self.wired is not None:
            self.wired.step(now_ms)
        self._count_rain(now_ms)
        if gauges.is_done and gauges.is_look and not self._is_over(gauges.level_mm):
            gauges.is_done = False  # nothing new: a look is no reading
        elif gauges.is_done:
            if self.node.network.is_busy(now_ms):
                return  # the flash must wait for the receive windows
            gauges.is_done = False
            if gauges.is_look:
                self._slot_s = self.node.clock.now_s(now_ms)
            self._finish_burst(now_ms)
        elif self._is_idle(now_ms) and self._is_due(now_ms):
            gauges.start(now_ms)
        elif self._has_room(now_ms) and self._watch.is_due(
            self._is_near(), self._is_rising_to(), now_ms
        ):
            gauges.look(now_ms)
        self._watch_float(now_ms)

    def _is_idle(self, now_ms: int) -> bool:
        return not self._gauges.is_running and not self.node.network.is_busy(now_ms)

    def _is_near(self) -> bool:
        """Alarm mode, and the water is not far below the next stage."""
        tuning = self._tuning
        return (
            self.stage < 3
            and self.level_mm is not None
            and not self._again
            and self.interval_s <= tuning.intervals_s[3]
            and self.level_mm >= tuning.stages_mm[self.stage] - self._watch.near_mm
        )

    def _is_about_to(self) -> bool:
        """The next stage is seconds away: no frame now, for its windows would delay the alarm."""
        level = self.level_mm
        if level is None or self.stage >= 3:
            return False
        left_mm = self._tuning.stages_mm[self.stage] - level
        rate = self._rate.mm_per_hour or 0
        return 0 <= left_mm <= max(_ABOUT_MM, rate * _ABOUT_S // 3600)

    def _is_rising_to(self) -> bool:
        """The same, and the water rises: worth every look that the sensor can give."""
        rate = self._rate.mm_per_hour or 0
        return rate >= 6 * self._tuning.rise_mm_10min and self._is_about_to()

    def _is_over(self, level: "int | None") -> bool:
        return level is not None and level >= self._tuning.stages_mm[min(self.stage, 2)]

    def _has_room(self, now_ms: int) -> bool:
        """Whether a look is over before the radio wants us again."""
        network = self.node.network
        return not self._gauges.is_running and (
            not network.is_busy(now_ms) or network.free_ms(now_ms) >= LOOK_MS
        )

    def _is_due(self, now_ms: int) -> bool:
        if self._again:
            return ticks_diff(now_ms, self._again_ms) >= 0
        now_s = self.node.clock.now_s(now_ms)
        if now_s < self._next_s:
            return False
        self._slot_s = now_s - now_s % self.interval_s
        if self._slot_s < self._next_s:
            self._slot_s = self._next_s
        return True

    def wait_ms(self, now_ms: int) -> int:
        """Until the next reading, or the next step of the one under way."""
        wait = self._wait_to_measure(now_ms)
        return wait if self.wired is None else min(wait, self.wired.wait_ms(now_ms))

    def _wait_to_measure(self, now_ms: int) -> int:
        if self._gauges.is_running:
            return self._gauges.wait_ms(now_ms)
        if self._gauges.is_done:
            return 100
        if self.rainfall.is_fresh:
            return 0
        if self._again:
            wait = max(0, ticks_diff(self._again_ms, now_ms))
        else:
            wait = self.node.clock.ms_to(self._next_s, now_ms)
        if wait == 0 and self.node.network.is_busy(now_ms):
            wait = 100  # the sensor waits for the receive windows, asleep and not in a spin
        if self._float is not None:
            settle = self._float.wait_ms(now_ms)
            if 0 <= settle < wait:
                wait = settle
        return min(wait, self._watch.wait_ms(now_ms)) if self._is_near() else wait

    @property
    def is_active(self) -> bool:
        return self._gauges.is_active or self.wired is not None

    @property
    def temperature_c(self) -> "int | None":
        """What the sensor says of its own temperature."""
        return self._gauges.temperature_c

    @property
    def sensor_snr_db(self) -> "int | None":
        """The quality of its echo."""
        return self._gauges.snr_db

    # --- measuring ------------------------------------------------------------------------------

    def _finish_burst(self, now_ms: int) -> None:
        gauges = self._gauges
        level = gauges.level_mm
        self._widen()
        accepted = self._despike.feed(level)
        doubtful = level is None or self._despike.is_jump
        if doubtful and self._again < _AGAIN_MAX:
            # Decide on this slot only when the water was asked again.
            self._again += 1
            self._again_ms = ticks_add(now_ms, min(_AGAIN_MS, self.interval_s * 250))
            return
        if level is None and self._is_heard:
            self.node.events.note(self.node.clock.uptime_s, ev.SENSOR_SILENT, gauges.silences)
        self._is_heard = level is not None
        self.node.set_fault(FAULT_SENSOR, gauges.is_silent, now_ms)
        self.node.set_fault(FAULT_SENSOR_NOISY, gauges.mad_mm > _NOISY_MAD_MM, now_ms)
        self.node.set_fault(FAULT_SENSOR_DISAGREE, gauges.is_disagreeing, now_ms)
        self._again = 0
        self._record(accepted, now_ms)

    def _widen(self) -> None:
        """A steady rise is no jump: what the known rate makes of the time since is allowed on top.

        One and a half times the rate's own change, and never more than 1.5 m a minute makes.
        """
        rate = self._rate.mm_per_hour
        since_s = min(self.node.clock.uptime_s - self._recorded_s, 3600)
        extra = 0 if rate is None else min(abs(rate), 90_000) * since_s // 2400
        self._despike.limit_mm = self._jump_mm + extra
        self._despike.agree_mm = self._jump_mm + extra

    def _record(self, level: "int | None", now_ms: int) -> None:
        """One reading is decided: stage, log, history, next slot."""
        node = self.node
        self.level_mm = level
        uptime_s = node.clock.uptime_s
        self._recorded_s = uptime_s
        self._rate.push(uptime_s, level)
        self._sensed = self._stage_filter.feed(level, uptime_s)
        self._store(level)
        self._decide(now_ms)
        tuning = self._tuning
        is_storm = node.clock.is_set and node.clock.now_s(now_ms) < tuning.storm_until_s
        self.interval_s = self._policy.choose(
            uptime_s, self.stage, self._rate.mm_per_hour, self.rainfall.tips_10min, is_storm
        )
        self._plan(now_ms)
        self._has_news = True

    def _plan(self, now_ms: int) -> None:
        now_s = self.node.clock.now_s(now_ms)
        self._next_s = now_s - now_s % self.interval_s + self.interval_s

    def _store(self, level: "int | None") -> None:
        node = self.node
        is_set = node.clock.is_set
        try:
            sequence = self._log.append(
                max(0, self._slot_s),
                self._boot,
                level,
                node.counters.rain_tips,
                self._gauges.mad_mm,
                (0 if is_set else FLAG_UPTIME) | (self.stage << 1),
            )
        except OSError:
            node.store_failed(self._again_ms)
            sequence = self._log.skip()  # it still goes out
        self.ring.push(sequence, max(0, self._slot_s), level, node.counters.rain_tips)

    def _announce(self, stage: int, by_float: bool, now_ms: int) -> None:
        previous = self.stage
        self.stage = stage
        rate = self._rate.mm_per_hour
        node = self.node
        node.events.note(node.clock.uptime_s, ev.STAGE, stage)
        self._alarm_ms = now_ms
        self._alarm = node.post_event(
            EVENT_STAGE,
            {
                "stage": stage,
                "previous_stage": previous,
                "level_mm": self.level_mm,
                "rate_mm_10min": None if rate is None else rate // 6,
                "is_float_switch": 1 if by_float else 0,
                "config_number": self._tuning.config_number,
            },
            now_ms,
        )
        self._reported_s = -_REPORT_NOW_S  # the frame with the level goes right behind it

    def _watch_float(self, now_ms: int) -> None:
        if self._float is not None and self._float.poll(now_ms):
            self._decide(now_ms)

    def _decide(self, now_ms: int) -> None:
        """The switch is the last resort: wet is the highest stage, whatever the sensor says."""
        is_wet = self._float is not None and self._float.is_closed
        stage = 3 if is_wet else self._sensed
        if stage != self.stage:
            self._announce(stage, is_wet and self._sensed < 3, now_ms)

    def _count_rain(self, now_ms: int) -> None:
        if not self.rainfall.count(self.node.clock.uptime_s):
            return
        self.node.mark_counters()
        if (
            self.interval_s > self._tuning.intervals_s[1]
            and self.rainfall.tips_10min >= self._rain_tips
        ):
            self._next_s = min(self._next_s, self.node.clock.now_s(now_ms))

    # --- sending --------------------------------------------------------------------------------

    def wants_to_send(self, now_ms: int) -> bool:
        if self._alarm >= 0 and ticks_diff(now_ms, self._alarm_ms) < _ALARM_MS:
            return False
        self._alarm = -1
        return self._is_news_due() or self._backfill.is_ready(now_ms)

    def delivered(self, port: int, tag: int, is_acknowledged: bool, now_ms: int) -> None:
        """The alarm is through, or given up: frames may go again."""
        if port == ports.PORT_EVENT and tag == self._alarm:
            self._alarm = -1

    def _is_news_due(self) -> bool:
        since_s = self.node.clock.uptime_s - self._reported_s
        return self._has_news and since_s >= self._least_s()

    def _least_s(self) -> int:
        """Seconds that two frames are apart at least."""
        if self.stage >= 2:
            # After each frame the radio listens for two seconds, and an alarm would have to wait.
            if not self._is_near():
                return _ALARM_REPORT_S
            return _HELD_REPORT_S if self._is_about_to() else _FAST_REPORT_S
        rate = self._rate.mm_per_hour or 0
        if self.stage == 0 and rate < 6 * self._tuning.rise_mm_10min:
            # Calm: several samples may share a frame. Half an interval off, or one that comes a
            # second early would make every other sample wait for the next.
            return max(_FAST_REPORT_S, self._report_max_s - self.interval_s // 2)
        return _FAST_REPORT_S

    def frame_into(self, buf: bytearray, limit: int, now_ms: int) -> int:
        """The newest reading and its history; else the next frame of a gap's answer."""
        if self._backfill.is_ready(now_ms) and (self._is_its_turn or not self._is_news_due()):
            self._is_its_turn = False
            self.port = ports.PORT_BACKFILL
            return self._backfill.frame_into(buf, limit, now_ms)
        if not self._is_news_due():
            return 0
        self._is_its_turn = True
        self.port = ports.PORT_FLOOD
        node = self.node
        encoder = self._encoder
        encoder.stage = self.stage
        encoder.has_fault = node.faults != 0
        encoder.is_clock_set = node.clock.source != SOURCE_NONE
        encoder.battery_mv = node.battery_mv()
        encoder.temperature_c = self._gauges.temperature_c
        encoder.quality = self._gauges.mad_mm
        encoder.sensor_snr_db = self._gauges.snr_db
        encoder.downlink_snr_db = node.network.snr_q4 >> 2 if node.network.has_heard else None
        encoder.config_number = self._tuning.config_number
        length = encoder.encode_into(buf, min(limit, self._frame_bytes))
        self._has_news = False
        self._reported_s = node.clock.uptime_s
        return length

    def clock_set(self, moved_s: int, is_first: bool, now_ms: int) -> None:
        """Stamp the readings of this start that had no time, and sample on the true grid."""
        slot_s = self._slot_s + moved_s  # of a reading under way, which is stored in true time
        self._slot_s = slot_s - slot_s % self.interval_s
        if is_first:
            fill_ring(self.ring, self._log, self.node.counters)
        self._plan(now_ms)

    def fill(self, status: Status) -> None:
        """The sensor's, the log's and the bucket's part of the health record."""
        status.role = ROLE_FLOOD
        self._gauges.fill(status)
        status.sequence = max(0, self._log.next_sequence - 1)
        status.stored = self._log.stored
        status.rain_tips = self.node.counters.rain_tips

    # --- commands -------------------------------------------------------------------------------

    def command(self, command: "cmd.Command", now_ms: int) -> int:
        kind = command.kind
        values = command.values
        if kind == cmd.CMD_GAP:
            return self._backfill.add(values["first_sequence"], values["count"])
        tuning = self._tuning
        if kind == cmd.CMD_THRESHOLDS:
            stages = [values["waspada_mm"], values["siaga_mm"], values["awas_mm"]]
            if not stages[0] < stages[1] < stages[2]:
                return cmd.REFUSED
            tuning.stages_mm = stages
            tuning.hysteresis_mm = values["hysteresis_mm"]
            tuning.hold_s = values["hold_s"]
            tuning.config_number = values["config_number"]
            self.node.config_number = tuning.config_number
        elif kind == cmd.CMD_INTERVALS:
            tuning.intervals_s = [
                INTERVALS_S[values[name] % len(INTERVALS_S)]
                for name in ("calm", "rising", "stage", "storm")
            ]
            tuning.rise_mm_10min = values["rising_mm_10min"]
            tuning.config_number = values["config_number"]
            self.node.config_number = tuning.config_number
        elif kind == cmd.CMD_STORM:
            tuning.storm_until_s = values["until_time_s"]
        else:
            return cmd.UNKNOWN
        try:
            tuning.save()
        except OSError:
            self.node.store_failed(now_ms)
            return cmd.BUSY
        self.answer = tuning.config_number
        self._retune(now_ms)
        return cmd.DONE

    def _retune(self, now_ms: int) -> None:
        """New rules apply to the present level at once."""
        self._stage_filter = self._new_stage_filter()
        self._policy = self._new_policy()
        self._next_s = min(self._next_s, self.node.clock.now_s(now_ms))


def _gauges(settings: Settings, board: Board) -> Gauges:
    """The sensor of `settings`, and the second one if there is one, on the same line."""
    count = settings.integer("burst_count")
    line = hardware.sensor_line(board, settings)
    probes: list[Probe] = []
    for name in ("sensor", "second"):
        if settings.text(name + "_profile"):
            found = profile(settings.text(name + "_profile"))
            sensor = line.sensor(found, settings.integer(name + "_address"))
            probes.append(Probe(sensor, found, settings.integer(name + "_height_mm"), count))
    return Gauges(probes[0], probes[1] if len(probes) > 1 else None, settings.integer("apart_mm"))


def build(files: Files, settings: Settings, board: Board, node: Node, now_ms: int) -> App:
    """The flood node of `board`."""
    tuning = Tuning(files, settings)
    node.config_number = tuning.config_number
    app = FloodApp(
        node,
        ReadingLog(files),
        tuning,
        _gauges(settings, board),
        hardware.rain(board),
        hardware.contact(board, "float"),
        now_ms,
    )
    if settings.integer("wired_address"):
        # Only a wired node carries its registers in memory.
        module = __import__("firmware.apps.registers", None, None, ("FloodRegisters",))
        app.wired = hardware.wired(board, settings, module.FloodRegisters(app))
    return app
