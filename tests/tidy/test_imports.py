"""Who may import whom (ARCHITECTURE.md, "Import rules"), read from the syntax tree."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"firmware", "protocols", "gateway", "sim", "hil", "tests"}
MAY_IMPORT = {
    "protocols": {"protocols"},
    "firmware": {"firmware", "protocols"},
    "gateway": {"gateway", "protocols"},
    "sim": {"sim", "protocols"},
    "hil": {"hil", "sim", "protocols"},
}
# Code that runs on a device: these modules exist there, and nothing below protocols does I/O.
PROTOCOLS_STDLIB = {"struct", "binascii", "collections", "micropython", "array"}
FIRMWARE_STDLIB = PROTOCOLS_STDLIB | {
    "machine", "time", "os", "sys", "gc", "cryptolib", "hashlib", "select", "json", "io",
    "errno", "random", "vfs", "rp2", "esp32", "network", "bluetooth", "uctypes", "deflate", "math",
}  # fmt: skip
CLOCKS_AND_IO = {"time", "socket", "asyncio", "random", "os", "threading", "subprocess"}


def sources(folder: str) -> list[Path]:
    return [p for p in sorted((ROOT / folder).rglob("*.py")) if "shim" not in p.parts]


def is_for_types_alone(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which never runs."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run."""
    for child in ast.iter_child_nodes(tree):
        if is_for_types_alone(child):
            continue
        yield child
        yield from nodes(child)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, (node.module or "").split(".")[0]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_only_the_allowed_packages_are_imported(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {folder} may not import {name}"
        for path in sources(folder)
        for line, name in imports(path)
        if name in OURS - MAY_IMPORT[folder]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("folder", "allowed"), [("protocols", PROTOCOLS_STDLIB), ("firmware", FIRMWARE_STDLIB)]
)
def test_device_code_imports_only_what_the_device_has(folder: str, allowed: set[str]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name} is not for {folder}"
        for path in sources(folder)
        for line, name in imports(path)
        if name not in OURS | allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_third_party_packages_are_declared() -> None:
    declared = (ROOT / "pyproject.toml").read_text().lower().replace("-", "_")
    for folder in ("gateway", "sim", "hil"):
        for path in sources(folder):
            for line, name in imports(path):
                if name in OURS or name in sys.stdlib_module_names:
                    continue
                known = {"serial": "pyserial", "paho": "aiomqtt"}.get(name, name).lower()
                assert known in declared, f"{path}:{line}: {name} is not in pyproject.toml"
