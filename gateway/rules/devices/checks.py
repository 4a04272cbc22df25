"""What the memory of one device says is wrong: `look`, by cause, with the evidence in words.

Every check is a plain function of a `Memory` and the time; thresholds are named with their reason.
Hysteresis and order are the business of `gateway.rules.devices.diagnosis`.
"""

import itertools
import math
from statistics import median

from gateway.rules.devices.memory import HOUR_MS, Memory, drop
from protocols.payload import event as ev
from protocols.payload import status as st

MINUTE_MS = 60_000
_LOW_MV = 3450  # a Li-ion cell with a tenth of its charge left
_WELL_MV = 3650
_JUMP_UP_MM = 250  # in one sample: more than a river does and less than a branch
_JUMP_DOWN_MM = 150
_JUMP_MS = 4 * MINUTE_MS
_STILL_MM = 60
_CHANCE_LOG = math.log(1e-7)  # a stuck value must be this improbable on a healthy sensor
_FRESH_MS = 24 * HOUR_MS

Evidence = dict[str, str]


def look(memory: Memory, now_ms: int, kind: str) -> Evidence:
    """The causes that hold now; `kind` is "lora" or "modbus"."""
    found: Evidence = {}
    for check in (_tamper, _body, _software, _siren, _tracker):
        check(memory, now_ms, found)
    _battery(memory, found)
    _sensor(memory, found, kind)
    return found


def _has(memory: Memory, bit: int) -> bool:
    return bool(memory.faults & bit)


def _event_ms(memory: Memory, name: str, now_ms: int) -> int | None:
    row = memory.events.get(name)
    return row[0] if row and now_ms - row[0] < _FRESH_MS else None


def _tamper(memory: Memory, now_ms: int, found: Evidence) -> None:
    moved = _event_ms(memory, f"tamper{ev.TAMPER_MOVED}", now_ms)
    if moved is not None:
        found["moved"] = "tamper event: moved"
    if _event_ms(memory, f"tamper{ev.TAMPER_OPENED}", now_ms) is not None:
        found["case_open"] = "tamper event: opened"
    if _event_ms(memory, f"tamper{ev.TAMPER_CABLE}", now_ms) is not None:
        found["sensor_cable_cut"] = "tamper event: cable"
    if moved is None and not found and _has(memory, st.FAULT_TAMPER):
        found["moved"] = "status says tampered"


