"""What every role shares: `Node` (network, time, health, commands) and the interface `App`.

The loop calls `step`; `wait_ms` says how long nothing is due. An uplink goes in this order: alarms
and answers that were posted, the application's own frame, a status frame. One uplink is under
way at a time; a posted message that was not acknowledged is sent again, later and later.
"""

import gc

from micropython import const

from firmware import events as ev
from firmware.clock import SOURCE_NETWORK, Clock, from_gps
from firmware.drivers.battery import Sag, Trend, Voltmeter, tx_ma
from firmware.drivers.contact import Contact
from firmware.drivers.signals import ALIVE, DARK, FAULT, JOINING, Blinker
from firmware.events import Events
from firmware.net.lorawan import Network
from firmware.outbox import Message, Outbox
from firmware.store.counters import Counters
from firmware.store.settings import Settings
from protocols.errors import LocalError, RemoteError
from protocols.lorawan import device as lw
from protocols.payload import command as cmd
from protocols.payload import ports
from protocols.payload.event import EVENT_LAST_GASP, encode_event_into
from protocols.payload.status import (
    FAULT_BATTERY,
    FAULT_CLOCK,
    FAULT_MEMORY,
    FAULT_RADIO,
    FAULT_STORE,
    FAULT_SUPPLY,
    PAGE_POWER,
    Status,
    StatusEncoder,
)
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.body import Body
    from firmware.update.agent import Updates

_BUFFER = const(242)
_SHOW_S = const(600)  # patterns show this long after a start: a person is there then
_TIME_AGAIN_S = const(43_200)
_IMMEDIATE_STATUS_S = const(60)
_HOUR_S = const(3600)
_PAGES = const(5)
_LOADED_MS = const(12)  # into an uplink: oscillator and amplifier are on since 5 ms
_VERSION = (0, 1, 0)


class App:
    """What a role adds; every method may be left as it is."""

    port = 0  # of `frame_into`

    def step(self, now_ms: int) -> None:
        """Do what is due."""

    def wait_ms(self, now_ms: int) -> int:
        """Until the next `step` is of use; -1: nothing is due."""
        return -1

    @property
    def is_active(self) -> bool:
        """A UART is in use: the loop must not sleep deeper than `time.sleep_ms`."""
        return False

    def wants_to_send(self, now_ms: int) -> bool:
        """Whether `frame_into` has something that should go now."""
        return False

    def frame_into(self, buf: bytearray, limit: int, now_ms: int) -> int:
        """Encode the frame for `port`; its length, 0 for nothing after all."""
        return 0

    def delivered(self, port: int, tag: int, is_acknowledged: bool, now_ms: int) -> None:
        """The uplink on `port` (posted with `tag`) is finished."""

    def command(self, command: "cmd.Command", now_ms: int) -> int:
        """Do an authentic command; DONE, REFUSED..., or UNKNOWN. `answer` is sent with it."""
        return cmd.UNKNOWN

    answer = 0
    needs_clock = False  # it can do nothing without the time, and has little else to send
    holds_signals = False  # LED and buzzer belong to the application now

    def clock_set(self, moved_s: int, is_first: bool, now_ms: int) -> None:
        """Wall time became known or stepped by `moved_s`."""

    def fill(self, status: Status) -> None:
        """Put what the application knows into the health record."""


