"""A Modbus sensor behind an RS-485 line: `LevelSensor`, one burst of readings at a time.

`start(count)` begins; the loop calls `step`; when `is_done`, `values[:taken]` holds millimetres
(None: no valid reading) and `temperature_c`, `snr_db` what the sensor says of itself. While
`is_active` the UART must keep its clock: no light sleep.
"""

from micropython import const

from firmware.drivers.profiles import Profile
from protocols.modbus.client import RtuClient
from protocols.modbus.values import decode_value
from protocols.payload.status import (
    SENSOR_CRC,
    SENSOR_EXCEPTION,
    SENSOR_GOOD,
    SENSOR_NO_ANSWER,
    SENSOR_NO_ECHO,
)
from protocols.ticks import ticks_add, ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import UART, Pin

COUNT_MAX = const(25)
_TIMEOUT_MS = const(300)  # slowest of the known sensors answers in 250 ms (VEGA: its largest delay)
_LOOK_GAP_MS = const(20)
_POLL_MS = const(4)

_IDLE, _WARM, _GAP, _WAIT = const(0), const(1), const(2), const(3)
_VALUE, _TEMPERATURE, _SNR = const(0), const(1), const(2)


class LevelSensor:
    """`de` drives the line's direction (None: the transceiver does), `power` the supply."""

    def __init__(
        self,
        uart: "UART",
        de: "Pin | None",
        power: "Pin | None",
        profile: Profile,
        unit: int,
        baud: int,
        parity: "int | None" = None,
        warm_ms: int = 0,
        gap_ms: int = 150,
    ) -> None:
        self._uart = uart
        self._de = de
        self._power = power
        self._profile = profile
        self._unit = unit
        self._warm_ms = warm_ms
        self._gap_ms = gap_ms
        self._baud = baud
        self._parity = parity
        self._idle_ms = max(2, 38_500 // baud + 1)  # 3.5 characters of 11 bits
        self._client = RtuClient()
        self._chunk = bytearray(64)
        self.values: list[int | None] = [None] * COUNT_MAX
        self.taken = 0
        self._count = 0
        self._what = _VALUE
        self._state = _IDLE
        self._due_ms = 0
        self._sent_ms = 0
        self._heard_ms = 0
        self._has_heard = False
        self._is_look = False
        self.is_done = False
        self.temperature_c: int | None = None
        self.snr_db: int | None = None
        # Counters for the health record.
        self.requests = 0
        self.silences = 0
        self.refusals = 0
        self.invalids = 0
        self.error = SENSOR_GOOD  # of the last reading that was none (SENSOR_...)
        self.exception: int | None = None  # code of the last refusal
        self._noise = 0  # noise bytes before the last request

    @property
    def is_running(self) -> bool:
        """A burst is under way."""
        return self._state != _IDLE

    @property
    def is_active(self) -> bool:
        """An answer is awaited: the UART needs its clock. Between two readings it does not."""
        return self._state == _WAIT

    @property
    def noise_bytes(self) -> int:
        return self._client.noise_bytes

    def start(self, count: int, now_ms: int, is_look: bool = False) -> None:
        """Begin a burst of `count` readings, 1..25; a running one is given up.

        A look is in a hurry: its readings follow closely, and nothing but the value is asked for.
        """
        self._is_look = is_look
        self._count = min(count, COUNT_MAX)
        self.taken = 0
        self.is_done = False
        self._what = _VALUE
        self._state = _WARM
        if self._power is not None:
            self._power.value(1)
        self._due_ms = ticks_add(now_ms, self._warm_ms)

    def stop(self) -> None:
        """End at once and take the supply away."""
        self._state = _IDLE
        if self._power is not None:
            self._power.value(0)

    def step(self, now_ms: int) -> None:
        """Do what is due."""
        if self._state == _WAIT:
            self._listen(now_ms)
        elif self._state != _IDLE and ticks_diff(now_ms, self._due_ms) >= 0:
            self._ask(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        """Until the next `step` is of use; -1 when idle."""
        if self._state == _IDLE:
            return -1
        if self._state == _WAIT:
            return _POLL_MS
        return max(0, ticks_diff(self._due_ms, now_ms))

    def _ask(self, now_ms: int) -> None:
        profile = self._profile
        register, kind = profile.register, profile.kind
        if self._what == _TEMPERATURE and profile.temperature is not None:
            register, kind = profile.temperature[:2]
        elif self._what == _SNR and profile.snr is not None:
            register, kind = profile.snr[:2]
        words = 2 if kind in ("f32", "u32", "s32") else 1
        length = self._client.read_into(self._unit, profile.function, register, words)
        # A light sleep of the RP2040 stops the UART's clock and may leave its settings wrong
        # (micropython PR 16442): set them before every request.
        self._uart.init(self._baud, 8, self._parity, 1)
        while self._uart.any():
            self._uart.readinto(self._chunk)  # whatever came unasked is no answer
        if self._de is not None:
            self._de.value(1)
        self._uart.write(memoryview(self._client.tx)[:length])
        self._uart.flush()
        if self._de is not None:
            self._de.value(0)
        self.requests += 1
        self._noise = self._client.noise_bytes
        self._sent_ms = now_ms
        self._has_heard = False
        self._state = _WAIT

    def _listen(self, now_ms: int) -> None:
        waiting = self._uart.any()
        answered = False
        if waiting:
            count = self._uart.readinto(self._chunk, min(waiting, len(self._chunk)))
            if count:
                self._heard_ms = now_ms
                self._has_heard = True
                answered = self._client.feed(self._chunk, count)
        elif self._has_heard and ticks_diff(now_ms, self._heard_ms) >= self._idle_ms:
            answered = self._client.line_idle()
            self._has_heard = False
        if answered:
            self._take(now_ms, True)
        elif ticks_diff(now_ms, self._sent_ms) > _TIMEOUT_MS:
            self._client.timed_out()
            self.silences += 1
            is_noisy = self._client.noise_bytes != self._noise
            self.error = SENSOR_CRC if is_noisy else SENSOR_NO_ANSWER
            self._take(now_ms, False)

    def _take(self, now_ms: int, answered: bool) -> None:
        value: int | None = None
        client = self._client
        profile = self._profile
        if answered and client.exception:
            self.refusals += 1
            self.error = SENSOR_EXCEPTION
            self.exception = client.exception
        elif answered:
            registers = [client.register(i) for i in range(client.count)]
            if self._what == _VALUE:
                value = decode_value(
                    registers,
                    profile.kind,
                    profile.order,
                    profile.numerator,
                    profile.denominator,
                    profile.invalid,
                )
                if value is None or not profile.low <= value <= profile.high:
                    self.invalids += 1
                    self.error = SENSOR_NO_ECHO
                    value = None
            else:
                extra = profile.temperature if self._what == _TEMPERATURE else profile.snr
                if extra is not None:
                    value = decode_value(registers, extra[1], profile.order, extra[2], extra[3])
        self._next(now_ms, value)

    def _next(self, now_ms: int, value: "int | None") -> None:
        if self._what == _VALUE:
            self.values[self.taken] = value
            self.taken += 1
            if self.taken < self._count:
                self._pause(now_ms, _LOOK_GAP_MS if self._is_look else self._gap_ms)
                return
            if self._is_look:
                self.stop()
                self.is_done = True
                return
            if self._profile.temperature is not None and self._any_valid():
                self._what = _TEMPERATURE
                self._pause(now_ms, self._idle_ms)
                return
            value = None
        if self._what != _SNR:
            if self._what == _TEMPERATURE:
                self.temperature_c = value
            if self._profile.snr is not None and self._any_valid():
                self._what = _SNR
                self._pause(now_ms, self._idle_ms)
                return
        else:
            self.snr_db = value
        self.stop()
        self.is_done = True

    def _pause(self, now_ms: int, gap_ms: int) -> None:
        self._state = _GAP
        self._due_ms = ticks_add(now_ms, gap_ms)

    def _any_valid(self) -> bool:
        """No extras are asked of a sensor that says nothing: each would cost a time-out."""
        return any(self.values[i] is not None for i in range(self.taken))
