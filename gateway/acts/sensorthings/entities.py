"""What stands behind the observations: `Entities` makes Things and Datastreams once.

Before an entity is made the server is asked for one of that name, so that neither a lost answer nor
a new ledger makes it twice. What was found is kept in the ledger.
"""

from typing import TYPE_CHECKING, Any

from gateway.acts.sensorthings.client import Client
from gateway.ledger.ledger import Ledger
from gateway.sinks.formats import channel

if TYPE_CHECKING:
    from gateway.settings import Settings

_STATE = "act/sensorthings/entities"
_MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
_GEOJSON = "application/geo+json"

_UNIT_NAMES = {
    "mm": "millimetre",
    "m": "metre",
    "V": "volt",
    "Pa": "pascal",
    "Cel": "degree Celsius",
    "deg": "degree",
    "dB": "decibel",
    "dBm": "decibel milliwatt",
    "kn": "knot",
    "s": "second",
    "ms": "millisecond",
    "min": "minute",
    "count": "count",
}
_UCUM = {"kn": "[kn_i]", "count": "1", "": "1", "dBm": "dB[mW]"}

Key = tuple[str, str, str]  # device, stream, value


class Entities:
    """The entities of one site on one server."""

    def __init__(self, settings: "Settings", url: str, ledger: Ledger) -> None:
        self._site = settings.gateway.site
        self._url = url
        self._ledger = ledger
        self._known: dict[str, Any] = {}
        self._places = _places(settings)
        self._kinds = {one.name: one.kind or "LoRaWAN device" for one in settings.device}
        for bus in settings.modbus:
            self._kinds |= {one.name: one.profile for one in bus.sensor}
        self.created = 0
        self.fresh: set[Key] = set()  # Datastreams that were empty when we made them

    def place(self, device: str, lat_e5: int, lon_e5: int) -> None:
        """Where a device was seen, for a Thing that has no place of its own.

        Servers need a Location to make a FeatureOfInterest of.
        """
        self._places.setdefault(device, (lat_e5 / 1e5, lon_e5 / 1e5))

    async def load(self) -> None:
        """Read what an earlier run found, if it was on the same server."""
        state: Any = await self._ledger.read(lambda store: store.get_state(_STATE))
        if state and state["url"] == self._url:
            self._known = state["known"]

    async def _keep(self, what: str, entity: dict[str, Any]) -> dict[str, Any]:
        kept = {
            "id": entity["@iot.id"],
            "link": entity["@iot.selfLink"],
            "observations": entity.get("Observations@iot.navigationLink", ""),
        }
        self._known[what] = kept
        state = {"url": self._url, "known": self._known}
        await self._ledger.write(lambda store: store.set_state(_STATE, state))
        return kept

    async def forget(self) -> None:
        """The server lost them: look again."""
        self._known = {}
        await self._ledger.write(lambda store: store.set_state(_STATE, None))

    async def datastream(self, client: Client, key: Key) -> dict[str, Any]:
        """Its id and links; made with all that it needs if the server has none."""
        device, stream, value = key
        what = f"datastream/{device}/{stream}/{value}"
        if what in self._known:
            return self._known[what]
        column = channel(value)
        name = f"{self._site}/{device}/{stream}/{column.name}"
        found = await client.find("Datastreams", "name", name)
        if found is None:
            thing = await self._thing(client, device)
            sensor = await self._sensor(client, device, stream)
            observed = await self._property(client, column.name)
            found = await client.create(
                client.sets["Datastreams"],
                {
                    "name": name,
                    "description": f"{column.name} of {device} ({stream})",
                    "observationType": _MEASUREMENT,
                    "unitOfMeasurement": {
                        "name": _UNIT_NAMES.get(column.unit, "number"),
                        "symbol": column.unit or "1",
                        "definition": "https://ucum.org/ucum#"
                        + _UCUM.get(column.unit, column.unit),
                    },
                    "properties": {"site": self._site, "device": device, "stream": stream},
                    "Thing": {"@iot.id": thing["id"]},
                    "Sensor": {"@iot.id": sensor["id"]},
                    "ObservedProperty": {"@iot.id": observed["id"]},
                },
            )
            self.created += 1
            self.fresh.add(key)
        return await self._keep(what, found)

    async def _make(
        self, client: Client, what: str, collection: str, by: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        if what in self._known:
            return self._known[what]
        found = await client.find(collection, by, body[by])
        if found is None:
            found = await client.create(client.sets[collection], body)
            self.created += 1
        return await self._keep(what, found)

    async def _thing(self, client: Client, device: str) -> dict[str, Any]:
        kind = self._kinds.get(device, "device")
        body: dict[str, Any] = {
            "name": f"{self._site}/{device}",
            "description": f"{kind} at {self._site}",
            "properties": {"site": self._site, "device": device, "kind": kind},
        }
        place = self._places.get(device)
        if place is not None:
            lat_deg, lon_deg = place
            body["Locations"] = [
                {
                    "name": f"{self._site}/{device}",
                    "description": f"where {device} stands",
                    "encodingType": _GEOJSON,
                    "location": {"type": "Point", "coordinates": [lon_deg, lat_deg]},
                }
            ]
        return await self._make(client, f"thing/{device}", "Things", "name", body)

    async def _sensor(self, client: Client, device: str, stream: str) -> dict[str, Any]:
        kind = self._kinds.get(device, "device")
        body = {
            "name": f"{self._site}/{device}/{stream}",
            "description": f"{kind}, stream {stream}",
            "encodingType": "text/html",
            "metadata": f"{kind}, stream {stream}, read by Tukad",
        }
        return await self._make(client, f"sensor/{device}/{stream}", "Sensors", "name", body)

    async def _property(self, client: Client, name: str) -> dict[str, Any]:
        body = {
            "name": name,
            "definition": f"urn:tukad:property:{name}",
            "description": name.replace("_", " "),
        }
        return await self._make(
            client, f"property/{name}", "ObservedProperties", "definition", body
        )


def _places(settings: "Settings") -> dict[str, tuple[float, float]]:
    """Latitude and longitude by device; what has none of its own stands at the gateway."""
    found: dict[str, tuple[float, float]] = {}
    named = [(one.name, one.latitude_deg, one.longitude_deg) for one in settings.device]
    for bus in settings.modbus:
        named += [(one.name, one.latitude_deg, one.longitude_deg) for one in bus.sensor]
    here = settings.gateway.latitude_deg, settings.gateway.longitude_deg
    for name, latitude, longitude in named:
        lat, lon = (latitude, longitude) if latitude is not None else here
        if lat is not None and lon is not None:
            found[name] = round(lat, 6), round(lon, 6)
    return found
