"""Commissioning as a state machine: `Checklist`, and the signed `certificate` at its end.

The steps stand in a table by role and are gone through in order. `answer` takes what the technician
said; a step that is refused stays the present one, with the reason in `refused`, until it is
answered better. Nothing here reads a clock, a keyboard or a network.
"""

import base64
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from gateway.device.link import DeviceError

STAFF_READINGS = 3
STAFF_SPREAD_MM = 10
MARGIN_DB = 10
LINK_FRAMES = 20  # fewer say little: one in twenty lost is 5 %
TILT_MAX_DEG = 2
AUDIBLE_DBC = 70

_COMMON = ("identity", "clock", "test")
STEPS = {
    "flood": (*_COMMON, "tilt", "beam", "staff", "thresholds", "link", "place", "photo"),
    "siren": (*_COMMON, "thresholds", "siren_silent", "siren_audible", "link", "place", "photo"),
    "tracker": (*_COMMON, "link", "place", "photo"),
    "cabinet": (*_COMMON, "link", "place", "photo"),
}


@dataclass(frozen=True)
class Refusal:
    """Why a step is not done: a key of `gateway.device.words` and its values."""

    reason: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Calibration:
    """Staff gauge against device: `offset_mm` is to be added to what the device says."""

    offset_mm: int
    spread_mm: int
    pairs: tuple[tuple[int, int], ...]


def calibrate(pairs: list[tuple[int, int]]) -> Calibration | Refusal:
    """From (staff mm, device mm) pairs; refused with under 3, or differences over 10 mm apart."""
    if len(pairs) < STAFF_READINGS:
        return Refusal("refused_staff_few", {"count": len(pairs)})
    differences = sorted(staff - device for staff, device in pairs)
    spread = differences[-1] - differences[0]
    if spread > STAFF_SPREAD_MM:
        return Refusal("refused_staff_spread", {"spread_mm": spread})
    middle = len(differences) // 2
    if len(differences) % 2:
        offset = differences[middle]
    else:
        offset = (differences[middle - 1] + differences[middle]) // 2
    return Calibration(offset, spread, tuple(pairs))


class Checklist:
    """One commissioning. `step` is the present step, or "done"."""

    def __init__(self, role: str) -> None:
        if role not in STEPS:
            raise DeviceError(f"there is no checklist for role {role!r}")
        self.role = role
        self.results: dict[str, Any] = {}
        self.refused: Refusal | None = None
        self.calibration: Calibration | None = None

    @property
    def step(self) -> str:
        """The first step that is not done."""
        return next((step for step in STEPS[self.role] if step not in self.results), "done")

    def answer(self, step: str, value: Any) -> bool:
        """Whether `value` does the present step. By step:

        identity, clock, beam, siren_silent   True or False
        tilt            degrees of the sensor from the vertical; None: not measured
        test            the verdict's level and reason: a pair of texts
        staff           a list of (staff mm, device mm)
        thresholds      (the three, name of the second person)
        siren_audible   dBC
        link            (median margin dB, gateways, frames asked, frames answered)
        place           (latitude, longitude, next visit as YYYY-MM-DD)
        photo           a list of (file name, SHA-256 in hexadecimal digits)
        """
        if step != self.step:
            raise DeviceError(f"the present step is {self.step}, not {step}")
        self.refused, result = self._judge(step, value)
        if self.refused is None:
            self.results[step] = result
        return self.refused is None

    def _judge(self, step: str, value: Any) -> tuple[Refusal | None, Any]:
        match step:
            case "identity" | "clock" | "beam" | "siren_silent":
                return (None if value is True else Refusal(f"refused_{step}", {})), True
            case "test":
                level, reason = value
                is_bad = level not in ("good", "check")
                return (Refusal("refused_test", {}) if is_bad else None), [level, reason]
            case "tilt":
                is_straight = value is not None and 0 <= value <= TILT_MAX_DEG
                return (
                    None if is_straight else Refusal("refused_tilt", {"tilt_deg": value})
                ), value
            case "staff":
                found = calibrate(value)
                if isinstance(found, Refusal):
                    return found, None
                self.calibration = found
                return None, {
                    "offset_mm": found.offset_mm,
                    "spread_mm": found.spread_mm,
                    "pairs": [list(pair) for pair in found.pairs],
                }
            case "thresholds":
                stages, name = value
                is_named = bool(str(name).strip())
                done = {"stages_mm": list(stages), "confirmed_by": str(name).strip()}
                return (None if is_named else Refusal("refused_thresholds", {})), done
            case "siren_audible":
                is_loud = value >= AUDIBLE_DBC
                return (
                    None if is_loud else Refusal("refused_siren_audible", {"dbc": value})
                ), value
            case "link":
                margin, gateways, asked, answered = value
                done = {
                    "margin_db": margin,
                    "gateways": gateways,
                    "asked": asked,
                    "answered": answered,
                }
                if asked < LINK_FRAMES or not 0 <= answered <= asked:
                    return Refusal("refused_link_few", done), None
                is_good = margin >= MARGIN_DB and gateways >= 1 and 10 * answered >= 9 * asked
                return (None if is_good else Refusal("refused_link", done)), done
            case "photo":
                photos = [{"file": name, "sha256": digest} for name, digest in value]
                return (None if photos else Refusal("refused_photo", {})), photos
            case _:
                return _place(value)


def _place(value: Any) -> tuple[Refusal | None, Any]:
    latitude, longitude, visit = value
    try:
        day = date.fromisoformat(visit).isoformat()
    except (TypeError, ValueError):
        return Refusal("refused_place", {}), None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return Refusal("refused_place", {}), None
    return None, {"latitude": latitude, "longitude": longitude, "next_visit": day}


# -- the certificate


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def certificate(content: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """A JSON file: the content, the signer's public key, and the signature.

    Signed are the bytes of `content` as JSON with sorted keys and no blanks (UTF-8), behind the
    text "tukad-certificate-1" and a zero byte.
    """
    signed = b"tukad-certificate-1\0" + _canonical(content)
    whole = {
        "content": content,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(signed)).decode(),
    }
    return json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def check_certificate(text: str, public: bytes | None = None) -> dict[str, Any]:
    """The content of a certificate whose signature is right (by `public`, when given)."""
    try:
        whole = json.loads(text)
        key = base64.b64decode(whole["public_key"], validate=True)
        signature = base64.b64decode(whole["signature"], validate=True)
        content: dict[str, Any] = whole["content"]
        signed = b"tukad-certificate-1\0" + _canonical(content)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        raise DeviceError("the certificate was changed: its signature is wrong") from None
    except (KeyError, TypeError, ValueError):
        raise DeviceError("this is no certificate") from None
    if public is not None and key != public:
        raise DeviceError("the certificate is signed by another key")
    return content
