"""Delivery to receivers that lose answers, fail and hang; acknowledgement and escalation."""

import asyncio
import hashlib
import hmac
import json
import ssl
import tomllib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.acts.cap.outbox import ACKNOWLEDGED, Outbox
from gateway.acts.cap.settings import CapSettings
from gateway.config import ConfigError, build
from gateway.config import Place as File
from gateway.model import CLEARED, ESCALATED, RAISED
from tests.gateway.acts.cap.world import (
    Receiver,
    World,
    alarm,
    check,
    receiver_section,
    serving,
    text,
    until,
)

SOON = "ack_min = 0.005"  # 0.3 s: to be overdue within a test


@pytest.mark.parametrize("fault", ["500", "lost", "mute", "cut", "redirect"])
def test_a_receiver_that_fails_gets_it_until_it_answers(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        receiver = Receiver(fault, fault)
        async with serving(receiver):
            more = "bearer_file = 'secret'\nhmac_file = 'secret'"
            section = receiver_section("112", receiver, more)
            world = World(tmp_path, section.replace("timeout_s = 5", "timeout_s = 0.2"))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.counters()["posted"] == 1)
                assert act.faults() == {}
            assert len(receiver.requests) == 3
            assert len({head["idempotency-key"] for head, _ in receiver.requests}) == 1
            for head, body in receiver.requests:
                assert head["authorization"] == "Bearer s3cret-of-112"
                wanted = hmac.new(b"s3cret-of-112", body, hashlib.sha256).hexdigest()
                assert head["x-tukad-signature"] == f"sha256={wanted}"
                check(json.loads(body)["cap"].encode(), world.pin)
            assert receiver.types() == ["Alert"]

    asyncio.run(scenario())


def test_a_redirect_leads_no_secret_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver, thief = Receiver(default="redirect"), Receiver()
        async with serving(receiver, thief):
            receiver.elsewhere = thief.url
            more = "bearer_file = 'secret'"
            world = World(tmp_path, receiver_section("112", receiver, more))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: len(receiver.requests) == 2)
                assert thief.requests == []
                assert act.faults()["cap.waiting", "112"].count("307") == 1

    asyncio.run(scenario())


def test_news_that_was_taken_makes_the_older_ones_useless() -> None:
    table = '[[receiver]]\nname = "112"\nurl = "https://112.example"\nack_min = 10'
    section = build(CapSettings, tomllib.loads(f'sender = "a@b"\n{table}'), File(Path("x")))
    outbox = Outbox(section.receiver)
    one = {
        "receiver": "112",
        "incident": "i",
        "msg_type": "Alert",
        "expires_ms": 10**13,
        "created_ms": 0,
    }
    outbox.restore(
        [
            {**one, "number": 1, "identifier": "a", "needs_ack": True},
            {**one, "number": 2, "identifier": "b", "needs_ack": False},
            {**one, "number": 3, "identifier": "c", "needs_ack": False, "incident": "j"},
        ],
        0,
        0,
    )
    first, second, other = outbox.deliveries
    outbox.failed(first, "HTTP 500", 0, 1.0, is_line=False)
    outbox.succeeded(second)
    assert (first.state, second.state, other.state) == ("obsolete", "sent", "waiting")
    assert second.needs_acknowledgement  # what the first one asked for
    assert [one.identifier for one in outbox.due("112", 10**6)] == ["c"]


