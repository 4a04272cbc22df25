"""The configuration: every error names file, key, value, what was expected and the cure."""

import dataclasses
import re
import tomllib
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gateway.config import ConfigError, settings_of
from gateway.settings import Settings, describe, load

SAMPLE = Path(__file__).parents[2] / "deploy" / "gateway.example.toml"
MINIMAL = '[gateway]\nsite = "kumbasari"\n'
# Where the LoRaWAN section is documented in full.
ELSEWHERE = {"lorawan"}


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def sample(folder: Path) -> str:
    """The sample with its key file in place."""
    (folder / "tukad-badung-1.keys").write_text("app_key = 00112233445566778899aabbccddeeff\n")
    return SAMPLE.read_text()


def test_the_sample_loads(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, sample(tmp_path)))
    assert loaded.settings.gateway.site == "kumbasari"
    assert set(loaded.settings.stages()) == {"tukad-badung-1", "kumbasari-radar"}
    assert loaded.settings.lorawan is not None
    assert [device.name for device in loaded.settings.lorawan.devices] == ["tukad-badung-1"]


def documented(table: dict[str, object], text: str, cls: type, path: str) -> list[str]:
    """The settings of a section, and of the sections in it, that the sample does not show."""
    missing: list[str] = []
    for name, (field, _) in settings_of(cls).items():
        value = table.get(name)
        commented = re.search(rf"^# *{name} = ", text, re.MULTILINE)
        if value is None and not commented and field.default is not dataclasses.MISSING:
            missing.append(f"{path}.{name}")
    return missing


def test_the_sample_shows_every_setting_with_its_default() -> None:
    text = SAMPLE.read_text()
    tables = tomllib.loads(text)
    missing: list[str] = []
    for name, (field, _) in settings_of(Settings).items():
        if name in ELSEWHERE or name in ("device", "modbus"):
            continue
        cls = type(field.default_factory()) if callable(field.default_factory) else None
        if cls is not None:
            missing += documented(tables[name], text, cls, name)
            for key, (inner, _) in settings_of(cls).items():
                shown = tables[name].get(key)
                default = inner.default[0] if isinstance(inner.default, tuple) else inner.default
                assert shown is None or str(shown) == str(default), f"{name}.{key}"
    assert not missing, missing


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("zone =", "zonee =", ["gateway.zonee: no such setting; did you mean zone?"]),
        ("retries = 1", 'retries = "x"', ['retries: "x" is not a whole number']),
        ('"batch" ', '"bach" ', ['mqtt.format: "bach" is not one of batch, json']),
        ("lx80", "lx81", ['no sensor profile "geolux_lx81"; did you mean geolux_lx80?']),
        ("unit = 1 ", "unit = 300 ", ["unit: 300 is outside 0..255"]),
        ("timeout_ms = 300", "timeout_ms = 1", ["timeout_ms: 1 ms is outside 5..60000 ms"]),
        ("tcp://192.168.1.50:502", "ttyUSB0", ['port: "ttyUSB0" is neither', "ls /dev/serial"]),
        ("siaga_mm = 1160, awas_mm = 2660 }", "siaga_mm = 1, awas_mm = 2 }", ["do not rise"]),
        ('site = "kumbasari"', "", ["gateway.site: is missing: name of the site"]),
        ('site = "kumbasari"', 'site = "a/b"', ['site: "a/b" is not a name']),
        ("70b3d57ed0061001", "70b3", ["dev_eui = '70b3'", "16 hex digits"]),
        ('"tukad-badung-1.keys"', '"nobody.keys"', ["there is no such file", "lorawan add"]),
        ('name = "kumbasari-radar"', 'name = "tukad-badung-1"', ["is used twice"]),
        ('url = "embedded"', 'url = "http://x"', ['mqtt.url: "http://x" is neither']),
        ('url = "embedded"', 'url = "mqtt://me:pw@x"', ["has a password in it", "password_file"]),
        ('url = "embedded"', 'url = ["embedded", "mqtt://x"]', ["cannot be one of several"]),
        ('# password_file = "mqtt.password"', 'password_file = "none"', ["mqtt.password_file"]),
        ('# cert_file = "client.pem"', 'cert_file = "x.pem"', ["cert_file and key_file go"]),
        ("values = []", 'values = ["foo"]', ["profile geolux_lx80 has no foo; it has"]),
        ("[ledger]", "[ledgers]", ["ledgers: no such setting; did you mean ledger?"]),
        ("[ledger]", "[ledger", ["is not TOML"]),
    ],
)
def test_each_mistake_is_named_with_its_cure(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    text = sample(tmp_path)
    assert old in text
    path = write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert str(tmp_path) in message


def test_two_sensors_cannot_share_an_address(tmp_path: Path) -> None:
    twin = '[[modbus.sensor]]\nname = "twin"\nprofile = "geolux_lx80"\nunit = 1\n'
    with pytest.raises(ConfigError, match="kumbasari-radar and twin share unit 1"):
        load(write(tmp_path, sample(tmp_path) + twin))


def test_devices_need_a_network_server(tmp_path: Path) -> None:
    device = '[[device]]\nname = "a"\ndev_eui = "70b3d57ed0061001"\n'
    with pytest.raises(ConfigError, match=r"no \[lorawan\] section"):
        load(write(tmp_path, MINIMAL + device))


def test_a_file_that_is_not_there_points_to_the_sample(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; a sample"):
        load(tmp_path / "none.toml")


def test_check_tells_the_origin_of_every_value(tmp_path: Path) -> None:
    rows = {key: (value, origin) for key, value, origin in describe(load(write(tmp_path, MINIMAL)))}
    assert rows["gateway.site"] == ("kumbasari", "file")
    assert rows["mqtt.url"] == ("[embedded]", "default")
    assert rows["ledger.max_mb"] == ("1024", "default")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_bytes_give_anything_but_a_config_error(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "gateway.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        load(path)
