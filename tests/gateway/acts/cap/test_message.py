"""What the messages say, judged by the CAP 1.2 XSD, the signature and the pin."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from lxml import etree

from gateway.acts.cap.incident import Incidents, Moment
from gateway.acts.cap.message import Place, build
from gateway.acts.cap.settings import Area, CapSettings, GaugeSettings
from gateway.acts.cap.signing import Signer, fingerprint, make_key, read_pin
from gateway.acts.cap.social import SOCIAL_MAX, social_text
from gateway.acts.cap.words import clean
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm
from gateway.rules.stages import Site
from tests.gateway.acts.cap.world import CAP, alarm, check, text, texts
from tests.gateway.samples import START_MS

KUMBASARI = CapSettings(
    sender="pusdalops@bpbd.example",
    sender_name="BPBD Kota Denpasar",
    gauge=(
        GaugeSettings(
            name="kumbasari",
            place="Pasar Kumbasari",
            river="Tukad Badung",
            area=Area(
                description="Tepi Tukad Badung dari Wangaya sampai Pekambingan",
                description_en="Banks of Tukad Badung from Wangaya to Pekambingan",
                polygon=("-8.65,115.20 -8.65,115.22 -8.67,115.22 -8.65,115.20",),
                circle=("-8.656,115.211 0.8",),
                geocode=("KEMENDAGRI=51.71.04",),
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("key")
    make_key(folder / "cap.key", "test")
    return Signer.load(folder / "cap.key", folder / "cap.crt")


def place(offset_h: float = 8.0) -> Place:
    return Place(
        name="kumbasari",
        site=Site(utc_offset_h=offset_h, zone="WITA"),
        position=(-8.65, 115.21),
        versions={"kumbasari": "BPBD 2026-01-20: after the flood of September"},
    )


def made(
    signer: Signer, alarms: list[Alarm], section: CapSettings = KUMBASARI, offset_h: float = 8.0
) -> list[bytes]:
    """The signed messages of alarms, each checked by capvalidator and against the pin."""
    incidents = Incidents(section)
    found: list[bytes] = []
    for one in alarms:
        for draft in incidents.feed(one, Moment(one.decided_ms)):
            found.append(signer.sign(build(draft, section, place(offset_h))))
            check(found[-1], read_pin(fingerprint(signer.certificate)))
    return found


def test_the_stages_are_graded_as_the_city_agreed(signer: Signer) -> None:
    courses = ((RAISED, 1), (ESCALATED, 2), (ESCALATED, 3), (CLEARED, 0))
    alarms = [
        alarm(event, level, number=level, time_ms=START_MS + 60_000 * level)
        for event, level in courses
    ]
    found = made(signer, alarms)
    grades = [
        tuple(text(xml, name) for name in ("severity", "urgency", "certainty", "responseType"))
        for xml in found
    ]
    assert grades == [
        ("Minor", "Expected", "Likely", "Prepare"),
        ("Severe", "Expected", "Observed", "Prepare"),
        ("Extreme", "Immediate", "Observed", "Evacuate"),
        ("Minor", "Past", "Observed", "AllClear"),
    ]
    assert [text(xml, "msgType") for xml in found] == ["Alert", "Update", "Update", "Cancel"]


def test_a_message_has_both_languages_the_area_and_the_figures(signer: Signer) -> None:
    (xml,) = made(
        signer, [alarm(RAISED, 3, time_ms=START_MS, rate_mm_h=1900, next_stage_min=12, mv=3300)]
    )
    assert texts(xml, "language") == ["id-ID", "en-US"]
    assert texts(xml, "headline") == [
        "AWAS: banjir Tukad Badung di Pasar Kumbasari, 2,71 m pukul 08:26 WITA",
        "AWAS: flood Tukad Badung at Pasar Kumbasari, 2.71 m at 08:26 WITA",
    ]
    assert texts(xml, "areaDesc") == [
        "Tepi Tukad Badung dari Wangaya sampai Pekambingan",
        "Banks of Tukad Badung from Wangaya to Pekambingan",
    ]
    assert text(xml, "polygon") == "-8.65,115.20 -8.65,115.22 -8.67,115.22 -8.65,115.20"
    assert text(xml, "circle") == "-8.656,115.211 0.8"
    assert (text(xml, "sent"), text(xml, "expires")) == (
        "2026-09-10T08:26:40+08:00",
        "2026-09-10T09:26:40+08:00",
    )
    info = etree.fromstring(xml).find(f"{CAP}info")
    assert info is not None
    pairs = {
        one.findtext(f"{CAP}valueName"): one.findtext(f"{CAP}value")
        for one in info
        if one.find(f"{CAP}valueName") is not None
    }
    assert pairs == {
        "OET:v1.2": "OET-081",
        "tukad:level": "3",
        "kumbasari:stage": "Awas",
        "kumbasari:thresholds": "BPBD 2026-01-20: after the flood of September",
        "kumbasari:level_mm": "2710",
        "kumbasari:rate_mm_h": "1900",
        "kumbasari:next_stage_min": "12",
    }


def test_references_name_sender_identifier_and_time(signer: Signer) -> None:
    alarms = [
        alarm(RAISED, 1, time_ms=START_MS),
        alarm(ESCALATED, 2, number=1, time_ms=START_MS + 60_000),
        alarm(CLEARED, 0, number=2, time_ms=START_MS + 120_000),
    ]
    first, second, third = made(signer, alarms)
    names = [
        f"{text(x, 'sender')},{text(x, 'identifier')},{text(x, 'sent')}" for x in (first, second)
    ]
    assert text(first, "references") == ""
    assert text(second, "references").split() == names[:1]
    assert text(third, "references").split() == names


def test_a_drill_cannot_be_taken_for_a_flood(signer: Signer) -> None:
    (xml,) = made(signer, [alarm(RAISED, 3, time_ms=START_MS, is_drill=1)])
    assert text(xml, "status") == "Exercise"
    assert [one.split(":")[0] for one in texts(xml, "headline")] == ["LATIHAN", "DRILL"]
    assert social_text(xml).startswith("LATIHAN: AWAS")
    (xml,) = made(
        signer,
        [alarm(RAISED, 1, time_ms=START_MS)],
        CapSettings(sender="a@b", status="Test"),
    )
    assert text(xml, "status") == "Test"
    assert social_text(xml).startswith("UJI COBA: ")


def test_calls_for_help_and_dead_sirens_are_for_responders(signer: Signer) -> None:
    at = {"lat_e5": -871234, "lon_e5": 11526789}
    sos, mob, siren, road = made(
        signer,
        [
            alarm(RAISED, 3, device="jacket-7", kind="sos", time_ms=START_MS, **at),
            alarm(RAISED, 3, device="jacket-8", kind="mob", time_ms=START_MS, **at),
            alarm(RAISED, 2, device="siren-1", kind="siren", time_ms=START_MS),
            alarm(RAISED, 2, device="underpass", kind="junction_closed", time_ms=START_MS),
        ],
    )
    codes = [texts(xml, "eventCode") and texts(xml, "value")[0] for xml in (sos, mob, road)]
    assert codes == ["OET-162", "OET-139", "OET-165"]
    assert [text(xml, "scope") for xml in (sos, mob, siren, road)] == [
        "Restricted",
        "Restricted",
        "Restricted",
        "Public",
    ]
    assert (text(siren, "status"), text(road, "status")) == ("System", "Actual")
    assert text(sos, "circle") == "-8.71234,115.26789 0.5"
    assert (text(siren, "category"), text(road, "category")) == ("Infra", "Transport")


TEXTS = st.text(max_size=200)
NAMES = st.text(min_size=1, max_size=60).filter(lambda one: one.strip() != "")
ALARMS = st.builds(
    alarm,
    st.sampled_from([RAISED, ESCALATED, LOWERED, CLEARED]),
    st.integers(0, 3),
    device=st.sampled_from(["kumbasari", "wangaya", "x" * 40]),
    kind=st.sampled_from(["stage", "sos", "mob", "siren", "road-closed", "silent", "tamper"]),
    number=st.integers(0, 9),
    time_ms=st.integers(0, 4_000_000_000_000),
    text=TEXTS,
    level_mm=st.integers(-(2**63), 2**63),
    lat_e5=st.integers(-9_000_000, 9_000_000),
    lon_e5=st.integers(-18_000_000, 18_000_000),
    is_drill=st.integers(0, 1),
)
SECTIONS = st.builds(
    lambda words, status: CapSettings(
        sender="a@b",
        sender_name=words[0],
        contact=words[1],
        status=status,
        gauge=(
            GaugeSettings(
                name="kumbasari",
                place=words[2],
                river=words[3],
                area=Area(description=words[4], geocode=(f"{words[5]}={words[6]}",)),
            ),
        ),
    ),
    st.tuples(*[TEXTS] * 5, *[NAMES] * 2),
    st.sampled_from(["Actual", "Exercise", "Test"]),
)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    alarms=st.lists(ALARMS, min_size=1, max_size=6),
    section=SECTIONS,
    offset_h=st.sampled_from([8.0, 0.0, -3.5, 14.0]),
)
def test_any_alarm_and_any_words_make_valid_messages(
    signer: Signer, alarms: list[Alarm], section: CapSettings, offset_h: float
) -> None:
    """XSD, signature and pin hold whatever stands in the configuration or comes from a device."""
    for xml in made(signer, alarms, section, offset_h):
        assert len(social_text(xml)) <= SOCIAL_MAX
        assert all(1 <= len(one) <= 160 for one in texts(xml, "headline"))
        assert text(xml, "sent")[-6] in "+-"


def test_markup_in_the_configuration_is_only_text(signer: Signer) -> None:
    evil = "</areaDesc><polygon>0,0 0,1 1,1 0,0</polygon>&xxe;]]><![CDATA["
    section = CapSettings(
        sender="a@b",
        contact=evil,
        gauge=(GaugeSettings(name="kumbasari", place=evil, area=Area(description=evil)),),
    )
    (xml,) = made(signer, [alarm(RAISED, 2, time_ms=START_MS, text=evil)], section)
    assert text(xml, "areaDesc") == evil
    assert texts(xml, "polygon") == []


def test_text_is_one_clean_line() -> None:
    assert clean(" a\r\n\tb\x00\x0b\ufffe\ud800 \u2028c ") == "a b c"
    assert clean("x" * 30, 10) == "xxxxxxx..."


def test_the_key_is_made_for_its_owner_only(tmp_path: Path) -> None:
    make_key(tmp_path / "cap.key", "test")
    assert (tmp_path / "cap.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "cap.key", "test")
