"""Decoders of commercial sensors, by the makers' own examples, and TS013 codec files."""

import sys
from pathlib import Path

import pytest

from gateway.lorawan import codec_js
from gateway.lorawan.decoders import DECODERS, decode_uplink
from gateway.lorawan.model import Uplink
from protocols.errors import RemoteError

needs_engine = pytest.mark.skipif(
    not codec_js.is_available(), reason="needs the 'codecs' extra (quickjs-ng)"
)


def uplink(payload: str, decoder: str = "", f_port: int = 2, codec: Path | None = None) -> Uplink:
    return Uplink(
        dev_eui="70b3d57ed1000001",
        device="weir",
        f_port=f_port,
        f_cnt=1,
        payload=bytes.fromhex(payload),
        confirmed=False,
        rssi_dbm=-90,
        snr_db=5,
        dr=2,
        freq_hz=921_400_000,
        gateways=("a840411b7c3d4150",),
        received_ms=1_795_000_000_000,
        decoder=decoder,
        codec=str(codec) if codec else "",
    )


@pytest.mark.parametrize(
    ("decoder", "payload", "values"),
    [
        (
            "dragino-ldds75",
            "0b45 0b05 00 0105 01",
            {"battery_mv": 2885, "distance_mm": 2821, "interrupt": 0, "temp_cdeg": 2610},
        ),
        (
            "dragino-ldds45",
            "0d05 0708 01",
            {"battery_mv": 3333, "distance_mm": 1800, "interrupt": 1},
        ),
        (
            "dragino-ldds75",
            "0b45 0000 00 ff3f 00",
            {"battery_mv": 2885, "faults": 1, "interrupt": 0, "temp_cdeg": -1930},
        ),
        (
            "dragino-ldds75",
            "0b45 0014 00",
            {"battery_mv": 2885, "faults": 2, "interrupt": 0},
        ),
        ("milesight-em500-swl", "01755c 03770200", {"battery_percent": 92, "level_mm": 20}),
        (
            "milesight-em310-udl",
            "01755c 03824408 040001",
            {"battery_percent": 92, "distance_mm": 2116, "tilted": 1},
        ),
        ("milesight-udl", "0367f8ff 0482fdff", {"temp_cdeg": -80, "faults": 2}),
    ],
)
def test_the_makers_examples(decoder: str, payload: str, values: dict[str, int]) -> None:
    assert decode_uplink(uplink(payload, decoder)) == [("level", values)]


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_a_cut_payload_is_refused(decoder: str) -> None:
    payload = "037702" if decoder.endswith("swl") else "038202"
    with pytest.raises(RemoteError, match="length"):
        decode_uplink(uplink(payload, decoder))


def test_an_unknown_decoder_and_channel_are_named() -> None:
    with pytest.raises(RemoteError, match="there are dragino-ldds45"):
        decode_uplink(uplink("00", "dragino"))
    with pytest.raises(RemoteError, match="channel 09 type 99"):
        decode_uplink(uplink("099900", "milesight-udl"))


def test_without_the_engine_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "quickjs", None)
    path = tmp_path / "codec.js"
    path.write_text("")
    with pytest.raises(RemoteError, match=r"tukad\[codecs\]"):
        decode_uplink(uplink("00", codec=path))


def test_a_missing_codec_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"absent\.js cannot be read"):
        decode_uplink(uplink("00", codec=tmp_path / "absent.js"))


def run(tmp_path: Path, source: str, payload: str = "0102") -> dict[str, int]:
    path = tmp_path / "codec.js"
    path.write_text(source)
    ((stream, values),) = decode_uplink(uplink(payload, codec=path))
    assert stream == "sensor"
    return values


@needs_engine
def test_a_ts013_codec_is_run(tmp_path: Path) -> None:
    source = """
    function decodeUplink(input) {
      return {data: {level: input.bytes[0] << 8 | input.bytes[1], batV: 3.141, ok: true,
        port: input.fPort, year: input.recvTime.getUTCFullYear(), name: "x", in: {side: -1}}};
    }"""
    assert run(tmp_path, source) == {
        "level": 258,
        "bat_v_milli": 3141,
        "ok": 1,
        "port": 2,
        "year": 2026,
        "in_side": -1,
    }


@needs_engine
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("function decodeUplink(i) { while (true) {} }", "more than 0.2 s"),
        ("function decodeUplink(i) { let a = []; for (;;) a.push(new Array(9999)); }", "codec"),
        ("function decodeUplink(i) { return decodeUplink(i); }", "codec"),
        ("function decodeUplink(i) { return {errors: ['unknown FPort']}; }", "unknown FPort"),
        ("function decodeUplink(i) { return 7; }", "no object"),
        ("function decodeUplink(", "codec"),
        ("var x = 1;", "no decodeUplink"),
        ("function decodeUplink(i) { return require('fs'); }", "require"),
    ],
)
def test_a_bad_codec_is_refused_with_its_reason(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(RemoteError, match=message):
        run(tmp_path, source)


@needs_engine
def test_a_codec_keeps_nothing_between_calls(tmp_path: Path) -> None:
    source = "var n = 0; function decodeUplink(i) { return {data: {n: ++n}}; }"
    assert run(tmp_path, source) == run(tmp_path, source) == {"n": 1}
