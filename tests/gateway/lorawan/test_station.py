"""Basics Station, LNS side, message by message."""

import json
from typing import Any

import pytest

from gateway.lorawan.config import LorawanConfig, SettingError, StationConfig
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.radio import Instant, Transmission, Window
from gateway.lorawan.station import StationFrontEnd, discover, id6

EUI = "b827ebfffe123456"
NOW = Instant(1000, 1_795_000_000_000)
RX1 = Window(1, 921_400_000, 2, 10, 125_000)
RX2 = Window(2, 921_600_000, 5, 7, 125_000)


def station(**settings: Any) -> StationFrontEnd:
    config = LorawanConfig(**settings)
    front = StationFrontEnd(config, RadioPlan(config))
    assert front.connect(EUI, NOW)
    front.feed(EUI, '{"msgtype":"version","station":"2.0.6"}', NOW)
    return front


def transmit(front: StationFrontEnd, *windows: Window, **more: Any) -> dict[str, Any]:
    dev_eui = "70b3d57ed1000001"
    transmission = Transmission(9, EUI, b"\x60\x01", windows, 16, dev_eui=dev_eui, **more)
    ((eui, text),) = front.transmit(transmission, NOW).messages
    assert eui == EUI
    return json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["b827:ebff:fe12:3456", "B8-27-EB-FF-FE-12-34-56", EUI, "router-b827:ebff:fe12:3456"],
)
def test_identifiers(text: str) -> None:
    assert id6(text) == EUI


def test_short_identifiers_and_nonsense() -> None:
    assert id6("::1") == "0" * 15 + "1"
    assert id6("1::") == "0001" + "0" * 12
    for bad in ("", "1:2", "xyz", "1:2:3:4:5", "::::"):
        with pytest.raises(ValueError):
            id6(bad)


def test_discovery() -> None:
    answer = json.loads(discover(json.dumps({"router": int(EUI, 16)}), "wss://lns:443"))
    assert answer["uri"] == f"wss://lns:443/gateway/{EUI}"
    assert answer["router"] == "b827:ebff:fe12:3456"
    for bad in ("", "[]", "{}", '{"router": "x"}', '{"router": -1}', "[" * 9000):
        assert "error" in json.loads(discover(bad, "ws://lns"))


def test_class_a_has_both_windows() -> None:
    front = station()
    message = transmit(front, RX1, RX2, context=(3, 42))
    assert (message["dC"], message["RxDelay"], message["diid"]) == (0, 1, 9)
    assert (message["rctx"], message["xtime"]) == (3, 42)
    assert (message["RX1DR"], message["RX1Freq"]) == (2, 921_400_000)
    assert (message["RX2DR"], message["RX2Freq"]) == (5, 921_600_000)
    assert (message["pdu"], message["DevEui"]) == ("6001", "70-B3-D5-7E-D1-00-00-01")
    (outcome,) = front.feed(
        EUI, '{"msgtype":"dntxed","diid":9,"DR":5,"Freq":921600000}', NOW
    ).outcomes
    assert (outcome.state, outcome.window) == ("sent", 1)


def test_one_window_keeps_its_own_delay() -> None:
    message = transmit(station(), RX2, context=(3, 42))
    assert (message["RxDelay"], message["RX1DR"], message["RX1Freq"]) == (2, 5, 921_600_000)
    assert "RX2DR" not in message


def test_class_c_goes_to_rx2_at_once() -> None:
    window = Window(0, 921_400_000, 2, 10, 125_000)
    message = transmit(station(), window, is_class_c=True)
    assert (message["dC"], message["RX2DR"], message["RX2Freq"]) == (2, 2, 921_400_000)
    assert "xtime" not in message


def test_silence_means_that_nothing_was_sent() -> None:
    front = station()
    transmit(front, RX1, RX2, context=(3, 42))
    due = front.deadline_ms()
    assert due == 1000 + 2000 + 1500
    (outcome,) = front.step(Instant(due, NOW.unix_ms)).outcomes
    assert (outcome.state, outcome.error) == ("failed", "NO_ACK")


def test_a_station_that_left_is_offline() -> None:
    front = station()
    front.disconnect(EUI)
    (outcome,) = front.transmit(Transmission(9, EUI, b"x", (RX1,), 16), NOW).outcomes
    assert outcome.error == "OFFLINE"
    assert not StationFrontEnd(
        LorawanConfig(gateways=("0" * 16,)), RadioPlan(LorawanConfig())
    ).connect(EUI, NOW)


def test_frames_are_put_together_as_they_were_on_the_air() -> None:
    front = station()
    info = {"rctx": 0, "xtime": 7, "gpstime": 1_479_000_000_000_000, "rssi": -50, "snr": 8.5}
    message = {
        "msgtype": "updf", "MHdr": 0x80, "DevAddr": -1, "FCtrl": 0x81, "FCnt": 0xFFFE,
        "FOpts": "02", "FPort": -1, "FRMPayload": "", "MIC": -2, "DR": 5, "Freq": 921_600_000,
        "upinfo": info,
    }  # fmt: skip
    (frame,) = front.feed(EUI, json.dumps(message), NOW).frames
    assert frame.phy.hex() == "80" + "ffffffff" + "81" + "feff" + "02" + "feffffff"
    assert (frame.sf, frame.context, frame.gps_ms) == (7, (0, 7), 1_479_000_000_000)
    message = {
        "msgtype": "jreq", "MHdr": 0, "JoinEui": "70-B3-D5-7E-D0-00-00-01",
        "DevEui": "::1", "DevNonce": 258, "MIC": 1, "DR": 2, "Freq": 921_400_000, "upinfo": info,
    }  # fmt: skip
    (frame,) = front.feed(EUI, json.dumps(message), NOW).frames
    assert frame.phy.hex() == "00" + "010000d07ed5b370" + "0100000000000000" + "0201" + "01000000"


@pytest.mark.parametrize("region", ["AS923-2", "EU868", "IN865", "AU915", "US915"])
def test_every_channel_is_within_reach_of_its_radio(region: str) -> None:
    extra = (921_800_000, 922_000_000, 922_200_000) if region == "AS923-2" else ()
    config = LorawanConfig(region=region, extra_channels_hz=extra, sub_band=2)
    settings = StationFrontEnd(config, RadioPlan(config)).router_config(NOW)
    assert len(settings["DRs"]) == 16
    (radios,) = settings["sx1301_conf"]
    channels: list[int] = []
    for index in range(8):
        channel = radios[f"chan_multiSF_{index}"]
        if channel["enable"]:
            radio = radios[f"radio_{channel['radio']}"]
            assert radio["enable"] and abs(channel["if"]) <= 400_000
            channels.append(radio["freq"] + channel["if"])
    plan = RadioPlan(config)
    if plan.region.is_fixed:
        assert channels == [plan.region.channels[i][0] for i in range(8, 16)]
    else:
        assert set(channels) == set(plan.wanted.channels_hz)


def test_the_regions_name_can_be_chosen() -> None:
    config = LorawanConfig(station=StationConfig(region="AS923-2"))
    assert StationFrontEnd(config, RadioPlan(config)).router_config(NOW)["region"] == "AS923-2"


def test_channels_that_no_concentrator_hears_are_refused() -> None:
    config = LorawanConfig(
        extra_channels_hz=(920_000_000, 922_900_000),
        station=StationConfig(listen="127.0.0.1:3001"),
    )
    with pytest.raises(SettingError, match="two radios hear 800 kHz each"):
        StationFrontEnd(config, RadioPlan(config))
