"""Semtech UDP, server side, datagram by datagram (PROTOCOL.TXT)."""

import base64
import json
from typing import Any

import pytest

from gateway.lorawan.radio import Instant, Transmission, Window
from gateway.lorawan.udp import ACK_WAIT_MS, ONLINE_MS, UdpFrontEnd

EUI = "a840411b7c3d4150"
HERE = ("192.0.2.1", 1700)
NOW = Instant(1000, 1_795_000_000_000)
RX1 = Window(1, 921_400_000, 2, 10, 125_000)
RX2 = Window(2, 921_600_000, 5, 7, 125_000)


def datagram(kind: int, body: bytes = b"", token: bytes = b"\xab\xcd", version: int = 2) -> bytes:
    return bytes((version,)) + token + bytes((kind,)) + bytes.fromhex(EUI) + body


def rxpk(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "tmst": 3_512_348_611,
        "freq": 921.4,
        "stat": 1,
        "modu": "LORA",
        "datr": "SF10BW125",
        "codr": "4/5",
        "rssi": -35,
        "lsnr": 5.1,
        "size": 3,
        "data": base64.b64encode(b"abc").decode(),
    }
    return {name: item for name, item in (value | changes).items() if item is not ...}


def push(front: UdpFrontEnd, *packets: Any) -> list[Any]:
    body = json.dumps({"rxpk": packets}).encode()
    out = front.feed(datagram(0, body), HERE, NOW)
    assert out.datagrams == [(b"\x02\xab\xcd\x01", HERE)]
    return out.frames


def send(
    front: UdpFrontEnd, windows: tuple[Window, ...], **more: Any
) -> tuple[bytes, dict[str, Any]]:
    transmission = Transmission(7, EUI, b"frame", windows, 16, **more)
    ((sent, address),) = front.transmit(transmission, NOW).datagrams
    assert address == HERE
    assert (sent[0], sent[3]) == (2, 3)
    return sent[1:3], json.loads(sent[4:])["txpk"]


@pytest.fixture
def front() -> UdpFrontEnd:
    front = UdpFrontEnd()
    out = front.feed(datagram(2), HERE, NOW)
    assert out.datagrams == [(b"\x02\xab\xcd\x04", HERE)]
    return front


def test_a_packet_is_read(front: UdpFrontEnd) -> None:
    (frame,) = push(front, rxpk())
    assert (frame.gateway, frame.phy, frame.freq_hz) == (EUI, b"abc", 921_400_000)
    assert (frame.sf, frame.bw_hz, frame.rssi_dbm, frame.snr_db) == (10, 125_000, -35, 5.1)
    assert frame.context == 3_512_348_611


def test_base64_padding_is_optional_and_fsk_is_read(front: UdpFrontEnd) -> None:
    (frame,) = push(front, rxpk(data="YWI", size=2, modu="FSK", datr=50_000, lsnr=...))
    assert (frame.phy, frame.sf, frame.bw_hz) == (b"ab", 0, 50_000)


@pytest.mark.parametrize("stat", [-1, 0])
def test_frames_without_a_good_checksum_are_dropped(front: UdpFrontEnd, stat: int) -> None:
    assert push(front, rxpk(stat=stat)) == []
    assert front.counters["udp_crc"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"datr": "SF13BW125"}, {"datr": 7}, {"datr": ...}, {"freq": "921.4"}, {"freq": 1e300},
        {"tmst": -1}, {"tmst": 2**32}, {"tmst": True}, {"tmst": ...}, {"data": "?"}, {"data": ""},
        {"data": 3}, {"size": 4}, {"rssi": None}, {"rssi": ...}, {"lsnr": "x"}, {"tmms": "x"},
        {"data": base64.b64encode(bytes(256)).decode(), "size": 256},
    ],
)  # fmt: skip
def test_a_bad_packet_is_counted_and_its_neighbours_are_read(
    front: UdpFrontEnd, changes: dict[str, Any]
) -> None:
    assert len(push(front, rxpk(), rxpk(**changes), rxpk())) == 2
    assert front.counters["udp_rxpk"] == 1


@pytest.mark.parametrize(
    ("bad", "counter"),
    [
        (b"", "udp_short"),
        (datagram(0)[:11], "udp_short"),
        (datagram(0, b"{}", version=1), "udp_version"),
        (datagram(3), "udp_identifier"),
        (datagram(0, b"{"), "udp_json"),
        (datagram(0, b"[]"), "udp_json"),
        (datagram(0, b'{"rxpk": 1}'), "udp_rxpk"),
        (datagram(5), "udp_tx_ack_unknown"),
    ],
)
def test_bad_datagrams_are_counted(front: UdpFrontEnd, bad: bytes, counter: str) -> None:
    out = front.feed(bad, HERE, NOW)
    assert out.frames == [] and out.outcomes == []
    assert front.counters[counter] == 1


