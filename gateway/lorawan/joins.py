"""Over-the-air activation, network side: `Joins`.

Rules of LoRaWAN 1.0.4 section 6.2: a DevNonce is a counter and must rise, so an old join request
is worth nothing; a JoinNonce is never used twice; both are on disk before the accept leaves. The
session that is in use stays valid until the device is heard with the new one, so a lost accept
costs nothing. Devices older than 1.0.4 draw random DevNonces: all that were used are remembered.
"""

from dataclasses import replace

from gateway.lorawan.dedup import Heard
from gateway.lorawan.downlinks import Downlinks
from gateway.lorawan.keys import AesBlock, Key
from gateway.lorawan.radio import Instant
from gateway.lorawan.records import LoggedFrame, Session
from gateway.lorawan.registry import Device
from gateway.lorawan.state import State, log
from protocols.errors import RemoteError
from protocols.lorawan.crypto import derive_session_keys
from protocols.lorawan.frames import (
    JoinAccept,
    check_join_request_mic,
    encode_join_accept_into,
    parse_join_request,
)

_JOIN_NONCES = 1 << 24
_ADDRESS_TRIES = 16
_WARN_MS = 900_000


class Joins:
    """Join requests in, join accepts out."""

    def __init__(self, state: State, downlinks: Downlinks) -> None:
        self._state = state
        self._downlinks = downlinks
        self._buf = bytearray(33)
        self._warned_ms: dict[str, int] = {}  # by DevEUI

    def take(self, heard: Heard, now: Instant) -> None:
        """Judge one join request; answer it if it is good."""
        state = self._state
        phy = heard.phy
        try:
            request = parse_join_request(phy, len(phy))
        except RemoteError as error:
            state.counters[f"join_{error.code}"] += 1
            return
        device = state.registry.get(request.dev_eui.hex())
        key = None if device is None else device.join_key()
        if device is None or key is None:
            state.counters["foreign_join"] += 1
            return
        if not check_join_request_mic(phy, key):
            state.counters["join_mic"] += 1
            return
        if request.join_eui.hex() != device.record.join_eui:
            state.counters["join_eui"] += 1
            self._warn(
                device,
                now,
                f"reason=join_eui got={request.join_eui.hex()} expected={device.record.join_eui}",
            )
            return
        self._accept(device, request.dev_nonce, heard, now)

    def _warn(self, device: Device, now: Instant, text: str) -> None:
        """One line a device and quarter of an hour: a stranger must not fill the log."""
        last_ms = self._warned_ms.get(device.record.dev_eui)
        if last_ms is None or now.mono_ms - last_ms >= _WARN_MS:
            self._warned_ms[device.record.dev_eui] = now.mono_ms
            log.warning("lorawan.join_refused device=%s %s", device.record.name, text)

    def _is_fresh(self, device: Device, dev_nonce: int) -> bool:
        if device.record.dev_nonce_rule == "random":
            return self._state.store.use_nonce(device.record.dev_eui, dev_nonce)
        return dev_nonce > device.record.dev_nonce

    def _address(self) -> int:
        """A new DevAddr, one that nobody of ours has if there is one."""
        address = 0
        for _ in range(_ADDRESS_TRIES):
            address = self._state.plan.dev_addr(self._state.entropy(4))
            if not self._state.registry.is_used(address):
                break
        return address

    def _accept(self, device: Device, dev_nonce: int, heard: Heard, now: Instant) -> None:
        state, record = self._state, device.record
        app_key = record.app_key
        assert app_key is not None
        if not self._is_fresh(device, dev_nonce):
            state.counters["join_replayed"] += 1
            self._warn(device, now, f"reason=dev_nonce got={dev_nonce} last={record.dev_nonce}")
            return
        join_nonce = record.join_nonce
        if join_nonce >= _JOIN_NONCES:
            state.counters["join_nonce_used_up"] += 1
            log.error("lorawan.join_refused device=%s reason=join_nonce give new keys", record.name)
            return
        plan = state.plan
        accept = JoinAccept(
            join_nonce,
            state.config.net_id,
            self._address(),
            plan.after_join.rx1_dr_offset,
            plan.rx2_dr,
            plan.after_join.rx1_delay_s,
            plan.cf_list,
        )
        nwk_s_key, app_s_key = derive_session_keys(
            AesBlock, app_key, join_nonce, state.config.net_id, dev_nonce
        )
        best = heard.ranked()[0]
        number = 1 + max((one.number for one in device.sessions()), default=0)
        session = Session(
            dev_eui=record.dev_eui,
            number=max(number, join_nonce + 1),
            dev_addr=accept.dev_addr,
            nwk_s_key=Key(nwk_s_key),
            app_s_key=Key(app_s_key),
            joined_ms=now.unix_ms,
            seen_ms=now.unix_ms,
            gateway=best.gateway,
            mac=plan.after_join,
        )
        highest = max(record.dev_nonce, dev_nonce)
        state.store.save_nonces(record.dev_eui, highest, join_nonce + 1)
        if device.newest is not None:
            state.store.drop_sessions(
                record.dev_eui, device.current.number if device.current else -1
            )
        state.store.save_session(session)
        before = record
        state.on_undo(lambda: setattr(device, "record", before))
        device.record = replace(record, dev_nonce=highest, join_nonce=join_nonce + 1)
        state.set_sessions(device, device.current, session)
        state.store.log_frame(
            LoggedFrame(
                now.unix_ms,
                "up",
                record.dev_eui,
                "join",
                f_cnt=dev_nonce,
                size=len(heard.phy),
                dr=plan.dr_of(best),
                sf=best.sf,
                freq_hz=best.freq_hz,
                rssi_dbm=best.rssi_dbm,
                snr_db=best.snr_db,
                gateway=best.gateway,
                gateways=len(heard.copies),
            )
        )
        state.counters["joined"] += 1
        log.info("lorawan.joined device=%s dev_addr=%08x", record.name, accept.dev_addr)
        size = encode_join_accept_into(self._buf, accept, AesBlock, app_key)
        self._downlinks.accept_join(device, heard, bytes(self._buf[:size]), now)
