"""What `save` returned for is there after a loss of power at any byte of any later write."""

import json

from firmware.store.record import Record
from firmware.store.settings import (
    NEW_FILE,
    SettingsError,
    SettingsStore,
    parse,
    unwrap,
    wrap,
)
from tests.firmware.device.fakes import FlashFake, PowerCutError

MINIMUM = {
    "role": "flood",
    "board": "unix-pico",
    "dev_eui": "70b3d50000000001",
    "join_eui": "70b3d50000000000",
    "app_key": "000102030405060708090a0b0c0d0e0f",
}


def line(**changes):
    values = dict(MINIMUM)
    values.update(changes)
    return json.dumps(values).encode()


def refusal(data):
    try:
        parse(data)
    except SettingsError as error:
        return str(error)
    return None


def test_record_keeps_one_whole_version_at_every_cut():
    for rot in (b"", b"\x00" * 40, b"\xff" * 40):
        for budget in range(1, 60):
            flash = FlashFake(rot=rot)
            record = Record(flash, "x")
            assert record.load() is None
            record.save(b"first")
            flash.budget = budget
            saved = b"first"
            try:
                for text in (b"second one", b"third"):
                    record.save(text)
                    saved = text
            except PowerCutError:
                pass
            flash.power_up()
            after = Record(flash, "x")
            found = after.load()
            # The version being written may have made it, an older one may not.
            following = {b"first": b"second one", b"second one": b"third", b"third": b"third"}
            assert found in (saved, following[saved]), (budget, found, saved)
            after.save(b"again")
            assert Record(flash, "x").load() == b"again"


def test_record_goes_on_after_many_saves_and_many_cuts():
    flash = FlashFake()
    value = 0
    for round_number in range(60):
        record = Record(flash, "n")
        found = record.load()
        assert (int(found) if found else 0) in (value, value + 1), round_number
        value = int(found) if found else 0
        flash.budget = round_number * 7 % 41 + 1
        try:
            while True:
                record.save(b"%d" % (value + 1))
                value += 1
        except PowerCutError:
            pass
        flash.power_up()


def test_record_refuses_a_flipped_bit_and_takes_the_other_copy():
    flash = FlashFake()
    record = Record(flash, "x")
    record.load()
    record.save(b"old")
    record.save(b"new")
    good = flash.data["x.b"]
    for index in range(len(good)):
        bad = bytearray(good)
        bad[index] ^= 0x10
        flash.data["x.b"] = bytes(bad)
        again = Record(flash, "x")
        assert again.load() == b"old", index
        assert again.damaged == 1


def test_settings_file_becomes_durable_once():
    flash = FlashFake()
    flash.write(NEW_FILE, wrap(line(name="bridge")))
    store = SettingsStore(flash)
    settings = store.load()
    assert settings.text("name") == "bridge"
    assert settings.numbers("stages_mm") == [500, 1160, 2660]
    assert settings.key("dev_eui")[0] == 0x70
    assert NEW_FILE not in flash.names()
    assert SettingsStore(flash).load().text("name") == "bridge"


def test_a_torn_settings_file_leaves_the_last_good_ones():
    flash = FlashFake()
    flash.write(NEW_FILE, wrap(line(name="good")))
    SettingsStore(flash).load()
    whole = wrap(line(name="next"))
    for cut in range(0, len(whole) - 1, 3):
        flash.data[NEW_FILE] = whole[:cut]
        store = SettingsStore(flash)
        assert store.load().text("name") == "good"
        assert store.refused
    flash.data[NEW_FILE] = whole
    assert SettingsStore(flash).load().text("name") == "next"


def test_settings_survive_a_cut_at_every_byte_of_taking_them_in():
    whole = wrap(line(name="next"))
    budget = 0
    done = False
    while not done:
        flash = FlashFake()
        flash.write(NEW_FILE, wrap(line(name="good")))
        SettingsStore(flash).load()
        flash.write(NEW_FILE, whole)
        flash.budget = budget
        try:
            SettingsStore(flash).load()
            done = True
        except PowerCutError:
            pass
        flash.power_up()
        assert SettingsStore(flash).load().text("name") == "next", budget
        budget += 5


def test_no_settings_is_said():
    try:
        SettingsStore(FlashFake()).load()
        assert False
    except SettingsError as error:
        assert NEW_FILE in str(error)


def test_wrong_settings_name_key_and_value():
    assert refusal(line()) is None
    assert refusal(line(sensor_addres=1)) == "sensor_addres is not a setting"
    assert (
        refusal(line(sensor_address=300)) == "sensor_address = 300: expected a whole number, 1..255"
    )
    assert "expected 16 hexadecimal" in refusal(line(dev_eui="70b3"))
    assert "expected 32 hexadecimal" in refusal(line(app_key="zz" * 16))
    assert "must rise" in refusal(line(stages_mm=[500, 400, 600]))
    assert "role = pump: expected one of flood" in refusal(line(role="pump"))
    assert "list of 4" in refusal(line(intervals_s=[1, 2]))
    assert refusal(b"[]") == "not a JSON object"
    assert refusal(b"{") == "not JSON"
    assert refusal(b"{}") == "role is missing"
    assert "burst_count" in refusal(line(burst_count=True))
    assert "region = AS923: expected one of AS923-1" in refusal(line(region="AS923"))
    assert refusal(line(region="AU915", sub_band=2)) is None
    assert refusal(line(sub_band=2)) == "sub_band: there are none in AS923-2, leave it 0"
    assert refusal(line(strict_join_nonce=2)) == (
        "strict_join_nonce = 2: expected a whole number, 0..1"
    )


def test_unwrap_wants_the_crc():
    assert unwrap(wrap(b"{}")) == b"{}"
    for bad in (b"{}", b"{}\n", b"{}\nzz", b"{}\n00000000\n"):
        try:
            unwrap(bad)
            assert False, bad
        except SettingsError:
            pass
