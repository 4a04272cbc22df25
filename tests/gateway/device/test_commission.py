"""The checklist refuses what it must; certificates show any change; verdicts name one cause."""

import json
import string
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.device import device
from gateway.device import words
from gateway.device.commission import (
    STEPS,
    Calibration,
    Checklist,
    Refusal,
    calibrate,
    certificate,
    check_certificate,
)
from gateway.device.link import DeviceError
from gateway.device.selftest import judge

GOOD = {
    "settings": "", "refused": "", "radio": "", "flash": "", "role": "flood", "asked": 100,
    "valid": 100, "spread_mm": 8, "median_mm": 820, "battery_mv": 3900, "load_mv": 3850,
    "float_wet": 0, "streak": 0, "crash": "", "flash_kib": 500,
}  # fmt: skip
PAIRS = [(1000, 990), (1050, 1041), (980, 972)]


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        ({}, "good", "all_good"),
        ({"settings": "no settings"}, "broken", "no_settings"),
        ({"radio": "busy"}, "broken", "no_radio"),
        ({"flash": "[Errno 5] EIO"}, "broken", "flash_failed"),
        ({"valid": 0}, "broken", "no_sensor"),
        ({"streak": 3, "crash": "ValueError: x"}, "broken", "safe_mode"),
        ({"valid": 94}, "check", "sensor_gaps"),
        ({"spread_mm": 31}, "check", "sensor_noise"),
        ({"battery_mv": 3399, "load_mv": 3390}, "check", "battery_low"),
        ({"load_mv": 3599}, "check", "battery_sags"),
        ({"float_wet": 1}, "check", "float_wet"),
        ({"crash": "ValueError: x"}, "check", "crashed"),
        ({"refused": "wrong CRC"}, "check", "refused"),
        ({"flash_kib": 63}, "check", "flash_full"),
        ({"radio": "busy", "float_wet": 1}, "broken", "no_radio"),
        ({"supply": "EIO", "battery_mv": None, "load_mv": None}, "check", "no_supply"),
        ({"role": "tracker", "asked": 0, "valid": 0}, "good", "all_good"),
    ],
)
def test_the_gravest_finding_is_the_sentence(
    change: dict[str, object], level: str, reason: str
) -> None:
    verdict = judge({**GOOD, **change})
    assert (verdict.level, verdict.reason) == (level, reason)
    for language in words.LANGUAGES:
        assert words.say(language, verdict.reason, **verdict.values)


def test_nothing_measured_is_broken_not_good() -> None:
    assert judge({}).level == "broken"


def test_both_languages_use_the_same_values() -> None:
    for key in words.all_keys():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(text) if name}
            for text in words._WORDS[key]  # pyright: ignore[reportPrivateUsage]
        ]
        assert fields[0] == fields[1], key


def test_calibration_is_the_median_and_refuses_few_or_scattered_readings() -> None:
    assert calibrate(PAIRS) == Calibration(9, 2, tuple(PAIRS))
    assert calibrate(PAIRS[:2]) == Refusal("refused_staff_few", {"count": 2})
    assert calibrate([(0, 0), (10, 0), (5, 0)]) == Calibration(5, 10, ((0, 0), (10, 0), (5, 0)))
    assert calibrate([(0, 0), (11, 0), (5, 0)]) == Refusal(
        "refused_staff_spread", {"spread_mm": 11}
    )


@given(st.lists(st.tuples(st.integers(-2000, 9000), st.integers(-10, 10)), min_size=3, max_size=9))
def test_a_calibration_never_moves_further_than_a_reading_says(
    drawn: list[tuple[int, int]],
) -> None:
    pairs = [(staff, staff - shift) for staff, shift in drawn]
    found = calibrate(pairs)
    shifts = [shift for _, shift in drawn]
    if max(shifts) - min(shifts) > 10:
        assert isinstance(found, Refusal)
    else:
        assert isinstance(found, Calibration)
        assert min(shifts) <= found.offset_mm <= max(shifts)


def answers(role: str) -> list[tuple[str, object]]:
    given: dict[str, object] = {
        "identity": True, "clock": True, "test": ("good", "all_good"), "staff": PAIRS,
        "thresholds": ([500, 1160, 2660], "Wayan"), "siren_silent": True, "siren_audible": 92,
        "tilt": 1.5, "beam": True, "photo": [("bridge.jpg", "ab" * 32)],
        "link": (12, 2, 20, 19), "place": (-8.65, 115.21, "2027-05-01"),
    }  # fmt: skip
    return [(step, given[step]) for step in STEPS[role]]


