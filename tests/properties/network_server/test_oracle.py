"""A device played by npm `lora-packet`: the server takes its frames, and it takes the server's."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.lorawan.config import LorawanConfig
from tests.gateway.lorawan.ends import JOIN_EUI, EndDevice, Site

ORACLES = Path(__file__).parents[2] / "oracles"
FRAMES = 250

pytestmark = pytest.mark.node

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask() -> Iterator[Ask]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed: lora-packet cannot be asked")
    if not (ORACLES / "node_modules/lora-packet").is_dir():
        pytest.skip("lora-packet is not installed: run `npm ci` in tests/oracles")
    process = subprocess.Popen(
        [found, str(ORACLES / "lora_packet.js")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def question(op: str, **values: Any) -> dict[str, Any]:
        stdin.write(json.dumps({"op": op, **values}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        assert "error" not in answer, answer
        return answer

    yield question
    stdin.close()
    process.wait(10)
    stdout.close()


def test_a_device_of_another_make_lives_with_our_server(ask: Ask, tmp_path: Path) -> None:
    config = LorawanConfig(
        device_status_h=0, adr=False, duty_percent=100, extra_channels_hz=(921_800_000,)
    )
    site = Site(tmp_path, config)
    node = site.add(EndDevice(3))
    key = node.key.hex()
    request = ask(
        "join_request", join_eui=JOIN_EUI, dev_eui=node.dev_eui, dev_nonce="0001", app_key=key
    )
    site.hear(bytes.fromhex(request["phy"]))
    accept_phy = site.sent.pop().phy
    accept = ask("read_join_accept", phy=accept_phy.hex(), app_key=key)
    assert accept["mic"]
    assert accept["cf_list"][:6] == (9_218_000).to_bytes(3, "little").hex()
    keys = ask(
        "join_accept",
        **{name: accept[name] for name in ("join_nonce", "net_id", "dev_addr")},
        dl_settings=accept["dl_settings"],
        rx_delay=accept["rx_delay"],
        cf_list="",
        dev_nonce="0001",
        app_key=key,
    )
    site.advance(8000)
    dice = random.Random(11)
    f_cnt, f_cnt_down = -1, -1
    for _ in range(FRAMES):
        site.pull(site.gateways[0])
        f_cnt += dice.choice((1, 1, 2, 40, 300, 65_000))
        payload = dice.randbytes(dice.randint(1, 11))
        confirmed = dice.random() < 0.5
        reply = dice.randbytes(dice.randint(1, 11)) if dice.random() < 0.3 else b""
        if reply:
            _, out = site.server.queue_downlink(node.name, 9, reply, False, 60, site.now)
            site.take(out)
        frame = ask(
            "encode",
            m_type=4 if confirmed else 2,
            dev_addr=accept["dev_addr"],
            f_cnt=f_cnt,
            adr=False,
            adr_ack_req=False,
            ack=False,
            f_pending=False,
            f_opts="02" if dice.random() < 0.2 else "",
            f_port=dice.randint(1, 223),
            payload=payload.hex(),
            nwk=keys["nwk"],
            app=keys["app"],
        )
        site.hear(bytes.fromhex(frame["phy"]))
        uplink = site.deliveries[-1].uplink
        assert (uplink.payload, uplink.f_cnt, uplink.confirmed) == (payload, f_cnt, confirmed)
        if confirmed or reply:
            f_cnt_down += 1
            phy = site.sent.pop().phy
            down = ask("decode", phy=phy.hex(), f_cnt=f_cnt_down, nwk=keys["nwk"], app=keys["app"])
            assert down["mic"] and down["dir"] == "down" and down["dev_addr"] == accept["dev_addr"]
            assert (down["ack"], down["payload"]) == (confirmed, reply.hex())
        elif site.sent:
            f_cnt_down += 1
            site.sent.clear()
        site.advance(5000)
    site.close()
