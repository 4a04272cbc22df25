"""Data uplinks: whose is it, is it new, what does it say: `Uplinks`.

A frame is accepted when its MIC fits one of the sessions with its DevAddr and its 32-bit counter
is above the last one accepted. The last frame repeated, bit for bit, is answered and not
delivered again; everything else is counted and dropped. An accepted frame is on disk together
with its counter before the agent sees it, so neither a crash nor a replay delivers it from the
air twice.
"""

from dataclasses import replace
from functools import partial

from gateway.lorawan import commands
from gateway.lorawan.dedup import Heard
from gateway.lorawan.downlinks import Downlinks
from gateway.lorawan.model import Uplink
from gateway.lorawan.queues import Queues
from gateway.lorawan.radio import Instant, RadioFrame
from gateway.lorawan.records import LoggedFrame, Session
from gateway.lorawan.registry import Device
from gateway.lorawan.sessions import Undelivered
from gateway.lorawan.state import Answer, State
from protocols.errors import RemoteError
from protocols.lorawan import frames

REPEATS_MAX = 20  # NbTrans is at most 15; beyond it somebody else repeats
INBOX_MAX = 50_000  # beyond it frames are refused, so that devices know and repeat them
_APPLICATION_PORT_MAX = 223
_WRAP = 1 << 16


