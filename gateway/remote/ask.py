"""The operator's side: `ask` sends a signed command and waits for its answer."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import aiomqtt

from gateway.remote.envelope import Command, seal
from gateway.sinks.connection import connected
from gateway.sinks.settings import MqttSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_VALID_S = 300  # a command that comes later is refused


class NoAnswerError(Exception):
    """The gateway did not answer; the text is for a person."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to reach a gateway, and who asks."""

    mqtt: MqttSettings  # its first url is used
    site: str
    operator: str
    key: "Ed25519PrivateKey"


async def ask(
    way: Way, name: str, args: Mapping[str, Any], reason: str, wait_s: float
) -> dict[str, Any]:
    """Send one command; returns the answer, of a change of the configuration the last one.

    Raises NoAnswerError, and OSError or aiomqtt.MqttError when the broker cannot be reached.
    """
    at_ms = time.time_ns() // 1_000_000
    command = Command(
        site=way.site,
        operator=way.operator,
        number=at_ms,
        issued_ms=at_ms,
        expires_ms=at_ms + _VALID_S * 1000,
        command=name,
        args=args,
        reason=reason,
    )
    prefix = f"tukad/{way.site}/"
    topic = f"{prefix}answer/{way.operator}"
    message = seal(command, way.key)

    is_sent = False  # a broker that was reached once may go away and come back

    async def once() -> dict[str, Any]:
        async with _client(way, at_ms) as client:
            await client.subscribe(topic, 1)
            await client.subscribe(f"{prefix}answer/unknown", 1)
            await client.publish(f"{prefix}command", message, 1)
            nonlocal is_sent
            is_sent = True
            async for got in client.messages:
                answer = _object(got.payload)
                if str(got.topic) != topic:
                    if answer.get("code") in ("signature", "form"):
                        return answer
                elif answer.get("number") == at_ms and answer.get("code") != "switching":
                    return answer
        raise aiomqtt.MqttError("the connection ended")

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while True:
                try:
                    return await once()
                except (aiomqtt.MqttError, OSError):
                    if not is_sent:
                        raise
                await asyncio.sleep(0.3)  # the very same message again gets the same answer
    raise NoAnswerError(
        f"no answer from site {way.site} within {wait_s:g} s; is it online, and has it a [remote]"
        " section? A command that was not taken is not kept"
    )


async def on_trial(way: Way, wait_s: float) -> int:
    """The version that is on trial there, 0 for none. Raises as `ask`."""
    async with _client(way, time.time_ns()) as client:
        await client.subscribe(f"tukad/{way.site}/config", 1)
        try:
            async with asyncio.timeout(wait_s):
                async for message in client.messages:
                    trial = cast("dict[str, Any] | None", _object(message.payload).get("trial"))
                    return int(trial["version"]) if trial else 0
        except TimeoutError:
            pass
    raise NoAnswerError(f"site {way.site} tells nothing of its configuration at this broker")


def _client(way: Way, number: int) -> Any:
    mqtt = replace(way.mqtt, version="3.1.1")
    identifier = f"tukad-{way.operator}-{number}"[:60]
    return connected(mqtt, mqtt.url[0], identifier, None)


def _object(payload: object) -> dict[str, Any]:
    try:
        body: object = json.loads(payload) if isinstance(payload, bytes) else None
    except ValueError:
        body = None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


__all__ = ["NoAnswerError", "Way", "aiomqtt", "ask", "on_trial"]
