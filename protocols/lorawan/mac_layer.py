"""Frames of an end device with all that belongs to them: `MacLayer`.

It builds uplinks, accepts downlinks and keeps the session durable: a DevNonce is stored before it
is sent, uplink counters are reserved in blocks before they are used, a downlink's counter and
what it changed are stored before anything is said about it. It knows nothing of time on air.
"""

from protocols.errors import RemoteError
from protocols.lorawan import frames
from protocols.lorawan.channels import Channels
from protocols.lorawan.crypto import BlockKey, derive_session_keys
from protocols.lorawan.interface import AbpKeys, Keys, Settings
from protocols.lorawan.regions import Region, cf_list_frequencies, cf_list_masks
from protocols.lorawan.responder import Responder
from protocols.lorawan.session import DEV_NONCE_END, F_CNT_BLOCK, F_CNT_END, RECORD_SIZE, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocols.lorawan.crypto import Aes
    from protocols.lorawan.interface import Store

_OPTS_MAX = 242


class MacLayer:
    """One device's frames. `channels` must work on `session`."""

    def __init__(
        self,
        region: Region,
        aes: "Aes",
        store: "Store",
        keys: "Keys | AbpKeys",
        settings: Settings,
        session: Session,
        channels: Channels,
    ) -> None:
        self._region = region
        self._aes = aes
        self._store = store
        self._keys = keys
        self._settings = settings
        self._record = bytearray(RECORD_SIZE)
        self.session = session
        self._channels = channels
        self.responder = Responder(region, session, channels)
        self.responder.obeys_adr = settings.adr
        self.frame = frames.DataFrame()  # of the last downlink accepted
        self._opts = bytearray(_OPTS_MAX)
        self._ack_owed = False
        self._sent_nonce = 0
        self.has_asked = False  # the last uplink built wants a downlink
        self.store_failures = 0
        self._app_key: BlockKey | None = None
        if isinstance(keys, Keys):
            self._app_key = BlockKey(aes, keys.app_key)
        self._owner = self._fingerprint()
        self._set_keys()

    def _fingerprint(self) -> bytes:
        """Four bytes that tell one set of keys and region from another, giving nothing away."""
        keys = self._keys
        if isinstance(keys, AbpKeys):
            key = BlockKey(self._aes, keys.nwk_s_key)
            name = keys.app_s_key + self._region.name.encode()
        else:
            key = BlockKey(self._aes, keys.app_key)
            name = keys.dev_eui + keys.join_eui + self._region.name.encode()
        key.cmac_into(key.mac, name, len(name))
        return bytes(key.mac[:4])

    def load(self, spare_nonce: int) -> bool:
        """Take up the stored session; False if there was none that is ours.

        A record that is there but unusable may have been ours and have used up DevNonces:
        `spare_nonce` is then where to go on.
        """
        session, keys = self.session, self._keys
        stored = self._store.load()
        is_ours = stored is not None and session.decode(stored, self._owner)
        if not is_ours:
            if stored is not None:
                session.dev_nonce = spare_nonce
            if isinstance(keys, AbpKeys):
                session.has_session = True
                session.dev_addr = keys.dev_addr
                session.nwk_s_key = keys.nwk_s_key
                session.app_s_key = keys.app_s_key
                session.dr = self.first_dr(session.dr)
        self._set_keys()
        return is_ours

    def first_dr(self, dr: int) -> int:
        """The data rate a session starts with, where the join's was `dr`."""
        return self._settings.dr if self._settings.dr >= 0 else dr

    def _set_keys(self) -> None:
        self._nwk = BlockKey(self._aes, self.session.nwk_s_key)
        self._app = BlockKey(self._aes, self.session.app_s_key)

    def save(self) -> bool:
        """Make the session durable; False, counted, if the store cannot."""
        self.session.encode_into(self._record, self._owner)
        try:
            self._store.save(self._record)
        except OSError:
            self.store_failures += 1
            return False
        return True

    @property
    def is_otaa(self) -> bool:
        """Whether the keys are OTAA keys."""
        return self._app_key is not None

    @property
    def can_join(self) -> bool:
        """Whether the keys are OTAA keys and a DevNonce is left."""
        return self._app_key is not None and self.session.dev_nonce < DEV_NONCE_END

    @property
    def is_ack_owed(self) -> bool:
        """Whether a confirmed downlink waits for its acknowledgement."""
        return self._ack_owed

    def build_join_into(self, buf: bytearray) -> int:
        """Write a join request with the next DevNonce; its length, or 0 if the store failed."""
        session, keys = self.session, self._keys
        if self._app_key is None or isinstance(keys, AbpKeys):
            return 0
        nonce = session.dev_nonce
        session.dev_nonce = nonce + 1
        if not self.save():
            session.dev_nonce = nonce  # never sent
            return 0
        self._sent_nonce = nonce
        return frames.encode_join_request_into(
            buf, keys.join_eui, keys.dev_eui, nonce, self._app_key
        )

    def fits_together(self, dr: int, payload_len: int) -> bool:
        """Whether new answers owed fit into one frame with `payload_len` application bytes.

        Sticky answers that were sent before may stay out of a frame that is full without them.
        """
        if not self.responder.is_urgent:
            return True
        owed = self.responder.owed
        limit = self._region.payload_limit(dr, self.session.up_dwell)
        return owed <= frames.F_OPTS_MAX and owed + payload_len <= limit

    def reserve_counter(self) -> bool:
        """Make the next uplink's counter safe to use; False if the store failed."""
        session = self.session
        if session.f_cnt_up < session.f_cnt_up_reserved:
            return True
        before = session.f_cnt_up_reserved
        session.f_cnt_up_reserved = min(session.f_cnt_up + F_CNT_BLOCK, F_CNT_END)
        if not self.save():
            session.f_cnt_up_reserved = before
            return False
        return True

    def build_data_into(
        self,
        buf: bytearray,
        dr: int,
        f_port: int,
        payload: bytearray,
        payload_len: int,
        confirmed: bool,
        asks: bool,
    ) -> int:
        """Write the next data uplink, after `reserve_counter`; its length.

        With `frames.NO_PORT` only the answers travel: in FOpts, or on port 0 when they are many.
        `asks` sets ADRACKReq, if ADR is on, and adds LinkCheckReq, if it fits: see `has_asked`.
        """
        session, responder = self.session, self.responder
        limit = self._region.payload_limit(dr, session.up_dwell)
        f_ctrl = (
            (frames.ADR if self._settings.adr else 0)
            | (frames.ADR_ACK_REQ if asks and self._settings.adr else 0)
            | (frames.ACK if self._ack_owed else 0)
        )
        m_type = frames.CONFIRMED_UP if confirmed else frames.UNCONFIRMED_UP
        if f_port == frames.NO_PORT and responder.owed > frames.F_OPTS_MAX:
            opts_len = 0
            f_port = 0
            payload = self._opts
            payload_len = responder.compose_into(self._opts, min(limit, _OPTS_MAX), asks)
        else:
            room = min(frames.F_OPTS_MAX, limit - payload_len)
            opts_len = responder.compose_into(self._opts, room, asks)
        self.has_asked = responder.has_asked or (asks and self._settings.adr)
        size = frames.encode_data_into(
            buf,
            m_type,
            session.dev_addr,
            f_ctrl,
            session.f_cnt_up,
            self._opts,
            opts_len,
            f_port,
            payload,
            payload_len,
            self._nwk,
            self._app,
        )
        session.f_cnt_up += 1
        self._ack_owed = False
        responder.sent()
        return size

    def accept_join(self, buf: bytearray, length: int, dr: int) -> bool:
        """Open a join accept and start its session at `dr`; False if it is not for us."""
        session = self.session
        if self._app_key is None:
            return False
        try:
            accept = frames.open_join_accept(buf, length, self._app_key)
        except RemoteError:
            return False
        if accept.join_nonce == session.join_nonce:
            return False
        if self._settings.strict_join_nonce and accept.join_nonce < session.join_nonce:
            return False
        session.reset(self._region)
        self._channels.reset()
        self.responder.forget()
        self._ack_owed = False
        session.has_session = True
        session.join_nonce = accept.join_nonce
        session.dev_addr = accept.dev_addr
        session.nwk_s_key, session.app_s_key = derive_session_keys(
            self._aes,
            self._keys.app_key if isinstance(self._keys, Keys) else b"",
            accept.join_nonce,
            accept.net_id,
            self._sent_nonce,
        )
        self._set_keys()
        session.dr = self.first_dr(dr)
        session.rx1_delay_s = accept.rx_delay_s
        if accept.rx1_dr_offset <= self._region.rx1_offset_max:
            session.rx1_offset = accept.rx1_dr_offset
        if self._region.is_down_dr(accept.rx2_dr):
            session.rx2_dr = accept.rx2_dr
        self._apply_cf_list(accept.cf_list)
        session.f_cnt_up_reserved = F_CNT_BLOCK
        # If this fails, a power cut loses the session as a whole, and no counter of it returns.
        self.save()
        return True

    def _apply_cf_list(self, cf_list: bytes) -> None:
        """Five extra channels, or a mask; what does not suit the region is ignored."""
        region = self._region
        if region.is_fixed:
            mask = cf_list_masks(cf_list)
            if mask is not None and any(mask[:9]):
                for i in range(9):
                    self.session.mask[i] = mask[i]
            return
        freqs_hz = cf_list_frequencies(cf_list) or ()
        for i in range(len(freqs_hz)):
            if freqs_hz[i] and region.is_frequency(freqs_hz[i]):
                low, high = region.channels[0][1], region.channels[0][2]
                self._channels.set_channel(len(region.channels) + i, freqs_hz[i], low, high)

    def accept_data(self, buf: bytearray, length: int, snr_q4: int, is_class_a: bool) -> bool:
        """Check, open and obey a downlink, leaving it in `frame`; False if it is not for us.

        `is_class_a`: it came in RX1 or RX2; elsewhere a frame with MAC commands is ignored. A
        frame whose effects cannot be stored is dropped.
        """
        session, frame = self.session, self.frame
        if not session.has_session:
            return False
        try:
            frame.parse(buf, length)
        except RemoteError:
            return False
        if frame.is_uplink or frame.dev_addr != session.dev_addr:
            return False
        has_commands = frame.f_opts_len > 0 or frame.f_port == 0
        if has_commands and not is_class_a:
            return False
        f_cnt = frames.f_cnt_after(frame.f_cnt_16, session.f_cnt_down)
        if f_cnt == session.f_cnt_down:
            f_cnt = -1 if f_cnt > 0xFFFEFFFF else f_cnt + 0x10000
        if f_cnt < 0 or not frame.check_mic(buf, f_cnt, self._nwk):
            return False
        frame.open(buf, f_cnt, self._nwk, self._app)
        session.f_cnt_down = f_cnt
        if is_class_a:
            self.responder.heard_class_a()
        if has_commands:
            self._obey(buf, snr_q4)
        if not self.save():
            return False
        if frame.is_confirmed:
            self._ack_owed = True
        return True

    def _obey(self, buf: bytearray, snr_q4: int) -> None:
        frame = self.frame
        if frame.f_port == 0:
            start, size = frame.payload_start, frame.payload_len
        else:
            start, size = frame.f_opts_start, frame.f_opts_len
        self.responder.obey(buf, start, start + size, snr_q4)
