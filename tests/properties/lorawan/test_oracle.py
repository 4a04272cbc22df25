"""Our frames against npm `lora-packet`, in both directions, over thousands of random ones."""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols.lorawan import frames
from protocols.lorawan.crypto import BlockKey, derive_session_keys
from tests.protocols.lorawan.aes import aes

ORACLES = Path(__file__).parents[2] / "oracles"
DATA_FRAMES = 3000
JOINS = 1000

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed: lora-packet cannot be asked")
    if not (ORACLES / "node_modules/lora-packet").is_dir():
        pytest.skip("lora-packet is not installed: run `npm ci` in tests/oracles")
    yield found


def ask(node: str, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All questions to one process; its answers in order."""
    done = subprocess.run(
        [node, str(ORACLES / "lora_packet.js")],
        input="".join(json.dumps(question) + "\n" for question in questions),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(questions), done.stderr[-2000:]
    return answers


def random_frame(rng: random.Random) -> dict[str, Any]:
    is_up = rng.random() < 0.5
    m_type = rng.choice((2, 4) if is_up else (3, 5))
    f_port = rng.choice((-1, 0, 1, 223, 255, rng.randrange(1, 224)))
    opts = b"" if f_port == 0 else rng.randbytes(rng.choice((0, 1, 3, 15)))
    room = 255 - 13 - len(opts)
    size = 0 if f_port < 0 else rng.choice((0, 1, 11, 15, 16, 17, 51, room, rng.randrange(room)))
    return {
        "m_type": m_type,
        "dev_addr": rng.randbytes(4).hex(),
        "f_cnt": rng.choice((0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF, rng.randrange(1 << 32))),
        "adr": rng.random() < 0.5,
        "adr_ack_req": is_up and rng.random() < 0.5,
        "ack": rng.random() < 0.5,
        "f_pending": not is_up and rng.random() < 0.5,
        "f_opts": opts.hex(),
        "f_port": f_port,
        "payload": rng.randbytes(size).hex(),
        "nwk": rng.randbytes(16).hex(),
        "app": rng.randbytes(16).hex(),
    }


def ours(frame: dict[str, Any]) -> bytes:
    payload, opts = bytes.fromhex(frame["payload"]), bytes.fromhex(frame["f_opts"])
    f_ctrl = (
        frame["adr"] * frames.ADR
        | frame["adr_ack_req"] * frames.ADR_ACK_REQ
        | frame["ack"] * frames.ACK
        | frame["f_pending"] * frames.F_PENDING
    )
    buf = bytearray(255)
    size = frames.encode_data_into(
        buf,
        frame["m_type"],
        int(frame["dev_addr"], 16),
        f_ctrl,
        frame["f_cnt"],
        opts,
        len(opts),
        frame["f_port"],
        payload,
        len(payload),
        BlockKey(aes, bytes.fromhex(frame["nwk"])),
        BlockKey(aes, bytes.fromhex(frame["app"])),
    )
    return bytes(buf[:size])


def test_data_frames_are_the_same_bytes(node: str) -> None:
    rng = random.Random(1)
    wanted = [random_frame(rng) for _ in range(DATA_FRAMES)]
    answers = ask(node, [{"op": "encode", **frame} for frame in wanted])
    for frame, answer in zip(wanted, answers, strict=True):
        assert ours(frame).hex() == answer.get("phy"), (frame, answer)


def test_lora_packet_reads_our_data_frames(node: str) -> None:
    rng = random.Random(2)
    wanted = [random_frame(rng) for _ in range(DATA_FRAMES)]
    answers = ask(node, [{"op": "decode", **f, "phy": ours(f).hex()} for f in wanted])
    for frame, answer in zip(wanted, answers, strict=True):
        assert answer == {
            "m_type": frame["m_type"],
            "dir": "up" if frame["m_type"] in (2, 4) else "down",
            "dev_addr": frame["dev_addr"],
            "f_cnt_16": frame["f_cnt"] & 0xFFFF,
            "adr": frame["adr"],
            "ack": frame["ack"],
            "f_opts": frame["f_opts"],
            "f_port": frame["f_port"],
            "mic": True,
            "payload": frame["payload"],
        }, frame


def test_we_read_the_data_frames_of_lora_packet(node: str) -> None:
    rng = random.Random(3)
    wanted = [random_frame(rng) for _ in range(DATA_FRAMES)]
    answers = ask(node, [{"op": "encode", **frame} for frame in wanted])
    parsed = frames.DataFrame()
    for frame, answer in zip(wanted, answers, strict=True):
        buf = bytearray.fromhex(answer["phy"])
        nwk = BlockKey(aes, bytes.fromhex(frame["nwk"]))
        app = BlockKey(aes, bytes.fromhex(frame["app"]))
        parsed.parse(buf, len(buf))
        assert parsed.m_type == frame["m_type"]
        assert parsed.dev_addr == int(frame["dev_addr"], 16)
        assert parsed.f_cnt_16 == frame["f_cnt"] & 0xFFFF
        assert parsed.f_port == frame["f_port"]
        assert parsed.check_mic(buf, frame["f_cnt"], nwk)
        assert not parsed.check_mic(buf, frame["f_cnt"] ^ 0x10000, nwk)
        parsed.open(buf, frame["f_cnt"], nwk, app)
        end = parsed.payload_start + parsed.payload_len
        assert buf[parsed.payload_start : end].hex() == frame["payload"]
        start = parsed.f_opts_start
        assert buf[start : start + parsed.f_opts_len].hex() == frame["f_opts"]


def random_join(rng: random.Random) -> dict[str, Any]:
    return {
        "app_key": rng.randbytes(16).hex(),
        "join_eui": rng.randbytes(8).hex(),
        "dev_eui": rng.randbytes(8).hex(),
        "dev_nonce": rng.randbytes(2).hex(),
        "join_nonce": rng.randbytes(3).hex(),
        "net_id": rng.randbytes(3).hex(),
        "dev_addr": rng.randbytes(4).hex(),
        "dl_settings": bytes([rng.randrange(128)]).hex(),
        "rx_delay": bytes([rng.randrange(1, 16)]).hex(),
        "cf_list": rng.choice((b"", rng.randbytes(16))).hex(),
    }


def accept_of(join: dict[str, Any]) -> frames.JoinAccept:
    settings = int(join["dl_settings"], 16)
    return frames.JoinAccept(
        int(join["join_nonce"], 16),
        int(join["net_id"], 16),
        int(join["dev_addr"], 16),
        settings >> 4,
        settings & 15,
        int(join["rx_delay"], 16),
        bytes.fromhex(join["cf_list"]),
    )


def test_joins_in_both_directions(node: str) -> None:
    rng = random.Random(4)
    joins = [random_join(rng) for _ in range(JOINS)]
    requests: list[str] = []
    accepts: list[str] = []
    for join in joins:
        key = BlockKey(aes, bytes.fromhex(join["app_key"]))
        buf = bytearray(33)
        size = frames.encode_join_request_into(
            buf,
            bytes.fromhex(join["join_eui"]),
            bytes.fromhex(join["dev_eui"]),
            int(join["dev_nonce"], 16),
            key,
        )
        requests.append(buf[:size].hex())
        size = frames.encode_join_accept_into(
            buf, accept_of(join), aes, bytes.fromhex(join["app_key"])
        )
        accepts.append(buf[:size].hex())
    theirs = ask(
        node,
        [{"op": "join_request", **join} for join in joins]
        + [{"op": "join_accept", **join} for join in joins]
        + [{"op": "read_join_request", **j, "phy": p} for j, p in zip(joins, requests, strict=True)]
        + [{"op": "read_join_accept", **j, "phy": p} for j, p in zip(joins, accepts, strict=True)],
    )
    for i, join in enumerate(joins):
        app_key = bytes.fromhex(join["app_key"])
        accept = accept_of(join)
        assert theirs[i]["phy"] == requests[i]
        made = theirs[JOINS + i]
        assert made["phy"] == accepts[i]
        nwk, app = derive_session_keys(
            aes, app_key, accept.join_nonce, accept.net_id, int(join["dev_nonce"], 16)
        )
        assert (made["nwk"], made["app"]) == (nwk.hex(), app.hex())
        read = theirs[2 * JOINS + i]
        assert read == {k: join[k] for k in ("join_eui", "dev_eui", "dev_nonce")} | {"mic": True}
        read = theirs[3 * JOINS + i]
        fields = ("join_nonce", "net_id", "dev_addr", "dl_settings", "rx_delay", "cf_list")
        assert read == {k: join[k] for k in fields} | {"mic": True}
        buf = bytearray.fromhex(made["phy"])
        opened = frames.open_join_accept(buf, len(buf), BlockKey(aes, app_key))
        assert vars(opened) == vars(accept)
