"""Integer dead reckoning shared by device and shore: `predict_into`, `distance_m`."""

from protocols.errors import LocalError


def predict_into(
    out: "list[int]", lat_e5: int, lon_e5: int, sog_dkn: int, cog_deg: int, elapsed_s: int
) -> None:
    """Where the vessel is `elapsed_s` after a fix: out[0] = lat_e5, out[1] = lon_e5.

    Integers alone, so device and shore agree on the bit. Allocates nothing on MicroPython.
    """
    raise LocalError("unfinished")


def distance_m(lat_a_e5: int, lon_a_e5: int, lat_b_e5: int, lon_b_e5: int) -> int:
    """Metres between two points less than 100 km apart (flat earth, integers)."""
    raise LocalError("unfinished")
