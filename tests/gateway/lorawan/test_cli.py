"""`tukad lorawan` as an operator meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gateway.cli.lorawan as cli
from gateway.cli.lorawan import lorawan
from tests.gateway.lorawan.ends import EndDevice, Site
from tests.gateway.lorawan.test_server import QUIET

KEY = "00112233445566778899aabbccddeeff"
QR = "LW:D0:70B3D57ED0000001:70B3D57ED1000001:0102ABCD:S12"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node.key").write_text(f"app_key = {KEY}\n")
    return tmp_path


def tukad(folder: Path, *arguments: str, stdin: str | None = None) -> Result:
    command, *others = arguments
    result = CliRunner().invoke(
        lorawan, [command, "--data-dir", str(folder), *others], input=stdin, prog_name="tukad"
    )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert KEY not in result.output.lower()
    return result


def test_a_device_is_added_listed_shown_and_removed(folder: Path) -> None:
    added = tukad(folder, "add", "bridge", "--qr", QR, "--key-file", str(folder / "node.key"))
    assert added.output == "added bridge (70b3d57ed1000001)\n"
    again = tukad(folder, "add", "bridge", "--dev-eui", "70B3D57ED1000001", stdin=KEY + "\n")
    assert again.output == "changed bridge (70b3d57ed1000001)\n"
    assert "70b3d57ed1000001" in tukad(folder, "list").output
    (row,) = tukad(folder, "list", "--json").output.splitlines()
    assert json.loads(row)["join_eui"] == "0000000000000000"
    assert "it has not joined yet" in tukad(folder, "show", "bridge").output
    assert tukad(folder, "remove", "bridge", stdin="n\n").exit_code == 1
    assert tukad(folder, "remove", "bridge", "--yes").output == "removed bridge\n"
    assert "no devices" in tukad(folder, "list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "x"), "give --dev-eui"),
        (("add", "x", "--dev-eui", "12", "--key-file", "k"), "expected 16 hex digits"),
        (("add", "x", "--qr", "LW:D1:0:0", "--key-file", "k"), "this is no LoRaWAN label"),
        (("add", "x", "--qr", QR, "--key-file", "absent"), "absent cannot be read"),
        (("add", "x/y", "--qr", QR, "--key-file", "k"), "device.name = 'x/y'"),
        (("show", "nobody"), "no device 'nobody' is registered"),
        (("remove", "nobody"), "no device 'nobody' is registered"),
        (("log", "--device", "nobody"), "no device 'nobody' is registered"),
        (("import", "absent.csv"), "absent.csv cannot be read"),
    ],
)
def test_an_error_is_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    tukad(folder, "add", "known", "--dev-eui", "1122334455667788", stdin=KEY + "\n")
    result = tukad(folder, *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_short_key_is_refused_and_not_shown(folder: Path) -> None:
    result = tukad(folder, "add", "x", "--qr", QR, stdin=KEY[:30] + "\n")
    assert "AppKey: expected 32 hex digits, got 30 characters" in result.output
    assert KEY[:30] not in result.output


def test_import_takes_all_or_none(folder: Path) -> None:
    good = f"name,dev_eui,app_key,class\na,70b3d57ed1000001,{KEY},A\nb,70b3d57ed1000002,{KEY},C\n"
    (folder / "good.csv").write_text(good)
    (folder / "bad.csv").write_text(good + "c,70b3d57ed1000003,12,A\n")
    bad = tukad(folder, "import", str(folder / "bad.csv"))
    assert "bad.csv, line 4: device c: expected 32 hex digits" in bad.output
    assert not (folder / "lorawan.db").exists()
    assert tukad(folder, "import", str(folder / "good.csv")).output == "registered 2 devices\n"
    names = [json.loads(row)["name"] for row in tukad(folder, "list", "--json").output.splitlines()]
    assert names == ["a", "b"]


def test_without_a_database_the_cure_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", folder / "absent.toml")
    assert "add a device" in tukad(folder, "list").output
    result = CliRunner().invoke(lorawan, ["list"])
    assert "--config" in result.output and result.exit_code == 2


def test_the_log_and_the_statistics_tell_of_the_link(tmp_path: Path) -> None:
    site = Site(tmp_path, QUIET)
    node = site.add(EndDevice(1, "bridge"))
    site.join(node)
    for f_cnt in (0, 1, 2, 5, 6, 9):
        site.hear(node.uplink(f_cnt=f_cnt, confirmed=f_cnt == 9), snr=-3.0, rssi=-101)
        site.advance(5000)
    site.close()
    (tmp_path / "0.db").rename(tmp_path / "lorawan.db")
    lines = tukad(tmp_path, "log").output.splitlines()
    assert len(lines) == 2 + 6 + 1
    assert "bridge" in lines[0] and "join" in lines[0]
    assert "answer" in lines[-1] and "→" in lines[-1]
    assert len(tukad(tmp_path, "log", "-n", "2").output.splitlines()) == 2
    value = json.loads(tukad(tmp_path, "stats", "--hours", "999999", "--json").output)
    (device,) = value["devices"]
    assert (device["name"], device["frames"], device["lost"]) == ("bridge", 6, 4)
    assert device["loss_percent"] == 40.0
    assert (device["rssi_dbm"], device["snr_db"], device["margin_db"]) == (-101, -3.0, 12.0)
    assert "bridge" in tukad(tmp_path, "stats", "--hours", "999999").output


def test_help_reads_well() -> None:
    for command in ("add", "list", "show", "remove", "import", "log", "stats"):
        result = CliRunner().invoke(lorawan, [command, "--help"])
        assert result.exit_code == 0
        assert "--data-dir" in result.output
