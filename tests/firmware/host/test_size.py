"""The flood node fits the chip: its heap and its flash, with a budget that fails when passed."""

from pathlib import Path

from tests.bench.firmware import (
    HEAP_KIB_MAX,
    IMAGE_KIB_MAX,
    build_image,
    compile_tree,
    runs_in,
)


def test_a_flood_node_runs_in_the_heap_of_a_pico(tmp_path: Path) -> None:
    """Code in place (ROMFS); the figures and the factor are in tests/bench/firmware.py."""
    compile_tree(tmp_path)
    image_kib = build_image(tmp_path) // 1024
    assert image_kib <= IMAGE_KIB_MAX
    assert runs_in(tmp_path, HEAP_KIB_MAX + image_kib, 200)
