"""One connection to a broker: `connected`, with TLS, a will, and an end that never hangs."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator
from typing import cast
from urllib.parse import urlsplit

import aiomqtt

from gateway.sinks.settings import MqttSettings

# paho and aiomqtt say on their logger what we say better.
logging.getLogger("mqtt").setLevel(logging.ERROR)

_SPARE = 20  # messages besides the window: alarms, health, retained ones


@contextlib.asynccontextmanager
async def connected(
    settings: MqttSettings, url: str, identifier: str, will: aiomqtt.Will | None
) -> AsyncGenerator[aiomqtt.Client]:
    """A connected client. Raises aiomqtt.MqttError, OSError or TimeoutError.

    On an error inside the block the socket is cut at once; a cancellation says goodbye properly.
    """
    parts = urlsplit(url)
    is_tls = parts.scheme == "mqtts"
    is_v5 = settings.version == "5"
    user_timeout_ms = int(settings.ack_timeout_s * 1000)
    client = aiomqtt.Client(
        parts.hostname or "",
        parts.port or (8883 if is_tls else 1883),
        identifier=identifier,
        username=settings.username or parts.username or None,
        password=settings.password(),
        protocol=aiomqtt.ProtocolVersion.V5 if is_v5 else aiomqtt.ProtocolVersion.V311,
        clean_session=None if is_v5 else True,
        will=will,
        keepalive=settings.keepalive_s,
        timeout=max(settings.ack_timeout_s, 2),
        max_inflight_messages=settings.window + _SPARE,
        max_queued_outgoing_messages=0,
        tls_context=settings.tls() if is_tls else None,
        socket_options=(
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms),
        ),
    )
    client.pending_calls_threshold = settings.window + 100
    try:
        await client.__aenter__()
    except BaseException:
        _cut(client)
        raise
    try:
        yield client
    except asyncio.CancelledError:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        raise
    except BaseException:
        _cut(client)  # an orderly goodbye would wait on a link that may be dead
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        raise
    await client.__aexit__(None, None, None)


def _cut(client: aiomqtt.Client) -> None:
    """Close the socket at once, whatever state the link is in."""
    # There is no public way: `disconnect` waits for a link that may be dead.
    paho = client._client  # pyright: ignore[reportPrivateUsage]
    ended = client._disconnected  # pyright: ignore[reportPrivateUsage]
    for _ in range(100):
        sock = cast("socket.socket | None", paho.socket())
        if sock is None:
            break
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        paho.loop_read()  # at the end of the stream it closes the socket and reports it
    if ended.done() and not ended.cancelled():
        ended.exception()  # seen, so that asyncio does not complain about it