def _body(memory: Memory, now_ms: int, found: Evidence) -> None:
    tilted = drop(memory.tilt, 1, 2, 3)
    if tilted is not None and abs(tilted) >= 3:
        found["tilted"] = f"tilt changed by {abs(tilted):.0f} degrees"
    elif _has(memory, st.FAULT_TILT):
        found["tilted"] = "status says tilted"
    if memory.humidity and memory.humidity[-1][1] >= 90:
        found["water_ingress"] = f"humidity in the case {memory.humidity[-1][1]} %"
    warm = memory.latest.get("temperature_c", memory.latest.get("case_temp_cdeg", 0) // 100)
    if warm >= 75:
        found["overheated"] = f"{warm} degrees C"
    gasp = _event_ms(memory, "gasp", now_ms)
    is_alive = gasp is not None and memory.heard_ms - gasp > 30_000  # else it was taken with it
    if _has(memory, st.FAULT_SUPPLY) or (gasp is not None and gasp > memory.faults_ms and is_alive):
        found["supply_lost"] = "the device says that its outside supply is gone"


def _software(memory: Memory, now_ms: int, found: Evidence) -> None:
    # Restarts, each with its reason: a status frame repeats the counter until the next one.
    resets = [
        after[2]
        for before, after in itertools.pairwise(memory.boots)
        if now_ms - after[0] < HOUR_MS and (after[1] - before[1]) & 0xFFFF in (1, 2, 3)
    ]
    if len(resets) >= 3:
        power = (st.RESET_BROWNOUT, st.RESET_POWER)
        is_power = 2 * sum(one in power for one in resets) >= len(resets)
        cause = "brownout_loop" if is_power else "crash_loop"
        found[cause] = f"{len(resets)} restarts within an hour"
    if _has(memory, st.FAULT_STORE):
        found["store_failed"] = "writes to flash failed"
    if _has(memory, st.FAULT_SAFE_MODE):
        found["safe_mode"] = "status says safe mode"
    if _has(memory, st.FAULT_CLOCK) or (
        memory.unset_since_ms and memory.heard_ms - memory.unset_since_ms > HOUR_MS
    ):
        found["clock_wrong"] = "the clock was not set for an hour"
    elif len(memory.ages) >= 4:
        # Waiting frames, windows and retries make minutes; the same large age each time is a clock.
        ages = [one[1] for one in memory.ages[-4:]]
        if min(ages) > 20 * MINUTE_MS or max(ages) < -MINUTE_MS:
            found["clock_wrong"] = f"samples arrive {median(ages) / 60000:.0f} min old"


def _battery(memory: Memory, found: Evidence) -> None:
    if not memory.battery:
        return
    millivolts = memory.battery[-1][1]
    # A cell near the limit crosses it every day with the sun: low until it is well again.
    memory.is_low = 1000 < millivolts < (_WELL_MV if memory.is_low else _LOW_MV)
    if memory.is_low or _has(memory, st.FAULT_BATTERY):
        found["battery_low"] = f"{millivolts} mV"
    if len(memory.mohm) >= 3:
        now, before = memory.mohm[-1][1], median(one[1] for one in memory.mohm[:-2])
        if now >= 250 and now >= 2 * before:
            found["battery_worn"] = f"internal resistance {now} mohm, was {before:.0f}"


def _siren(memory: Memory, now_ms: int, found: Evidence) -> None:
    if not memory.sirens:
        if _has(memory, st.FAULT_SIREN):
            found["siren_dead"] = "status says that the siren failed"
        return
    _, proof, current = memory.sirens[-1]
    good = (ev.PROOF_CURRENT, ev.PROOF_MICROPHONE, ev.PROOF_BOTH)
    earlier = memory.sirens[:-1]
    usual = [one[2] for one in earlier if one[1] in good and one[2] > 0]
    usual_ma = median(usual) if usual else 0
    heard_before = any(one[1] in (ev.PROOF_BOTH, ev.PROOF_MICROPHONE) for one in earlier)
    if proof == ev.PROOF_FAILED and current < 50:
        found["siren_dead"] = f"it drew {max(current, 0)} mA"
    elif proof == ev.PROOF_FAILED and current >= max(200, 0.6 * usual_ma):
        found["siren_muffled"] = f"it drew {current} mA, the microphone heard nothing"
    elif proof == ev.PROOF_FAILED or (usual_ma and 0 <= current < 0.6 * usual_ma):
        found["siren_amplifier"] = f"it drew {current} mA, usually {usual_ma:.0f}"
    elif proof == ev.PROOF_CURRENT and heard_before:
        found["siren_muffled"] = f"it drew {current} mA, the microphone heard nothing"


def _tracker(memory: Memory, now_ms: int, found: Evidence) -> None:
    if _has(memory, st.FAULT_GNSS):
        found["gnss_lost"] = "no fix for a long time"


# Level sensors


def _sensor(memory: Memory, found: Evidence, kind: str) -> None:
    faded = drop(memory.snr, 1, 1, 6)
    echo = memory.snr[-3:]
    if kind == "modbus" and len(echo) == 3 and max(one[1] for one in echo) <= 6:
        found["sensor_blind"] = f"echo {echo[-1][1]} dB"
        return
    if memory.missing >= 3 or _has(memory, st.FAULT_SENSOR):
        if "sensor_cable_cut" in found:
            return
        if kind == "modbus":
            found["sensor_blind"] = f"{memory.missing} answers without a value"
        elif faded is not None and faded >= 8:
            found["sensor_blind"] = f"no reading; its echo had faded by {faded:.0f} dB"
        else:
            found["sensor_silent"] = "no reading, and the node cannot say why"
        return
    if _has(memory, st.FAULT_SENSOR_DISAGREE):
        found["sensors_disagree"] = "the node's two sensors differ"
    known = memory.known()
    if not _webbed(memory, known, found, faded):
        _stepped(memory, known, found)
    _stuck(memory, known, found)
    _float(memory, known, found)
    if len(memory.tips) >= 2:
        (t0, n0), (t1, n1) = memory.tips[-2], memory.tips[-1]
        if n1 - n0 > 10 and 1000 * (n1 - n0) > 2 * (t1 - t0):
            found["rain_contact"] = f"{n1 - n0} tips in {(t1 - t0) // 1000} s"


def _webbed(
    memory: Memory, known: list[tuple[int, int]], found: Evidence, faded: float | None
) -> bool:
    """Readings that jump to and fro, or a burst that scatters, in front of a calm surface."""
    recent = [v for _, v in known[-20:]]
    if len(recent) >= 8:
        middle = median(recent)
        far = [abs(v - middle) > 200 for v in recent]
        turns = sum(a != b for a, b in itertools.pairwise(far))
        if sum(far) >= 3 and turns >= 4:
            found["sensor_web"] = f"{sum(far)} of {len(far)} readings far from the others"
            return True
    spread = [one[1] for one in memory.quality]
    is_dry = not memory.tips or memory.tips[-1][1] == memory.tips[0][1]
    scatters = len(spread) >= 9 and median(spread[-3:]) >= max(4, 3 * median(spread[:-3]))
    if _has(memory, st.FAULT_SENSOR_NOISY) or (scatters and is_dry):
        is_web = faded is not None and faded >= 5
        name = "sensor_web" if is_web else "sensor_noisy"
        found[name] = f"a burst scatters by {spread[-1] if spread else '?'} mm"
        return True
    return False


def _stepped(memory: Memory, known: list[tuple[int, int]], found: Evidence) -> None:
    """A jump within one sample that stays, and stands still: an obstacle, or a mount that moved."""
    if memory.step:
        before, after = memory.step[1:3]
        recent = [v for _, v in known[-5:]]
        if abs(median(recent) - after) > 0.6 * abs(after - before):
            memory.step = []
            memory.latest["step_base"] = before  # going back there is no second fault
    if not memory.step:
        memory.step = _find_step(memory, known)
    if not memory.step:
        return
    at_ms, before, after, is_sure = memory.step
    if after > before:
        older = [one[1] for one in memory.snr if one[0] < at_ms]
        newer = [one[1] for one in memory.snr if one[0] > at_ms]
        if not is_sure and older and newer and median(older) - median(newer) < 5:
            return  # the echo is as good as before: that is water
        memory.step[3] = 1
        found["beam_blocked"] = f"level jumped from {before} to {after} mm and stays"
    else:
        found["tilted"] = f"level fell from {before} to {after} mm at once"


def _find_step(memory: Memory, known: list[tuple[int, int]]) -> list[int]:
    for i in range(len(known) - 5, 4, -1):
        (t0, v0), (t1, v1) = known[i - 1], known[i]
        if t1 - t0 > _JUMP_MS or not (v1 - v0 >= _JUMP_UP_MM or v0 - v1 >= _JUMP_DOWN_MM):
            continue
        after = [v for _, v in known[i:]][:15]
        before = [v for _, v in known[max(0, i - 8) : i]]
        calm = max(before) - min(before) <= _STILL_MM and max(after) - min(after) <= _STILL_MM
        if calm and known[-1][0] - t1 >= 4 * MINUTE_MS:
            if v1 < v0 and _was_there(memory, known[: i - 1], median(after)):
                continue  # what stood in the beam went away
            rain = memory.tips_since(t1 - HOUR_MS)
            if v1 > v0 and rain:
                continue  # with rain it may be a flood: no ticket before it is over
            return [t1, round(median(before)), round(median(after)), 0]
    return []


def _was_there(memory: Memory, earlier: list[tuple[int, int]], level: float) -> bool:
    """Whether the level was this low before it jumped up."""
    base = memory.latest.get("step_base")
    if base is not None and abs(base - level) < _JUMP_DOWN_MM:
        return True
    jumped = False
    for (_, v0), (_, v1) in itertools.pairwise(reversed(earlier)):
        jumped = jumped or v0 - v1 >= _JUMP_DOWN_MM
        if jumped and abs(v1 - level) < _JUMP_DOWN_MM:
            return True
    return False


def _stuck(memory: Memory, known: list[tuple[int, int]], found: Evidence) -> None:
    if len(known) < 10:
        return
    last, same = known[-1][1], 0
    for _, value in reversed(known):
        if value != last:
            break
        same += 1
    # Readings that repeat come in runs: twice the longest that ever ended by itself is not enough.
    if same < 8 or same <= 2 * memory.longest or known[-1][0] - known[-same][0] < 8 * MINUTE_MS:
        return
    rate = min(max(memory.repeat, 0.1), 0.97)
    spread = [one[1] for one in memory.quality]
    # A burst without any spread is the second witness, where this sensor usually has some.
    still = len(spread) >= 6 and spread[-1] == 0 and median(spread[:-1]) >= 1
    if (same - 1) * math.log(rate) * (2 if still else 1) < _CHANCE_LOG:
        found["sensor_stuck"] = f"{same} readings of exactly {last} mm"


def _float(memory: Memory, known: list[tuple[int, int]], found: Evidence) -> None:
    if memory.wet < 3 or len(known) < 12:
        return
    base = median(v for _, v in known)
    if known[-1][1] < base + 200 and known[-1][1] - known[-10][1] < 100:
        found["float_stuck"] = f"stage 3 at a level of {known[-1][1]} mm, which is usual here"
