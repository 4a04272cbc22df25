"""The short text for social media, made from the CAP itself: `social_text`. Nothing is posted.

At most 160 characters: one SMS in the 7-bit alphabet as long as the names in the configuration
keep to it. The headline comes whole or cut, then as many sentences of the instruction as fit.
"""

import re
import xml.etree.ElementTree as ET

from gateway.acts.cap.message import NAMESPACE
from gateway.acts.cap.words import ID, clean

SOCIAL_MAX = 160
_HEADLINE_MAX = 110


def _text(parent: ET.Element, name: str) -> str:
    return clean(parent.findtext(f"{{{NAMESPACE}}}{name}") or "")


def social_text(alert: bytes) -> str:
    """The Indonesian text of a CAP message that we made ourselves."""
    root = ET.fromstring(alert)
    infos = root.findall(f"{{{NAMESPACE}}}info")
    info = next((one for one in infos if _text(one, "language") == ID), infos[0])
    text = clean(_text(info, "headline"), _HEADLINE_MAX).rstrip(".") + "."
    contact = _text(info, "contact")
    end = f" Info: {contact}" if contact and len(contact) <= 24 else ""
    for sentence in re.split(r"(?<=\.) ", _text(info, "instruction")):
        if len(text) + 1 + len(sentence) + len(end) > SOCIAL_MAX:
            break
        text += f" {sentence}"
    return clean(text + end, SOCIAL_MAX)


__all__ = ["SOCIAL_MAX", "social_text"]
