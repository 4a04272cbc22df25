"""A fresh card becomes a gateway: deploy/first-boot.sh against the file system of a card."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy/first-boot.sh"
CONFIG = '[gateway]\nsite = "kumbasari"\n'


def card(folder: Path) -> Path:
    """What is on a card before it starts for the first time."""
    (folder / "boot/firmware/tukad").mkdir(parents=True)
    (folder / "etc").mkdir()
    (folder / "usr/share/zoneinfo/Asia").mkdir(parents=True)
    (folder / "usr/share/zoneinfo/Asia/Makassar").write_bytes(b"TZif")
    (folder / "boot/firmware/config.txt").write_text("dtparam=audio=on\n")
    (folder / "boot/firmware/tukad/tukad_0.1.0_arm64.deb").write_bytes(b"")
    return folder


def run(root: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TUKAD_ROOT": str(root)}
    return subprocess.run(
        ["sh", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )


def tree(root: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_configuration_and_secrets_leave_the_partition_that_any_computer_reads(
    tmp_path: Path,
) -> None:
    root = card(tmp_path)
    source = root / "boot/firmware/tukad"
    (source / "gateway.toml").write_text(CONFIG)
    (source / "badung-1.keys").write_text("secret")
    done = run(root)
    assert done.returncode == 0, done.stderr
    assert (root / "etc/tukad/gateway.toml").read_text() == CONFIG
    assert (root / "etc/tukad/badung-1.keys").stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in source.iterdir()) == ["tukad_0.1.0_arm64.deb"]
    assert "dtparam=watchdog=on" in (root / "boot/firmware/config.txt").read_text().split()
    assert (root / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Asia/Makassar")


def test_to_run_it_again_changes_nothing(tmp_path: Path) -> None:
    root = card(tmp_path)
    (root / "boot/firmware/tukad/gateway.toml").write_text(CONFIG)
    assert run(root).returncode == 0
    first = tree(root)
    assert run(root).returncode == 0
    assert tree(root) == first


def test_what_is_missing_is_named_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "there is no folder tukad" in done.stderr
    root = card(tmp_path)
    done = run(root)
    assert done.returncode == 1
    assert "there is no gateway.toml" in done.stderr
    (root / "boot/firmware/tukad/tukad_0.1.0_arm64.deb").unlink()
    done = run(root)
    assert done.returncode == 1
    assert "there is no tukad_*.deb" in done.stderr
    assert len(done.stderr.splitlines()) == 1
