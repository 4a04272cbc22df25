"""A junction's process: lamps on a real board, flash when anything breaks, news over its socket."""

import asyncio
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.atcs.service.letters import Opener, RefusedError, seal
from tests.gateway.atcs.relayboard import RelayBoard
from tests.gateway.atcs.service import NAME, junction, write
from tests.gateway.peers import free_port

WATCHDOG, FLASH = 18, 19
W_RED, W_GREEN = 0, 2
KEY = b"0123456789abcdef0123456789abcdef"


def toggles(log: list[tuple[bool, ...]]) -> int:
    return sum(a[WATCHDOG] != b[WATCHDOG] for a, b in pairwise(log))


def test_it_starts_through_all_red_and_pulses_the_watchdog(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        async with junction(write(tmp_path, relay.port)) as process:
            await relay.until(lambda: relay.coils[W_GREEN])
            first = next(k for k, coils in enumerate(relay.log) if coils[W_GREEN])
            assert all(not c[FLASH] for c in relay.log[first - 15 : first])
            assert all(c[W_RED] and not c[W_GREEN] for c in relay.log[first - 15 : first])
            relay.inputs[3] = True
            begin = len(relay.log)
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            await relay.until(lambda: len(relay.log) > begin + 30)
            assert toggles(relay.log[begin:]) >= 28, "every tick turns it over"
            await process.until(lambda: process.last("status").get("state", {}).get("detectors"))
            status = process.last("status")
            assert status["running"] and status["state"]["detectors"] & 1 << 3
        assert not any(relay.coils[:16]) and relay.coils[FLASH], "ended: dark, and flash asked for"
        await relay.stop()

    asyncio.run(scenario())


def test_a_board_that_dies_means_flash_latched_until_reset_by_hand(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        async with junction(write(tmp_path, relay.port)) as process:
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            relay.silent = True
            await process.until(lambda: process.last("spat").get("mode") == "fault")
            alarm = process.last("alarm")
            assert alarm["kind"] == "fault" and "board rack" in alarm["subject"]
            before = len(relay.log)
            relay.silent = False
            await relay.until(lambda: len(relay.log) > before + 20)
            assert process.last("spat")["mode"] == "fault" and relay.coils[FLASH]
            relay.inputs[10] = True
            await process.until(lambda: process.last("spat").get("mode") in ("start", "red"))
            relay.inputs[10] = False
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            assert process.last("alarm")["over"]
        await relay.stop()

    asyncio.run(scenario())


def test_killed_it_leaves_a_watchdog_that_stands_still(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        async with junction(write(tmp_path, relay.port)) as process:
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            assert await process.end(signal.SIGKILL) == -signal.SIGKILL
            count = len(relay.log)
            await asyncio.sleep(0)
            assert len(relay.log) <= count + 1
        # A socket file left behind does not keep the next one from starting.
        async with junction(process.config) as again:
            await again.until(lambda: again.last("spat").get("mode") == "plan")
        await relay.stop()

    asyncio.run(scenario())


def test_a_red_lamp_that_burns_no_more_means_flash(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        async with junction(write(tmp_path, relay.port)) as process:
            await relay.until(lambda: relay.coils[W_GREEN])
            relay.inputs[13] = True
            await process.until(lambda: process.last("alarm").get("kind") == "lamp")
            assert process.last("alarm")["subject"] == "W green"
            assert process.last("spat")["mode"] == "plan"
            relay.inputs[3] = True
            await relay.until(lambda: relay.coils[W_RED])
            await process.until(lambda: process.last("spat").get("mode") == "fault", 25)
            subjects = [m["subject"] for m in process.said if m["is"] == "alarm"]
            assert "red lamp of W does not burn" in subjects and "W red" in subjects
        await relay.stop()

    asyncio.run(scenario())


def test_news_over_the_socket_and_nonsense(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = RelayBoard()
        await relay.start()
        async with junction(write(tmp_path, relay.port, flood=True)) as process:
            await process.until(lambda: process.last("spat").get("mode") == "plan")
            process.send(do="stage", sensor="kumbasari-1", stage=2, age_s=3)
            await process.until(lambda: process.last("spat").get("closed") == ["S"])
            process.send(do="stage", sensor="kumbasari-1", stage=9, age_s=3)
            process.send(do="priority", vehicle="taxi-9", approach="ambulance-east", eta_s=5)
            process.send(do="priority", vehicle="fire-01", approach="ambulance-east", eta_s=5)
            process.send(do="explode")
            process.send(do="plan", plan="nothing")
            await process.until(lambda: process.last("spat").get("mode") == "preempt")
            await process.until(lambda: process.last("status")["refused"].get("plan"))
            assert process.last("status")["refused"] == {"message": 1, "unknown": 1, "plan": 1}
            requests = "\n".join(process.last("status")["requests"])
            assert "taxi-9 is not in ambulance-east" in requests and "fire-01 in 5 s" in requests
            process.send(do="passed", vehicle="fire-01")
            await process.until(lambda: process.last("spat").get("mode") == "plan", 30)
            process.send(do="plan", plan="morning")
            await process.until(lambda: process.last("spat").get("pattern") == "morning")
            with socket.socket(socket.AF_UNIX) as loud:
                loud.connect(str(process.socket))
                loud.sendall(b"\xff" * 200_000 + b"\n")
            process.send(do="plan", plan="")
            # The calendar's again; a closed road has a plan of its own.
            await process.until(lambda: process.last("spat").get("pattern") == "river-closed")
        log = next((tmp_path / "data/atcs" / NAME).glob("hires-*.csv")).read_text().splitlines()
        assert log[0] == "TimeStamp,DeviceId,EventId,Parameter" and len(log) > 20
        await relay.stop()

    asyncio.run(scenario())


def test_neighbours_hear_of_departures_and_take_no_forgeries(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY.decode())

    async def scenario() -> None:
        relay, downstream = RelayBoard(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        downstream.bind(("127.0.0.1", 0))
        downstream.setblocking(False)
        await relay.start()
        port = free_port()
        config = write(
            tmp_path, relay.port,
            junction=f'udp = "127.0.0.1:{port}"\nkey_file = "key"\n[[junction.neighbour]]\n'
            f'name = "next"\naddress = "127.0.0.1:{downstream.getsockname()[1]}"',
        )  # fmt: skip
        plan = tmp_path / "plan.toml"
        plan.write_text(
            plan.read_text() + '\n[[upstream]]\njunction = "up"\nmovement = "E"\nto = "W"\n'
            "travel_s = 20\n"
        )
        loop = asyncio.get_running_loop()
        async with junction(config) as process:
            await relay.until(lambda: relay.coils[W_GREEN])
            for _ in range(3):
                relay.inputs[0] = True
                before = len(relay.log)
                await relay.until(lambda before=before: len(relay.log) > before + 2)
                relay.inputs[0] = False
                await relay.until(lambda before=before: len(relay.log) > before + 5)
            async with asyncio.timeout(10):
                data = await loop.sock_recv(downstream, 4096)
            letter = Opener(KEY).open(data, int(time.time() * 1000))
            assert letter["from"] == NAME and letter["left"]["W"] >= 1
            good = seal(KEY, "up", int(time.time() * 1000), {"left": {"E": 5}})
            for data in (good, good, good.replace(b'"E":5', b'"E":9'), b"{", b"\0" * 5000):
                downstream.sendto(data, ("127.0.0.1", port))
            await process.until(
                lambda: sum(process.last("status")["neighbours"]["refused"].values()) == 4
            )
            counters = process.last("status")["neighbours"]
            assert counters["heard"] == 1 and counters["sent"] >= 1
            assert counters["refused"] == {
                "repeated": 1, "forged": 1, "not JSON": 1, "too long": 1,
            }  # fmt: skip
        downstream.close()
        await relay.stop()

    asyncio.run(scenario())


def test_letters_are_refused_when_old_repeated_forged_or_strange() -> None:
    opener = Opener(KEY)
    good = seal(KEY, "a", 1_000_000, {"left": {"N": 2}})
    assert opener.open(good, 1_002_000)["left"] == {"N": 2}
    cases = [
        (good, 1_002_000, "repeated"),
        (seal(KEY, "a", 1_000_500, {}), 1_009_000, "old"),
        (seal(KEY, "a", 1_020_000, {}), 1_009_000, "old"),
        (seal(b"another key of some length", "a", 1_003_000, {}), 1_003_000, "forged"),
        (b"[1]", 0, "not an object"),
        (b'{"mac": 5}', 0, "forged"),
        (b'{"mac": "\xc3\xa9"}', 0, "forged"),
        (b"[" * 3000, 0, "not JSON"),
        (b'{"a": NaN, "mac": "x"}', 0, "forged"),
    ]
    for data, now_ms, reason in cases:
        with pytest.raises(RefusedError) as caught:
            opener.open(data, now_ms)
        assert str(caught.value) == reason, data
    assert opener.open(seal(KEY, "a", 1_003_000, {}), 1_003_000)
    assert opener.open(seal(KEY, "b", 1_001_000, {}), 1_003_000), "each sender counts for itself"
    for k in range(300):
        if len(opener._last) < 256:
            opener.open(seal(KEY, f"s{k}", 1_003_000, {}), 1_003_000)
    with pytest.raises(RefusedError, match="too many senders"):
        opener.open(seal(KEY, "one more", 1_003_000, {}), 1_003_000)