def certificate_for(address: str, path: Path) -> Path:
    """A key and a self-signed certificate of an address in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "112")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("address", "is_known", "is_good"),
    [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("10.0.0.1", True, False)],
)
def test_a_receiver_must_be_who_its_certificate_says(
    tmp_path: Path, address: str, is_known: bool, is_good: bool
) -> None:
    async def scenario() -> None:
        pem = certificate_for(address, tmp_path / "112.pem")
        receiver = Receiver()
        receiver.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        receiver.tls.load_cert_chain(pem)
        async with serving(receiver):
            more = "bearer_file = 'secret'\n" + ("ca_file = '112.pem'" if is_known else "")
            world = World(tmp_path, receiver_section("112", receiver, more))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                if is_good:
                    await until(lambda: receiver.types() == ["Alert"])
                else:
                    await until(lambda: ("cap.waiting", "112") in act.faults())
                    assert "certificate" in act.faults()["cap.waiting", "112"].lower()
                    assert receiver.requests == []  # and no secret was shown

    asyncio.run(scenario())


def test_while_the_internet_is_away_it_waits_over_a_kill_and_a_fault_says_so(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        await receiver.start()
        await receiver.stop()  # the port is known, and nobody listens
        more = 'person = "Pusdalops 0361-223333"'
        world = World(tmp_path, receiver_section("112", receiver, more))
        async with world.running() as act:
            await act.handle(1, alarm(RAISED, 1))
            await act.handle(2, alarm(ESCALATED, 3, number=1))
            await until(lambda: ("cap.waiting", "112") in act.faults())
            fault = act.faults()["cap.waiting", "112"]
            assert "2 alerts wait for the internet" in fault
            assert "0361-223333" in fault
            assert act.counters()["now_waiting"] == 2
            assert len(world.files) == 2  # no internet is needed for those
        async with world.running() as act:  # as after kill -9: nothing of memory is left
            await receiver.start()
            await until(lambda: act.counters()["now_waiting"] == 0)
            assert receiver.types() == ["Alert", "Update"]
            assert act.faults() == {}
        async with world.running() as act:
            await act.handle(3, alarm(CLEARED, 0, number=2))
            await until(lambda: act.counters()["now_waiting"] == 0)
            assert receiver.types() == ["Alert", "Update", "Cancel"]
        await receiver.stop()

    asyncio.run(scenario())


def test_one_dead_receiver_does_not_hold_up_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        good, mute = Receiver(), Receiver(default="mute")
        async with serving(good, mute):
            section = receiver_section("112", mute) + receiver_section("damakesmas", good)
            world = World(tmp_path, section)
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: good.types() == ["Alert"])
                assert mute.requests or act.counters()["now_waiting"] == 1

    asyncio.run(scenario())


def test_a_message_that_a_receiver_refuses_does_not_block_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver("500", default="ok")
        async with serving(receiver):
            section = receiver_section("112", receiver).replace("0.05", "60")
            world = World(tmp_path, section)
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 1))
                await until(lambda: act.counters()["post_errors"] == 1)
                await act.handle(2, alarm(ESCALATED, 3, number=1))
                await until(lambda: act.counters()["now_waiting"] == 0)

    asyncio.run(scenario())


def test_a_receiver_gets_what_it_wants_in_its_format(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            section = receiver_section("112", receiver, 'wants = ["rescue"]\nformat = "cap"')
            world = World(tmp_path, section)
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await act.handle(2, alarm(RAISED, 3, device="jacket-7", kind="sos"))
                await until(lambda: receiver.requests)
            ((head, body),) = receiver.requests
            assert head["content-type"].startswith("application/cap+xml")
            check(body, world.pin)
            assert text(body, "category") == "Rescue"

    asyncio.run(scenario())


def test_an_answer_may_acknowledge_and_a_huge_one_is_only_an_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = Receiver("ack"), Receiver("huge")
        async with serving(first, second):
            section = receiver_section("112", first, "ack_min = 5")
            section += receiver_section("bpbd", second, "ack_min = 5")
            world = World(tmp_path, section)
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.counters()["posted"] == 2)
                states = {one.receiver: (one.state, one.by) for one in act.outbox.deliveries}
                assert states == {"112": (ACKNOWLEDGED, "Wayan"), "bpbd": ("sent", "")}

    asyncio.run(scenario())


def test_without_acknowledgement_the_next_one_is_told_and_an_alarm_raised(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second, third = Receiver(), Receiver(), Receiver(default="ack")
        async with serving(first, second, third):
            person = 'person = "Kepala Pusdalops, 0812"\n'
            section = receiver_section("112", first, f'{person}{SOON}\nnext = "bpbd"')
            section += receiver_section("bpbd", second, f'{SOON}\nnext = "mayor"\nreserve = true')
            section += receiver_section("mayor", third, f"{SOON}\nreserve = true")
            world = World(tmp_path, section)
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: third.taken)
                await until(lambda: len(world.raised) >= 2)
                assert first.types() == second.types() == third.types() == ["Alert"]
                assert [(one.device, one.event) for one in world.raised] == [
                    ("112", RAISED),
                    ("bpbd", RAISED),
                ]
                assert "Kepala Pusdalops, 0812" in world.raised[0].text_id
                assert "bpbd" in world.raised[0].text_en
                assert "0812" in act.faults()["cap.unacknowledged", "112"]
                # The alarm that says so asks for no alert of its own.
                await act.handle(2, world.raised[0])
                assert len(act.messages) == 1
            async with world.running() as act:  # it is not escalated again after a restart
                identifier = act.messages[0].identifier
                assert await act.acknowledge(identifier, "112", "Made")
                await until(lambda: len(world.raised) == 3)
                assert (world.raised[2].device, world.raised[2].event) == ("112", CLEARED)
                assert world.raised[2].incident == world.raised[0].incident
                assert ("cap.unacknowledged", "112") not in act.faults()
                # The end of the flood goes to everybody who heard of it, and ends the waiting.
                await act.handle(3, alarm(CLEARED, 0, number=1))
                await until(lambda: len(world.raised) == 4)
                await until(lambda: third.types() == ["Alert", "Cancel"])
                assert (world.raised[3].device, world.raised[3].event) == ("bpbd", CLEARED)

    asyncio.run(scenario())


def test_acknowledgement_by_post_needs_the_receivers_secret(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            more = "ack_min = 5\nhmac_file = 'secret'"
            world = World(tmp_path, receiver_section("112", receiver, more))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.server.port and act.counters()["posted"] == 1)
                url = f"http://127.0.0.1:{act.server.port}/ack"
                body = json.dumps({"identifier": act.messages[0].identifier, "by": "Ketut\x00"})
                good = hmac.new(b"s3cret-of-112", body.encode(), hashlib.sha256).hexdigest()
                async with httpx.AsyncClient() as client:
                    for headers in ({}, {"X-Tukad-Signature": f"sha256={good[:-1]}x"}):
                        answer = await client.post(url, content=body, headers=headers)
                        assert answer.status_code == 401
                    assert act.outbox.deliveries[0].state == "sent"
                    signed = {"X-Tukad-Signature": f"sha256={good}"}
                    answer = await client.post(url, content=body, headers=signed)
                    assert answer.json() == {"acknowledged": True}
                    again = await client.post(url, content=body, headers=signed)
                    assert again.status_code == 200
            world.start()
            assert world.act.outbox.deliveries[0].state == ACKNOWLEDGED
            assert world.act.outbox.deliveries[0].by == "Ketut"
            world.crash()

    asyncio.run(scenario())


def test_a_receiver_without_a_secret_cannot_be_impersonated(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver, "ack_min = 5"))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.server.port and act.counters()["posted"] == 1)
                body = json.dumps({"identifier": act.messages[0].identifier})
                empty = hmac.new(b"", body.encode(), hashlib.sha256).hexdigest()
                url = f"http://127.0.0.1:{act.server.port}/ack"
                async with httpx.AsyncClient() as client:
                    for headers in (
                        {"X-Tukad-Signature": f"sha256={empty}"},
                        {"Authorization": "Bearer"},
                    ):
                        answer = await client.post(url, content=body, headers=headers)
                        assert answer.status_code == 401

    asyncio.run(scenario())


def test_acknowledgement_by_mqtt_and_rubbish_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver, "ack_min = 5"))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await until(lambda: act.counters()["posted"] == 1)
                topic = f"{world.messages.prefix}cap/ack"
                for rubbish in (b"", b"[]", b"\xff", b'{"identifier": 1}', b"[" * 100_000):
                    assert world.messages.deliver(topic, rubbish)
                identifier = act.messages[0].identifier
                table = {"identifier": identifier, "receiver": "112", "by": "Nyoman"}
                assert world.messages.deliver(topic, json.dumps(table).encode())
                await until(lambda: act.outbox.deliveries[0].by == "Nyoman")

    asyncio.run(scenario())


def test_repeats_and_better_news_ask_nobody_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        receiver = Receiver()
        async with serving(receiver):
            world = World(tmp_path, receiver_section("112", receiver, "ack_min = 5"))
            async with world.running() as act:
                await act.handle(1, alarm(RAISED, 3))
                await act.handle(2, alarm("lowered", 2, number=1))
                await act.handle(3, alarm(ESCALATED, 3, number=2))
                await until(lambda: act.counters()["posted"] == 3)
                assert [one.needs_ack for one in act.outbox.deliveries] == [True, False, True]
                # Who has seen the newest one has seen them all.
                newest = act.messages[0].identifier
                assert await act.acknowledge(newest, "112", "Putu")
                assert not any(one.needs_acknowledgement for one in act.outbox.deliveries)
                assert not await act.acknowledge("urn:uuid:0", "112", "Putu")
                assert not await act.acknowledge(newest, "nobody", "Putu")

    asyncio.run(scenario())


def test_the_time_for_an_acknowledgement_goes_on_over_a_restart() -> None:
    table = '[[receiver]]\nname = "112"\nurl = "https://112.example"\nack_min = 10'
    section = build(CapSettings, tomllib.loads(f'sender = "a@b"\n{table}'), File(Path("x")))
    outbox = Outbox(section.receiver)
    state = {
        "receiver": "112",
        "number": 1,
        "identifier": "a",
        "incident": "i",
        "msg_type": "Alert",
        "expires_ms": 10**13,
        "created_ms": 1_000_000,
        "needs_ack": True,
    }
    for now_ms, left_ms in (
        (1_000_000 + 240_000, 360_000),
        (1_000_000 - 10**9, 600_000),  # the clock was set back meanwhile: never more than all
        (1_000_000 + 10**9, 0),
    ):
        outbox.restore([state], now_ms, 5_000)
        assert outbox.overdue(5_000 + left_ms - 1) == []
        assert len(outbox.overdue(5_000 + left_ms)) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('url = "http://112.example/cap"', "in the clear"),
        ('url = "https://user:word@112.example/cap"', "secrets go into a file"),
        ('url = "ftp://112.example"', "is not a URL"),
        ('url = "https://112.example"\nnext = "112"', "cannot escalate to itself"),
        ('url = "https://112.example"\nack_min = 5\nnext = "x"', "no such receiver"),
        ('url = "https://112.example"\nwants = ["floods"]', "did you mean flood"),
    ],
)
def test_a_wrong_receiver_is_a_clear_line(line: str, words: str) -> None:
    text = f'sender = "a@b"\n[[receiver]]\nname = "112"\n{line}'
    with pytest.raises(ConfigError, match=words):
        build(CapSettings, tomllib.loads(text), File(Path("gateway.toml")))
