"""The MQTT sink against real brokers: order of classes, TLS, brokers in turn, release by PUBACK."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.codec import Decoder, Refusal
from gateway.codec import Reading as CityReading
from gateway.ledger.ledger import Ledger
from gateway.model import RAISED, Alarm
from gateway.sinks.formats import BatchFormat, channel
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.outbox import Outbox
from gateway.sinks.plain import JsonFormat, SenmlFormat
from gateway.sinks.settings import MqttSettings
from tests.gateway.peers import MOSQUITTO, Broker, City, Link, free_port
from tests.gateway.samples import START_MS, open_ledger, reading, readings


def alarm(number: int = 1) -> Alarm:
    return Alarm(
        incident=f"kumbasari/stage/{number}",
        device="kumbasari",
        kind="stage",
        event=RAISED,
        level=3,
        name="Awas",
        time_ms=START_MS,
        decided_ms=START_MS,
        sequence=number,
        values={"level_mm": 2700},
        text_id="AWAS",
        text_en="AWAS",
    )


def make_sink(ledger: Ledger, *urls: str, **more: object) -> MqttSink:
    settings = MqttSettings(
        url=urls,
        **{"ack_timeout_s": 3.0, "keepalive_s": 2, "reconnect_s_max": 0.3, **more},  # type: ignore[arg-type]
    )
    return MqttSink(settings, "test", ledger, urls, {}, lambda: {"up": 1})


@contextlib.asynccontextmanager
async def running_sink(sink: MqttSink) -> AsyncGenerator[MqttSink]:
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def waiting(ledger: Ledger) -> tuple[int, int]:
    return ledger.call(lambda store: store.waiting())


def test_an_alarm_passes_a_backlog_on_a_slow_link(tmp_path: Path) -> None:
    """The city hears it long before the history that was waiting first."""

    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        # Noise, which no codec shortens: far more bytes than the window lets under way at once.
        dice = random.Random(5)
        await ledger.add([reading(n, dice.randint(-9000, 9000)) for n in range(8000)])
        broker = Broker("embedded", tmp_path)
        await broker.start()
        link = Link(broker.port)
        link.bytes_per_s = 3000
        await link.start()
        sink = make_sink(ledger, f"mqtt://127.0.0.1:{link.port}", ack_timeout_s=30.0)
        async with City(broker.port).listening() as city, running_sink(sink):
            await city.until(lambda: len(city.rows) > 100)
            number = await ledger.write(lambda store: store.add_alarm(alarm()))
            sink.outbox.offer_alarm(number, alarm())
            before = len(city.rows)
            await city.until(lambda: bool(city.alarms))
            # Of some 16 kB at most the first window's 4 kB were ahead of it.
            assert len(city.rows) < before + 4000
        await link.stop()
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())


def test_history_comes_newest_first_and_everything_is_confirmed(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        await ledger.add(readings(range(3000)))
        broker = Broker("embedded", tmp_path)
        await broker.start()
        sink = make_sink(ledger, f"mqtt://127.0.0.1:{broker.port}", batch_max=100, window=1)
        async with City(broker.port).listening() as city:
            await city.until(lambda: city.subscriptions == 1)
            async with running_sink(sink):
                await city.until(lambda: len(city.rows) > 0)
                assert min(sequence for _, _, sequence in city.rows) >= 2500
                await city.until(lambda: len(city.rows) == 3000)
                assert city.repeats == 0
                assert await sink.drain(10)
        assert waiting(ledger) == (0, 0)
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())


def test_nothing_is_released_without_a_confirmation(tmp_path: Path) -> None:
    """A link that takes everything and confirms nothing: all is still there, and sent again."""

    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        broker = Broker("embedded", tmp_path)
        await broker.start()
        link = Link(broker.port)
        await link.start()
        sink = make_sink(ledger, f"mqtt://127.0.0.1:{link.port}", ack_timeout_s=0.5)
        async with City(broker.port).listening() as city, running_sink(sink):
            await city.until(lambda: bool(city.health))
            link.mode = "swallow"
            sink.outbox.offer(await ledger.add(readings(range(50))))
            number = await ledger.write(lambda store: store.add_alarm(alarm()))
            sink.outbox.offer_alarm(number, alarm())
            async with asyncio.timeout(20):
                while not sink.counters.dead_links:  # noqa: ASYNC110  a counter has no event
                    await asyncio.sleep(0.01)
            assert await ledger.read(lambda store: store.waiting()) == (50, 1)
            assert not city.rows and not city.alarms
            link.mode = "pass"
            await city.until(lambda: len(city.rows) == 50 and len(city.alarms) == 1)
        await link.stop()
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())


def test_brokers_are_tried_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        await ledger.add(readings(range(10)))
        broker = Broker("embedded", tmp_path)
        await broker.start()
        nobody = f"mqtt://127.0.0.1:{free_port()}"
        sink = make_sink(ledger, nobody, f"mqtt://127.0.0.1:{broker.port}")
        async with City(broker.port).listening() as city, running_sink(sink):
            await city.until(lambda: len(city.rows) == 10)
            assert sink.connected_to.endswith(str(broker.port))
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())


def make_certificates(folder: Path) -> None:
    """An authority, a server certificate for 127.0.0.1, a client certificate."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())

    def issue(name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        (folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, plain))

    issue("ca", authority_key, is_ca=True)
    issue("server", ec.generate_private_key(ec.SECP256R1()), is_ca=False)
    issue("client", ec.generate_private_key(ec.SECP256R1()), is_ca=False)


