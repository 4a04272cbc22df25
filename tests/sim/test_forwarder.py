"""The packet forwarder against PROTOCOL.TXT (Lora-net/packet_forwarder), byte by byte."""

import base64
import json

import pytest

from sim.kernel import SECOND, Simulation
from sim.radio.concentrator import Concentrator, Uplink
from sim.radio.forwarder import Forwarder, parse_txpk
from sim.radio.medium import Medium

EUI = bytes.fromhex("0016c001f1500812")


def forwarder() -> tuple[Simulation, Forwarder, list[bytes]]:
    sim = Simulation(5)
    out: list[bytes] = []
    made = Forwarder(sim, Concentrator(sim, Medium(sim)), EUI, out.append)
    return sim, made, out


def test_pull_data_opens_the_path_and_keeps_it_open() -> None:
    sim, made, out = forwarder()
    made.start()
    sim.run_until(25 * SECOND)
    assert [d[0:1] + d[3:] for d in out] == [b"\x02\x02" + EUI] * 3
    made.datagram(out[-1][:3] + b"\x04")
    made.datagram(b"\x02\xff\xff\x04")
    assert made.pull_acknowledged == 1, "only the token that was sent counts"


def test_uplink_becomes_push_data_with_the_protocols_fields() -> None:
    _, made, out = forwarder()
    up = Uplink(
        tmst=3_512_348_611, freq_hz=921_400_000, channel=2, sf=9, bw_hz=125_000, cr=1,
        rssi_dbm=-101.4, snr_db=-3.26, payload=b"\x40\x01\x02", crc_ok=True,
    )  # fmt: skip
    made.concentrator.on_uplink(up)
    datagram = out[0]
    assert datagram[0] == 2 and datagram[3] == 0 and datagram[4:12] == EUI
    assert json.loads(datagram[12:]) == {
        "rxpk": [
            {
                "tmst": 3_512_348_611, "chan": 2, "rfch": 0, "freq": 921.4, "stat": 1,
                "modu": "LORA", "datr": "SF9BW125", "codr": "4/5", "rssi": -101, "lsnr": -3.3,
                "size": 3, "data": base64.b64encode(b"\x40\x01\x02").decode(),
            }
        ]
    }  # fmt: skip
    made.datagram(datagram[:3] + b"\x01")
    assert made.up_acknowledged == 1


def test_damaged_packets_are_not_forwarded() -> None:
    _, made, out = forwarder()
    up = Uplink(
        tmst=1, freq_hz=921_400_000, channel=0, sf=7, bw_hz=125_000, cr=1, rssi_dbm=-130,
        snr_db=-9, payload=b"x", crc_ok=False,
    )  # fmt: skip
    made.concentrator.on_uplink(up)
    assert out == []


def pull_resp(**changes: object) -> bytes:
    txpk: dict[str, object] = {
        "tmst": 1_000_000, "freq": 921.4, "rfch": 0, "powe": 14, "modu": "LORA",
        "datr": "SF10BW125", "codr": "4/5", "ipol": True, "size": 4, "data": "AQIDBA==",
        "ncrc": True,
    }  # fmt: skip
    body = {k: v for k, v in (txpk | changes).items() if v is not None}
    return b"\x02\xab\xcd\x03" + json.dumps({"txpk": body}).encode()


def test_pull_resp_is_transmitted_at_its_timestamp_and_acknowledged() -> None:
    sim, made, out = forwarder()
    made.datagram(pull_resp())
    assert out[0][:12] == b"\x02\xab\xcd\x05" + EUI
    assert json.loads(out[0][12:]) == {"txpk_ack": {"error": "NONE"}}
    sim.run_until(2 * SECOND)
    (time_us, _, fields) = sim.trace.find("air.tx")[0]
    assert time_us == 1_000_000
    assert (fields["sf"], fields["hz"], fields["iq"]) == (10, 921_400_000, True)
    assert fields["data"] == b"\x01\x02\x03\x04"


def test_pull_resp_too_late_is_refused_with_its_error() -> None:
    sim, made, out = forwarder()
    sim.run_until(5 * SECOND)
    made.datagram(pull_resp())
    assert json.loads(out[0][12:]) == {"txpk_ack": {"error": "TOO_LATE"}}
    assert made.errors == {"TOO_LATE": 1}


@pytest.mark.parametrize(
    "changes",
    [{"size": 5}, {"data": "***"}, {"modu": "FSK"}, {"datr": 50000}, {"tmst": 1 << 32},
     {"tmst": None}, {"freq": "x"}],
)  # fmt: skip
def test_malformed_pull_resp_is_counted_and_nothing_is_sent(changes: dict[str, object]) -> None:
    sim, made, _ = forwarder()
    made.datagram(pull_resp(**changes))
    sim.run_until(3 * SECOND)
    assert made.malformed == 1 and sim.trace.find("air.tx") == []


def test_padding_is_optional_and_crc_is_on_unless_switched_off() -> None:
    body = {"txpk": {"imme": True, "freq": 921.4, "modu": "LORA", "datr": "SF7BW125",
                     "codr": "4/5", "size": 4, "data": "AQIDBA"}}  # fmt: skip
    down = parse_txpk(json.dumps(body).encode())
    assert (down.payload, down.crc, down.iq_inverted, down.tmst) == (b"\1\2\3\4", True, False, None)


def test_noise_on_the_port_is_counted() -> None:
    _, made, out = forwarder()
    for data in (b"", b"\x02", b"\x01\x00\x00\x04", b"\x02\x00\x00\x09"):
        made.datagram(data)
    assert made.malformed == 4 and out == []
