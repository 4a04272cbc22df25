"""What warns people in the demo: signed CAP alerts as files, a siren, and how late each was.

The alerts are checked as a receiver would: by `tukad gateway cap-verify` with the pinned
certificate. The siren's moment is the edge on its relay pin in the simulated hardware.
"""

import asyncio
import contextlib
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.demo.view import STAGES

SIREN = "sirene-pasar"
SIREN_LEVEL = 3  # Awas
_SIREN_S = 12
_CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"


@dataclass(frozen=True, kw_only=True)
class AlertFile:
    """A CAP message that the gateway wrote."""

    path: Path
    written_s: float  # when it was complete on disk, Unix time
    msg_type: str
    headline: str
    stages: dict[str, int]  # of its gauges
    is_good: bool


def config_lines(siren: str, gauge: str, flood: Sequence[str]) -> list[str]:
    """The sections [siren] and [cap] of the gateway's configuration."""
    lines = [
        "[siren]",
        "[[siren.unit]]",
        f'name = "{SIREN}"',
        f'device = "{siren}"',
        "[[siren.rule]]",
        f'gauges = ["{gauge}"]',
        f"level = {SIREN_LEVEL}",
        f'sirens = ["{SIREN}"]',
        f"duration_s = {_SIREN_S}",
        "[cap]",
        'sender = "pusdalops@bpbd.example"',
        'status = "Exercise"',
        'key_file = "cap.key"',
        'bind = ""',
    ]
    for name in flood:
        lines += ["[[cap.gauge]]", f'name = "{name}"', 'river = "Tukad Badung"']
    return lines


def make_key(tukad: str, folder: Path) -> None:
    """The signing key, as its owner makes it. Raises OSError or CalledProcessError."""
    subprocess.run(
        [tukad, "gateway", "cap-key", folder / "cap.key", "--name", "Tukad demo"],
        check=True,
        capture_output=True,
        timeout=60,
    )


class AlertFolder:
    """The gateway's folder of alerts; `files` grows as they come."""

    def __init__(self, tukad: str, folder: Path, pin: Path) -> None:
        self._tukad = tukad
        self._folder = folder
        self._pin = pin
        self._seen: set[Path] = set()
        self.files: list[AlertFile] = []

    async def watch(self) -> None:
        """Take what is new, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(0.5)

    async def look(self) -> None:
        """Take what is new, in the order of writing."""
        found = [path for path in self._folder.glob("*.xml") if path.name != "feed.xml"]
        found = [path for path in found if path not in self._seen]
        for path in sorted(found, key=lambda one: one.stat().st_mtime):
            is_good = await self._verify(path)
            alert = ET.fromstring(path.read_text())  # our own gateway's, checked just now
            info = alert.findall(f"{_CAP}info")[-1]  # English
            self.files.append(
                AlertFile(
                    path=path,
                    written_s=path.stat().st_mtime,
                    msg_type=alert.findtext(f"{_CAP}msgType", ""),
                    headline=info.findtext(f"{_CAP}headline", ""),
                    stages=_stages(info),
                    is_good=is_good,
                )
            )
            self._seen.add(path)

    async def _verify(self, path: Path) -> bool:
        process = await asyncio.create_subprocess_exec(
            self._tukad,
            *("gateway", "cap-verify", path, "--cert", self._pin),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _stages(info: ET.Element) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in info.findall(f"{_CAP}parameter"):
        name = one.findtext(f"{_CAP}valueName", "")
        device, _, what = name.rpartition(":")
        stage = one.findtext(f"{_CAP}value", "").lower()
        if what == "stage" and stage in STAGES:
            found[device] = STAGES.index(stage)
    return found


__all__ = ["SIREN", "SIREN_LEVEL", "AlertFile", "AlertFolder", "config_lines", "make_key"]