@pytest.mark.mosquitto
@pytest.mark.skipif(not MOSQUITTO.exists(), reason="Mosquitto is not installed")
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_tls_with_client_certificates(tmp_path: Path, version: str) -> None:
    make_certificates(tmp_path)

    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        await ledger.add(readings(range(10)))
        broker = Broker("mosquitto", tmp_path)
        tls_port = free_port()
        broker.more = (
            f"listener {tls_port} 127.0.0.1\ncafile {tmp_path}/ca.pem\n"
            f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
            "require_certificate true\n"
        )
        await broker.start()
        url = f"mqtts://127.0.0.1:{tls_port}"
        files = {"ca_file": tmp_path / "ca.pem", "version": version}
        async with City(broker.port).listening() as city:
            stranger = make_sink(ledger, url, **files)
            assert await stranger.probe()  # refused without a certificate
            own = {"cert_file": tmp_path / "client.pem", "key_file": tmp_path / "client.key"}
            async with running_sink(make_sink(ledger, url, **files, **own)):
                await city.until(lambda: len(city.rows) == 10)
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())


# Order and formats, without a broker


def test_the_outbox_holds_each_reading_once_until_it_is_confirmed(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("city",))
        outbox = Outbox(ledger, "city")
        await ledger.add(readings(range(5)))
        await outbox.reset()
        outbox.offer(await ledger.add(readings(range(5, 8))))
        live = [one.reading.sequence for one in outbox.take_live(10)]
        assert live == [5, 6, 7]
        history = await outbox.take_history(10)
        assert [one.reading.sequence for one in history] == [4, 3, 2, 1, 0]
        assert await outbox.take_history(10) == []
        outbox.done([one.id for one in history])
        await ledger.write(lambda store: None)
        await outbox.reset()  # the connection broke: what was live comes again, as history
        again = await outbox.take_history(10)
        assert [one.reading.sequence for one in again] == [7, 6, 5]
        ledger.close()

    asyncio.run(scenario())


def test_a_flood_of_live_readings_falls_back_to_the_ledger_and_loses_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("city",))
        outbox = Outbox(ledger, "city")
        await outbox.reset()
        assert await outbox.take_history(10) == []
        for first in range(0, 12_000, 1000):
            outbox.offer(await ledger.add(readings(range(first, first + 1000))))
        seen = [one.reading.sequence for one in outbox.take_live(99_999)]
        while rows := await outbox.take_history(5000):
            seen += [one.reading.sequence for one in rows]
        assert sorted(seen) == list(range(12_000))
        ledger.close()

    asyncio.run(scenario())