class Uplinks:
    """Data frames in; deliveries and answers out, through `State`."""

    def __init__(self, state: State, downlinks: Downlinks, queues: Queues) -> None:
        self._state = state
        self._downlinks = downlinks
        self._queues = queues
        self._frame = frames.DataFrame()

    def take(self, heard: Heard, now: Instant) -> None:
        """Judge one data frame and act on it."""
        state, frame, phy = self._state, self._frame, heard.phy
        try:
            frame.parse(phy, len(phy))
        except RemoteError as error:
            state.counters[f"up_{error.code}"] += 1
            return
        candidates = state.registry.at(frame.dev_addr)
        if not candidates:
            state.counters["foreign_data"] += 1
            return
        for device, session in candidates:
            f_cnt = self._counter(device, session, phy)
            if f_cnt is not None:
                if f_cnt == session.f_cnt_up:
                    self._repeated(device, session, heard, now)
                else:
                    self._accept(device, session, f_cnt, heard, now)
                return
        if any(self._is_old(device, session, phy) for device, session in candidates):
            state.counters["up_replayed"] += 1
        else:
            state.counters["up_mic"] += 1

    def _counter(self, device: Device, session: Session, phy: bytes) -> int | None:
        """The 32-bit counter with which the MIC is right, at or above the last; None if none."""
        nwk_key, _ = device.session_keys(session)
        f_cnt = frames.f_cnt_after(self._frame.f_cnt_16, session.f_cnt_up)
        if f_cnt < 0:
            return None
        if self._frame.check_mic(phy, f_cnt, nwk_key):
            return f_cnt
        # The last counter's low half came again: a repetition, or 65,536 frames later.
        if f_cnt == session.f_cnt_up and f_cnt + _WRAP < 1 << 32:
            f_cnt += _WRAP
            if self._frame.check_mic(phy, f_cnt, nwk_key):
                return f_cnt
        return None

    def _is_old(self, device: Device, session: Session, phy: bytes) -> bool:
        """Whether it is a genuine frame of the past; only asked for frames that are refused."""
        f_cnt = frames.f_cnt_after(self._frame.f_cnt_16, session.f_cnt_up) - _WRAP
        nwk_key, _ = device.session_keys(session)
        return f_cnt >= 0 and self._frame.check_mic(phy, f_cnt, nwk_key)

    def _mac_data(self, device: Device, session: Session, phy: bytes, f_cnt: int) -> bytes:
        """The MAC commands of the frame, deciphered."""
        frame = self._frame
        if frame.f_port != 0:
            return phy[frame.f_opts_start : frame.f_opts_start + frame.f_opts_len]
        return self._payload(device, session, phy, f_cnt)

    def _payload(self, device: Device, session: Session, phy: bytes, f_cnt: int) -> bytes:
        frame = self._frame
        buf = bytearray(phy)
        frame.open(buf, f_cnt, *device.session_keys(session))
        return bytes(buf[frame.payload_start : frame.payload_start + frame.payload_len])

    def _facts(self, best: RadioFrame, heard: Heard, f_cnt: int) -> commands.UplinkFacts:
        return commands.UplinkFacts(
            f_cnt, best.snr_db, best.sf, len(heard.copies), heard.first.unix_ms, best.gps_ms
        )

    def _accept(
        self, device: Device, session: Session, f_cnt: int, heard: Heard, now: Instant
    ) -> None:
        state, frame, phy = self._state, self._frame, heard.phy
        if len(state.undelivered) >= INBOX_MAX:
            state.counters["up_inbox_full"] += 1
            return
        ranked = heard.ranked()
        best = ranked[0]
        dr = state.plan.dr_of(best)
        is_new_session = device.current is None or device.current.number != session.number
        mac = commands.hear(session.mac, f_cnt, dr, best.snr_db, bool(frame.f_ctrl & frames.ADR))
        mac, answers = commands.take(
            self._mac_data(device, session, phy, f_cnt),
            mac,
            self._facts(best, heard, f_cnt),
            state.plan,
        )
        session = replace(
            session,
            f_cnt_up=f_cnt,
            last_mic=phy[-4:],
            repeats=0,
            seen_ms=heard.first.unix_ms,
            gateway=best.gateway,
            mac=mac,
        )
        if is_new_session:
            state.store.drop_sessions(device.record.dev_eui, session.number)
            state.store.save_session(session)
            state.set_sessions(device, session, None)
        else:
            state.save_session(device, session)
        self._log(device, "data", f_cnt, dr, heard, best)
        state.counters["up_accepted"] += 1
        self._queues.judge(device, bool(frame.f_ctrl & frames.ACK), now)
        inbox = self._deliver(device, session, f_cnt, dr, heard, ranked)
        self._answer(device, session, heard, ranked, f_cnt, answers, inbox, now)

    def _deliver(
        self,
        device: Device,
        session: Session,
        f_cnt: int,
        dr: int,
        heard: Heard,
        ranked: list[RadioFrame],
    ) -> int | None:
        """Put application data into the inbox; its id, or None if there is none."""
        state, frame, best = self._state, self._frame, ranked[0]
        before = device.undelivered
        state.on_undo(lambda: setattr(device, "undelivered", before))
        device.undelivered = None
        if frame.f_port <= 0:
            return None
        if frame.f_port > _APPLICATION_PORT_MAX:
            state.counters["up_port"] += 1
            return None
        record = device.record
        uplink = Uplink(
            dev_eui=record.dev_eui,
            device=record.name,
            f_port=frame.f_port,
            f_cnt=f_cnt,
            payload=self._payload(device, session, heard.phy, f_cnt),
            confirmed=frame.is_confirmed,
            rssi_dbm=best.rssi_dbm,
            snr_db=best.snr_db,
            dr=dr,
            freq_hz=best.freq_hz,
            gateways=tuple(one.gateway for one in ranked),
            received_ms=heard.first.unix_ms,
            session=session.number,
            kind=record.kind,
            decoder=record.decoder,
            codec=record.codec,
        )
        inbox = state.store.put_inbox(uplink)
        device.undelivered = (session.number, f_cnt, inbox)
        state.undelivered[inbox] = device
        state.on_undo(partial(state.forget_delivery, inbox))
        state.out.deliveries.append(Undelivered(inbox, uplink))
        return inbox

    def _answer(
        self,
        device: Device,
        session: Session,
        heard: Heard,
        ranked: list[RadioFrame],
        f_cnt: int,
        answers: list[bytes],
        inbox: int | None,
        now: Instant,
    ) -> None:
        state, frame = self._state, self._frame
        delay_ms = session.mac.rx1_delay_s * 1000
        if device.record.device_class == "C":
            self._downlinks.hush(device, heard, delay_ms)
        answer = Answer(
            id=state.number(),
            device=device,
            session=session.number,
            heard=heard,
            ranked=ranked,
            f_cnt=f_cnt,
            is_confirmed=frame.is_confirmed,
            wants_answer=bool(frame.f_ctrl & frames.ADR_ACK_REQ),
            commands=answers,
            inbox=inbox,
            rx1_delay_ms=delay_ms,
        )
        self._downlinks.open_answer(answer, now)

    def _repeated(self, device: Device, session: Session, heard: Heard, now: Instant) -> None:
        """The last frame again: answer it once more, deliver nothing."""
        state, phy = self._state, heard.phy
        if phy[-4:] != session.last_mic:
            state.counters["up_counter_reused"] += 1
            return
        if session.repeats >= REPEATS_MAX:
            state.counters["up_replayed"] += 1
            return
        state.counters["up_repeated"] += 1
        ranked = heard.ranked()
        best = ranked[0]
        session = replace(session, repeats=session.repeats + 1, seen_ms=heard.first.unix_ms)
        state.save_session(device, session)
        f_cnt = session.f_cnt_up
        self._log(device, "repeat", f_cnt, state.plan.dr_of(best), heard, best)
        data = self._mac_data(device, session, phy, f_cnt)
        _, answers = commands.take(data, session.mac, self._facts(best, heard, f_cnt), state.plan)
        inbox = None
        if device.undelivered is not None and device.undelivered[:2] == (session.number, f_cnt):
            inbox = device.undelivered[2]
        self._answer(device, session, heard, ranked, f_cnt, answers, inbox, now)

    def _log(
        self, device: Device, what: str, f_cnt: int, dr: int, heard: Heard, best: RadioFrame
    ) -> None:
        frame = self._frame
        flags = "confirmed" if frame.is_confirmed else ""
        self._state.store.log_frame(
            LoggedFrame(
                heard.first.unix_ms,
                "up",
                device.record.dev_eui,
                what,
                f_cnt=f_cnt,
                f_port=frame.f_port,
                size=len(heard.phy),
                dr=dr,
                sf=best.sf,
                freq_hz=best.freq_hz,
                rssi_dbm=best.rssi_dbm,
                snr_db=best.snr_db,
                gateway=best.gateway,
                gateways=len(heard.copies),
                detail=flags,
            )
        )
