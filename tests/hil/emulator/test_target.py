"""`tukad hil run --target emulator`: what it says; with TUKAD_UF2 that the flood smoke holds."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("rp2040py", reason="the extra `emulator` is not installed")

from hil.cli import hil
from hil.emulator.chip import EmulatorError, flash_of
from hil.emulator.node import FS_SECTORS, file_system, usable_uf2
from hil.scenario import available, load
from tests.hil.emulator.thumb import uf2


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(
        hil, ["run", *arguments], env={"TUKAD_UF2": "", **(env or {})}, terminal_width=400
    )
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_without_a_uf2_it_says_what_to_download_and_which_variable(tmp_path: Path) -> None:
    code, said = run("smoke", "--target", "emulator", "--out", str(tmp_path))
    assert code == 1
    assert "RPI_PICO" in said
    assert "1.28 or newer" in said
    assert "TUKAD_UF2=" in said
    assert "--uf2" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "0 bytes"),
        (b"x" * 512, "block 0 is not UF2"),
        (b"x" * 100, "multiple of 512"),
        (uf2(b"x", 0x2000_0000), "not in a Pico's flash"),
    ],
)
def test_a_file_that_cannot_be_it_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "fw.uf2"
    if content is not None:
        path.write_bytes(content)
    code, output = run("smoke", "--target", "emulator", "--uf2", str(path), "--out", str(tmp_path))
    assert code == 1
    words = "".join(output.split())  # the box around an error breaks long paths anywhere
    assert "".join(said.split()) in words.replace("│", "")
    assert path.name in words.replace("│", "")
    assert "Traceback" not in output


def test_what_the_emulator_cannot_do_is_refused_before_it_starts(tmp_path: Path) -> None:
    fw = tmp_path / "fw.uf2"
    fw.write_bytes(uf2(b"x"))
    cuts = next(path for path in available() if path.stem == "bursts-and-power-cuts")
    with pytest.raises(EmulatorError, match="flash_cut"):
        usable_uf2(load(cuts), fw)
    assert flash_of(usable_uf2(load(Path("smoke")), fw))[0] == ord("x")


def test_the_file_system_holds_compiled_code_and_settings() -> None:
    image = file_system({"settings.new": b'{"name":"dalung"}'})
    assert len(image) == FS_SECTORS * 4096
    assert b"littlefs" in image[:4096]
    assert b'{"name":"dalung"}' in image
    assert b"M\x06" in image  # .mpy version 6
    assert b'"""The device\'s program' not in image  # no sources


@pytest.mark.skipif(
    not os.environ.get("TUKAD_UF2"),
    reason="TUKAD_UF2 names no MicroPython for RPI_PICO: download one and set it",
)
@pytest.mark.timeout(1800)
def test_the_flood_smoke_holds_on_an_emulated_rp2040(tmp_path: Path) -> None:
    code, said = run(
        "smoke", "--target", "emulator", "--out", str(tmp_path),
        env={"TUKAD_UF2": os.environ["TUKAD_UF2"]},
    )  # fmt: skip
    assert code == 0, said