def test_a_downlink_is_told_as_the_concentrator_needs_it(front: UdpFrontEnd) -> None:
    _, txpk = send(front, (RX1, RX2), context=4_294_500_000)
    assert txpk["tmst"] == (4_294_500_000 + 1_000_000) % 2**32 == 532_704
    assert (txpk["freq"], txpk["datr"], txpk["powe"]) == (921.4, "SF10BW125", 16)
    assert (txpk["ipol"], txpk["ncrc"], txpk["size"]) == (True, True, 5)
    assert base64.b64decode(txpk["data"]) == b"frame"
    _, txpk = send(front, (replace_delay(RX1),), is_class_c=True)
    assert txpk["imme"] is True and "tmst" not in txpk


def replace_delay(window: Window) -> Window:
    return Window(0, window.freq_hz, window.dr, window.sf, window.bw_hz)


def test_the_antenna_gain_is_subtracted() -> None:
    front = UdpFrontEnd(antenna_gain_dbi=2.5)
    front.feed(datagram(2), HERE, NOW)
    _, txpk = send(front, (RX1,), context=0)
    assert txpk["powe"] == 13


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"txpk_ack":{"error":"NONE"}}',
        b'{"txpk_ack":{"warn":"TX_POWER","value":20}}',
    ],
)
def test_an_accepted_downlink_is_reported(front: UdpFrontEnd, body: bytes) -> None:
    token, _ = send(front, (RX1,), context=0)
    (outcome,) = front.feed(datagram(5, body, token), HERE, NOW).outcomes
    assert (outcome.id, outcome.state, outcome.window) == (7, "sent", 0)


def test_refusals_go_through_the_windows(front: UdpFrontEnd) -> None:
    token, _ = send(front, (RX1, RX2), context=0)
    out = front.feed(datagram(5, b'{"txpk_ack":{"error":"TOO_LATE"}}', token), HERE, NOW)
    ((again, _),) = out.datagrams
    assert json.loads(again[4:])["txpk"]["tmst"] == 2_000_000
    late = Instant(NOW.mono_ms + ACK_WAIT_MS, NOW.unix_ms)
    assert front.deadline_ms() == late.mono_ms
    (outcome,) = front.step(late).outcomes  # the second PULL_RESP was never answered
    assert (outcome.state, outcome.window, outcome.error) == ("failed", 1, "NO_ACK")
    assert front.deadline_ms() is None


def test_an_acknowledgement_of_another_gateway_does_not_count(front: UdpFrontEnd) -> None:
    token, _ = send(front, (RX1,), context=0)
    other = b"\x02" + token + b"\x05" + bytes(8)
    assert front.feed(other, HERE, NOW).outcomes == []
    assert front.counters["udp_tx_ack_unknown"] == 1


def test_a_silent_gateway_is_offline(front: UdpFrontEnd) -> None:
    later = Instant(NOW.mono_ms + ONLINE_MS + 1, NOW.unix_ms)
    assert front.is_online(EUI, NOW) and not front.is_online(EUI, later)
    (outcome,) = front.transmit(Transmission(7, EUI, b"f", (RX1,), 16, 0), later).outcomes
    assert outcome.error == "OFFLINE"


def test_the_answer_goes_where_the_last_pull_came_from(front: UdpFrontEnd) -> None:
    moved = ("198.51.100.9", 40_000)
    front.feed(datagram(2), moved, NOW)
    ((_, address),) = front.transmit(Transmission(7, EUI, b"f", (RX1,), 16, 0), NOW).datagrams
    assert address == moved


def test_only_allowed_gateways_are_answered() -> None:
    front = UdpFrontEnd(allowed=("0" * 16,))
    assert front.feed(datagram(2), HERE, NOW).datagrams == []
    assert front.counters["udp_gateway_refused"] == 1


def test_strangers_cannot_crowd_out_a_gateway() -> None:
    front = UdpFrontEnd()
    for number in range(300):
        front.feed(b"\x02\0\0\x02" + number.to_bytes(8, "big"), HERE, NOW)
    assert len(front.gateways) == 256
    later = Instant(NOW.mono_ms + ONLINE_MS + 1, NOW.unix_ms)
    assert front.feed(datagram(2), HERE, later).datagrams
    assert front.is_online(EUI, later) and len(front.gateways) == 256
