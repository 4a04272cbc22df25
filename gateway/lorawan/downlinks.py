"""What is sent down and when: class A answers in RX1 or RX2, class C at once: `Downlinks`.

An answer is decided when the uplink it answers was delivered, or at the last moment for RX1; an
acknowledgement waits for the delivery up to the last moment for RX2 and is not sent without it.
The frame counter of a downlink is on disk before the frame leaves.
"""

from dataclasses import dataclass, replace

from gateway.lorawan import commands
from gateway.lorawan.dedup import Heard
from gateway.lorawan.queues import Queues
from gateway.lorawan.radio import Instant, RadioFrame, Window
from gateway.lorawan.records import Queued, Session
from gateway.lorawan.registry import Device
from gateway.lorawan.state import Answer, Outgoing, State, due_ms, usable
from gateway.lorawan.transmit import Transmitter
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
    """Decides and builds all downlinks."""

    def __init__(self, state: State, queues: Queues, transmitter: Transmitter) -> None:
        self._state = state
        self._queues = queues
        self._transmitter = transmitter
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
        outgoing = Outgoing(
            device,
            b"",
            content.windows,
            answer.ranked,
            answer.heard.first.mono_ms,
            "answer",
            is_urgent,
        )
        self._build(outgoing, session, content, f_ctrl, answer.f_cnt, now)

    def accept_join(self, device: Device, heard: Heard, phy: bytes, now: Instant) -> None:
        """Send a join accept in its windows, 5 and 6 s after the request."""
        state = self._state
        ranked = heard.ranked()
        windows = usable(
            state.plan.join_windows(ranked[0]), heard.first.mono_ms, now, state.config.lead_ms
        )
        outgoing = Outgoing(device, phy, windows, ranked, heard.first.mono_ms, "accept")
        self._transmitter.emit(outgoing, now)

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
        item = self._queues.next_item(device, now)
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

    # -- sending

    def _build(
        self,
        outgoing: Outgoing,
        session: Session,
        content: _Content,
        f_ctrl: int,
        f_cnt_up: int,
        now: Instant,
    ) -> None:
        """Encode a data frame, send it, and write what that changes."""
        device = outgoing.device
        state, item = self._state, content.item
        if session.f_cnt_down >= _COUNTERS:
            state.counters["f_cnt_down_used_up"] += 1
            return
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
            return
        mac = commands.asked(session.mac, content.asked, f_cnt_up, now.unix_ms)
        sent = None
        if item is not None:
            sent = replace(
                item, tries=item.tries + 1, f_cnt=session.f_cnt_down, sent_ms=now.unix_ms
            )
        outgoing = replace(
            outgoing, phy=bytes(self._buf[:size]), f_cnt=session.f_cnt_down, item=sent
        )
        if not self._transmitter.emit(outgoing, now):
            return
        state.save_session(device, replace(session, f_cnt_down=session.f_cnt_down + 1, mac=mac))
        if sent is not None:
            self._queues.put_back(device, sent)

    # -- class C and expiry

    def tend(self, device: Device, now: Instant) -> None:
        """Expire what is too old; send to a class C device what waits. Due once a second."""
        for item in list(device.queue):
            if item.expires_ms <= now.unix_ms and not (device.in_flight and item.f_cnt >= 0):
                self._queues.finish(device, item, "expired", f"after {item.tries} tries", now)
        session = device.current
        if device.record.device_class != "C" or session is None or device.in_flight:
            return
        if device.ack_due_ms is not None:
            if now.mono_ms < device.ack_due_ms:
                return
            device.ack_due_ms = None
        for item in device.queue:
            if item.f_cnt >= 0 and item.confirmed:  # unanswered, perhaps since before a restart
                self._queues.lost(device, item, now)
        if now.mono_ms < device.free_ms or any(
            one.device is device for one in self._state.answers.values()
        ):
            return
        free_ms = self._transmitter.class_c_free_ms(session.mac.rx2_freq_hz)
        if now.mono_ms < free_ms:
            device.free_ms = free_ms
            return
        self._send_class_c(device, session, now)

    def _send_class_c(self, device: Device, session: Session, now: Instant) -> None:
        state = self._state
        item = self._queues.next_item(device, now)
        if item is None:
            return
        window = state.plan.window(0, session.mac.rx2_freq_hz, session.mac.rx2_dr)
        if window is None:
            return
        if not self._fits(session, [window], len(item.data)):
            self._queues.finish(
                device, item, "refused", f"{len(item.data)} bytes do not fit RX2", now
            )
            return
        # The one that hears it best; another one when the device said nothing to the last frame.
        last = device.class_c
        failed = last[0] if last is not None and last[1] == session.f_cnt_up else ""
        gateways = sorted(state.online, key=lambda one: (one == failed, one != session.gateway))
        device.class_c = (gateways[0], session.f_cnt_up) if gateways else None
        ranked = [
            RadioFrame(one, b"", window.freq_hz, window.sf, window.bw_hz, 0, 0) for one in gateways
        ]
        more = len([one for one in device.queue if one.f_cnt < 0]) > 1
        content = _Content(b"", [], item, more, [window])
        outgoing = Outgoing(device, b"", [window], ranked, now.mono_ms, "class_c")
        self._build(outgoing, session, content, 0, -1, now)

    def hush(self, device: Device, heard: Heard, rx1_delay_ms: int) -> None:
        """After an uplink a class C device listens in RX1 first: leave RX2 alone meanwhile."""
        device.free_ms = heard.first.mono_ms + rx1_delay_ms + _AFTER_RX2_MS
