"""The words of an alert in Indonesian and English: `texts`. Plain text, one line each, bounded."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.acts.cap.incident import CANCEL, Draft, Member
from gateway.acts.cap.settings import CapSettings
from gateway.rules.stages import Site

ID, EN = "id-ID", "en-US"
HEADLINE_MAX = 160  # CAP 1.2, 3.2.2: some displays end there
_PLACE_MAX = 40
_TEXT_MAX = 4000


def clean(text: str, limit: int = _TEXT_MAX) -> str:
    """Text that XML 1.0 can carry: no control or odd characters, single spaces, at most `limit`.

    White space is folded because receivers strip it before they check a signature.
    """
    kept = "".join(
        " " if c.isspace() or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c
        for c in text
        if c not in "\ufffe\uffff"
    )
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."


@dataclass(frozen=True, slots=True)
class Texts:
    """One language of an alert."""

    language: str
    event: str
    headline: str
    description: str
    instruction: str


_EVENTS = {
    "stage": ("Banjir", "Flood"),
    "sos": ("Panggilan darurat di laut", "Distress call at sea"),
    "mob": ("Orang jatuh ke laut", "Man overboard"),
    "road": ("Jalan ditutup karena banjir", "Road closed by flood"),
    "siren": ("Sirene tidak berbunyi", "Siren gave no sound"),
}
_INSTRUCTIONS = {
    ("stage", 0): (
        "Banjir surut. Tetap waspada terhadap lumpur, arus dan kabel listrik."
        " Kembali setelah petugas menyatakan aman.",
        "The flood recedes. Beware of mud, currents and power lines."
        " Return when the authorities say that it is safe.",
    ),
    ("stage", 1): (
        "Pantau muka air. Pindahkan barang dan kendaraan dari tepi sungai."
        " Jauhkan anak-anak dari sungai.",
        "Watch the water. Move goods and vehicles away from the river."
        " Keep children away from the river.",
    ),
    ("stage", 2): (
        "Jauhi sungai dan jembatan. Siapkan evakuasi, amankan dokumen dan obat."
        " Bantu anak, lansia dan difabel. Ikuti arahan petugas BPBD.",
        "Keep away from the river and bridges. Get ready to leave, with papers and medicine."
        " Help children, the old and the disabled. Follow the BPBD staff.",
    ),
    ("stage", 3): (
        "Segera mengungsi ke tempat tinggi. Jangan menyeberangi banjir."
        " Matikan listrik bila sempat. Bantu anak, lansia dan difabel.",
        "Go to high ground now. Do not cross flood water."
        " Switch off the power if there is time. Help children, the old and the disabled.",
    ),
    "sos": (
        "Kirim pertolongan ke posisi ini. Kapal terdekat diminta membantu.",
        "Send help to this position. Boats near it are asked to assist.",
    ),
    "mob": (
        "Cari orang di air mulai dari posisi ini. Kapal terdekat diminta membantu.",
        "Search for the person in the water from this position. Boats near it, please assist.",
    ),
    "road": ("Jangan lewat. Cari jalan lain.", "Do not enter. Take another road."),
    "siren": (
        "Peringatkan warga dengan pengeras suara atau dari pintu ke pintu, lalu periksa sirene.",
        "Warn people by loudspeaker or door to door, then inspect the siren.",
    ),
    "over": ("Peringatan ini berakhir.", "This alert is over."),
}
_PREFIX = {"Exercise": ("LATIHAN: ", "DRILL: "), "Test": ("UJI COBA: ", "TEST: ")}


def family(kind: str) -> str:
    """The kinds that share their words."""
    return kind if kind in _EVENTS else "siren" if kind.startswith("siren") else "road"


def metres(value_mm: int, language: str) -> str:
    """ "2,71 m" or "2.71 m"."""
    text = f"{value_mm / 1000:.2f} m"
    return text.replace(".", ",") if language == ID else text


def texts(draft: Draft, settings: CapSettings, site: Site, language: str) -> Texts:
    """Everything a person reads, in one language."""
    one = 0 if language == ID else 1
    kind = family(draft.kind)
    if kind == "stage":
        headline, instruction = _flood(draft, settings, site, language)
    else:
        headline = _headline(draft, settings, site, kind, one)
        instruction = _INSTRUCTIONS["over" if draft.msg_type == CANCEL else kind][one]
    prefix = _PREFIX.get(draft.status, ("", ""))[one]
    lines = [_line(member, one, is_over=draft.msg_type == CANCEL) for member in draft.members]
    if draft.status in _PREFIX:
        lines.insert(0, ("Ini bukan keadaan darurat.", "This is not an emergency.")[one])
    if not draft.is_clock_set:
        lines.append(("Jam alat belum disetel.", "The clock of the gateway is not set.")[one])
    return Texts(
        language=language,
        event=_EVENTS[kind][one],
        headline=clean(prefix + headline, HEADLINE_MAX),
        description=clean(" ".join(lines)),
        instruction=clean(instruction),
    )


def _line(member: Member, one: int, *, is_over: bool) -> str:
    text = member.text_en if one else member.text_id
    if member.is_silent and not is_over:
        text += f" {member.device}" + (
            " is not heard any more: assume that the water still rises."
            if one
            else " tidak terdengar lagi: anggap air masih naik."
        )
    return text or f"{member.device}: {member.name}."


def _flood(draft: Draft, settings: CapSettings, site: Site, language: str) -> tuple[str, str]:
    one = 0 if language == ID else 1
    worst = draft.members[0]
    gauge = settings.gauge_of(worst.device)
    place = clean(gauge.place or gauge.name, _PLACE_MAX)
    river = clean(gauge.river, _PLACE_MAX)
    level_mm = worst.values.get("level_mm")
    height = "" if level_mm is None else f"{metres(level_mm, language)} "
    at = f"{height}pukul {site.clock(worst.time_ms)}" if one == 0 else ""
    at = at or f"{height}at {site.clock(worst.time_ms)}"
    more = _more(draft.members, one)
    instruction = _INSTRUCTIONS["stage", draft.level][one]
    if draft.msg_type == CANCEL:
        what = ("Banjir berakhir", "Flood over")[one]
        return f"{what}: {river or place}, {at}{more}", instruction
    flood = ("banjir", "flood")[one]
    where = f"{river} {('di', 'at')[one]} {place}" if river and river != place else place
    name = clean(worst.name, 20).upper()
    return f"{name}: {flood} {where}, {at}{more}", instruction


def _more(members: Sequence[Member], one: int) -> str:
    if len(members) < 2:
        return ""
    return (f", dan {len(members) - 1} pos lain", f", and {len(members) - 1} more gauges")[one]


def _headline(draft: Draft, settings: CapSettings, site: Site, kind: str, one: int) -> str:
    worst = draft.members[0]
    gauge = settings.gauge_of(worst.device)
    place = clean(gauge.place or gauge.name, _PLACE_MAX)
    at = f"{('pukul', 'at')[one]} {site.clock(worst.time_ms)}"
    if draft.msg_type == CANCEL:
        return f"{('Selesai', 'Over')[one]}: {_EVENTS[kind][one].lower()}, {place}, {at}"
    return f"{_EVENTS[kind][one]}: {place}, {at}"


__all__ = ["EN", "HEADLINE_MAX", "ID", "Texts", "clean", "family", "metres", "texts"]
