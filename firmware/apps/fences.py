"""Circles on the water that a downlink sets: `Fences` (harbour, protected area)."""

import struct

from micropython import const

from firmware.store.files import Files
from firmware.store.record import Record
from protocols.payload.reckon import distance_m

FENCES_MAX = const(8)
_ROW = ">BiiHB"


class Fence:
    """One circle; `inside` is None until the first fix."""

    def __init__(self, lat_e5: int, lon_e5: int, radius_m: int, is_forbidden: bool) -> None:
        self.lat_e5 = lat_e5
        self.lon_e5 = lon_e5
        self.radius_m = radius_m
        self.is_forbidden = is_forbidden
        self.inside: bool | None = None


class Fences:
    """`set` by number, kept over resets; `feed` gives the number of a fence that was crossed."""

    def __init__(self, files: Files) -> None:
        self._record = Record(files, "fences")
        self._fences: dict[int, Fence] = {}
        content = self._record.load()
        if content is not None:
            size = struct.calcsize(_ROW)
            for at in range(0, len(content) - size + 1, size):
                number, lat, lon, radius, forbidden = struct.unpack_from(_ROW, content, at)
                self._fences[number] = Fence(lat, lon, radius, forbidden != 0)

    def set(self, number: int, lat_e5: int, lon_e5: int, radius_m: int, is_forbidden: bool) -> bool:
        """Set or (radius 0) remove; False when there are too many. Raises OSError."""
        if radius_m == 0:
            self._fences.pop(number, None)
        elif number not in self._fences and len(self._fences) >= FENCES_MAX:
            return False
        else:
            self._fences[number] = Fence(lat_e5, lon_e5, radius_m, is_forbidden)
        out = b""
        for key, fence in self._fences.items():
            out += struct.pack(
                _ROW, key, fence.lat_e5, fence.lon_e5, fence.radius_m, int(fence.is_forbidden)
            )
        self._record.save(out)
        return True

    def feed(self, lat_e5: int, lon_e5: int) -> "tuple[int, bool] | None":
        """(number, is inside) of one fence that was crossed by this fix, or None.

        Leaving counts a tenth of the radius (10 m at least) further out, so that a boat on the
        line does not chatter.
        """
        for number, fence in self._fences.items():
            away_m = distance_m(lat_e5, lon_e5, fence.lat_e5, fence.lon_e5)
            limit_m = fence.radius_m
            if fence.inside:
                limit_m += max(10, fence.radius_m // 10)
            inside = away_m <= limit_m
            if fence.inside is None:
                fence.inside = inside
                if not (inside and fence.is_forbidden):
                    continue
            elif inside == fence.inside:
                continue
            fence.inside = inside
            return number, inside
        return None
