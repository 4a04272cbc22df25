"""MAC commands, network side: `take` what a device sent, make `requests` for what it lacks.

What a device has set is known (`MacState`), what it should have is wanted (`RadioPlan.wanted`);
the difference makes the requests, which are repeated with every downlink until the device's
answer closes the difference. A command that was asked `_PATIENCE` times in vain, or refused,
rests for `_REST` frames, so a device that cannot obey does not cost a downlink a frame.
"""

from dataclasses import dataclass, replace

from gateway.lorawan.adr import REQUIRED_SNR_DB, Limits, choose, leave_wide
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.records import MacState
from protocols.lorawan import mac as wire

GPS_EPOCH_UNIX_S = 315_964_800
GPS_LEAP_S = 18  # since 2017; the IERS announced none up to the end of 2026
_CLOCK_SET_MS = 1_767_225_600_000  # 2026-01-01: a Pi without network starts in the past
_PATIENCE = 8
_REST = 64
_REFUSED = 1000


@dataclass(frozen=True, slots=True)
class UplinkFacts:
    """What an answer needs to know of the uplink."""

    f_cnt: int
    snr_db: float
    sf: int
    gateways: int
    unix_ms: int  # of reception
    gps_ms: int | None  # of reception, from the gateway's own receiver


def take(
    data: bytes, state: MacState, facts: UplinkFacts, plan: RadioPlan
) -> tuple[MacState, list[bytes]]:
    """The new state and our answers, one element a command, after the commands in `data`."""
    answers: list[bytes] = []
    adr: list[wire.Command] = []
    for command in wire.decode(data, 0, len(data), True):
        if command.cid == wire.LINK_ADR:
            adr.append(command)
        elif command.cid == wire.LINK_CHECK:
            margin = facts.snr_db - REQUIRED_SNR_DB.get(facts.sf, -7.5)
            answers.append(_encode(command.cid, min(max(int(margin), 0), 254), facts.gateways))
        elif command.cid == wire.DEVICE_TIME:
            answers += _device_time(facts)
        else:
            state = _answered(command, state, facts, plan)
    if adr:
        is_ok = all(all(command.values) for command in adr)
        if is_ok and state.adr_target[0] >= 0:
            _, power_index, nb_trans = state.adr_target
            if power_index != state.power_index:
                state = replace(state, history=())
            state = replace(state, power_index=power_index, nb_trans=nb_trans)
        state = _close(state, wire.LINK_ADR, is_ok, facts.f_cnt)
    return state, answers


