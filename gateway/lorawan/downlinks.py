"""Downlinks: class A answers in RX1 or RX2, class C at once, and what becomes of them: `Downlinks`.

An answer is decided when the uplink it answers was delivered, or at the last moment for RX1; an
acknowledgement waits for the delivery up to the last moment for RX2 and is not sent without it.
The frame counter of a downlink is on disk before the frame leaves. If the best gateway cannot
send in either window, the next best gets the same frame while there is time.
"""

from dataclasses import dataclass, replace
from functools import partial

from gateway.lorawan import commands
from gateway.lorawan.dedup import Heard
from gateway.lorawan.model import DownlinkReport
from gateway.lorawan.radio import SENT, Instant, Outcome, RadioFrame, Transmission, Window
from gateway.lorawan.records import LoggedFrame, Queued, Session
from gateway.lorawan.registry import Device
from gateway.lorawan.state import Answer, InFlight, State, due_ms, usable
from protocols.errors import LocalError
from protocols.lorawan import frames

_COUNTERS = 1 << 32
_F_OPTS_MAX = 15
_AFTER_RX2_MS = 2000  # class C: leave a device alone until it surely listens on RX2 again


@dataclass(slots=True)
class _Content:
    """What one data downlink carries."""

    f_opts: bytes
    asked: list[commands.Request]
    item: Queued | None
    is_pending: bool  # more is waiting
    windows: list[Window]


