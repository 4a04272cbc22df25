"""ChirpStack as the network server: `ChirpStackService`, over its MQTT integration.

It follows `application/<id>/device/+/event/+` with a persistent session and confirms an event to
the broker only after `on_uplink` returned, so nothing is lost while the agent is down. Downlinks
go to ChirpStack's own queue by `command/down`. Events come as JSON or, with the `chirpstack-api`
package, as protobuf. Uplinks of devices that are not configured here are counted, not shown.

Sources: ChirpStack 4 documentation (Integrations, MQTT); chirpstack api/proto/integration.
"""

import asyncio
import base64
import importlib
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.lorawan.config import DeviceEntry, LorawanConfig, SettingError
from gateway.lorawan.model import DownlinkReport, LorawanStatus, Uplink
from gateway.lorawan.service import OnDownlink, OnUplink
from protocols.errors import LocalError, RemoteError

log = logging.getLogger("tukad.lorawan")

_QUEUE = 1000  # events taken from the broker and not handed over yet
_PREFIX = 0x74756B6164000000  # "tukad": tells the ids we gave from those of others
_RETRY_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_CONNECT_S = 10.0
_TYPES = {"up": "UplinkEvent", "ack": "AckEvent", "txack": "TxAckEvent"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of ChirpStack, either encoding, reduced to what we use."""

    kind: str  # up, ack, txack, join, status, log, location
    dev_eui: str
    value: dict[str, Any]  # in ChirpStack's JSON names


def _messages() -> Any:
    try:
        return importlib.import_module("chirpstack_api.integration")
    except ImportError:
        raise SettingError(
            "lorawan.chirpstack.encoding = 'protobuf' needs the extra: "
            "pip install 'tukad[chirpstack]', or use 'json'"
        ) from None


class Codec:
    """Events and commands in the configured encoding."""

    def __init__(self, encoding: str) -> None:
        """Raises SettingError if protobuf is wanted and `chirpstack-api` is not installed."""
        self._is_json = encoding == "json"
        self._api: Any = None if self._is_json else _messages()

    def event(self, topic: str, payload: bytes) -> Event | None:
        """The event in a message, None for kinds we do not use; RemoteError if it is bad."""
        parts = topic.split("/")
        if len(parts) < 6 or parts[-4] != "device" or parts[-2] != "event":
            raise RemoteError("topic", topic[:80])
        kind, dev_eui = parts[-1], parts[-3].lower()
        name = _TYPES.get(kind)
        if name is None:
            return None
        try:
            value = json.loads(payload) if self._is_json else self._protobuf(name, payload)
        except (ValueError, RecursionError) as error:
            raise RemoteError("event", str(error)[:80]) from None
        if not isinstance(value, dict):
            raise RemoteError("event", "no object")
        return Event(kind, dev_eui, cast("dict[str, Any]", value))

    def _protobuf(self, name: str, payload: bytes) -> Any:
        json_format: Any = importlib.import_module("google.protobuf.json_format")
        message: Any = importlib.import_module("google.protobuf.message")
        event = getattr(self._api, name)()
        try:
            event.ParseFromString(payload)
        except message.DecodeError as error:
            raise ValueError(str(error)) from None
        return json_format.MessageToDict(event)

    def command(
        self, number: int, dev_eui: str, f_port: int, data: bytes, confirmed: bool, expires_ms: int
    ) -> bytes:
        """A `command/down` message."""
        if self._is_json:
            expires = datetime.fromtimestamp(expires_ms / 1000, UTC)
            value = {
                "id": str(_uuid(number)),
                "devEui": dev_eui,
                "confirmed": confirmed,
                "fPort": f_port,
                "data": base64.b64encode(data).decode(),
                "expiresAt": expires.isoformat().replace("+00:00", "Z"),
            }
            return json.dumps(value).encode()
        command = self._api.DownlinkCommand(
            id=str(_uuid(number)),
            dev_eui=dev_eui,
            confirmed=confirmed,
            f_port=f_port,
            data=data,
        )
        command.expires_at.FromMilliseconds(expires_ms)
        return cast(bytes, command.SerializeToString())


def _uuid(number: int) -> uuid.UUID:
    return uuid.UUID(int=_PREFIX << 64 | number)


def _number(text: Any) -> int | None:
    """Our number from a queue item's id; None for an item that somebody else queued."""
    try:
        value = uuid.UUID(str(text)).int
    except ValueError:
        return None
    return value & ((1 << 64) - 1) if value >> 64 == _PREFIX else None


def _time_ms(text: Any) -> int | None:
    """An RFC 3339 time in Unix milliseconds; nanoseconds are cut."""
    if not isinstance(text, str) or len(text) < 20:
        return None
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest.rstrip("Zz")
        cut = next((i for i, c in enumerate(digits) if not c.isdigit()), len(digits))
        text = f"{head}.{digits[:cut][:6].ljust(6, '0')}{digits[cut:] or 'Z'}"
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        return None


def uplink_of(event: Event, entry: DeviceEntry, now_ms: int, again: bool) -> Uplink | None:
    """The uplink in an `up` event, None if it carries no application data; RemoteError if bad."""
    value = event.value
    try:
        f_port = int(value.get("fPort", 0))
        payload = base64.b64decode(value.get("data", ""), validate=True)
        heard = cast("list[dict[str, Any]]", value.get("rxInfo", []))
        heard = sorted(
            heard,
            key=lambda one: (min(float(one.get("snr", 0)), 5.0), int(one.get("rssi", -200))),
            reverse=True,
        )
        best: dict[str, Any] = heard[0] if heard else {}
        if not 1 <= f_port <= 223:
            return None
        return Uplink(
            dev_eui=entry.dev_eui,
            device=entry.name,
            f_port=f_port,
            f_cnt=int(value.get("fCnt", 0)),
            payload=payload,
            confirmed=bool(value.get("confirmed", False)),
            rssi_dbm=float(best.get("rssi", 0)),
            snr_db=float(best.get("snr", 0)),
            dr=int(value.get("dr", 0)),
            freq_hz=int(value.get("txInfo", {}).get("frequency", 0)),
            gateways=tuple(str(one.get("gatewayId", "")) for one in heard),
            received_ms=_time_ms(value.get("time")) or now_ms,
            again=again,
            kind=entry.kind,
            decoder=entry.decoder,
            codec=str(entry.codec) if entry.codec else "",
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RemoteError("event", str(error)[:80]) from None


class ChirpStackService:
    """ChirpStack behind `service.NetworkServerService`."""

    def __init__(self, config: LorawanConfig, unix_ms: Callable[[], int] | None = None) -> None:
        """Raises SettingError if the configuration cannot be used."""
        settings = config.chirpstack
        self._settings = settings
        self._entries = {entry.dev_eui: entry for entry in config.devices}
        self._codec = Codec(settings.encoding)
        self._unix_ms = unix_ms or (lambda: time.time_ns() // 1_000_000)
        self._url = urlsplit(settings.url)
        self._password: str | None = None
        if settings.password_file is not None:
            try:
                self._password = settings.password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingError(
                    f"lorawan.chirpstack.password_file {settings.password_file} cannot be read: "
                    f"{error.strerror}"
                ) from None
        self._client: mqtt.Client | None = None
        self._is_up = False
        self._numbers = 0
        self._undelivered = 0
        self.counters: Counter[str] = Counter()
        self.ready = asyncio.Event()  # set while subscribed
        self.gone = asyncio.Event()  # set while not

    # -- the MQTT client (its network thread calls back into our loop)

    def _make_client(
        self, loop: asyncio.AbstractEventLoop, inbox: asyncio.Queue[mqtt.MQTTMessage | str]
    ) -> mqtt.Client:
        settings = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=False,
            manual_ack=True,
        )
        if settings.username:
            client.username_pw_set(settings.username, self._password)
        if self._url.scheme == "mqtts":
            client.tls_set(str(settings.ca_file) if settings.ca_file else None)
        client.max_inflight_messages_set(_QUEUE)
        client.reconnect_delay_set(1, 60)
        topic = f"application/{settings.application_id}/device/+/event/+"

        def put(item: mqtt.MQTTMessage | str) -> None:
            with suppress(RuntimeError):  # the loop is closed: the broker keeps the event
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        def on_connect(*_: Any) -> None:
            client.subscribe(topic, qos=1)

        def on_subscribe(*_: Any) -> None:
            put("up")

        def on_disconnect(*_: Any) -> None:
            put("down")

        def on_message(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
            put(message)

        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        client.on_disconnect = on_disconnect
        client.on_message = on_message
        return client

    async def run(self, on_uplink: OnUplink, on_downlink: OnDownlink | None = None) -> None:
        """See `service.NetworkServerService.run`. Raises OSError if the broker refuses us."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[mqtt.MQTTMessage | str] = asyncio.Queue()
        client = self._client = self._make_client(loop, inbox)
        port = self._url.port or (8883 if self._url.scheme == "mqtts" else 1883)
        try:
            await loop.run_in_executor(
                None, lambda: client.connect(self._url.hostname or "127.0.0.1", port, 30)
            )
            client.loop_start()
            while True:
                item = await inbox.get()
                if isinstance(item, str):
                    self._set_up(item == "up")
                else:
                    await self._take(client, item, on_uplink, on_downlink)
        finally:
            self._client = None
            self._set_up(False)
            client.disconnect()
            await loop.run_in_executor(None, client.loop_stop)

    def _set_up(self, is_up: bool) -> None:
        self._is_up = is_up
        if is_up:
            self.ready.set()
            self.gone.clear()
        else:
            self.ready.clear()
            self.gone.set()

    async def _take(
        self,
        client: mqtt.Client,
        message: mqtt.MQTTMessage,
        on_uplink: OnUplink,
        on_downlink: OnDownlink | None,
    ) -> None:
        """One event, to its end; then it is confirmed to the broker."""
        self.counters["events"] += 1
        try:
            event = self._codec.event(message.topic, bytes(message.payload))
            if event is not None:
                await self._act(event, bool(message.dup), on_uplink, on_downlink)
        except RemoteError as error:
            self.counters[f"event_{error.code}"] += 1
            log.warning("lorawan.event_refused topic=%s error=%s", message.topic, error)
        client.ack(message.mid, message.qos)

    async def _act(
        self, event: Event, again: bool, on_uplink: OnUplink, on_downlink: OnDownlink | None
    ) -> None:
        entry = self._entries.get(event.dev_eui)
        if entry is None:
            self.counters["foreign_data"] += 1
            return
        if event.kind == "up":
            uplink = uplink_of(event, entry, self._unix_ms(), again)
            if uplink is not None:
                await self._hand_over(on_uplink, uplink)
            return
        number = _number(event.value.get("queueItemId"))
        if number is None or on_downlink is None:
            return
        state = "sent"
        if event.kind == "ack":
            state = "acked" if event.value.get("acknowledged", False) else "not_acked"
        now_ms = _time_ms(event.value.get("time")) or self._unix_ms()
        await on_downlink(DownlinkReport(number, entry.name, state, "", now_ms))

    async def _hand_over(self, on_uplink: OnUplink, uplink: Uplink) -> None:
        tries = 0
        self._undelivered += 1
        try:
            while True:
                try:
                    await on_uplink(uplink)
                except Exception:
                    log.exception("lorawan.delivery_failed device=%s", uplink.device)
                    await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                    tries += 1
                else:
                    self.counters["up_accepted"] += 1
                    return
        finally:
            self._undelivered -= 1

    # -- for the agent

    def _find(self, device: str) -> DeviceEntry:
        for entry in self._entries.values():
            if device in (entry.name, entry.dev_eui):
                return entry
        raise KeyError(device)

    async def queue_downlink(
        self,
        device: str,
        f_port: int,
        data: bytes,
        *,
        confirmed: bool = False,
        expiry_s: float = 86_400.0,
    ) -> int:
        """See `service.NetworkServerService.queue_downlink`; durable when the broker has it.

        Raises LocalError("store") when the broker cannot be reached.
        """
        entry = self._find(device)
        if not 1 <= f_port <= 223:
            raise LocalError("range", f"f_port {f_port} is outside 1..223")
        if len(data) > 242:
            raise LocalError("range", f"{len(data)} bytes, at most 242")
        if self._client is None or not self._is_up:
            raise LocalError("store", "the connection to ChirpStack's broker is down")
        now_ms = self._unix_ms()
        self._numbers += 1
        number = now_ms * 1000 + self._numbers % 1000
        message = self._codec.command(
            number, entry.dev_eui, f_port, data, confirmed, now_ms + int(expiry_s * 1000)
        )
        topic = f"application/{self._settings.application_id}/device/{entry.dev_eui}/command/down"
        info = self._client.publish(topic, message, qos=1)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, info.wait_for_publish, _CONNECT_S)
        if not info.is_published():
            raise LocalError("store", "ChirpStack's broker did not confirm the downlink")
        self.counters["down_queued"] += 1
        return number

    async def status(self) -> LorawanStatus:
        """See `service.NetworkServerService.status`. ChirpStack knows its gateways, we do not."""
        return LorawanStatus(
            server="chirpstack",
            is_up=self._is_up,
            gateways=(),
            counters=dict(self.counters),
            devices=len(self._entries),
            undelivered=self._undelivered,
        )

    def close(self) -> None:
        """Nothing is held outside `run`."""
