"""The region together with the operator's wishes: `RadioPlan`, the network's side of the radio.

It answers what a downlink may use (windows, sizes, power, airtime), what a join accept says and
what a device should have set (`wanted`), from `protocols.lorawan.regions` and the configuration.
"""

from dataclasses import replace

from gateway.lorawan.config import LorawanConfig, SettingError
from gateway.lorawan.radio import RadioFrame, Window
from gateway.lorawan.records import MacState
from protocols.errors import LocalError
from protocols.lorawan.airtime import airtime_us, fsk_airtime_us
from protocols.lorawan.regions import (
    EIRP_DBM,
    FSK_50,
    JOIN_RX1_DELAY_S,
    encode_cf_list_frequencies,
    encode_cf_list_masks,
    region,
)

# NwkID and NwkAddr widths by NetID type (LoRaWAN Backend Interfaces 1.0, table 2).
_NWK_ID_BITS = (6, 6, 9, 11, 12, 13, 15, 17)
_NWK_ADDR_BITS = (25, 24, 20, 17, 15, 13, 10, 7)


class RadioPlan:
    """Constant after construction; raises SettingError where configuration and region disagree."""

    def __init__(self, config: LorawanConfig) -> None:
        try:
            self.region = region(config.region)
        except LocalError as error:
            raise SettingError(f"lorawan.region = {config.region!r}: {error.detail}") from None
        place = self.region
        self.config = config
        self.rx2_dr = place.rx2_dr if config.rx2_dr is None else config.rx2_dr
        self._check()
        extra = () if place.is_fixed else config.extra_channels_hz
        defaults = () if place.is_fixed else tuple(freq for freq, _, _ in place.channels)
        eirp = max((i for i, dbm in enumerate(EIRP_DBM) if dbm <= place.eirp_dbm), default=0)
        has_dwell = place.has_dwell
        start = MacState(
            rx1_delay_s=config.rx1_delay_s,
            rx1_dr_offset=config.rx1_dr_offset,
            rx2_dr=self.rx2_dr,
            rx2_freq_hz=place.rx2_freq_hz,
            uplink_dwell=has_dwell,
            downlink_dwell=False,  # a device starts without it, also in AS923 (RegionAS923.c)
            eirp_index=eirp,
            channels_hz=defaults + extra,
        )
        # What a device has after our join accept, and what we want it to have.
        self.after_join = start
        self.wanted = replace(
            start,
            uplink_dwell=has_dwell
            and (start.uplink_dwell if config.uplink_dwell is None else config.uplink_dwell),
            downlink_dwell=has_dwell
            and (start.downlink_dwell if config.downlink_dwell is None else config.downlink_dwell),
        )
        # A personalised device knows the region's defaults and nothing of us.
        self.personalised = replace(
            start, rx1_delay_s=1, rx1_dr_offset=0, rx2_dr=place.rx2_dr, channels_hz=defaults
        )
        self.cf_list = b""
        if place.is_fixed and config.sub_band:
            self.cf_list = encode_cf_list_masks(self._sub_band_mask())
        elif extra:
            self.cf_list = encode_cf_list_frequencies(extra)
        self.power_dbm = place.eirp_dbm if config.power_dbm is None else config.power_dbm
        self.dr_max = self._dr_max(config.adr_dr_max)

    def _check(self) -> None:
        place, config = self.region, self.config
        if config.rx1_dr_offset > place.rx1_offset_max:
            raise SettingError(
                f"lorawan.rx1_dr_offset = {config.rx1_dr_offset} is outside "
                f"0..{place.rx1_offset_max} in {place.name}"
            )
        if not place.is_down_dr(self.rx2_dr):
            raise SettingError(f"lorawan.rx2_dr = {self.rx2_dr}: no LoRa rate of {place.name}")
        for freq in config.extra_channels_hz:
            if not place.is_frequency(freq) or freq % 100:
                raise SettingError(
                    f"lorawan.extra_channels_hz has {freq} Hz, outside "
                    f"{place.freq_min_hz}..{place.freq_max_hz} Hz ({place.name})"
                )

    def _dr_max(self, wanted: int | None) -> int:
        rates = self.region.data_rates
        narrow = [
            dr
            for dr, rate in enumerate(rates)
            if rate is not None and rate[1] == 125_000 and self.region.is_up_dr(dr)
        ]
        return max(narrow) if wanted is None else min(wanted, max(narrow))

    def _sub_band_mask(self) -> bytes:
        mask = bytearray(10)
        mask[self.config.sub_band - 1] = 0xFF
        mask[8] = 1 << (self.config.sub_band - 1)
        return bytes(mask)

    # -- uplinks

    def dr_of(self, frame: RadioFrame) -> int:
        """The uplink data rate of a frame, or -1."""
        if frame.sf == 0:
            rates = self.region.data_rates
            return rates.index(FSK_50) if FSK_50 in rates else -1
        return self.region.dr_of(frame.sf, frame.bw_hz, True)

    def _channel(self, freq_hz: int) -> int:
        for index, (freq, _, _) in enumerate(self.region.channels):
            if freq == freq_hz:
                return index
        return 0

    # -- downlinks

    def window(self, delay_s: int, freq_hz: int, dr: int) -> Window | None:
        """A window at a downlink data rate; None where the region has no such rate."""
        rates = self.region.data_rates
        rate = rates[dr] if 0 <= dr < len(rates) else None
        if rate is None:
            return None
        if rate == FSK_50:
            return Window(delay_s, freq_hz, dr, 0, 50_000)
        return Window(delay_s, freq_hz, dr, rate[0], rate[1])

    def windows(self, frame: RadioFrame, mac: MacState) -> list[Window]:
        """RX1 and RX2 after a data uplink, as far as both are defined."""
        return self._windows(
            frame,
            mac.rx1_delay_s,
            mac.rx1_dr_offset,
            mac.downlink_dwell,
            mac.rx2_freq_hz,
            mac.rx2_dr,
        )

    def join_windows(self, frame: RadioFrame) -> list[Window]:
        """RX1 and RX2 of a join: 5 and 6 s, with the region's defaults."""
        place = self.region
        return self._windows(
            frame,
            JOIN_RX1_DELAY_S,
            0,
            self.after_join.downlink_dwell,
            place.rx2_freq_hz,
            place.rx2_dr,
        )

    def _windows(
        self, frame: RadioFrame, delay_s: int, offset: int, dwell: bool, rx2_hz: int, rx2_dr: int
    ) -> list[Window]:
        found: list[Window | None] = []
        try:
            dr = self.region.rx1_dr(self.dr_of(frame), offset, dwell)
        except LocalError:
            pass
        else:
            freq = self.region.rx1_freq_hz(self._channel(frame.freq_hz), frame.freq_hz)
            found.append(self.window(delay_s, freq, dr))
        found.append(self.window(delay_s + 1, rx2_hz, rx2_dr))
        return [window for window in found if window is not None]

    def payload_limit(self, window: Window, mac: MacState) -> int:
        """N of a downlink: bytes of FOpts and FRMPayload together."""
        return self.region.payload_limit(window.dr, mac.downlink_dwell)

    def airtime_us(self, window: Window, size: int) -> int:
        """Time on air of a downlink of `size` bytes of PHYPayload."""
        if window.sf == 0:
            return fsk_airtime_us(size)
        return airtime_us(window.sf, window.bw_hz, size, crc=False)

    # -- addresses

    def dev_addr(self, random: bytes) -> int:
        """A DevAddr of our NetID from four random bytes."""
        net_id = self.config.net_id
        kind = net_id >> 21
        prefix = ((1 << kind) - 1) << 1
        nwk_id = net_id & ((1 << _NWK_ID_BITS[kind]) - 1)
        low = int.from_bytes(random[:4], "big") & ((1 << _NWK_ADDR_BITS[kind]) - 1)
        return prefix << (31 - kind) | nwk_id << _NWK_ADDR_BITS[kind] | low
