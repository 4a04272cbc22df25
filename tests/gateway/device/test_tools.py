"""`tukad device` as a technician uses it: provisioning, self-test, log, commissioning."""

import csv
import hashlib
import json
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.device import device
from gateway.device import provision as making
from gateway.device.link import DeviceError
from gateway.device.provision import draw, label_text, provision, settings_file, value_of
from gateway.device.release import compile_tree
from gateway.lorawan.keys import parse_qr, read_key_file
from tests.gateway.device.board import board

# Stands for an application's self-test: the chips of a good flood node are not here.
PROBE = """
import json
def probe(root, feed, bursts=4):
    found = {"settings": "", "refused": "", "radio": "", "flash": "", "role": "flood",
        "board": "unix-pico", "name": "jembatan-1", "dev_eui": "70b3d50000000001", "asked": 100,
        "valid": 100, "spread_mm": 8, "median_mm": 820, "battery_mv": 3900, "load_mv": 3850,
        "stages_mm": [500, 1160, 2660], "height_mm": 5000, "version": 3, "streak": 0, "crash": ""}
    print("noise of the program")
    print(json.dumps(found))
"""
LOG = """
class Row:
    pass
class ReadingLog:
    first_sequence, next_sequence = 5, 260
    def __init__(self, files):
        pass
    def read(self, n):
        if n == 7:
            return None
        row = Row()
        row.sequence, row.time_s, row.flags, row.boot = n, 10 * n, 1, 2
        row.a, row.b, row.c = -3, 4, 5
        return row
"""


