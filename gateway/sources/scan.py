"""Looks for Modbus units on a bus: `scan`, and which profile answers, `recognise`.

A serial bus is tried with the speeds and frames that the known sensors leave the factory with. Any
answer counts, an exception too. Two units with one address answer at the same time and spoil each
other's frames, so noise at one address that other addresses do not have is reported as such.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from gateway.sources.line import Line, LineError, open_line
from gateway.sources.profile import identity_blocks, identity_holds, load_profile, profile_names

# (baud, frame), most common factory settings first
SETTINGS: tuple[tuple[int, str], ...] = (
    (9600, "8N1"),
    (9600, "8E1"),
    (19200, "8N1"),
    (19200, "8E1"),
    (4800, "8N1"),
    (38400, "8N1"),
    (115200, "8N1"),
    (9600, "8O1"),
    (2400, "8N1"),
)
_CONFIRM = 3  # questions that tell a collision from a stray disturbance


@dataclass(frozen=True, slots=True)
class Found:
    """One address that answered."""

    unit: int
    baud: int
    frame: str
    profiles: tuple[str, ...]  # whose identity registers fit
    is_collision: bool  # two units seem to share the address
    detail: str = ""


async def scan(
    port: str,
    units: Iterable[int],
    settings: Sequence[tuple[int, str]],
    timeout_s: float,
) -> AsyncIterator[Found]:
    """Yield what answers, setting by setting. Raises OSError when the port cannot be opened."""
    asked = tuple(units)
    if "://" in port:
        settings = settings[:1]  # the device server or the network has its own
    for baud, frame in settings:
        line = open_line(port, baud, frame)
        with contextlib.closing(line):
            await line.open()
            for unit in asked:
                found = await _ask(line, unit, baud, frame, timeout_s)
                if found is not None:
                    yield found


async def _ask(line: Line, unit: int, baud: int, frame: str, timeout_s: float) -> Found | None:
    code = await _answer(line, unit, 0, 1, timeout_s)
    if code == "timeout":
        return None
    noisy = code == "noise"
    if noisy:
        codes = [await _answer(line, unit, 0, 1, timeout_s) for _ in range(_CONFIRM)]
        if codes.count("noise") < 2 and "ok" not in codes and "exception" not in codes:
            return None  # a stray disturbance, or the wrong speed for everybody
        if "ok" not in codes and "exception" not in codes:
            detail = "answers are garbled: two units with one address, or the wrong speed or frame"
            return Found(unit, baud, frame, (), True, detail)
    profiles = await recognise(line, unit, timeout_s)
    detail = "some answers are garbled: two units with one address?" if noisy else ""
    return Found(unit, baud, frame, profiles, noisy, detail)


async def _answer(line: Line, unit: int, address: int, count: int, timeout_s: float) -> str:
    try:
        await line.read(unit, 3, address, count, timeout_s)
    except LineError as error:
        return error.code
    return "ok"


async def recognise(line: Line, unit: int, timeout_s: float) -> tuple[str, ...]:
    """The profiles with identity registers that hold what this unit has there."""
    fitting: list[str] = []
    for name in profile_names():
        profile = load_profile(name)
        checks = identity_blocks(profile)
        if not checks:
            continue
        try:
            for identity, block in checks:
                registers = await line.read(
                    unit, profile.function, block.address, block.count, timeout_s
                )
                if not identity_holds(identity, registers):
                    break
            else:
                fitting.append(name)
        except LineError:
            continue
    return tuple(fitting)
