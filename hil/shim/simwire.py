"""The wire to the simulator: one request, one answer, over one stream socket.

Request  `<B op, B x, H length, I elapsed_us, q arg>` + data; `x` pin writes (pin, level) come first
in the data. `elapsed_us` is board time spent since the last answer (tick reads, and the like).
Answer   `<Q now_us, I quiet_us, I levels, H length, 2H waiting, B events, B flags>` + data +
         events x (pin, level). Nothing can happen outside for `quiet_us` (the next event of the
         simulation is later), so until then a pin is read from `levels` and `UART.any` is
         answered from `waiting` without a call.
`hil/wire.py` has the other end. Everything here runs on the unix port of MicroPython only.
"""

import struct

OP_HELLO = 0
OP_WAIT = 1
OP_PIN_WRITE = 2
OP_PIN_READ = 3
OP_PIN_SETUP = 4
OP_SPI_SETUP = 5
OP_SPI = 6
OP_UART_SETUP = 7
OP_UART_WRITE = 8
OP_UART_READ = 9
OP_UART_ANY = 10
OP_UART_PENDING = 11
OP_ADC = 12
OP_RESET = 13
OP_DEEPSLEEP = 14
OP_WDT = 15
OP_RANDOM = 16
OP_PWM = 17
OP_FLASH_READ = 18
OP_FLASH_WRITE = 19
OP_FLASH_ERASE = 20
OP_LOG = 21
OP_FILE = 22

FEED = 0xFF  # a pin write that feeds the watchdog
WAKE_PIN = 1
WAKE_UART = 2
_HANDLES_UART = 4

_REQUEST = "<BBHIq"
_ANSWER = "<QIIHHHBB"
_ANSWER_SIZE = 24
_SYNC_US = 1000  # a loop that only reads the clock still meets the simulator this often

flags = 0  # of the latest answer: WAKE_PIN, WAKE_UART
_socket = None
_header = bytearray(_ANSWER_SIZE)
_request = bytearray(16 + 2 * 32 + 4096)
_request_view = memoryview(_request)
_body = bytearray(4096 + 512)
_body_view = memoryview(_body)
_now_us = 0
_elapsed_us = 0
_quiet_us = 0
_levels = 0
_fed = False
waiting = [0, 0]  # bytes in the receive buffers, as of the latest answer
_writes = bytearray(2 * 32)
_write_count = 0
_handlers = {}  # pin -> callable(level)
_uart_handlers = []  # callables without argument, run when a UART has bytes
_alarms = []  # Timer objects: attributes `due_us`, method `fire()`
_events = []
_in_handler = False
_masked = False


def connect(descriptor):
    """Take over the stream behind the file descriptor that the simulator passed on."""
    global _socket
    _socket = open(descriptor, "r+b", 0)


def now_us():
    """Board time in microseconds as last known, plus what was spent since."""
    return _now_us + _elapsed_us


def spend(us):
    """Charge `us` of board time without a call, but meet the simulator now and then."""
    global _elapsed_us
    _elapsed_us += us
    if _elapsed_us >= _SYNC_US and _elapsed_us >= _quiet_us:
        call(OP_WAIT, 0, 0)


def is_quiet(us):
    """Whether the next `us` of board time may pass without a call; they are charged if so."""
    global _elapsed_us
    if _write_count or _elapsed_us + us > _quiet_us:
        return False
    _elapsed_us += us
    return True


def level(pin, us):
    """The level of an input, for `us` of board time."""
    if is_quiet(us):
        return _levels >> pin & 1
    return call(OP_PIN_READ, pin, us)[0]


def feed():
    """Feed the watchdog: it travels with the next call."""
    global _fed
    _fed = True


def write_pin(pin, level):
    """Set an output; it travels at the head of the next call."""
    global _write_count
    if _write_count == 31:
        call(OP_PIN_WRITE, 0, 0)
    _writes[2 * _write_count] = pin
    _writes[2 * _write_count + 1] = level
    _write_count += 1


def call(op, x, arg, data=None):
    """One round trip; returns a memoryview of the answer's data, valid until the next call.

    `x` is for the operation (a bus or pin number); it travels in the high half of `arg`.
    Handlers of pins that changed have run when this returns, unless a handler made the call.
    """
    global _now_us, _elapsed_us, _quiet_us, _levels, _write_count, _fed, flags
    if _fed:
        _fed = False
        _writes[2 * _write_count] = FEED
        _write_count += 1
    size = 0 if data is None else len(data)
    head = 2 * _write_count
    if head:
        _request[16 : 16 + head] = _writes[:head]
    if size:
        _request[16 + head : 16 + head + size] = data
    struct.pack_into(
        _REQUEST, _request, 0, op, _write_count, head + size, _elapsed_us, arg | (x << 48)
    )
    _elapsed_us = 0
    _write_count = 0
    _socket.write(_request_view[: 16 + head + size])
    if _socket.readinto(_header) != _ANSWER_SIZE:
        raise SystemExit(0)  # the simulator is gone: so are we
    (
        _now_us,
        _quiet_us,
        _levels,
        length,
        waiting[0],
        waiting[1],
        events,
        flags,
    ) = struct.unpack_from(_ANSWER, _header, 0)
    total = length + 2 * events
    if total:
        _socket.readinto(_body_view[:total])
        for i in range(events):
            _events.append((_body[length + 2 * i], _body[length + 2 * i + 1]))
    answer = _body_view[:length]
    if _events and not _in_handler and not _masked:
        woken = flags
        # A handler's own calls overwrite the buffer: keep what the caller asked for.
        answer = bytes(answer)
        _dispatch()
        flags = woken  # a handler's own calls overwrote it
    return answer


def _dispatch():
    global _in_handler
    _in_handler = True
    try:
        while _events:
            pin, level = _events.pop(0)
            if pin >= 0x80:
                for handler in _uart_handlers:
                    handler(pin - 0x80)
            else:
                handler = _handlers.get(pin)
                if handler:
                    handler(level)
    finally:
        _in_handler = False


def mask(masked):
    """Hold handlers back (`True`) or run what waited (`False`); returns the state before."""
    global _masked
    before = _masked
    _masked = masked
    if not masked and _events and not _in_handler:
        _dispatch()
    return before


def wait(us, wake):
    """Let `us` pass (negative: for ever); with `wake` return early on a pin or UART event.

    Returns True when it was woken early.
    """
    if us >= 0 and not _alarms and is_quiet(us):
        return False  # nothing can happen meanwhile: no need to ask
    deadline = now_us() + us
    while True:
        left = deadline - now_us() if us >= 0 else 1 << 47
        for alarm in _alarms:
            left = min(left, max(alarm.due_us - now_us(), 0))
        call(OP_WAIT, wake | (_HANDLES_UART if _uart_handlers else 0), max(left, 0))
        woken = flags & wake
        for alarm in list(_alarms):
            if alarm.due_us <= now_us():
                alarm.fire()
        if woken:
            return True
        if us >= 0 and now_us() >= deadline:
            return False


def on_pin(pin, handler):
    """Call `handler(level)` on the edges asked for by OP_PIN_SETUP; None removes it."""
    if handler is None:
        _handlers.pop(pin, None)
    else:
        _handlers[pin] = handler


def on_uart(handler):
    """Call `handler(uart)` when bytes arrive in an idle UART."""
    _uart_handlers.append(handler)


def add_alarm(alarm):
    """Add a soft timer: it has `due_us` and `fire()`."""
    _alarms.append(alarm)


def remove_alarm(alarm):
    """Take a soft timer out again; no error when it is not there."""
    if alarm in _alarms:
        _alarms.remove(alarm)
