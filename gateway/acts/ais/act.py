"""The act of section [ais]: `AisAct`. Boats, calls for help and gauges on chart plotters."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from gateway.acts.ais.feed import Feed
from gateway.acts.ais.server import Datagrams, Hub
from gateway.acts.ais.settings import AisSettings
from gateway.acts.part import Act, Context
from gateway.acts.picture import Picture
from gateway.clock import now_ms, tick_ms
from gateway.config import ConfigError
from gateway.ledger.store import Stored
from gateway.model import Alarm
from gateway.service import together

log = logging.getLogger("tukad.ais")

_RETRY_S = 5.0
_LOOK_MS = 5_000  # at least so often: a drill or an age may have ended


class AisAct(Act):
    """Keeps a picture and says it over TCP and UDP."""

    name = "ais"

    def __init__(self, settings: AisSettings, context: Context) -> None:
        self._settings = settings
        self._ledger = context.ledger
        self.picture = Picture(context.settings)
        _check(settings, self.picture, context)
        self._feed = Feed(settings, self.picture)
        self.hub = Hub(settings.clients_max, lambda: self._feed.everything(now_ms()))
        self._udp: Datagrams | None = None
        self._news = asyncio.Event()
        self._has_recovered = asyncio.Event()
        self._tcp_error = ""

    async def handle(self, number: int, alarm: Alarm) -> None:
        """Calls for help go out at once."""
        await self._has_recovered.wait()  # or an older alarm would have the last word
        self.picture.hear(alarm)
        self._feed.noted(alarm.device, tick_ms())
        self._news.set()

    def on_readings(self, stored: Sequence[Stored]) -> None:
        """Fixes and levels go out at once."""
        for device in self.picture.feed(one.reading for one in stored):
            self._feed.noted(device, tick_ms())
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.picture.recover(self._ledger)
        self._has_recovered.set()
        if self._settings.udp:
            self._udp = Datagrams(self._settings.udp)
        try:
            works = [self._say()]
            if self._settings.tcp:
                works.append(self._listen())
            await together(*works)
        finally:
            await self.hub.stop()
            if self._udp is not None:
                self._udp.close()

    async def _listen(self) -> None:
        while True:
            try:
                await self.hub.start(self._settings.tcp)
            except OSError as error:
                self._tcp_error = error.strerror or str(error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._tcp_error = ""
            log.info("ais.listening port=%d", self.hub.port)
            return

    async def _say(self) -> None:
        while True:
            for message in self._feed.due(tick_ms(), now_ms()):
                self.hub.say(message)
                if self._udp is not None:
                    self._udp.say(message)
            tick = self._feed.next_tick()
            wait_ms = _LOOK_MS if tick is None else min(max(tick - tick_ms(), 50), _LOOK_MS)
            self._news.clear()
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._news.wait()
            except TimeoutError:
                pass

    def faults(self) -> Mapping[tuple[str, str], str]:
        """A port or a network that cannot be had."""
        found: dict[tuple[str, str], str] = {}
        if self._tcp_error:
            found["ais.tcp", self._settings.tcp] = (
                f"{self._tcp_error}; chart plotters cannot connect: free the port or change ais.tcp"
            )
        if self._udp is not None and self._udp.error:
            found["ais.udp", self._settings.udp] = (
                f"{self._udp.error}; datagrams to chart plotters are lost: check ais.udp and the"
                " network cable"
            )
        return found

    def counters(self) -> Mapping[str, int]:
        """Messages and plotters."""
        return {
            "messages": self._feed.messages,
            "connects": self.hub.connects,
            "dropped": self.hub.dropped,
            "refused": self.hub.refused,
            "udp_lost": self._udp.lost if self._udp is not None else 0,
            "now_clients": len(self.hub.clients),
        }


def _check(settings: AisSettings, picture: Picture, context: Context) -> None:
    known = picture.streams
    for what, names in (
        ("vessel", [one.device for one in settings.vessel]),
        ("gauge", [one.device for one in settings.gauge]),
    ):
        for name in names:
            if name not in known:
                raise ConfigError(
                    f'{context.file}: ais.{what}: there is no [[device]] or sensor "{name}"; there'
                    f" are: {', '.join(sorted(known)) or 'none'}"
                )
    for gauge in settings.gauge:
        if gauge.device not in picture.places:
            raise ConfigError(
                f'{context.file}: ais.gauge: "{gauge.device}" has no place; give it latitude_deg'
                " and longitude_deg"
            )