class Downlinks:
    """Builds and follows all downlinks."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buf = bytearray(frames.PHY_MAX)

    # -- class A

    def open_answer(self, answer: Answer, now: Instant) -> None:
        """Take an answer; it is decided now, or when its uplink was delivered."""
        state = self._state
        if answer.inbox is None:
            self._decide(answer, now)
            return
        state.answers[answer.id] = answer
        waiting = state.waiting.setdefault(answer.inbox, [])
        waiting.append(answer.id)
        state.on_undo(lambda: self._drop(answer))

    def _drop(self, answer: Answer) -> None:
        state = self._state
        state.answers.pop(answer.id, None)
        if answer.inbox is not None:
            waiting = state.waiting.get(answer.inbox, [])
            if answer.id in waiting:
                waiting.remove(answer.id)
            if not waiting:
                state.waiting.pop(answer.inbox, None)

    def delivered(self, inbox: int, now: Instant) -> None:
        """The agent has the uplink: its answers may leave."""
        state = self._state
        for number in list(state.waiting.get(inbox, ())):
            answer = state.answers.get(number)
            if answer is not None:
                self._drop(answer)
                self._decide(answer, now)

    def step(self, now: Instant) -> None:
        """Answers whose last moment has come."""
        lead_ms = self._state.config.lead_ms
        for answer in list(self._state.answers.values()):
            if answer.is_confirmed:
                if now.mono_ms > due_ms(answer, 1, lead_ms):
                    self._drop(answer)
                    self._state.counters["answer_undelivered"] += 1
            elif now.mono_ms >= due_ms(answer, 0, lead_ms):
                self._drop(answer)
                self._decide(answer, now)

    def deadline_ms(self) -> int | None:
        """When `step` is due."""
        lead_ms = self._state.config.lead_ms
        return min(
            (
                due_ms(one, 1, lead_ms) + 1 if one.is_confirmed else due_ms(one, 0, lead_ms)
                for one in self._state.answers.values()
            ),
            default=None,
        )

    def _decide(self, answer: Answer, now: Instant) -> None:
        state, device = self._state, answer.device
        session = device.current
        if session is None or session.number != answer.session:
            return
        windows = state.plan.windows(answer.ranked[0], session.mac)
        windows = usable(windows, answer.heard.first.mono_ms, now, state.config.lead_ms)
        content = self._content(device, session, answer.commands, answer.f_cnt, windows, now)
        if not (
            answer.is_confirmed or answer.wants_answer or content.f_opts or content.item is not None
        ):
            return
        if not windows:
            state.counters["answer_late"] += 1
            return
        is_urgent = answer.is_confirmed or answer.wants_answer or len(content.f_opts) > 0
        f_ctrl = frames.ACK if answer.is_confirmed else 0
        self._build(
            device,
            session,
            content,
            f_ctrl,
            answer.ranked,
            answer.heard.first.mono_ms,
            is_urgent,
            "answer",
            answer.f_cnt,
            now,
        )

    def accept_join(self, device: Device, heard: Heard, phy: bytes, now: Instant) -> None:
        """Send a join accept in its windows, 5 and 6 s after the request."""
        state = self._state
        ranked = heard.ranked()
        windows = usable(
            state.plan.join_windows(ranked[0]), heard.first.mono_ms, now, state.config.lead_ms
        )
        self._emit(device, phy, windows, ranked, heard.first.mono_ms, None, True, "accept", -1, now)

    # -- content

    def _content(
        self,
        device: Device,
        session: Session,
        answers: list[bytes],
        f_cnt: int,
        windows: list[Window],
        now: Instant,
    ) -> _Content:
        state = self._state
        room = max((state.plan.payload_limit(one, session.mac) for one in windows), default=0)
        f_opts = b""
        for data in answers:
            if len(f_opts) + len(data) <= min(_F_OPTS_MAX, room):
                f_opts += data
        wanted = commands.requests(session.mac, state.plan, f_cnt, now.unix_ms)
        item = self._next_item(device, now)
        asked: list[commands.Request] = []
        for request in wanted:
            if len(f_opts) + len(request.data) <= min(_F_OPTS_MAX, room):
                asked.append(request)
                f_opts += request.data
        is_pending = len([one for one in device.queue if one.f_cnt < 0]) > (item is not None)
        if item is not None:
            # Requests can wait for the next downlink; the device's questions and data cannot.
            while asked and not self._fits(session, windows, len(f_opts) + len(item.data)):
                f_opts = f_opts[: len(f_opts) - len(asked.pop().data)]
            fitting = self._fits(session, windows, len(f_opts) + len(item.data))
            if fitting:
                return _Content(f_opts, asked, item, is_pending, fitting)
            is_pending = True
        fitting = self._fits(session, windows, len(f_opts)) or windows
        return _Content(f_opts, asked, None, is_pending, fitting)

    def _fits(self, session: Session, windows: list[Window], size: int) -> list[Window]:
        plan = self._state.plan
        return [one for one in windows if size <= plan.payload_limit(one, session.mac)]

    def _next_item(self, device: Device, now: Instant) -> Queued | None:
        """The oldest downlink that may be sent; none while a confirmed one is on its way."""
        for item in device.queue:
            if item.f_cnt >= 0 and item.confirmed:
                return None
            if item.f_cnt < 0 and item.expires_ms > now.unix_ms:
                return item
        return None

    # -- sending

    def _build(
        self,
        device: Device,
        session: Session,
        content: _Content,
        f_ctrl: int,
        ranked: list[RadioFrame],
        first_ms: int,
        is_urgent: bool,
        what: str,
        f_cnt_up: int,
        now: Instant,
    ) -> bool:
        state, item = self._state, content.item
        if session.f_cnt_down >= _COUNTERS:
            state.counters["f_cnt_down_used_up"] += 1
            return False
        if content.is_pending:
            f_ctrl |= frames.F_PENDING
        if state.config.adr and session.mac.adr:
            f_ctrl |= frames.ADR
        nwk_key, app_key = device.session_keys(session)
        data = item.data if item is not None else b""
        try:
            size = frames.encode_data_into(
                self._buf,
                frames.CONFIRMED_DOWN
                if item is not None and item.confirmed
                else frames.UNCONFIRMED_DOWN,
                session.dev_addr,
                f_ctrl,
                session.f_cnt_down,
                content.f_opts,
                len(content.f_opts),
                item.f_port if item is not None else frames.NO_PORT,
                data,
                len(data),
                nwk_key,
                app_key,
            )
        except LocalError:
            state.counters["downlink_encode"] += 1
            return False
        mac = commands.asked(session.mac, content.asked, f_cnt_up, now.unix_ms)
        sent = None
        if item is not None:
            sent = replace(
                item, tries=item.tries + 1, f_cnt=session.f_cnt_down, sent_ms=now.unix_ms
            )
        ok = self._emit(
            device,
            bytes(self._buf[:size]),
            content.windows,
            ranked,
            first_ms,
            sent,
            is_urgent,
            what,
            session.f_cnt_down,
            now,
        )
        if not ok:
            return False
        state.save_session(device, replace(session, f_cnt_down=session.f_cnt_down + 1, mac=mac))
        if sent is not None:
            state.store.save_downlink(sent)
            state.set_queue(device, [sent if one.id == sent.id else one for one in device.queue])
        return True

    def _emit(
        self,
        device: Device,
        phy: bytes,
        windows: list[Window],
        ranked: list[RadioFrame],
        first_ms: int,
        item: Queued | None,
        is_urgent: bool,
        what: str,
        f_cnt: int,
        now: Instant,
    ) -> bool:
        """Give the frame to the best gateway that may send it; False if there is none."""
        state = self._state
        if not windows:
            state.counters["answer_late"] += 1
            return False
        refused = "downlink_no_gateway"
        for index, frame in enumerate(ranked):
            if frame.gateway not in state.online:
                continue
            allowed = [
                one
                for one in windows
                if state.budget.may(
                    frame.gateway,
                    one.freq_hz,
                    state.plan.airtime_us(one, len(phy)),
                    now.mono_ms,
                    is_urgent,
                )
            ]
            if not allowed:
                refused = "downlink_duty"
                continue
            first = allowed[0]
            airtime = state.plan.airtime_us(first, len(phy))
            state.budget.spend(frame.gateway, first.freq_hz, airtime, now.mono_ms)
            transmission = Transmission(
                id=state.number(),
                gateway=frame.gateway,
                phy=phy,
                windows=tuple(allowed),
                power_dbm=state.plan.power_dbm,
                context=frame.context,
                dev_eui=device.record.dev_eui,
                is_class_c=first.delay_s == 0,
            )
            state.flights[transmission.id] = InFlight(
                transmission,
                device,
                ranked[index + 1 :],
                first_ms,
                item,
                first.freq_hz,
                airtime,
                is_urgent,
            )
            device.in_flight += 1
            state.on_undo(partial(self._forget, transmission.id))
            state.out.transmissions.append(transmission)
            state.store.log_frame(
                LoggedFrame(
                    now.unix_ms,
                    "down",
                    device.record.dev_eui,
                    what,
                    f_cnt=f_cnt,
                    f_port=item.f_port if item is not None else -1,
                    size=len(phy),
                    dr=first.dr,
                    sf=first.sf,
                    freq_hz=first.freq_hz,
                    gateway=frame.gateway,
                    detail=f"{len(allowed)} windows" if len(allowed) > 1 else "1 window",
                )
            )
            state.counters[f"down_{what}"] += 1
            return True
        state.counters[refused] += 1
        return False

    def _land(self, number: int) -> InFlight | None:
        flight = self._state.flights.pop(number, None)
        if flight is not None:
            flight.device.in_flight -= 1
        return flight

    def _forget(self, number: int) -> None:
        self._land(number)

    # -- outcomes

    def outcome(self, outcome: Outcome, now: Instant) -> None:
        """What a front end reports of a transmission."""
        state = self._state
        flight = self._land(outcome.id)
        if flight is None:
            state.counters["outcome_unknown"] += 1
            return
        transmission = flight.transmission
        if outcome.state == SENT:
            self._sent(flight, transmission.windows[outcome.window], now)
            return
        state.budget.refund(transmission.gateway, flight.spent_hz, flight.spent_us)
        state.counters["down_failed"] += 1
        windows = usable(list(transmission.windows), flight.first_ms, now, state.config.lead_ms)
        if transmission.is_class_c:
            windows = list(transmission.windows)
        if (
            windows
            and flight.ranked
            and self._emit(
                flight.device,
                transmission.phy,
                windows,
                flight.ranked,
                flight.first_ms,
                flight.item,
                flight.is_urgent,
                "retry",
                -1,
                now,
            )
        ):
            return
        if flight.item is not None:
            self._again(flight.device, flight.item)

    def _sent(self, flight: InFlight, window: Window, now: Instant) -> None:
        state, device, item = self._state, flight.device, flight.item
        transmission = flight.transmission
        airtime = state.plan.airtime_us(window, len(transmission.phy))
        if (window.freq_hz, airtime) != (flight.spent_hz, flight.spent_us):
            state.budget.refund(transmission.gateway, flight.spent_hz, flight.spent_us)
            state.budget.spend(transmission.gateway, window.freq_hz, airtime, now.mono_ms)
        state.counters["down_sent"] += 1
        if window is not transmission.windows[0]:
            state.counters["down_second_window"] += 1
        if transmission.is_class_c:
            device.free_ms = now.mono_ms + airtime // 1000 + 100
        if item is None:
            return
        if not item.confirmed:
            self.finish(device, item, "sent", "", now)
        elif any(one.id == item.id for one in device.queue):
            state.out.reports.append(
                DownlinkReport(
                    item.id, device.record.name, "sent", f"try {item.tries}", now.unix_ms
                )
            )
            if transmission.is_class_c:
                device.ack_due_ms = now.mono_ms + int(state.config.class_c_wait_s * 1000)

    def _again(self, device: Device, item: Queued) -> None:
        """Put a downlink that did not leave back into the queue."""
        state = self._state
        back = replace(item, tries=item.tries - 1, f_cnt=-1)
        if any(one.id == item.id for one in device.queue):
            state.store.save_downlink(back)
            state.set_queue(device, [back if one.id == item.id else one for one in device.queue])

    def finish(self, device: Device, item: Queued, end: str, detail: str, now: Instant) -> None:
        """Take a downlink out of the queue and say what became of it."""
        state = self._state
        if all(one.id != item.id for one in device.queue):
            return
        state.store.take_downlink(item.id)
        state.set_queue(device, [one for one in device.queue if one.id != item.id])
        state.counters[f"queue_{end}"] += 1
        state.out.reports.append(
            DownlinkReport(item.id, device.record.name, end, detail, now.unix_ms)
        )

    def judge(self, device: Device, is_acked: bool, now: Instant) -> None:
        """A new uplink came: did it acknowledge the confirmed downlink that was sent?"""
        for item in device.queue:
            if item.f_cnt < 0 or not item.confirmed:
                continue
            if is_acked:
                device.ack_due_ms = None
                self.finish(device, item, "acked", "", now)
            elif device.record.device_class != "C":
                self._lost(device, item, now)
            return

    def _lost(self, device: Device, item: Queued, now: Instant) -> None:
        if item.tries >= self._state.config.confirm_tries:
            self.finish(device, item, "not_acked", f"after {item.tries} tries", now)
            return
        back = replace(item, f_cnt=-1)
        self._state.store.save_downlink(back)
        self._state.set_queue(device, [back if one.id == item.id else one for one in device.queue])

    # -- class C and expiry

    def tend(self, device: Device, now: Instant) -> None:
        """Expire what is too old; send to a class C device what waits. Due once a second."""
        for item in list(device.queue):
            if item.expires_ms <= now.unix_ms and not (device.in_flight and item.f_cnt >= 0):
                self.finish(device, item, "expired", f"after {item.tries} tries", now)
        session = device.current
        if device.record.device_class != "C" or session is None or device.in_flight:
            return
        if device.ack_due_ms is not None:
            if now.mono_ms < device.ack_due_ms:
                return
            device.ack_due_ms = None
        for item in device.queue:
            if item.f_cnt >= 0 and item.confirmed:  # unanswered, perhaps since before a restart
                self._lost(device, item, now)
        if now.mono_ms < device.free_ms or any(
            one.device is device for one in self._state.answers.values()
        ):
            return
        self._send_class_c(device, session, now)

    def _send_class_c(self, device: Device, session: Session, now: Instant) -> None:
        state = self._state
        item = self._next_item(device, now)
        if item is None:
            return
        window = state.plan.window(0, session.mac.rx2_freq_hz, session.mac.rx2_dr)
        if window is None:
            return
        if not self._fits(session, [window], len(item.data)):
            self.finish(device, item, "refused", f"{len(item.data)} bytes do not fit RX2", now)
            return
        gateways = sorted(state.online, key=lambda one: one != session.gateway)
        ranked = [
            RadioFrame(one, b"", window.freq_hz, window.sf, window.bw_hz, 0, 0) for one in gateways
        ]
        more = len([one for one in device.queue if one.f_cnt < 0]) > 1
        content = _Content(b"", [], item, more, [window])
        self._build(device, session, content, 0, ranked, now.mono_ms, False, "class_c", -1, now)

    def hush(self, device: Device, heard: Heard, rx1_delay_ms: int) -> None:
        """After an uplink a class C device listens in RX1 first: leave RX2 alone meanwhile."""
        device.free_ms = heard.first.mono_ms + rx1_delay_ms + _AFTER_RX2_MS
