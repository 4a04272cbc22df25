"""Alerts as files: `Folder` writes them whole or not at all, with the feed, and tidies up.

    DATA_DIR/cap/feed.xml           the Atom feed, and next to it
    DATA_DIR/cap/STEM.xml .txt      public alerts and their short texts
    DATA_DIR/cap/restricted/...     alerts for responders only; never in the feed
    DATA_DIR/cap/ack/*.json         acknowledgements from `tukad gateway cap-ack`

So any web server may serve the folder itself, without `restricted` and `ack`.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gateway.acts.cap.outbox import Issued

_ACK_BYTES_MAX = 4096
FEED = "feed.xml"


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file; after a power cut there is the old one or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Folder:
    """Blocking; call it in a thread, one call at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._restricted = path / "restricted"
        self._acks = path / "ack"
        self._written: set[str] = set()
        self._feed = b""

    def sync(self, messages: Sequence[Issued], feed: bytes) -> None:
        """Make the folder hold these messages, newest first, and the feed. Raises OSError."""
        for folder, mode in (
            (self.path, 0o755),
            (self._restricted, 0o750),
            (self._acks, 0o770),
        ):
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        is_first = not self._written and bool(messages)
        for one in reversed(messages):
            if one.stem not in self._written:
                self._write(one)
                self._written.add(one.stem)
        if feed != self._feed:
            write_whole(self.path / FEED, feed)
            self._feed = feed
        kept = {one.stem for one in messages}
        if is_first or self._written - kept:
            self._tidy(kept)
            self._written &= kept

    def _write(self, one: Issued) -> None:
        folder = self.path if one.scope == "Public" else self._restricted
        mode = 0o644 if one.scope == "Public" else 0o640
        for ending, content in (("txt", one.social + "\n"), ("xml", one.xml)):
            path = folder / f"{one.stem}.{ending}"
            data = content.encode()
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    continue
            write_whole(path, data, mode)

    def _tidy(self, kept: set[str]) -> None:
        for folder in (self.path, self._restricted):
            for path in folder.iterdir():
                is_ours = path.suffix in (".xml", ".txt") and path.name != FEED
                if path.name.endswith(".new") or (is_ours and path.stem not in kept):
                    path.unlink(missing_ok=True)

    def take_acks(self) -> list[dict[str, Any]]:
        """Acknowledgements that were put down, oldest first; each file is removed."""
        found: list[dict[str, Any]] = []
        try:
            paths = sorted(self._acks.glob("*.json"))
        except OSError:
            return found
        for path in paths[:100]:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                if path.stat().st_size <= _ACK_BYTES_MAX:
                    one: Any = json.loads(path.read_bytes())
                    if isinstance(one, dict):
                        found.append(cast("dict[str, Any]", one))
            with contextlib.suppress(OSError):
                path.unlink()
        return found


__all__ = ["FEED", "Folder", "write_whole"]
