"""Mutated frames for the end device: `fuzz(count, seed)`; the bench runs a million of them."""

import random

from protocols.lorawan import device as dev
from protocols.lorawan.frames import JoinAccept, encode_join_accept_into
from tests.protocols.lorawan.aes import aes
from tests.protocols.lorawan.double import APP_KEY, Network, World


def _mutate(rng: random.Random, frame: bytes) -> bytes:
    out = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[rng.randrange(len(out))] = rng.randrange(256)
        elif kind == 2:
            out = out[: rng.randrange(len(out) + 1)]
        elif kind == 3:
            out += rng.randbytes(rng.randrange(1, 40))
        elif kind == 4 and out:
            at = rng.randrange(len(out))
            out[at:at] = rng.randbytes(1)
        elif out:
            out[0] = rng.choice((0x20, 0x60, 0xA0, 0x40, 0x00, 0xE0))
    return bytes(out[:255])


def _state(world: World) -> tuple[object, ...]:
    session = vars(world.device._mac.session)  # pyright: ignore[reportPrivateUsage]
    return tuple(
        bytes(v) if isinstance(v, bytearray) else tuple(v) if isinstance(v, list) else v
        for _, v in sorted(session.items())
    )


def fuzz(count: int, seed: int) -> int:
    """Give `count` mutants of true downlinks to devices; return how many were rejected.

    Every one must be: a mutant is never a frame the network signed. Half are given in the receive
    windows of an uplink or a join, half to a class C device between uplinks. The session's whole
    state must be the same after each.
    """
    rng = random.Random(seed)
    rejected = 0
    for round_no in range(0, count, 2000):
        chosen = dev.Settings()
        chosen.class_c = True
        world = World(
            Network(rng.choice(("AS923-2", "US915"))), settings=chosen, seed=seed + round_no
        )
        joining = rng.random() < 0.3
        if joining:
            world.network.is_deaf = True
            world.device.join(world.now_ms)
        else:
            world.join()
            world.uplink()
        network = world.network
        true_ones = [_accept()]
        if not joining:
            for opts in (
                b"",
                b"\x03\x50\x03\x00\x01",
                b"\x06\x08\x02",
                b"\x07\x04\xe0\xaf\x8c\x50",
            ):
                for data in (b"", b"data", bytes(51)):
                    true_ones.append(network.downlink(9, data, opts, rng.random() < 0.5))
            true_ones.append(network.downlink(0, b"\x06\x05\x12\xe0\xaf\x8c"))
        known = set(true_ones)
        before = _state(world)
        for i in range(min(2000, count - round_no)):
            if joining and i % 500 == 0:
                _to_join_window(world)
                before = _state(world)
            mutant = _mutate(rng, rng.choice(true_ones))
            if mutant in known:
                continue
            before_rejected = world.device.rejected
            for k, byte in enumerate(mutant):
                world.device.rx_buf[k] = byte
            world.device.rx_done(len(mutant), -120, -40, world.now_ms)
            if joining and not world.device._reception.is_window:  # pyright: ignore[reportPrivateUsage]
                _to_join_window(world)
                before = _state(world)
            elif not joining:
                world.device.step(world.now_ms)
            assert _state(world) == before, mutant.hex()
            rejected += world.device.rejected - before_rejected
        assert world.device.next_event() is None or joining
    return rejected


def _accept() -> bytes:
    """A join accept that the device would take in the window of a join."""
    buf = bytearray(33)
    accept = JoinAccept(1, 2, 3, cf_list=bytes(16))
    return bytes(buf[: encode_join_accept_into(buf, accept, aes, APP_KEY)])


def _to_join_window(world: World) -> None:
    """Run until a join request's first window is open."""
    device = world.device
    for _ in range(100000):
        op = device.step(world.now_ms)
        if op == dev.OP_TX:
            world.transmit()
        elif op == dev.OP_RX and not device.radio.is_continuous:
            return
        elif op == dev.OP_NONE:
            wait = (device.deadline_ms - world.now_ms + (1 << 29)) % (1 << 30) - (1 << 29)
            world.advance(max(1, wait))
    raise AssertionError("no window opened")
