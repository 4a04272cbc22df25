"""The channels of an end device: `Channels`, over the lists and the mask in a `Session`."""

from protocols.lorawan.duty import DutyCycle
from protocols.lorawan.regions import Region
from protocols.lorawan.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Channels:
    """Which channels there are, which are enabled, and which one is next.

    `sub_band` 1..8 keeps a fixed plan to eight narrow channels and the wide one among them.
    """

    def __init__(
        self,
        region: Region,
        session: Session,
        duty: DutyCycle,
        entropy: "Callable[[], int]",
        sub_band: int,
    ) -> None:
        self._region = region
        self._session = session
        self._duty = duty
        self._entropy = entropy
        self._sub_band = sub_band
        self.trial = bytearray(10)  # the mask a block of LinkADRReq is building
        self._join_mask = bytearray(10)
        self._join_round = 0
        self.wait_ms = 0  # of the last `pick` that found none ready

    def freq_hz(self, channel: int) -> int:
        """The uplink frequency, 0 if there is no such channel."""
        if self._region.is_fixed:
            return self._region.channels[channel][0]
        return self._session.freqs_hz[channel]

    def down_freq_hz(self, channel: int) -> int:
        """RX1's frequency."""
        if not self._region.is_fixed and self._session.down_freqs_hz[channel]:
            return self._session.down_freqs_hz[channel]
        return self._region.rx1_freq_hz(channel, self.freq_hz(channel))

    def takes(self, channel: int, dr: int) -> bool:
        """Whether `channel` exists and may be used at `dr`."""
        if self._region.is_fixed:
            _, low, high = self._region.channels[channel]
        else:
            if not self._session.freqs_hz[channel]:
                return False
            low = self._session.dr_ranges[channel] & 15
            high = self._session.dr_ranges[channel] >> 4
        return low <= dr <= high

    def supports(self, mask: bytearray, dr: int) -> bool:
        """Whether an enabled channel of `mask` can be used at `dr` within the dwell limit."""
        region = self._region
        if not region.is_up_dr(dr) or not region.payload_limit(dr, self._session.up_dwell):
            return False
        for i in range(region.channel_count):
            if mask[i >> 3] >> (i & 7) & 1 and self.takes(i, dr):
                return True
        return False

    def enable_defaults(self) -> None:
        """Add the default channels (a fixed plan: all, or the sub-band) to those enabled."""
        mask = self._session.mask
        if not self._region.is_fixed:
            for i in range(len(self._region.channels)):
                mask[i >> 3] |= 1 << (i & 7)
        elif self._sub_band:
            mask[self._sub_band - 1] = 0xFF
            mask[8] |= 1 << (self._sub_band - 1)
        else:
            for i in range(9):
                mask[i] = 0xFF

    def reset(self) -> None:
        """Enable the default channels alone."""
        for i in range(10):
            self._session.mask[i] = 0
        self.enable_defaults()

    def lower_dr(self, dr: int) -> int:
        """The next lower data rate an enabled channel can use, or `dr` if there is none."""
        for lower in range(dr - 1, self._region.up_dr_min - 1, -1):
            if self.supports(self._session.mask, lower):
                return lower
        return dr

    def usable_dr(self, dr: int, size: int) -> int:
        """`dr`, or the nearest one that has a channel and fits `size` bytes; -1 if none has."""
        region, session = self._region, self._session
        for attempt in range(2):
            for distance in range(16):
                for candidate in (dr + distance, dr - distance):
                    if (
                        self.supports(session.mask, candidate)
                        and region.payload_limit(candidate, session.up_dwell) >= size
                    ):
                        return candidate
            if not attempt:
                self.enable_defaults()
        return -1

    def pick(self, dr: int, airtime_us: int, now_ms: int) -> int:
        """A random enabled channel ready to send at `dr`; -1, and `wait_ms` set, if none is."""
        return self._pick(self._session.mask, dr, airtime_us, now_ms)

    def pick_join(self, dr: int, airtime_us: int, now_ms: int) -> int:
        """As `pick`, among the channels a join may use.

        A fixed plan is searched eight channels at a time, as most gateways hear eight; with a
        session its channels are tried every other time.
        """
        region, mask = self._region, self._join_mask
        for i in range(10):
            mask[i] = 0
        if not region.is_fixed:
            for i in range(len(region.channels)):
                mask[i >> 3] |= 1 << (i & 7)
            return self._pick(mask, dr, airtime_us, now_ms)
        # Data rates alternate, so everything here changes after two rounds.
        turn = self._join_round >> 1
        if self._session.has_session and turn & 1:
            mask[:] = self._session.mask
        else:
            if self._session.has_session:
                turn >>= 1
            band = self._sub_band - 1 if self._sub_band else turn % 8
            mask[band] = 0xFF
            mask[8] = 1 << band
        if not self.supports(mask, dr):
            for i in range(9):
                mask[i] = 0xFF
        channel = self._pick(mask, dr, airtime_us, now_ms)
        if channel >= 0:
            self._join_round = self._join_round + 1 & 0xFF
        return channel

    def _pick(self, mask: bytearray, dr: int, airtime_us: int, now_ms: int) -> int:
        chosen = -1
        ready = 0
        self.wait_ms = -1
        for i in range(self._region.channel_count):
            if not mask[i >> 3] >> (i & 7) & 1 or not self.takes(i, dr):
                continue
            wait = self._duty.wait_ms(self.freq_hz(i), airtime_us, now_ms)
            if wait:
                self.wait_ms = wait if self.wait_ms < 0 else min(wait, self.wait_ms)
                continue
            ready += 1
            if self._entropy() % ready == 0:
                chosen = i
        if chosen >= 0 or self.wait_ms < 0:
            self.wait_ms = 0
        return chosen

    def try_mask(self, control: int, bits: int) -> bool:
        """Apply one LinkADRReq's ChMaskCntl and ChMask to `trial`; False if not allowed."""
        trial = self.trial
        if not self._region.is_fixed:
            if control == 6:
                bits = 0
                for i in range(16):
                    if self._session.freqs_hz[i]:
                        bits |= 1 << i
            elif control != 0:
                return False
            for i in range(16):
                if bits >> i & 1 and not self._session.freqs_hz[i]:
                    return False
            trial[0] = bits & 0xFF
            trial[1] = bits >> 8
            return bits != 0
        if control < 4:
            trial[2 * control] = bits & 0xFF
            trial[2 * control + 1] = bits >> 8
        elif control == 4:
            trial[8] = bits & 0xFF
        elif control == 5:  # one bit for eight narrow channels and their wide one
            for i in range(8):
                trial[i] = 0xFF if bits >> i & 1 else 0
            trial[8] = bits & 0xFF
        else:
            for i in range(8):
                trial[i] = 0xFF if control == 6 else 0
            trial[8] = bits & 0xFF
        return True

    def is_trial_allowed(self, dr: int) -> bool:
        """Whether `trial` leaves enough channels: one, and two narrow ones in US915 below DR4."""
        enabled = 0
        for i in range(64 if self._region.name == "US915" and dr < 4 else 72):
            if self.trial[i >> 3] >> (i & 7) & 1:
                enabled += 1
        return enabled >= (2 if self._region.name == "US915" and dr < 4 else 1)

    def set_channel(self, channel: int, freq_hz: int, dr_min: int, dr_max: int) -> None:
        """Define and enable, or with `freq_hz` 0 remove, a channel of a dynamic plan."""
        session = self._session
        session.freqs_hz[channel] = freq_hz
        session.down_freqs_hz[channel] = 0
        session.dr_ranges[channel] = dr_max << 4 | dr_min
        bit = 1 << (channel & 7)
        if freq_hz:
            session.mask[channel >> 3] |= bit
        else:
            session.mask[channel >> 3] &= ~bit & 0xFF
            if not session.mask[0] and not session.mask[1]:
                self.enable_defaults()