@pytest.mark.parametrize("role", STEPS)
def test_every_role_ends_in_done_and_in_order_only(role: str) -> None:
    checklist = Checklist(role)
    with pytest.raises(DeviceError, match="the present step is identity"):
        checklist.answer("place", (0, 0, "2027-01-01"))
    for step, value in answers(role):
        assert checklist.step == step
        assert checklist.answer(step, value), checklist.refused
    assert checklist.step == "done"


@pytest.mark.parametrize(
    ("role", "step", "value", "reason"),
    [
        ("flood", "identity", False, "refused_identity"),
        ("flood", "clock", False, "refused_clock"),
        ("flood", "test", ("broken", "no_radio"), "refused_test"),
        ("flood", "staff", [(1, 1)], "refused_staff_few"),
        ("flood", "thresholds", ([1, 2, 3], "  "), "refused_thresholds"),
        ("siren", "siren_silent", False, "refused_siren_silent"),
        ("siren", "siren_audible", 69, "refused_siren_audible"),
        ("flood", "tilt", 2.5, "refused_tilt"),
        ("flood", "tilt", None, "refused_tilt"),
        ("flood", "beam", False, "refused_beam"),
        ("flood", "photo", [], "refused_photo"),
        ("flood", "link", (9, 3, 20, 20), "refused_link"),
        ("flood", "link", (20, 0, 20, 20), "refused_link"),
        ("flood", "link", (20, 2, 20, 17), "refused_link"),
        ("flood", "link", (20, 2, 19, 19), "refused_link_few"),
        ("flood", "link", (20, 2, 20, 21), "refused_link_few"),
        ("flood", "place", (-8.6, 115.2, "soon"), "refused_place"),
        ("flood", "place", (91, 0, "2027-01-01"), "refused_place"),
    ],
)
def test_a_refused_step_stays_and_says_why(
    role: str, step: str, value: object, reason: str
) -> None:
    checklist = Checklist(role)
    for name, good in answers(role):
        if name == step:
            break
        checklist.answer(name, good)
    assert not checklist.answer(step, value)
    assert checklist.step == step and checklist.refused is not None
    assert checklist.refused.reason == reason
    for language in words.LANGUAGES:
        assert words.say(language, reason, **checklist.refused.values)
    assert checklist.answer(step, dict(answers(role))[step]) and checklist.refused is None


def test_a_certificate_shows_any_change_and_whose_it_is() -> None:
    key = Ed25519PrivateKey.generate()
    text = certificate({"device": {"name": "Tukad Badung"}, "steps": {"link": [12, 2]}}, key)
    assert check_certificate(text)["steps"] == {"link": [12, 2]}
    assert check_certificate(text, key.public_key().public_bytes_raw())
    whole = json.loads(text)
    whole["content"]["steps"]["link"] = [13, 2]
    with pytest.raises(DeviceError, match="was changed"):
        check_certificate(json.dumps(whole))
    with pytest.raises(DeviceError, match="another key"):
        check_certificate(text, bytes(32))
    for rubbish in ("", "{}", "[]", "null", '{"public_key": "x"}'):
        with pytest.raises(DeviceError, match="no certificate"):
            check_certificate(rubbish)


def test_every_word_is_used(tmp_path: Path) -> None:
    root = Path(__file__).parents[3] / "gateway"
    sources = [root / "cli/device.py", *(root / "device").glob("*.py")]
    text = "".join(path.read_text() for path in sources if path.name != "words.py")
    by_step = {f"step_{step}" for steps in STEPS.values() for step in steps}
    by_step |= {f"refused_{step}" for steps in STEPS.values() for step in steps}
    assert [key for key in words.all_keys() if f'"{key}"' not in text and key not in by_step] == []


def test_errors_have_advice_in_indonesian(tmp_path: Path) -> None:
    arguments = ["test", "--port", str(tmp_path / "none")]
    done = CliRunner().invoke(device, arguments, env={"TUKAD_LANG": "id"})
    first, second = done.output.strip().splitlines()
    assert done.exit_code == 1 and "there is no such port" in first and "ganti kabel" in second
    plain = CliRunner().invoke(device, arguments, env={"TUKAD_LANG": "en"})
    assert plain.output.strip() == first
    missing = ["verify", str(tmp_path / "none.json")]
    done = CliRunner().invoke(device, missing, env={"TUKAD_LANG": "id"})
    assert "berkas tidak ditemukan" in done.output
