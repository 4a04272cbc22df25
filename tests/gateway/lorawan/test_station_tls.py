"""Basics Station over TLS with client certificates."""

import asyncio
import datetime
import ipaddress
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from gateway.lorawan.config import LorawanConfig, SettingError, StationConfig
from gateway.lorawan.embedded import EmbeddedService
from gateway.lorawan.model import Uplink


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


async def nothing(uplink: Uplink) -> None:
    """An agent that takes everything."""


def test_stations_need_their_certificate(tmp_path: Path) -> None:
    server, server_key = certificate(tmp_path, "server")
    client, client_key = certificate(tmp_path, "client")
    config = LorawanConfig(
        bind="",
        station=StationConfig(
            listen="127.0.0.1:0", certificate=server, key=server_key, client_ca=client
        ),
    )

    async def scenario() -> None:
        service = EmbeddedService(config, tmp_path)
        task = asyncio.create_task(service.run(nothing))
        await service.ready.wait()
        assert service.station_address is not None
        uri = f"wss://127.0.0.1:{service.station_address[1]}/router-info"
        trusting = ssl.create_default_context(cafile=str(server))
        with pytest.raises((OSError, ConnectionClosed, InvalidMessage)):
            async with connect(uri, ssl=trusting) as stranger:
                await stranger.send("{}")
                await stranger.recv()
        trusting.load_cert_chain(client, client_key)
        async with connect(uri, ssl=trusting) as station:
            await station.send('{"router": "::1"}')
            assert json.loads(await station.recv())["uri"].startswith("wss://127.0.0.1:")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        service.close()

    asyncio.run(scenario())


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("this is no certificate")
    config = LorawanConfig(
        bind="", station=StationConfig(listen="127.0.0.1:0", certificate=wrong, key=wrong)
    )
    service = EmbeddedService(config, tmp_path)
    with pytest.raises(SettingError, match=r"lorawan\.station\.certificate cannot be used"):
        asyncio.run(service.run(nothing))
    service.close()
