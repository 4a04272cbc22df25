"""One key of a TOML text is changed and nothing else; tomllib is the judge."""

import tomllib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.remote.edit import EditError, change

SAMPLE = Path(__file__).parents[3] / "deploy" / "gateway.example.toml"


def loads(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def test_a_value_changes_and_its_comment_and_neighbours_stay() -> None:
    text = SAMPLE.read_text()
    new = change(text, "mqtt.linger_ms", 250)
    assert loads(new)["mqtt"]["linger_ms"] == 250
    old_lines, new_lines = text.splitlines(), new.splitlines()
    assert len(old_lines) == len(new_lines)
    different = [pair for pair in zip(old_lines, new_lines, strict=True) if pair[0] != pair[1]]
    assert len(different) == 1
    assert different[0][1].startswith("linger_ms = 250") and "# wait so long" in different[0][1]


def test_an_inline_table_in_a_named_device_changes() -> None:
    new = change(SAMPLE.read_text(), 'device["tukad-badung-1"].stages.siaga_mm', 1200)
    device = loads(new)["device"][0]
    assert device["stages"]["siaga_mm"] == 1200
    assert device["stages"]["awas_mm"] == 2660


TWO = """[gateway]
site = "s"
[[modbus]]
name = "a"
[[modbus.sensor]]
name = "one"
unit = 1
[[modbus.sensor]]
name = "two"
unit = 2
[[modbus]]
name = "b"
[[modbus.sensor]]
name = "three"
unit = 3
values = [
  "x",  # first
  "y",
]
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ('modbus["a"].sensor["two"].unit', 9),
        ('modbus["b"].sensor["three"].unit', 9),
        ("modbus[2].sensor[1].unit", 9),
        ('modbus["b"].sensor["three"].values', ["z"]),
        ('modbus["a"].sensor["one"].interval_s', 2.5),
        ('modbus["b"].name', 'c "quoted" \\ \x7f é'),
        ("mqtt.linger_ms", 5),
        ("mqtt.url", ["mqtt://a", "mqtt://b"]),
        ("gateway.zone", "WIB"),
    ],
)
def test_exactly_the_named_key_changes(key: str, value: object) -> None:
    new, old = loads(change(TWO, key, value)), loads(TWO)
    words = key.replace('["', ".").replace('"]', "").replace("[", ".").replace("]", "").split(".")

    def place(tree: Any, word: str) -> Any:
        if isinstance(tree, list):
            return next(t for n, t in enumerate(tree, 1) if word in (str(n), t["name"]))  # pyright: ignore
        return tree.setdefault(word, {})

    target: Any = old
    for word in words[:-1]:
        target = place(target, word)
    target[words[-1]] = value
    assert new == old


def test_a_key_is_taken_out() -> None:
    assert (
        "zone"
        not in loads(change('[gateway]\nsite="s"\nzone="x"\n', "gateway.zone", None))["gateway"]
    )


@pytest.mark.parametrize(
    "key",
    ["", "gateway", "a b", 'modbus["zz"].name', "modbus.name", "gateway.site.x", "modbus[1]"],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(EditError):
        change(TWO, key, 1)


def test_what_only_a_trap_would_match_is_left_alone() -> None:
    """A multi-line string that looks like a table does not get the change."""
    text = '[a]\nnote = """\n[b]\nx = 1\n"""\n[b]\nx = 1\n'
    try:
        new = change(text, "b.x", 2)
    except EditError:
        return
    assert loads(new) == {"a": {"note": "[b]\nx = 1\n"}, "b": {"x": 2}}


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)


@given(
    key=st.text(max_size=30) | st.sampled_from(["gateway.site", 'modbus["a"].sensor[1].unit']),
    value=scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars),
)
def test_any_key_and_value_change_one_thing_or_are_refused(key: str, value: object) -> None:
    try:
        new = change(TWO, key, value)
    except EditError:
        return
    tomllib.loads(new)
