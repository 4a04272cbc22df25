"""A real board on USB, through mpremote: its files, and its firmware while it runs.

Public: `BoardLink`, `BoardError`. The device code goes over as `.mpy`; a file whose hash the board
knows already is left alone (`tukad-hil.json` on the board keeps them).
"""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

LISTING = "tukad-hil.json"


class BoardError(Exception):
    """The board cannot be used; the text says what to do."""


class BoardLink:
    """The board at `port`, stopped and at its raw REPL from construction on."""

    def __init__(self, port: str) -> None:
        try:
            from mpremote.transport import TransportError
            from mpremote.transport_serial import SerialTransport
        except ImportError:
            raise BoardError("no mpremote: run `make setup`") from None
        self.port = port
        self._text = b""
        self._failure: type[Exception] = TransportError
        try:
            self._transport: Any = SerialTransport(port)
        except (TransportError, OSError) as error:
            raise BoardError(
                f"{port}: {error}; plug the board in, close other programs that use the port, and"
                " see docs/bench-wiring.md"
            ) from None
        try:
            self._transport.enter_raw_repl(soft_reset=False)
        except (TransportError, OSError) as error:
            self.close()
            raise BoardError(
                f"{port}: no MicroPython answers there ({error}); press the board's reset, or put"
                " MicroPython 1.28 or newer on it"
            ) from None

    def __enter__(self) -> "BoardLink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port; what runs on the board goes on."""
        with contextlib.suppress(OSError):
            self._transport.close()

    def run(self, code: str) -> str:
        """Run code to its end; returns what it printed. Raises BoardError with its traceback."""
        try:
            return self._transport.exec(code).decode(errors="replace")
        except (self._failure, OSError) as error:
            raise BoardError(f"{self.port}: {error}") from None

    def install(self, files: dict[str, bytes]) -> int:
        """Put `files` (path without a leading slash -> content) there; returns how many changed."""
        hashes = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in files.items()}
        known = self._known()
        folders: set[str] = set()
        changed = 0
        for name in sorted(files):
            if known.get(name) == hashes[name]:
                continue
            for folder in reversed(Path(name).parents):
                if folder.as_posix() != "." and folder.as_posix() not in folders:
                    folders.add(folder.as_posix())
                    self._make_folder(folder.as_posix())
            self._write(name, files[name])
            changed += 1
        self._write(LISTING, json.dumps(known | hashes).encode())
        return changed

    def _known(self) -> dict[str, str]:
        try:
            return json.loads(self.read(LISTING))
        except (BoardError, ValueError):
            return {}

    def _make_folder(self, name: str) -> None:
        self.run(f"import os\ntry:\n os.mkdir({name!r})\nexcept OSError:\n pass")

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._transport.fs_writefile(name, data)
        except (self._failure, OSError) as error:
            raise BoardError(f"{self.port}: cannot write {name}: {error}") from None

    def read(self, name: str) -> bytes:
        """The content of a file on the board."""
        try:
            return bytes(self._transport.fs_readfile(name))
        except (self._failure, OSError) as error:
            raise BoardError(f"{self.port}: cannot read {name}: {error}") from None

    def names(self, prefix: str) -> list[str]:
        """Files in the root whose names begin so."""
        found = self.run(f"import os\nprint([n for n in os.listdir() if n.startswith({prefix!r})])")
        return sorted(json.loads(found.replace("'", '"')))

    def remove(self, prefix: str) -> None:
        """Delete files in the root whose names begin so."""
        for name in self.names(prefix):
            self.run(f"import os\nos.remove({name!r})")

    def start(self, code: str) -> None:
        """Run code that goes on; `lines` has what it prints."""
        self._text = b""
        try:
            self._transport.exec_raw_no_follow(code)
        except (self._failure, OSError) as error:
            raise BoardError(f"{self.port}: {error}") from None

    def lines(self, seconds: float) -> list[str]:
        """What the program prints within so long; raises BoardError when the board is gone."""
        until = time.monotonic() + seconds
        serial = self._transport.serial
        try:
            while time.monotonic() < until:
                waiting = serial.in_waiting
                if waiting:
                    self._text += serial.read(waiting)
                else:
                    time.sleep(min(0.02, max(0.0, until - time.monotonic())))
        except OSError as error:
            raise BoardError(f"{self.port}: the board is gone: {error}") from None
        parts = self._text.replace(b"\x04", b"").replace(b"\r", b"").split(b"\n")
        self._text = parts.pop()
        return [part.decode(errors="replace") for part in parts if part]

    def stop(self) -> None:
        """Interrupt what runs and come back to the raw REPL."""
        try:
            self._transport.enter_raw_repl(soft_reset=False)
        except (self._failure, OSError) as error:
            raise BoardError(f"{self.port}: does not come back to its prompt: {error}") from None
