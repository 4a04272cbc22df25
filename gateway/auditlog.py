"""What was done to this gateway, when, by whom and why: `AuditLog`, append-only and hash-chained.

One JSON object a line in DATA_DIR/audit/log. Each carries the SHA-256 of the line before it, so
that nothing in the middle can be changed, removed or put in unseen; what was cut off at the end is
seen by comparing with the newest hash, which is in every health record. A line is on disk when
`note` returns. A last line that a power cut tore is taken off and kept in an entry of its own.
A full file becomes `log.FIRSTNUMBER`, and the chain goes on in the next one. The oldest file goes
when there are more than `keep`; `verify` then says where the chain begins.

While the disk takes nothing, entries wait in memory: a siren must not wait for a log.
"""

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

FOLDER = "audit"
FIRST = "0" * 64  # "previous" of the first entry of all
_FILE_MAX = 1_000_000  # bytes
_KEEP = 20  # files besides the present one
_WAITING_MAX = 1000
_LINE_MAX = 64_000
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode


class AuditError(Exception):
    """The chain is broken; the text says where."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found in a sound log."""

    entries: int
    first: int  # number of the oldest entry that is kept
    last: int
    head: str  # hash of the newest entry


class AuditLog:
    """The log in a folder; may be called from any thread."""

    def __init__(self, folder: Path, file_max: int = _FILE_MAX, keep: int = _KEEP) -> None:
        self._folder = folder
        self._path = folder / "log"
        self._file_max = file_max
        self._keep = keep
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, str, str, str, dict[str, Any]]] = deque()
        self._is_open = False
        self.number = 0  # of the newest entry
        self.head = FIRST
        self.error = ""  # why the disk takes no entries, while it lasts
        self.lost = 0  # entries for which memory had no room

    def note(self, time_ms: int, event: str, who: str = "", why: str = "", **what: object) -> None:
        """Write an entry: `event` is a stable dotted name, `what` is JSON. Never raises OSError."""
        with self._lock:
            self._waiting.append((time_ms, event, who, why, what))
            if len(self._waiting) > _WAITING_MAX:
                self._waiting.popleft()
                self.lost += 1
            try:
                self._write_waiting()
                self.error = ""
            except OSError as error:
                self.error = str(error)
                self._is_open = False  # what is on disk is looked at again

    def flush(self) -> None:
        """Try again to write what waits."""
        with self._lock:
            if not self._waiting:
                return
            try:
                self._write_waiting()
                self.error = ""
            except OSError as error:
                self.error = str(error)
                self._is_open = False

    def _write_waiting(self) -> None:
        if not self._is_open:
            self._open()
        while self._waiting:
            time_ms, event, who, why, what = self._waiting[0]
            self._append(time_ms, event, who, why, what)
            self._waiting.popleft()

    def _open(self) -> None:
        """Find the end of the chain; take a torn line off."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.number, self.head = 0, FIRST
        torn = b""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        whole = data.rfind(b"\n") + 1
        torn, data = data[whole:], data[:whole]
        if data:
            line = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
        else:
            files = sorted(self._old_files())
            line = files[-1][1].read_bytes().splitlines(keepends=True)[-1] if files else b""
        if line:
            self.head = hashlib.sha256(line).hexdigest()
            self.number = int(_parse(line).get("n", 0))
        if torn:
            os.truncate(self._path, whole)
        self._is_open = True
        if torn:
            what = {"bytes": len(torn), "text": torn[:500].decode(errors="replace")}
            self._append(0, "audit.torn", "", "the power went while this was written", what)

    def _append(
        self, time_ms: int, event: str, who: str, why: str, what: Mapping[str, object]
    ) -> None:
        number = self.number + 1
        entry = {
            "n": number,
            "time_ms": time_ms,
            "event": event,
            "who": who,
            "why": why,
            "what": what,
            "previous": self.head,
        }
        line = _dumps(entry).encode(errors="replace") + b"\n"
        if len(line) > _LINE_MAX:
            entry["what"] = {"too_long": len(line), "sha256": hashlib.sha256(line).hexdigest()}
            line = _dumps(entry).encode(errors="replace") + b"\n"
        self._rotate(len(line))
        before = self._path.stat().st_size if self._path.exists() else 0
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, before)
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not before:
            _sync_folder(self._folder)
        self.number, self.head = number, hashlib.sha256(line).hexdigest()

    def _rotate(self, more: int) -> None:
        size = self._path.stat().st_size if self._path.exists() else 0
        if not size or size + more <= self._file_max:
            return
        with self._path.open("rb") as file:
            first = int(_parse(file.readline()).get("n", 0))
        self._path.rename(self._folder / f"log.{first:08d}")
        for _, path in sorted(self._old_files())[: -self._keep]:
            path.unlink()
        _sync_folder(self._folder)

    def _old_files(self) -> list[tuple[int, Path]]:
        return old_files(self._folder)


def old_files(folder: Path) -> list[tuple[int, Path]]:
    """The files before the present one, with the number of the first entry in each."""
    found = [(path.name.removeprefix("log."), path) for path in folder.glob("log.*")]
    return [(int(number), path) for number, path in found if number.isdigit()]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        body: object = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _lines(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in [*(path for _, path in sorted(old_files(folder))), folder / "log"]:
        if not path.exists():
            continue
        with path.open("rb") as file:
            for count, line in enumerate(file, 1):
                yield path.name, count, line


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Every entry, the oldest first; a torn last line is left out."""
    for _, _, line in _lines(folder):
        entry = _parse(line)
        if entry:
            yield entry


def verify(folder: Path, head: str = "") -> Verdict:
    """Check the whole chain; with `head`, that this entry is in it. Raises AuditError.

    `head` is a hash that somebody else kept, such as the newest in the city's health records: it
    proves that the log was not cut off before it.
    """
    number, first, count = 0, 0, 0
    previous = ""
    found = not head or head == FIRST
    for name, row, line in _lines(folder):
        where = f"{folder / name}, line {row}"
        if not line.endswith(b"\n"):
            raise AuditError(f"{where}: torn by a power cut; the agent mends it when it starts")
        entry = _parse(line)
        if not entry:
            raise AuditError(f"{where}: is not an entry")
        if count:
            if entry.get("n") != number + 1:
                raise AuditError(f"{where}: number {entry.get('n')} follows {number}")
            if entry.get("previous") != previous:
                raise AuditError(
                    f"{where}: entry {number + 1} does not follow the line before it:"
                    " one of them was changed"
                )
        else:
            first = int(entry.get("n", 0))
            # Old files go whole: the chain begins at 1, or where an old file does.
            expected = 1 if name == "log" else int(name.removeprefix("log."))
            if first != expected or (first == 1 and entry.get("previous") != FIRST):
                raise AuditError(f"{where}: number {first}: what came before it was removed")
        number = int(entry.get("n", 0))
        previous = hashlib.sha256(line).hexdigest()
        found = found or previous == head
        count += 1
    if not found:
        raise AuditError(f"{folder}: no entry has the hash {head}: the log was cut off or replaced")
    return Verdict(count, first, number, previous or FIRST)
