"""Keys, key files, the session store and what the running server sees of it."""

import logging
import os
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.lorawan.config import (
    DeviceEntry,
    LorawanConfig,
    SettingError,
    StationConfig,
    host_port,
)
from gateway.lorawan.enrol import keys_of, synchronise
from gateway.lorawan.keys import AesBlock, Key, parse_qr, read_key_file
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.records import DeviceRecord, MacState, Session
from gateway.lorawan.sessions import SessionStore, StoreError
from protocols.lorawan.crypto import BlockKey
from tests.gateway.lorawan.ends import EndDevice, Site
from tests.gateway.lorawan.test_server import QUIET

KEY = Key(bytes(range(16)))


def test_a_key_never_shows() -> None:
    record = DeviceRecord("00" * 8, "node", "00" * 8, KEY)
    session = Session("00" * 8, 1, 7, KEY, KEY)
    for text in (repr(KEY), str(KEY), f"{KEY}", f"{KEY:>40}", repr(record), repr(session)):
        assert "0102" not in text and "\\x01" not in text
    logging.getLogger("test").warning("%s %r", KEY, record)


def test_nothing_that_is_logged_holds_a_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = Site(tmp_path, QUIET)
    node = site.add(EndDevice(1))
    site.join(node)
    site.hear(node.join_request(1))
    site.hear(node.uplink())
    site.close()
    for key in (node.key, node.nwk_s_key, node.app_s_key):
        assert key.hex() not in caplog.text
        assert repr(bytes(key)) not in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
        ("app_key = 00\n", "line 1: app_key: expected 32 hex digits, got 2 characters"),
        ("key = 00112233445566778899aabbccddeeff", "no such key; there are app_key"),
        ("app_key = {0}\napp_key = {0}\n", "line 2: app_key is given twice"),
    ],
)
def test_a_bad_key_file_names_line_and_cure(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "node.key"
    path.write_text(text.replace("{0}", KEY.hex()))
    with pytest.raises(SettingError) as caught:
        read_key_file(path)
    assert message in str(caught.value)
    assert KEY.hex() not in str(caught.value)


def test_key_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_text(f"# node 1\napp_key = '{KEY.hex()}'\n")
    assert read_key_file(path).app_key == KEY
    path.write_text(KEY.hex().upper())
    assert read_key_file(path).app_key == KEY


def test_labels() -> None:
    label = parse_qr("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:O123:SYYWWNNNNNN:CAF2C")
    assert (label.join_eui, label.dev_eui) == ("1122334455667788", "aabbccddeeff0011")
    assert (label.profile_id, label.owner_token, label.serial) == ("AABB1122", "123", "YYWWNNNNNN")
    for bad in ("", "LW:D0:1:2:3", "XX:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122"):
        with pytest.raises(SettingError):
            parse_qr(bad)


def test_the_aes_of_the_gateway_gives_the_published_cmac() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")  # RFC 4493, examples 1 and 2
    out = bytearray(16)
    BlockKey(AesBlock, key).cmac_into(out, b"", 0)
    assert out.hex() == "bb1d6929e95937287fa37d129b756746"
    BlockKey(AesBlock, key).cmac_into(out, bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"), 16)
    assert out.hex() == "070a16b46b4d4144f79bdd9dd04a287c"


def test_the_file_is_private_and_of_one_version(tmp_path: Path) -> None:
    path = tmp_path / "lorawan.db"
    store = SessionStore(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        SessionStore(path)
    (tmp_path / "other.db").write_bytes(b"this is no database, but long enough to be one" * 40)
    with pytest.raises(StoreError, match="cannot be used"):
        SessionStore(tmp_path / "other.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_makes_belongs_to_the_agent(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    store = SessionStore(tmp_path / "lorawan.db")
    with store.transaction():
        store.save_counters({"a": 1})
    for path in tmp_path.iterdir():
        assert path.stat().st_uid == 1234, path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    store.close()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        SessionStore(tmp_path / "file" / "lorawan.db")


def test_states_survive_the_disk(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "a.db")
    mac = MacState(
        rx2_freq_hz=921_400_000,
        channels_hz=(1, 0, 2),
        history=((1, -35), (2, 70)),
        attempts=((3, 2, 9),),
        adr_target=(5, 1, 1),
    )
    session = Session("00" * 8, 3, 0xFFFFFFFF, KEY, KEY, 2**32 - 1, 2**32 - 1, b"abcd", 2, mac=mac)
    with store.transaction():
        store.save_session(session)
    assert store.sessions() == [session]
    assert MacState.from_json({"of_another_version": 1}) == MacState()
    store.close()


def test_nonces_outlive_a_removed_device(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "a.db")
    device = DeviceRecord("00" * 8, "node", "00" * 8, KEY)
    with store.transaction():
        store.save_device(device)
        store.save_nonces(device.dev_eui, 77, 5)
    with store.transaction():
        store.remove_device(device.dev_eui)
    with store.transaction():
        store.save_device(device)
    found = store.device("node")
    assert found is not None and (found.dev_nonce, found.join_nonce) == (77, 5)
    with store.transaction():
        store.save_device(replace(device, app_key=Key(bytes(16))))
    found = store.device("node")
    assert found is not None and (found.dev_nonce, found.join_nonce) == (-1, 1)
    store.close()


def test_the_configuration_owns_its_devices(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(KEY.hex())
    store = SessionStore(tmp_path / "a.db")
    plan = RadioPlan(LorawanConfig())
    first, second = (
        DeviceEntry(name=name, dev_eui=f"{index:016x}", keys=path)
        for index, name in enumerate(("one", "two"))
    )
    with store.transaction():
        store.save_device(DeviceRecord("f" * 16, "by hand", "00" * 8, KEY))
    synchronise(store, plan, (first, second), 0)
    synchronise(store, plan, (second,), 0)
    assert [device.name for device in store.devices()] == ["by hand", "two"]
    with pytest.raises(SettingError, match="'by hand' belongs to ffffffffffffffff"):
        synchronise(store, plan, (replace(first, name="by hand"),), 0)
    assert [device.name for device in store.devices()] == ["by hand", "two"]
    store.close()


def test_the_running_server_sees_what_the_command_line_did(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET)
    node = EndDevice(4)
    site.hear(node.join_request())
    assert site.sent == []
    other = SessionStore(site.store.path)
    with other.transaction():
        other.save_device(DeviceRecord(node.dev_eui, node.name, node.entry().join_eui, node.key))
    site.advance(2000)
    site.join(node)
    site.hear(node.uplink(b"a"))
    assert site.payloads() == [b"a"]
    with other.transaction():
        other.remove_device(node.dev_eui)
    site.advance(2000)
    site.hear(node.uplink(b"b"))
    assert site.payloads() == [b"a"]
    other.close()
    site.close()


def test_a_full_disk_answers_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, QUIET)
    node = site.add(EndDevice(1))
    site.join(node)
    pages = site.store._db.execute("PRAGMA page_count").fetchone()[0]
    site.store._db.execute(f"PRAGMA max_page_count={pages}")
    before = site.store.sessions()
    site.sent.clear()
    phy = b""
    for _ in range(200):
        phy = node.uplink(bytes(200), confirmed=True)
        site.pull(site.gateways[0])
        site.hear(phy, datr="SF7BW125")
        site.advance(5000)
        if site.counters().get("store_failed"):
            break
    assert site.counters()["store_failed"] >= 1
    assert site.store.sessions() != before
    answered, delivered = len(site.sent), len(site.deliveries)
    assert delivered - answered in (0, 1)  # 1: its answer's counter could not be written
    site.store._db.execute("PRAGMA max_page_count=1000000")
    site.hear(phy, datr="SF7BW125")  # nothing was acknowledged, so the device repeats
    assert (len(site.sent), len(site.deliveries)) == (answered + 1, answered + 1)
    site.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"region": "EU433"}, "lorawan.region = 'EU433'"),
        ({"rx1_delay_s": 0}, "lorawan.rx1_delay_s = 0 s is outside 1..15 s"),
        ({"rx2_dr": 9}, "lorawan.rx2_dr = 9: no LoRa rate of AS923-2"),
        ({"extra_channels_hz": (868_100_000,)}, "868100000 Hz, outside 920000000..923000000"),
        ({"extra_channels_hz": tuple(range(6))}, "has 6 channels: at most 5"),
        ({"server": "other"}, "there are embedded, chirpstack"),
        ({"server": "chirpstack"}, "application_id is missing"),
        ({"bind": "1700"}, "lorawan.bind = '1700': expected HOST:PORT"),
        ({"gateways": ("12",)}, "lorawan.gateways = '12': expected 16 hex digits"),
        ({"region": "EU868", "rx1_dr_offset": 6}, "outside 0..5 in EU868"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        RadioPlan(LorawanConfig(**settings))
    assert message in str(caught.value)


def test_a_key_file_that_others_may_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "k"
    path.write_text(KEY.hex())
    entry = DeviceEntry(name="one", dev_eui="1" * 16, keys=path)
    path.chmod(0o644)
    assert keys_of(entry).app_key == KEY
    assert "chmod 600" in caplog.text
    caplog.clear()
    path.chmod(0o600)
    assert keys_of(entry).app_key == KEY
    assert caplog.text == ""


def test_half_a_certificate_is_refused() -> None:
    for settings in ({"certificate": Path("c")}, {"key": Path("k")}, {"client_ca": Path("a")}):
        with pytest.raises(SettingError, match=r"lorawan\.station"):
            StationConfig(**settings)


def test_addresses_of_listeners() -> None:
    assert host_port("[::1]:1700", "x") == ("::1", 1700)
    for bad in ("1700", ":1700", "host:", "host:99999", "host:x"):
        with pytest.raises(SettingError, match="expected HOST:PORT"):
            host_port(bad, "lorawan.bind")


def test_addresses_follow_the_net_id() -> None:
    for net_id, prefix, bits in ((0, 0, 7), (0x13, 0x13, 7), (0x600001, 0b111000000000001, 15)):
        plan = RadioPlan(LorawanConfig(net_id=net_id))
        for random in (bytes(4), b"\xff" * 4):
            assert plan.dev_addr(random) >> (32 - bits) == prefix