@pytest.fixture
def no_segno(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place taken by a code of 21 modules: what is drawn of it is ours."""
    made = types.SimpleNamespace(matrix=[bytearray([1, 0] * 10 + [1])] * 21)
    stand_in = types.SimpleNamespace(make_qr=lambda text, error: made)
    loader = types.SimpleNamespace(import_module=lambda name: stand_in)
    monkeypatch.setattr(making, "importlib", loader)


def application(flash: Path, name: str, source: str) -> None:
    path = flash / "app.a" / name
    for folder in reversed(path.relative_to(flash).parents):
        (flash / folder).mkdir(exist_ok=True)
    path.write_text(source)


def run(*arguments: object, answers: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(device, [str(one) for one in arguments], input=answers)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.mark.usefixtures("no_segno")
def test_provisioning_makes_what_the_network_server_reads_and_shows_no_key(tmp_path: Path) -> None:
    arguments = ("provision", "jembatan-1", "--role", "siren", "--board", "heltec-v3")
    code, said = run(
        *arguments, "--folder", tmp_path, "--serial", "TK-7", "--set", "siren_max_s=60"
    )
    assert code == 0
    key = read_key_file(tmp_path / "jembatan-1.keys").app_key
    assert key is not None
    row = next(csv.DictReader((tmp_path / "devices.csv").read_text().splitlines()))
    assert (row["class"], row["key_file"], row["kind"]) == ("C", "jembatan-1.keys", "siren")
    label = parse_qr(row["qr"])
    assert (label.dev_eui, label.serial) == (row["dev_eui"], "TK-7")
    assert int(label.dev_eui[:2], 16) & 3 == 2  # a local, individual address
    settings = (tmp_path / "jembatan-1.settings").read_bytes()
    values = json.loads(settings.split(b"\n")[0])
    assert values["app_key"] == key.hex() and values["siren_max_s"] == 60
    drawn = (tmp_path / "jembatan-1.svg").read_text()
    for text in (said, drawn, (tmp_path / "devices.csv").read_text()):
        assert key.hex() not in text.lower()
    for name in ("jembatan-1.keys", "jembatan-1.settings"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    code, said = run(*arguments, "--folder", tmp_path)
    assert code == 1 and "has jembatan-1" in said


@pytest.mark.usefixtures("no_segno")
def test_a_height_is_changed_and_sent_and_the_identity_stays(tmp_path: Path) -> None:
    made = provision(tmp_path / "b", "x", "flood", "unix-pico", {"sensor_height_mm": 5000})
    before = json.loads(made.settings_file.read_bytes().split(b"\n")[0])
    change = ("settings", made.settings_file, "--set", "sensor_height_mm=5003")
    with board(tmp_path) as (port, flash):
        assert run(*change, "--write", "--port", port, "--root", flash)[0] == 0
        assert (flash / "settings.new").read_bytes() == made.settings_file.read_bytes()
    after = json.loads(made.settings_file.read_bytes().split(b"\n")[0])
    assert after == {**before, "sensor_height_mm": 5003, "config_version": 2}
    assert made.settings_file.stat().st_mode & 0o077 == 0
    assert run("settings", made.settings_file, "--set", "dev_eui=0011")[0] == 1
    made.settings_file.write_bytes(made.settings_file.read_bytes().replace(b"5003", b"5004"))
    code, said = run(*change)
    assert code == 1 and "was changed by hand" in said


@pytest.mark.usefixtures("no_segno")
def test_two_devices_never_share_a_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        provision(tmp_path, name, "flood", "pico-waveshare", {})
    keys = {read_key_file(tmp_path / f"{name}.keys").app_key for name in ("a", "b")}
    assert len(keys) == 2


def test_what_provisioning_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, change, word in (
        ("../x", {}, "name"),
        ("x", {"dev_eui": "12"}, "DevEUI"),
        ("x", {"serial": "a b"}, "serial"),
    ):
        with pytest.raises(DeviceError, match=word):
            provision(tmp_path, name, "flood", "pico-waveshare", {}, **change)
    with pytest.raises(DeviceError, match="app_key: has an option"):
        provision(tmp_path, "x", "flood", "pico-waveshare", {"app_key": "00"})

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(making, "importlib", types.SimpleNamespace(import_module=missing))
    with pytest.raises(DeviceError, match=r"segno is not installed: pip install"):
        provision(tmp_path, "x", "flood", "pico-waveshare", {})
    assert list(tmp_path.iterdir()) == []


def test_settings_label_and_values() -> None:
    line, crc, end = settings_file({"role": "flood"}).split(b"\n")
    assert line == b'{"role":"flood"}' and len(crc) == 8 and end == b""
    text = label_text("1122334455667788", "aabbccddeeff0011", "aabb1122", "yy")
    assert text == "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:SYY"
    assert value_of("stages_mm=500,1160,2660") == ("stages_mm", [500, 1160, 2660])
    assert value_of("sensor_parity=N") == ("sensor_parity", "N")
    drawn = draw([b"\x01\x00", b"\x00\x01"], ["a<b"])
    assert "M4 4h1v1h-1zM5 5h1v1h-1z" in drawn and "a&lt;b" in drawn


def test_the_firmware_takes_the_settings_that_are_made() -> None:
    from firmware.store.settings import parse, unwrap

    values = {"role": "flood", "board": "pico-waveshare", "name": "x", "dev_eui": "02" * 8}
    made = settings_file({**values, "join_eui": "00" * 8, "app_key": "01" * 16})
    assert parse(unwrap(made)).text("role") == "flood"


def test_self_test_speaks_both_languages(tmp_path: Path) -> None:
    with board(tmp_path) as (port, flash):
        code, said = run("test", "--port", port, "--root", flash)
        assert code == 1 and "no application with a self-test" in said
        application(flash, "firmware/update/probe.py", PROBE)
        code, said = run("test", "--port", port, "--root", flash, "--lang", "id")
        assert (code, said) == (0, "BAIK: semua yang dapat diuji di sini bekerja.\n")
        application(flash, "firmware/update/probe.py", PROBE.replace('"valid": 100', '"valid": 0'))
        code, said = run("test", "--port", port, "--root", flash)
        assert code == 2 and said.startswith("BROKEN: the level sensor does not answer")


def test_the_real_self_test_names_the_part_that_is_not_there(tmp_path: Path) -> None:
    with board(tmp_path) as (port, flash):
        for name, content in compile_tree(Path(__file__).parents[3]).items():
            path = flash / "app.a" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        code, said = run("test", "--port", port, "--root", flash)
        assert code == 2 and "no good settings (no settings: write settings.new)" in said
        values = {"role": "flood", "board": "unix-pico", "name": "x", "dev_eui": "02" * 8}
        values |= {"join_eui": "00" * 8, "app_key": "01" * 16, "burst_gap_ms": 20}
        (flash / "settings.new").write_bytes(settings_file(values))
        code, said = run("test", "--port", port, "--root", flash, "--json")
        found = json.loads(said)
        assert (code, found["reason"]) == (2, "no_radio"), found
        assert found.get("sensor") is None, found["sensor"]
        assert (found["asked"], found["valid"], found["float_wet"]) == (100, 100, 1)
        assert (found["median_mm"], found["spread_mm"]) == (3000, 0)
        assert 3500 < found["battery_mv"] < 4000 and found["flash"] == ""
        assert found["dev_eui"] == "02" * 8 and "app_key" not in found


def test_the_log_is_downloaded(tmp_path: Path) -> None:
    with board(tmp_path) as (port, flash):
        application(flash, "firmware/store/readings.py", LOG)
        application(
            flash, "firmware/store/files.py", "class Files:\n    def __init__(self, r): pass\n"
        )
        (flash / "crash.txt").write_text("ValueError: x")
        folder = tmp_path / "out"
        code, said = run("log", "--port", port, "--root", flash, "--folder", folder)
        assert code == 0 and said.startswith("254 readings")
        rows = list(csv.reader((folder / "log.csv").read_text().splitlines()))
        assert rows[1] == ["5", "50", "1", "2", "-3", "4", "5", "1"] and len(rows) == 255
        assert (folder / "crash.txt").read_text() == "ValueError: x"


def test_commissioning_from_the_first_question_to_the_certificate(tmp_path: Path) -> None:
    assert run("keygen", tmp_path / "wayan.pem")[0] == 0
    photo = tmp_path / "the bridge.jpg"
    photo.write_bytes(b"picture")
    answers = "y\ny\n5\n1.5\ny\n822\n825\n\n" + "822\n825\n823\n\n"
    answers += "Made\n12 2\n12 2 20 20\n-8.65,115.21 2027-05-01\nnone.jpg\n'" + str(photo) + "'\n"
    with board(tmp_path) as (port, flash):
        application(flash, "firmware/update/probe.py", PROBE)
        arguments = ("commission", "--port", port, "--root", flash, "--lang", "id")
        files = ("--key", tmp_path / "wayan.pem", "--folder", tmp_path / "out")
        code, said = run(*arguments, *files, answers=answers)
    assert code == 0, said
    assert "2 bacaan papan duga; paling sedikit 3" in said
    assert "ubah sensor_height_mm menjadi 5003 (sebelumnya 5000)" in said
    (made,) = (tmp_path / "out").iterdir()
    code, said = run("verify", made, "--public", tmp_path / "wayan.pub")
    assert code == 0 and "good: jembatan-1 70b3d50000000001 (flood)" in said
    steps = json.loads(made.read_text())["content"]["steps"]
    assert steps["link"]["answered"] == 20
    digest = hashlib.sha256(b"picture").hexdigest()
    assert steps["photo"] == [{"file": "the bridge.jpg", "sha256": digest}]
    assert steps["staff"]["offset_mm"] == 3 and steps["thresholds"]["confirmed_by"] == "Made"


def test_commissioning_gives_up_after_three_refusals(tmp_path: Path) -> None:
    run("keygen", tmp_path / "k.pem")
    with board(tmp_path) as (port, flash):
        application(flash, "firmware/update/probe.py", PROBE)
        arguments = ("commission", "--port", port, "--root", flash, "--key", tmp_path / "k.pem")
        code, said = run(*arguments, "--folder", tmp_path / "out", answers="n\nn\nn\n")
    assert code == 1 and said.rstrip().endswith("tukad: not the device that was meant")
    assert not (tmp_path / "out").exists()