def test_a_catalogue_version_is_never_used_twice_with_another_meaning(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    stored = ledger.call(lambda store: store.add(readings([1])))
    other = ledger.call(lambda store: store.add([reading(1, device="ubung")]))
    first = BatchFormat("test", None, {}, 16384)
    assert first.learn(stored) and not first.learn(stored)
    second = BatchFormat("test", first.state, {}, 16384)
    assert not second.learn(stored)
    assert second.learn(other)
    assert second.state != first.state
    city = City(0)
    for message in (*first.introduce(), *first.messages("live", stored)):
        city.take(message.topic, message.payload)
    assert set(city.rows) == {("kumbasari", "flood", 1)}
    ledger.close()


def test_a_catalogue_that_has_learned_makes_shorter_batches_of_the_same_readings(
    tmp_path: Path,
) -> None:
    """It learns once, keeps it when a value is added, and a restart does not forget it."""
    ledger = open_ledger(tmp_path)
    boat = [
        replace(
            reading(n, device="boat"),
            stream="track",
            values={"lat_e5": -865_000 + 40 * n, "lon_e5": 11_521_000 + 70 * n, "course_deg": 60},
        )
        for n in range(130)
    ]
    stored = ledger.call(lambda store: store.add(boat))
    form = BatchFormat("test", None, {}, 16384)
    first = form.learn(stored[:90])
    assert first and not form.learn(stored[90:95])
    city = City(0)
    for message in first:
        city.take(message.topic, message.payload)
    plain = form.messages("live", stored[120:121])
    later = form.learn(stored[95:110])
    assert later and not form.learn(stored[110:120])
    short = form.messages("live", stored[121:122])
    assert len(short[0].payload) < 0.8 * len(plain[0].payload)
    (extra,) = ledger.call(
        lambda store: store.add([replace(boat[0], sequence=200, values={"speed_dkn": 5})])
    )
    grown = form.learn([extra])
    assert grown
    again = BatchFormat("test", form.state, {}, 16384)
    assert not again.learn(stored[122:130])
    short2 = again.messages("live", stored[122:123])
    assert len(short2[0].payload) < 0.85 * len(plain[0].payload)
    for message in (*plain, *later, *short, *grown, *short2):
        city.take(message.topic, message.payload)
    assert {key[2] for key in city.rows} == {120, 121, 122}
    assert city.rows["boat", "track", 122][1]["lat_deg"] == -865_000 + 40 * 122
    ledger.close()


def test_senml_packs_name_unit_and_time_by_rfc_8428(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    sample = replace(reading(7, 1234), values={"level_mm": 1234, "battery_mv": 3912})
    stored = ledger.call(lambda store: store.add([sample]))
    (message,) = SenmlFormat("test", 16384).messages("live", stored)
    assert cbor2.loads(message.payload) == [
        {-2: "test/kumbasari/flood/", -3: START_MS / 1000 + 70, 0: "sequence", 2: 7},
        {0: "quality", 2: 2},
        {0: "level_mm", 2: 1234, 1: "mm"},
        {0: "battery_v", 2: 3.912, 1: "V"},
    ]
    ledger.close()


def test_home_assistant_is_told_of_each_value_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    stored = ledger.call(lambda store: store.add(readings([1, 2])))
    form = JsonFormat("test", {"kumbasari": 60}, True)
    (message,) = form.learn(stored)
    assert not form.learn(stored)
    assert message.retain and message.topic == "homeassistant/device/tukad_test_kumbasari/config"
    body = json.loads(message.payload)
    assert body["o"]["name"] == "tukad" and body["dev"]["ids"] == ["tukad_test_kumbasari"]
    level = body["cmps"]["level_mm"]
    assert level["p"] == "sensor" and level["device_class"] == "distance"
    assert level["state_topic"] == "tukad/test/reading/kumbasari/flood"
    assert level["expire_after"] == 240
    live = form.messages("live", stored)[0]
    assert live.topic == level["state_topic"]
    assert form.messages("history", stored)[0].topic == "tukad/test/history/kumbasari/flood"
    assert json.loads(live.payload)["values"] == {"level_mm": 100}
    ledger.close()


def test_a_batch_that_is_too_long_is_split(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    stored = ledger.call(
        lambda store: store.add([reading(n, n * 7919 % 15000) for n in range(2000)])
    )
    form = BatchFormat("test", None, {}, 1000)
    form.learn(stored)
    messages = form.messages("history", stored)
    assert all(len(message.payload) <= 1000 for message in messages)
    assert sorted(i for message in messages for i in message.ids) == [one.id for one in stored]
    ledger.close()


def test_units_come_from_the_last_word_of_a_name() -> None:
    assert (channel("level_mm").unit, channel("level_mm").decimals) == ("mm", 0)
    assert (channel("water_temp_cdeg").unit, channel("water_temp_cdeg").decimals) == ("Cel", 2)
    assert (channel("battery_mv").unit, channel("battery_mv").decimals) == ("V", 3)
    assert channel("battery_mv").name == "battery_v"
    assert channel("stage").unit == ""


def test_batches_build_on_what_the_city_confirmed_and_stand_alone_when_it_lost_it(
    tmp_path: Path,
) -> None:
    """Short batches become much shorter; a city that forgot gets everything again."""

    async def scenario() -> None:
        ledger = open_ledger(tmp_path, sinks=("mqtt",))
        broker = Broker("embedded", tmp_path)
        await broker.start()
        sink = make_sink(ledger, f"mqtt://127.0.0.1:{broker.port}")
        sizes: dict[int, int] = {}
        rows: set[int] = set()
        refused = 0
        catalogue = b""
        decoder = Decoder()
        async with (
            running_sink(sink),
            aiomqtt.Client("127.0.0.1", broker.port) as city,
        ):
            await city.subscribe("tukad/test/catalogue", 1)
            await city.subscribe("tukad/test/batch/+", 1)

            async def hear(until: int, acknowledge: bool) -> None:
                nonlocal refused, catalogue
                while until not in rows:
                    message = await anext(city.messages)
                    payload = bytes(message.payload)
                    known = decoder.counts["batches"]
                    if message.topic.matches("tukad/test/catalogue"):
                        catalogue = payload
                    for item in decoder.feed(str(message.topic), payload):
                        if isinstance(item, Refusal):
                            refused += 1
                            body = json.dumps({"refused": "reference"})
                            await city.publish("tukad/test/acknowledged", body, 1)
                        elif isinstance(item, CityReading) and item.sequence is not None:
                            rows.add(item.sequence)
                            sizes[item.sequence] = len(payload)
                    if acknowledge and decoder.counts["batches"] > known:
                        batch = decoder.references("test")[0]
                        body = json.dumps({"batch": batch.number, "check": batch.check})
                        await city.publish("tukad/test/acknowledged", body, 1)

            async with asyncio.timeout(30):
                for n in range(12):
                    sink.outbox.offer(await ledger.add([reading(n, 1000 + n)]))
                    await hear(n, acknowledge=True)
                assert max(sizes[n] for n in range(6, 12)) <= sizes[0] - 4, sizes
                decoder = Decoder()  # the city restarts and has forgotten everything
                list(decoder.feed("tukad/test/catalogue", catalogue))  # it is retained
                sink.outbox.offer(await ledger.add([reading(12, 1012), reading(13, 1013)]))
                await hear(13, acknowledge=False)
            assert refused and rows == set(range(14))
        await broker.stop()
        ledger.close()

    asyncio.run(scenario())
