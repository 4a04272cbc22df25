"""`os` with randomness from the scenario's seed; the rest is the port's own."""

import simwire
from uos import *  # noqa: F403

_pool = b""


def urandom(n):
    """`n` bytes, the same in every run of the same seed."""
    global _pool
    while len(_pool) < n:
        _pool += bytes(simwire.call(simwire.OP_RANDOM, 0, 512))
    out, _pool = _pool[:n], _pool[n:]
    return out


def sync():
    """Every write to the simulated flash is already there when the call returns."""


def uname():
    """What an RP2040 build answers, with the machine named as simulated."""
    return ("rp2", "rp2", "1.28.0", "simulated", "Raspberry Pi Pico (simulated)")