def _device_time(facts: UplinkFacts) -> list[bytes]:
    gps_ms = facts.gps_ms
    if gps_ms is None:
        if facts.unix_ms < _CLOCK_SET_MS:
            return []  # a wrong time is worse than none; the device asks again
        gps_ms = facts.unix_ms - GPS_EPOCH_UNIX_S * 1000 + GPS_LEAP_S * 1000
    seconds, rest = divmod(gps_ms, 1000)
    return [_encode(wire.DEVICE_TIME, seconds & 0xFFFFFFFF, rest * 256 // 1000)]


def _answered(
    command: wire.Command, state: MacState, facts: UplinkFacts, plan: RadioPlan
) -> MacState:
    wanted = plan.wanted
    is_ok = all(command.values)
    cid = command.cid
    if cid == wire.RX_PARAM_SETUP:
        if is_ok:
            state = replace(
                state,
                rx1_dr_offset=wanted.rx1_dr_offset,
                rx2_dr=wanted.rx2_dr,
                rx2_freq_hz=wanted.rx2_freq_hz,
            )
    elif cid == wire.DEV_STATUS:
        state = replace(
            state, battery=command.field("battery"), margin_db=command.field("margin_db")
        )
        is_ok = True
    elif cid == wire.RX_TIMING_SETUP:
        state = replace(state, rx1_delay_s=wanted.rx1_delay_s)
    elif cid == wire.TX_PARAM_SETUP:
        state = replace(
            state,
            uplink_dwell=wanted.uplink_dwell,
            downlink_dwell=wanted.downlink_dwell,
            eirp_index=wanted.eirp_index,
        )
    elif cid == wire.NEW_CHANNEL:
        if is_ok:
            # Answers come in the order of the requests, which start at the first difference.
            index = _first_difference(state, wanted)
            if index is not None:
                known = list(state.channels_hz) + [0] * (index + 1 - len(state.channels_hz))
                known[index] = wanted.channels_hz[index]
                state = replace(state, channels_hz=tuple(known))
    elif cid != wire.DL_CHANNEL and cid != wire.DUTY_CYCLE:
        return state
    return _close(state, cid, is_ok, facts.f_cnt)


def _close(state: MacState, cid: int, is_ok: bool, f_cnt: int) -> MacState:
    others = tuple(one for one in state.attempts if one[0] != cid)
    return replace(state, attempts=others if is_ok else (*others, (cid, _REFUSED, f_cnt)))


def _first_difference(state: MacState, wanted: MacState) -> int | None:
    for index, freq in enumerate(wanted.channels_hz):
        if index >= len(state.channels_hz) or state.channels_hz[index] != freq:
            return index
    return None


def _encode(cid: int, *values: int) -> bytes:
    buf = bytearray(6)
    return bytes(buf[: wire.encode_into(buf, 0, cid, False, values)])


def hear(state: MacState, f_cnt: int, dr: int, snr_db: float, is_adr: bool) -> MacState:
    """The state after an uplink: its rate, the SNR history, whether the device lets us choose."""
    history = state.history if dr == state.dr else ()
    history = (*history[-19:], (f_cnt, round(snr_db * 10)))
    power_index, nb_trans = state.power_index, state.nb_trans
    if 0 <= dr < state.dr and is_adr and state.adr_target[0] > dr:
        power_index, nb_trans = 0, 1  # it backed off by itself (1.0.4 section 4.3.1.1)
    return replace(
        state, history=history, dr=dr, adr=is_adr, power_index=power_index, nb_trans=nb_trans
    )


@dataclass(frozen=True, slots=True)
class Request:
    """Requests that go together or not at all (a LinkADRReq block)."""

    cid: int
    data: bytes
    target: tuple[int, int, int] | None = None


def requests(state: MacState, plan: RadioPlan, f_cnt: int, now_ms: int) -> list[Request]:
    """What to ask of the device now, most useful first. `now_ms` is Unix time."""
    wanted = plan.wanted
    found: list[Request] = []
    if plan.config.adr and state.adr and state.dr >= 0:
        found += _link_adr(state, plan)
    if (state.rx1_dr_offset, state.rx2_dr, state.rx2_freq_hz) != (
        wanted.rx1_dr_offset,
        wanted.rx2_dr,
        wanted.rx2_freq_hz,
    ):
        data = _encode(
            wire.RX_PARAM_SETUP, wanted.rx2_dr, wanted.rx1_dr_offset, wanted.rx2_freq_hz // 100
        )
        found.append(Request(wire.RX_PARAM_SETUP, data))
    if state.rx1_delay_s != wanted.rx1_delay_s:
        found.append(
            Request(wire.RX_TIMING_SETUP, _encode(wire.RX_TIMING_SETUP, wanted.rx1_delay_s))
        )
    if plan.region.has_dwell and (state.uplink_dwell, state.downlink_dwell) != (
        wanted.uplink_dwell,
        wanted.downlink_dwell,
    ):
        data = _encode(
            wire.TX_PARAM_SETUP, wanted.eirp_index, wanted.uplink_dwell, wanted.downlink_dwell
        )
        found.append(Request(wire.TX_PARAM_SETUP, data))
    index = _first_difference(state, wanted)
    if index is not None:
        data = _encode(wire.NEW_CHANNEL, index, wanted.channels_hz[index] // 100, 0, 5)
        found.append(Request(wire.NEW_CHANNEL, data))
    every_ms = plan.config.device_status_h * 3_600_000
    is_unanswered = any(cid == wire.DEV_STATUS for cid, _, _ in state.attempts)
    if every_ms and (is_unanswered or abs(now_ms - state.status_asked_ms) >= every_ms):
        found.append(Request(wire.DEV_STATUS, _encode(wire.DEV_STATUS)))
    return [one for one in found if _may_ask(state, one.cid, f_cnt)]


def _link_adr(state: MacState, plan: RadioPlan) -> list[Request]:
    rates = plan.region.data_rates
    rate = rates[state.dr] if state.dr < len(rates) else None
    limits = Limits(plan.dr_max, plan.region.tx_power_max, plan.config.adr_margin_db)
    now = (state.dr, state.power_index, state.nb_trans)
    target = now
    if rate is not None and rate[1] == 125_000:
        target = choose(*now, rate[0], state.history, limits)
    elif rate is not None and rate[1] == 500_000:
        dr = leave_wide(state.history, limits)
        target = now if dr is None else (dr, state.power_index, state.nb_trans)
    if target == now:
        return []
    dr, power_index, nb_trans = target
    blocks: list[tuple[int, int]] = []  # (mask, mask control)
    if not plan.region.is_fixed:
        mask = sum(1 << index for index, freq in enumerate(state.channels_hz) if freq)
        blocks.append((mask, 0))
    elif plan.config.sub_band:
        index = plan.config.sub_band - 1
        blocks.append((1 << index, 7))  # all narrow channels off, this wide one on
        blocks.append((0xFF << 8 * (index % 2), index // 2))
    else:
        blocks.append((0xFF, 6))
    data = b"".join(
        _encode(wire.LINK_ADR, power_index, dr, mask, nb_trans, control) for mask, control in blocks
    )
    return [Request(wire.LINK_ADR, data, target)]


def _may_ask(state: MacState, cid: int, f_cnt: int) -> bool:
    for known, tries, last in state.attempts:
        if known == cid:
            return tries < _PATIENCE or f_cnt - last >= _REST
    return True


def asked(state: MacState, sent: list[Request], f_cnt: int, now_ms: int) -> MacState:
    """The state after `sent` went into a downlink that answers the uplink `f_cnt`."""
    for request in sent:
        tries = 0
        others: list[tuple[int, int, int]] = []
        for known in state.attempts:
            if known[0] == request.cid:
                tries = known[1] if known[1] < _PATIENCE else 0
            else:
                others.append(known)
        state = replace(state, attempts=(*others, (request.cid, tries + 1, f_cnt)))
        if request.target is not None:
            state = replace(state, adr_target=request.target)
        if request.cid == wire.DEV_STATUS:
            state = replace(state, status_asked_ms=now_ms)
    return state
