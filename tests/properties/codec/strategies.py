"""Catalogues and records as the codec may meet them."""

from hypothesis import strategies as st

from gateway.codec import TIME_SOURCES, Catalogue, Channel, Device, Record
from gateway.codec.catalogue import KINDS

NAMES = ("level_mm", "rain", "lat", "lon", "sog_kn", "cog_deg", "x", "y", "rssi", "fcnt")
big = st.integers(-(2**63) + 1, 2**63 - 1)


@st.composite
def channels(draw: st.DrawFn) -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name,
            draw(st.sampled_from(["", "m", "kn", "km/h"])),
            draw(st.sampled_from([0, 0, 1, 5])),
            draw(st.sampled_from(["", *KINDS])),
            draw(st.none() | st.integers(-1000, 1000)),
            draw(st.sampled_from([None, 0, 3, 500])),
            draw(st.sampled_from([1_000_000, 25_000_000, 3_048_000, 10_000_000])),
        )
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    )


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    devices = [
        Device(
            f"device-{i}",
            "stream",
            draw(channels()) if i == 0 or draw(st.booleans()) else (Channel("level_mm", "mm"),),
            draw(st.sampled_from([1, 10, 60, 900, 604_800])),
            draw(st.none() | st.integers(0, 2_000_000_000)),
            draw(st.sampled_from([0, 7])),
            draw(st.sampled_from([1, 3])),
            draw(st.sampled_from(TIME_SOURCES)),
        )
        for i in range(draw(st.integers(1, 4)))
    ]
    version = draw(st.integers(0, 0xFFFF))
    return Catalogue(version, tuple(devices), draw(st.integers(0, 2_000_000_000)))


@st.composite
def rows(draw: st.DrawFn, catalogue: Catalogue) -> list[Record]:
    """Mostly regular rows with small steps; sometimes anything that the ranges allow."""
    out: list[Record] = []
    start = draw(st.integers(0, 2_000_000_000)) * 1000
    for index, device in enumerate(catalogue.devices):
        numbered = draw(st.booleans())
        time_ms = start
        sequence = draw(st.integers(0, 100_000) | st.integers(0, 2**62))
        values: list[int | None] = [draw(st.integers(-1000, 100_000)) for _ in device.channels]
        for _ in range(draw(st.integers(0 if index else 1, 8))):
            kind = draw(st.sampled_from(["regular", "regular", "jumpy", "wild"]))
            if kind == "regular":
                time_ms += device.interval_s * 1000
                sequence += 1
                steps = draw(st.lists(st.integers(-3, 3), min_size=5, max_size=5))
            else:
                late = st.integers(-5_000, 5_000_000)
                time_ms = max(0, time_ms + draw(late) * draw(st.sampled_from([1, 1000])))
                sequence = max(0, sequence + draw(st.integers(-3, 50)))
                steps = draw(st.lists(st.integers(-5000, 5000), min_size=5, max_size=5))
            values = [
                draw(st.none() | big) if kind == "wild" else (v or 0) + step
                for v, step in zip(values, steps, strict=False)
            ]
            values = [v if v is None or abs(v) < 2**63 else 0 for v in values]
            out.append(
                Record(
                    index,
                    sequence if numbered else None,
                    time_ms,
                    tuple(values),
                    1 if kind == "regular" else draw(st.integers(0, 15)),
                    "gnss" if kind == "regular" else draw(st.sampled_from(TIME_SOURCES)),
                )
            )
    return out


@st.composite
def cases(draw: st.DrawFn) -> tuple[Catalogue, list[Record]]:
    catalogue = draw(catalogues())
    return catalogue, draw(rows(catalogue))
