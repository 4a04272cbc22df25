"""Answers to commands, as JSON."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.remote.envelope import Command


def answer_topic(operator: str) -> str:
    """Where an operator's answers go, below tukad/SITE/."""
    return f"answer/{operator}"


def answered(
    command: Command, is_ok: bool, code: str, text: str, result: Mapping[str, Any]
) -> bytes:
    """What became of a command: code "done", "trial", "reverted", or why it was refused."""
    body = {
        "tukad_answer": 1,
        "site": command.site,
        "operator": command.operator,
        "number": command.number,
        "command": command.command,
        "ok": is_ok,
        "code": code,
        "text": text,
        "result": result,
    }
    return json.dumps(body, default=str).encode()
