"""Which configuration is in force, over restarts and power cuts: `Trials`.

The file that the technician wrote is the ground. A configuration that came from afar is kept
whole in DATA_DIR/remote/config-VERSION.toml, for that file alone: when the technician changes his
file, his word counts and what came from afar is put aside. DATA_DIR/remote/state.json names the
version in force and the one on trial; it is replaced at once, so a power cut leaves the old or the
new one. A trial is on disk before the switch; a process that finds one when it starts takes it
back, because it cannot know whether the new configuration caused the restart.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.remote.files import write_durably

FOLDER = "remote"
_KEEP = 5  # versions kept for people to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One configuration from afar."""

    number: int
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What `open` had to put right."""

    reverted: Version | None = None  # a trial that a restart ended
    overruled: Version | None = None  # in force until the technician's file changed
    broken: str = ""  # state.json could not be read


class Trials:
    """The versions of one data directory. Every method that changes something is durable."""

    def __init__(self, data_dir: Path, file: Path) -> None:
        self._folder = data_dir / FOLDER
        self._state = self._folder / "state.json"
        self._file = file
        self.last = 0  # highest version number ever used
        self.confirmed: Version | None = None  # in force; None: the technician's file
        self.trial: Version | None = None
        self._ground = ""

    def open(self) -> Found:
        """Read the state and end what must not go on. Raises OSError."""
        found = Found()
        try:
            body = cast("dict[str, Any]", json.loads(self._state.read_bytes()))
            self.last = int(body["last"])
            self.confirmed = _version(body["confirmed"])
            self.trial = _version(body["trial"])
            self._ground = str(body["ground"])
        except FileNotFoundError:
            self._ground = self._sha()
            return found
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # The disk lied: the technician's file is the safe ground. Numbers are not used again.
            self.last = max([0, *(_number(path) for path in self._folder.glob("config-*.toml"))])
            self.confirmed = self.trial = None
            self._ground = self._sha()
            self._save()
            return Found(broken=f"{self._state}: {error}")
        reverted, self.trial = self.trial, None
        found = Found(reverted=reverted, overruled=self._overrule())
        if found.reverted or found.overruled:
            self._save()
        return found

    def _overrule(self) -> Version | None:
        ground = self._sha()
        if ground == self._ground:
            missing = self.confirmed and not self.path(self.confirmed.number).exists()
            if not missing:
                return None
        overruled, self.confirmed = self.confirmed, None
        self._ground = ground
        return overruled

    def reload(self) -> Version | None:
        """Look at the technician's file again; the version that it overrules, if it changed."""
        if self._sha() == self._ground:
            return None
        overruled = self.trial or self.confirmed
        self.trial = self.confirmed = None
        self._ground = self._sha()
        if overruled is not None:  # a reload with nothing to overrule needs no disk
            self._save()
        return overruled

    def text(self) -> str | None:
        """The text in force from afar (the trial's, if there is one), or None: read the file."""
        version = self.trial or self.confirmed
        return None if version is None else self.path(version.number).read_bytes().decode()

    def begin(self, text: str, by: str, reason: str) -> Version:
        """Put a configuration on trial, on disk, before it is switched to. Raises OSError."""
        version = Version(number=self.last + 1, by=by, reason=reason)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.path(version.number), text.encode())
        self.last, self.trial = version.number, version
        try:
            self._save()
        except OSError:
            self.trial = None
            raise
        return version

    def confirm(self) -> Version:
        """The trial is in force from now on. Raises OSError, and then it is not."""
        assert self.trial is not None
        before, trial = self.confirmed, self.trial
        self.confirmed, self.trial = trial, None
        try:
            self._save()
        except OSError:
            self.confirmed, self.trial = before, trial
            raise
        for path in self._folder.glob("config-*.toml"):
            if _number(path) <= self.last - _KEEP and _number(path) != trial.number:
                path.unlink()
        return trial

    def revert(self) -> Version | None:
        """Take the trial back. An error of the disk is passed on, but the trial is over.

        What is on disk then still names it, and the next start ends it there too.
        """
        reverted, self.trial = self.trial, None
        if reverted is not None:
            self._save()
        return reverted

    def path(self, number: int) -> Path:
        """Where the text of a version is."""
        return self._folder / f"config-{number}.toml"

    def _sha(self) -> str:
        try:
            return hashlib.sha256(self._file.read_bytes()).hexdigest()
        except OSError:
            return ""

    def _save(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        body = {
            "last": self.last,
            "ground": self._ground,
            "confirmed": _plain(self.confirmed),
            "trial": _plain(self.trial),
        }
        write_durably(self._state, json.dumps(body, indent=1).encode())


def in_force(data_dir: Path, file: Path) -> tuple[int, str] | None:
    """Number and text of the version in force from afar, for those who only look; None: the file.

    A version on trial is not in force. Reads only.
    """
    trials = Trials(data_dir, file)
    try:
        body = cast("dict[str, Any]", json.loads((data_dir / FOLDER / "state.json").read_bytes()))
        confirmed = _version(body["confirmed"])
        if confirmed is None or body["ground"] != hashlib.sha256(file.read_bytes()).hexdigest():
            return None
        return confirmed.number, trials.path(confirmed.number).read_bytes().decode()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _number(path: Path) -> int:
    word = path.stem.removeprefix("config-")
    return int(word) if word.isdigit() else 0


def _plain(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {"number": version.number, "by": version.by, "reason": version.reason}


def _version(body: Mapping[str, Any] | None) -> Version | None:
    if body is None:
        return None
    return Version(number=int(body["number"]), by=str(body["by"]), reason=str(body["reason"]))