class Node:
    """The shared half of a device; `app` is the other half."""

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        events: Events,
        clock: Clock,
        network: Network,
        blinker: Blinker,
        battery: "Voltmeter | None",
        supply: "Contact | None",
        reset_reason: int,
        now_ms: int,
    ) -> None:
        self.settings = settings
        self.counters = counters
        self.events = events
        self.clock = clock
        self.network = network
        self.blinker = blinker
        self.app = App()
        self.updates: "Updates | None" = None  # docs/updates.md
        self.body: "Body | None" = None  # what is fitted in the case
        self.solar: "Voltmeter | None" = None
        self.config_number = settings.integer("config_version") & 63
        self.faults = 0
        self.reboot_ms: int | None = None  # when a command wants a reset
        self.reboot_safe = False
        self._battery = battery
        self.battery_low_mv = settings.integer("battery_low_mv")
        self._supply = supply  # closed: the outside supply is missing
        self._trend = Trend()
        self._sag = Sag()
        self._sag_ms = now_ms
        self._buf = bytearray(_BUFFER)
        self._outbox = Outbox()
        self._flight: Message | None = None
        self._flight_port = 0
        self._status = Status()
        self._status.reset_reason = reset_reason
        self._encoder = StatusEncoder(self._status)
        self._status_s = settings.integer("status_s")
        self._status_at_s = 0  # uptime of the next status frame
        self._pages_due = _PAGES
        self._last_status_s = -_IMMEDIATE_STATUS_S
        self._hour_at_s = 0
        self._time_at_s = 0
        self._joins = 0
        self._failed_saves = 0
        self._is_joined = network.device.joined
        self._is_dark = False  # nobody looks any more
        self._counters_dirty = False
        self._saved_ms = now_ms
        self._pump_ms = now_ms
        network.device.battery = 255
        network.device.request_time()
        if not network.device.joined:
            network.device.join(now_ms)
        if not self._is_joined:
            self.blinker.show(JOINING, now_ms)

    # --- the loop -------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """One turn: the radio first, for its windows do not wait."""
        self.clock.update(now_ms)
        self.network.step(now_ms)
        if self._sag.is_armed:
            self._measure_sag(now_ms)
        event = self.network.next_event()
        while event is not None:
            self._take(event, now_ms)
            event = self.network.next_event()
        if self._supply is not None and self._supply.poll(now_ms):
            self._supply_changed(now_ms)
        if self.body is not None:
            self.body.poll_lid(now_ms)
        self.app.step(now_ms)
        if not self.network.is_busy(now_ms):
            self._housekeeping(now_ms)
            self._pump(now_ms)
        self.blinker.step(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        """Milliseconds until `step` is needed, at most a minute."""
        wait = _sooner(60_000, self.network.wait_ms(now_ms))
        wait = _sooner(wait, self.app.wait_ms(now_ms))
        wait = _sooner(wait, self.blinker.wait_ms(now_ms))
        if self._supply is not None:
            wait = _sooner(wait, self._supply.wait_ms(now_ms))
        if self.body is not None and self.body.lid is not None:
            wait = _sooner(wait, self.body.lid.wait_ms(now_ms))
        if self._sag.is_armed:
            wait = min(wait, max(1, ticks_diff(self._sag_ms, now_ms)))
        if self._has_work(now_ms) and not self.network.is_busy(now_ms):
            wait = min(wait, max(0, ticks_diff(self._pump_ms, now_ms)))
        if self.reboot_ms is not None:
            wait = min(wait, max(0, ticks_diff(self.reboot_ms, now_ms)))
        return wait

    def _housekeeping(self, now_ms: int) -> None:
        uptime_s = self.clock.uptime_s
        if self._counters_dirty and ticks_diff(now_ms, self._saved_ms) >= 60_000:
            self.save_counters(now_ms)
        if self.body is not None and not self.app.is_active:
            self.body.step(uptime_s, now_ms)
        if uptime_s >= self._hour_at_s:
            self._hour_at_s = uptime_s + _HOUR_S
            millivolts = self.battery_mv()
            if millivolts is not None:
                self._trend.push(millivolts)
                self.set_fault(FAULT_BATTERY, millivolts < self.battery_low_mv, now_ms)
            late = not self.clock.is_set and uptime_s >= _HOUR_S
            self.set_fault(FAULT_CLOCK, late, now_ms)
            gc.collect()
            self.set_fault(FAULT_MEMORY, gc.mem_free() < 8192, now_ms)
        if uptime_s >= self._time_at_s and self._is_joined:
            # Until it is known the time is asked for with every uplink of a minute's distance.
            self._time_at_s = uptime_s + (_TIME_AGAIN_S if self.clock.is_set else 60)
            self.network.device.request_time()
            if self.app.needs_clock:
                # An uplink to carry the question: it also tells the network where we listen.
                self._pages_due = max(self._pages_due, 1)
        if uptime_s >= _SHOW_S and not self._is_dark:
            self._is_dark = True
            if not self.app.holds_signals:
                self.blinker.show(DARK, now_ms)

    # --- what the network says ------------------------------------------------------------------

    def _take(self, event: "lw.Event", now_ms: int) -> None:
        kind = event.kind
        uptime_s = self.clock.uptime_s
        if kind == lw.EV_JOINED:
            self._joins += 1
            self._is_joined = True
            self.events.note(uptime_s, ev.JOINED, self._joins)
            self.network.device.request_time()
            self._signal(FAULT if self.faults else DARK, now_ms)
        elif kind == lw.EV_JOIN_FAILED:
            self.events.note(uptime_s, ev.JOIN_FAILED, event.value)
        elif kind in (lw.EV_SENT, lw.EV_ACK, lw.EV_NO_ACK):
            self._landed(kind, now_ms)
        elif kind == lw.EV_DOWNLINK:
            if event.port == ports.PORT_COMMAND:
                self._obey(bytes(memoryview(self.network.device.data)[: event.length]), now_ms)
            elif event.port in (201, 203) and self.updates is not None:  # fragments, management
                data = memoryview(self.network.device.data)[: event.length]
                for answer in self.updates.handle(event.port, data):
                    self.post(event.port, answer, False, now_ms)
        elif kind == lw.EV_TIME:
            self.set_time(from_gps(event.value), event.at_ms, now_ms, SOURCE_NETWORK)
        elif kind == lw.EV_LINK_LOST:
            self.events.note(uptime_s, ev.LINK_LOST)
        elif kind == lw.EV_LINK_BACK:
            self.events.note(uptime_s, ev.LINK_BACK)

    def set_time(self, time_s: int, at_ms: int, now_ms: int, source: int) -> None:
        """At tick `at_ms` it was `time_s` since 2020, says `source`."""
        was_set = self.clock.is_set
        moved_s = self.clock.set_wall(time_s, at_ms, now_ms, source)
        self._time_at_s = self.clock.uptime_s + _TIME_AGAIN_S
        if moved_s or not was_set:
            self.events.note(self.clock.uptime_s, ev.CLOCK_SET, moved_s & 0x3FFF_FFFF)
            self.counters.note_offset(self.clock.offset_s)
            self._counters_dirty = True
            self.app.clock_set(moved_s, not was_set, now_ms)
        self.set_fault(FAULT_CLOCK, False, now_ms)

    def _landed(self, kind: int, now_ms: int) -> None:
        """The uplink under way is finished."""
        message = self._flight
        self._flight = None
        port = self._flight_port
        self._flight_port = 0
        self._pump_ms = now_ms
        if message is None:
            if port:
                self.app.delivered(port, 0, False, now_ms)
            return
        is_acknowledged = kind == lw.EV_ACK
        if self._outbox.landed(message, is_acknowledged, now_ms):
            self.app.delivered(message.port, message.tag, is_acknowledged, now_ms)

    # --- sending --------------------------------------------------------------------------------

    def post(
        self, port: int, data: bytes, confirmed: bool, now_ms: int, tries: int = 1, tag: int = 0
    ) -> bool:
        """Queue an uplink ahead of everything else; False when the queue is full of alarms."""
        self._pump_ms = now_ms
        message = Message(port, data, confirmed, tries, now_ms, tag)
        return self._outbox.post(message, self._flight)

    def post_event(
        self,
        kind: int,
        values: "dict[str, int | None]",
        now_ms: int,
        tries: int = 6,
        is_drill: bool = False,
    ) -> int:
        """Send an event on port 4, confirmed; returns its number, which is its tag too."""
        number = (self.counters.event_number + 1) & 0xFF
        self.counters.event_number = number
        self._counters_dirty = True
        buf = bytearray(16)
        time_s = self.clock.now_s(now_ms) if self.clock.is_set else None
        length = encode_event_into(buf, kind, number, time_s, values, is_drill)
        self.post(ports.PORT_EVENT, bytes(buf[:length]), True, now_ms, tries, number)
        return number

    def _has_work(self, now_ms: int) -> bool:
        if self._flight_port or not self.network.device.joined:
            return False
        if self._outbox.due(now_ms) is not None or self.app.wants_to_send(now_ms):
            return True
        return self._is_status_due()

    def _is_status_due(self) -> bool:
        if self._pages_due <= 0 and self.clock.uptime_s >= self._status_at_s:
            self._pages_due = _PAGES
        return self._pages_due > 0

    def _pump(self, now_ms: int) -> None:
        """Start the next uplink when the network can take one."""
        if not self._has_work(now_ms) or ticks_diff(now_ms, self._pump_ms) < 0:
            return
        device = self.network.device
        message = self._outbox.due(now_ms)
        # A short alarm does not wait until the duty cycle would let a full frame go.
        size = -1 if message is None else len(message.data)
        if not device.ready(now_ms, size):
            wait = ticks_diff(device.next_tx_ms(now_ms, size), now_ms)
            self._pump_ms = ticks_add(now_ms, max(200, min(wait, 60_000)))
            return
        limit = min(device.max_payload(), _BUFFER)
        millivolts = self.battery_mv()
        if millivolts is not None:
            self._sag.arm(millivolts, self.clock.uptime_s)
            self._sag_ms = ticks_add(now_ms, _LOADED_MS)
        if message is not None:
            if len(message.data) > limit:
                self._outbox.drop(message)  # it can never go: the data rate fell meanwhile
                return
            if device.send(
                message.port, message.data, len(message.data), message.confirmed, now_ms
            ):
                message.sent += 1
                self._flight = message
                self._sent(message.port, now_ms)
            return
        if self.app.wants_to_send(now_ms):
            length = self.app.frame_into(self._buf, limit, now_ms)
            if length and device.send(self.app.port, self._buf, length, False, now_ms):
                self._sent(self.app.port, now_ms)
                return
        if self._is_status_due():
            self._fill_status()
            length = self._encoder.encode_into(self._buf, limit)
            self._pages_due -= max(1, length // 9)
            self._status_at_s = self.clock.uptime_s + self._status_s
            self._last_status_s = self.clock.uptime_s
            if length and device.send(ports.PORT_STATUS, self._buf, length, False, now_ms):
                self._sent(ports.PORT_STATUS, now_ms)

    def _sent(self, port: int, now_ms: int) -> None:
        self._flight_port = port
        self._signal(ALIVE, now_ms)
        # The network must act at once: its `step` was before ours in this turn.
        self.network.step(now_ms)

    def _measure_sag(self, now_ms: int) -> None:
        """The battery under the radio's load, once the uplink has been on the air a little."""
        if not self.network.is_sending:
            self._sag.is_armed = self._flight_port == 0 and self._sag.is_armed
            if ticks_diff(now_ms, self._sag_ms) >= 0:
                self._sag.is_armed = False
            return
        if ticks_diff(now_ms, self._sag_ms) < 0:
            return
        loaded_mv = self.battery_mv()
        if loaded_mv is not None:
            load_ma = tx_ma(self.network.device.radio.power_dbm)
            self._sag.measure(loaded_mv, load_ma, self.clock.uptime_s)

    # --- commands -------------------------------------------------------------------------------

    def _obey(self, data: bytes, now_ms: int) -> None:
        try:
            command = cmd.decode_command(data)
        except RemoteError:
            self.events.note(self.clock.uptime_s, ev.COMMAND_REFUSED, len(data))
            return
        value = 0
        if command.number <= self.counters.command_number:
            result = cmd.REPEATED
        else:
            self.counters.command_number = command.number
            if not self.save_counters(now_ms):
                result = cmd.BUSY  # not durable, so it might be done twice: do it not at all
            else:
                result = self._do(command, now_ms)
                value = self.app.answer
                self.app.answer = 0
        self.events.note(self.clock.uptime_s, ev.COMMAND, command.kind)
        buf = bytearray(16)
        try:
            length = cmd.encode_answer_into(buf, command.number, command.kind, result, value)
        except LocalError:
            return
        self.post(ports.PORT_ANSWER, bytes(buf[:length]), False, now_ms)

    def _do(self, command: "cmd.Command", now_ms: int) -> int:
        kind = command.kind
        values = command.values
        if kind == cmd.CMD_STATUS:
            self._pages_due = _PAGES
            return cmd.DONE
        if kind == cmd.CMD_TIME:
            self.set_time(values["time_s"], now_ms, now_ms, SOURCE_NETWORK)
            return cmd.DONE
        if kind == cmd.CMD_REBOOT:
            self.reboot_safe = bool(values["is_safe_mode"])
            self.reboot_ms = ticks_add(now_ms, max(10, values["delay_s"]) * 1000)
            return cmd.DONE
        return self.app.command(command, now_ms)

    # --- health ---------------------------------------------------------------------------------

    def set_fault(self, bit: int, is_on: bool, now_ms: int) -> None:
        """A fault came or went; a status frame says so within a minute."""
        faults = self.faults | bit if is_on else self.faults & ~bit
        if faults == self.faults:
            return
        self.faults = faults
        if self.clock.uptime_s - self._last_status_s >= _IMMEDIATE_STATUS_S:
            self._pages_due = max(self._pages_due, 1)
        self._encoder.urge(PAGE_POWER)  # the page with the faults goes first
        if self._is_joined:
            self._signal(FAULT if faults else DARK, now_ms)

    def _supply_changed(self, now_ms: int) -> None:
        """The last gasp: said at once, for nobody knows how long the battery holds."""
        is_gone = self._supply is not None and self._supply.is_closed
        self._status.is_last_gasp = is_gone
        self.set_fault(FAULT_SUPPLY, is_gone, now_ms)
        if is_gone:
            values: dict[str, int | None] = {
                "battery_mv": self.battery_mv(),
                "supply_mv": self._supply_mv(),
            }
            self.post_event(EVENT_LAST_GASP, values, now_ms, 3)

    def _signal(self, pattern: str, now_ms: int) -> None:
        """Show how the device is, while somebody may look and the application says nothing."""
        if not self._is_dark and not self.app.holds_signals:
            self.blinker.show(pattern, now_ms)

    def battery_mv(self) -> "int | None":
        """The battery now; None when the board cannot tell."""
        return None if self._battery is None else self._battery.read_mv()

    def _supply_mv(self) -> "int | None":
        """Solar panel or mains; None when the board cannot tell."""
        return None if self.solar is None else self.solar.read_mv()

    def mark_counters(self) -> None:
        """Counters changed; they are saved within a minute or two."""
        self._counters_dirty = True

    def save_counters(self, now_ms: int) -> bool:
        """Save now; False (and a fault) when the flash refused."""
        self._saved_ms = now_ms
        try:
            self.counters.save()
        except OSError:
            self.store_failed(now_ms)
            return False
        self._counters_dirty = False
        return True

    def store_failed(self, now_ms: int) -> None:
        """A write failed: count it and say so."""
        self._failed_saves += 1
        self.events.note(self.clock.uptime_s, ev.STORE_FAILED, self._failed_saves)
        self.set_fault(FAULT_STORE, True, now_ms)

    def _fill_status(self) -> None:
        status = self._status
        device = self.network.device
        status.battery_mv = self.battery_mv()
        status.battery_trend_mv_day = self._trend.mv_per_day
        status.battery_mohm = self._sag.mohm
        status.supply_mv = self._supply_mv()
        if self.updates is not None:
            status.release = self.updates.slots.selection.version
            status.is_on_trial = self.updates.is_trial
        status.firmware_major, status.firmware_minor, status.firmware_patch = _VERSION
        status.boots = self.counters.boots
        status.crashes = self.counters.crashes
        status.store_errors = self._failed_saves
        status.is_clock_set = self.clock.is_set
        status.uptime_h = self.clock.uptime_s // _HOUR_S
        status.config_number = self.config_number
        status.uplinks = device.uplinks
        status.downlinks = device.downlinks
        status.joins = self._joins
        status.airtime_s = self.network.airtime_ms // 1000
        if self.network.has_heard:
            status.downlink_snr_db = self.network.snr_q4 >> 2
            status.downlink_rssi_dbm = self.network.rssi_dbm
        self.faults = (
            self.faults | FAULT_RADIO if self.network.failures else self.faults & ~FAULT_RADIO
        )
        status.faults = self.faults
        self.app.fill(status)
        if self.body is not None:
            tilt_cdeg = self.body.tilt_cdeg
            status.tilt_deg = None if tilt_cdeg is None else (tilt_cdeg + 50) // 100
            found = self.body.humidity()
            status.humidity_pct = None if found is None else found[0]
            if found is not None:
                status.temperature_c = found[1]


def _sooner(wait_ms: int, part_ms: int) -> int:
    """The shorter of two waits; -1 as the second means never."""
    return part_ms if 0 <= part_ms < wait_ms else wait_ms
