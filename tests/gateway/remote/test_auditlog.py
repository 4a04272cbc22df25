"""The audit log: a chain that shows every change to it, and that a power cut does not break."""

import hashlib
import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auditlog import AuditError, AuditLog, entries, verify


def filled(folder: Path, count: int, **more: int) -> AuditLog:
    log = AuditLog(folder, **more)
    for number in range(count):
        log.note(1000 * number, "command", "wayan", "a test", number=number, text='ä "\n')
    return log


def test_each_line_carries_the_hash_of_the_line_before(tmp_path: Path) -> None:
    """Checked with hashlib alone, as an auditor would."""
    log = filled(tmp_path, 5)
    previous = "0" * 64
    for number, line in enumerate((tmp_path / "log").read_bytes().splitlines(keepends=True), 1):
        body = json.loads(line)
        assert (body["n"], body["previous"]) == (number, previous)
        previous = hashlib.sha256(line).hexdigest()
    assert log.head == previous == verify(tmp_path).head
    assert oct((tmp_path / "log").stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("row", range(6))
@pytest.mark.parametrize("how", ["change", "remove", "swap", "double"])
def test_what_somebody_did_to_a_line_is_seen(tmp_path: Path, row: int, how: str) -> None:
    log = filled(tmp_path, 6)
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    if how == "change":
        lines[row] = lines[row].replace(b"wayan", b"madee")
    elif how == "remove":
        del lines[row]
    elif how == "double":
        lines.insert(row, lines[row])
    else:
        other = (row + 1) % 6
        lines[row], lines[other] = lines[other], lines[row]
    (tmp_path / "log").write_bytes(b"".join(lines))
    with pytest.raises(AuditError):
        verify(tmp_path, log.head)


def test_what_was_cut_off_at_the_end_is_seen_by_a_hash_kept_elsewhere(tmp_path: Path) -> None:
    log = filled(tmp_path, 6)
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join(lines[:4]))
    assert verify(tmp_path).last == 4
    with pytest.raises(AuditError, match="cut off"):
        verify(tmp_path, log.head)


def test_the_chain_goes_on_over_files_and_restarts(tmp_path: Path) -> None:
    for _ in range(4):
        filled(tmp_path, 25, file_max=2000, keep=100)
    found = verify(tmp_path)
    assert (found.entries, found.first, found.last) == (100, 1, 100)
    assert len(list(tmp_path.glob("log.*"))) > 5
    assert [entry["n"] for entry in entries(tmp_path)] == list(range(1, 101))


def test_old_files_go_and_the_verdict_says_where_the_chain_begins(tmp_path: Path) -> None:
    filled(tmp_path, 100, file_max=2000, keep=3)
    found = verify(tmp_path)
    assert found.last == 100 and found.first > 50
    assert found.entries == 100 - found.first + 1


@given(cut=st.integers(1, 200))
def test_a_line_torn_anywhere_is_put_aside_and_the_chain_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    filled(folder, 4)
    data = (folder / "log").read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    (folder / "log").write_bytes(data[: len(data) - min(cut, last - 1)])
    AuditLog(folder).note(5000, "agent.started")
    found = list(entries(folder))
    assert [entry["event"] for entry in found] == ["command"] * 3 + ["audit.torn", "agent.started"]
    assert verify(folder).last == 5


def test_while_the_disk_takes_nothing_entries_wait_and_are_written_later(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    size = (tmp_path / "log").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        log.note(1, "config.trial", "wayan")
        log.note(2, "config.confirmed", "wayan")
        assert log.error
        assert verify(tmp_path).last == 3, "half a line was left"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.flush()
    assert not log.error
    assert [entry["event"] for entry in entries(tmp_path)][3:] == [
        "config.trial",
        "config.confirmed",
    ]
    assert verify(tmp_path).last == 5
    assert os.listdir(tmp_path) == ["log"]
