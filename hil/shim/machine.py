"""`machine` of an RP2040 board, as far as firmware of ours needs it; see README.md here."""

import time

import simwire

PWRON_RESET = 1
WDT_RESET = 3

_ENODEV = 19
_PIN_US = 5  # a pin read and the loop around it on an RP2040 at 125 MHz
_CALL_US = 3
_NAMES = {"LED": 25}
_cause = PWRON_RESET
_uid = b"\xff" * 8


class Pin:
    """A GPIO pin; `id` is its number, "LED" or "GP7"."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    ALT = 3
    PULL_UP = 1
    PULL_DOWN = 2
    IRQ_FALLING = 4
    IRQ_RISING = 8

    def __init__(self, id, mode=-1, pull=-1, *, value=None, alt=-1):
        if isinstance(id, Pin):
            id = id.number
        elif isinstance(id, str):
            id = _NAMES[id] if id in _NAMES else int(id[2:])
        if not 0 <= id <= 29:
            raise ValueError("invalid pin")
        self.number = id
        self._mode = mode
        self._pull = 0
        self._level = 0
        self._trigger = 0
        self._handler = None
        self._flags = 0
        if mode != -1 or pull not in (-1, None) or value is not None:
            self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, alt=-1):
        """Set direction and pull; an output's first level is `value`."""
        if mode != -1:
            self._mode = mode
        if pull is None:
            self._pull = 0
        elif pull != -1:
            self._pull = pull
        if value is not None:
            self._level = 1 if value else 0
        self._setup()
        if self._mode in (Pin.OUT, Pin.OPEN_DRAIN):
            simwire.write_pin(self.number, self._level)

    def _setup(self):
        mode = 0 if self._mode == -1 else self._mode
        simwire.call(
            simwire.OP_PIN_SETUP, self.number, mode | (self._pull << 4) | (self._trigger << 8)
        )

    def value(self, x=None):
        """Read the pin, or set it when `x` is given."""
        if x is None:
            if self._mode == Pin.OUT:
                return self._level
            return simwire.level(self.number, _PIN_US)
        self._level = 1 if x else 0
        simwire.write_pin(self.number, self._level)
        return None

    def __call__(self, x=None):
        return self.value(x)

    def on(self):
        """Drive high."""
        self.value(1)

    def off(self):
        """Drive low."""
        self.value(0)

    high = on
    low = off

    def toggle(self):
        """Invert the level that was set last."""
        self.value(1 - self._level)

    def irq(self, handler=None, trigger=12, *, priority=1, wake=None, hard=False):
        """Call `handler(pin)` on the edges of `trigger`; such a pin also ends `lightsleep`."""
        self._handler = handler
        self._trigger = trigger if handler else 0
        simwire.on_pin(self.number, self._fire if handler else None)
        self._setup()
        return self

    def _fire(self, level):
        self._flags = Pin.IRQ_RISING if level else Pin.IRQ_FALLING
        self._handler(self)

    def flags(self):
        """The edge that ran the handler: `irq()` returns the pin itself, which has this."""
        return self._flags

    def trigger(self):
        """The edges asked for."""
        return self._trigger

    def __repr__(self):
        return f"Pin(GPIO{self.number})"


class Signal:
    """A pin with a sense of its own."""

    def __init__(self, pin, *args, invert=False, **kwargs):
        self._pin = pin if isinstance(pin, Pin) else Pin(pin, *args, **kwargs)
        self._invert = 1 if invert else 0

    def value(self, x=None):
        """Read or set, inverted when asked for."""
        if x is None:
            return self._pin.value() ^ self._invert
        return self._pin.value((1 if x else 0) ^ self._invert)

    __call__ = value

    def on(self):
        """Make it active."""
        self.value(1)

    def off(self):
        """Make it inactive."""
        self.value(0)


class SPI:
    """An SPI master; the device whose chip select is low answers."""

    MSB = 1
    LSB = 0

    def __init__(self, id, baudrate=1000000, **options):
        self._id = id if isinstance(id, int) and id >= 0 else 0
        self.init(baudrate, **options)

    def init(self, baudrate=1000000, *, polarity=0, phase=0, bits=8, firstbit=1, **pins):
        """Set the clock; the simulator refuses modes its devices cannot read."""
        simwire.call(simwire.OP_SPI_SETUP, self._id, baudrate | (polarity << 32) | (phase << 33))

    def deinit(self):
        """Nothing to release."""

    def write(self, buf):
        """Send, drop what comes back."""
        simwire.call(simwire.OP_SPI, self._id, 0, buf)

    def read(self, nbytes, write=0):
        """Receive `nbytes` while sending the byte `write`."""
        return bytes(simwire.call(simwire.OP_SPI, self._id, 0, bytes([write] * nbytes)))

    def readinto(self, buf, write=0):
        """Fill `buf` while sending the byte `write`."""
        for i in range(len(buf)):
            buf[i] = write
        self.write_readinto(buf, buf)

    def write_readinto(self, write_buf, read_buf):
        """Send and receive; the buffers are of one length and may be the same."""
        if len(write_buf) != len(read_buf):
            raise ValueError("buffers must be the same length")
        read_buf[:] = simwire.call(simwire.OP_SPI, self._id, 0, write_buf)


class SoftSPI(SPI):
    """As SPI, on bus 0 of the simulator's wiring."""

    def __init__(self, baudrate=500000, **options):
        SPI.__init__(self, 0, baudrate, **options)


class UART:
    """A UART with buffers in the simulator; bytes take their time on the line."""

    IRQ_RX = 1
    IRQ_RXIDLE = 0x40
    IRQ_TXIDLE = 0x20
    IRQ_BREAK = 0x200
    INV_TX = 1
    INV_RX = 2

    def __init__(self, id, baudrate=115200, bits=8, parity=None, stop=1, **options):
        if id not in (0, 1):
            raise ValueError(f"UART({id}) doesn't exist")
        self._id = id
        self._timeout_us = 0
        self._gap_us = 0
        self._handler = None
        self._hooked = False
        self._free_us = 0  # when the last stop bit has left
        self.init(baudrate, bits, parity, stop, **options)

    def init(self, baudrate=115200, bits=8, parity=None, stop=1, **options):
        """Set the line; `timeout`, `timeout_char` in ms; `rxbuf`, `txbuf` in bytes (256)."""
        self._timeout_us = 1000 * options.get("timeout", 0)
        self._gap_us = max(1000 * options.get("timeout_char", 0), 20000000 // baudrate)
        code = 0 if parity is None else 2 - (parity & 1)  # 1 odd, 2 even
        self._format = bits | (code << 4) | (stop << 6)
        simwire.call(
            simwire.OP_UART_SETUP,
            self._id,
            baudrate | (self._format << 24) | (options.get("rxbuf", 256) << 32),
        )

    def deinit(self):
        """Close the line."""
        simwire.call(simwire.OP_UART_SETUP, self._id, 0)

    def any(self):
        """Bytes that wait to be read."""
        if simwire.is_quiet(_CALL_US):
            return simwire.waiting[self._id]
        answer = simwire.call(simwire.OP_UART_ANY, self._id, 0)
        return answer[0] | (answer[1] << 8)

    def _take(self, n, until_newline=False):
        out = b""
        limit = self._timeout_us
        while len(out) < n:
            want = 1 if until_newline else min(n - len(out), 2048)
            got = bytes(simwire.call(simwire.OP_UART_READ, self._id, want))
            out += got
            if got:
                limit = self._gap_us
                if until_newline and got == b"\n":
                    break
            elif limit <= 0 or not simwire.wait(limit, simwire.WAKE_UART):
                break
        return out

    def read(self, nbytes=-1):
        """Up to `nbytes`, or all there is; None when nothing came in time."""
        out = self._take(nbytes if nbytes >= 0 else self.any() or 1)
        return out if out else None

    def readinto(self, buf, nbytes=-1):
        """Fill `buf`; returns the count, or None when nothing came in time."""
        out = self._take(len(buf) if nbytes < 0 else min(nbytes, len(buf)))
        buf[: len(out)] = out
        return len(out) if out else None

    def readline(self):
        """Up to and with a newline, or what came in time."""
        out = self._take(1 << 12, True)
        return out if out else None

    def write(self, buf):
        """Queue `buf`; blocks while the 256-byte buffer is full."""
        data = memoryview(buf)
        for start in range(0, len(data), 1024):
            answer = simwire.call(simwire.OP_UART_WRITE, self._id, 0, data[start : start + 1024])
            pending = answer[0] | (answer[1] << 8) | (answer[2] << 16) | (answer[3] << 24)
            self._free_us = simwire.now_us() + pending
        return len(data)

    def _pending_us(self):
        simwire.spend(_CALL_US)
        return max(0, self._free_us - simwire.now_us())

    def txdone(self):
        """True when the last stop bit has left."""
        return self._pending_us() == 0

    def flush(self):
        """Wait until the last stop bit has left."""
        left = self._pending_us()
        while left:
            simwire.wait(left, 0)
            left = self._pending_us()

    def sendbreak(self):
        """A break is not modelled; the line stays idle."""

    def irq(self, handler=None, trigger=0x40, hard=False):
        """Call `handler(uart)` when bytes arrive."""
        self._handler = handler
        if not self._hooked:
            simwire.on_uart(self._fire)
            self._hooked = True
        return self

    def _fire(self, id):
        if id == self._id and self._handler:
            self._handler(self)


class ADC:
    """A 12-bit converter; `pin` is a Pin, its number, or a channel 0..4 (4: temperature)."""

    CORE_TEMP = 4

    def __init__(self, pin):
        number = pin.number if isinstance(pin, Pin) else pin
        self._channel = number - 26 if number >= 26 else number
        if not 0 <= self._channel <= 4:
            raise ValueError("Pin doesn't have ADC capabilities")

    def read_u16(self):
        """The reading, spread to 0..65535 as the chip's driver does."""
        answer = simwire.call(simwire.OP_ADC, self._channel, 0)
        return answer[0] | (answer[1] << 8)


class I2C:
    """An I2C bus without any device."""

    def __init__(self, *args, **options):
        pass

    def scan(self):
        """No address answers."""
        return []

    def readfrom(self, addr, nbytes, stop=True):
        """Nobody acknowledges."""
        raise OSError(_ENODEV)

    def writeto(self, addr, buf, stop=True):
        """Nobody acknowledges."""
        raise OSError(_ENODEV)

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        """Nobody acknowledges."""
        raise OSError(_ENODEV)

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        """Nobody acknowledges."""
        raise OSError(_ENODEV)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        """Nobody acknowledges."""
        raise OSError(_ENODEV)


SoftI2C = I2C


class PWM:
    """A PWM output: the simulator sees its frequency and duty."""

    def __init__(self, pin, *, freq=1000, duty_u16=0, invert=False):
        self._pin = pin if isinstance(pin, Pin) else Pin(pin)
        self._freq = freq
        self._duty = duty_u16
        self._tell()

    def _tell(self):
        simwire.call(simwire.OP_PWM, self._pin.number, self._freq | (self._duty << 32))

    def freq(self, value=None):
        """Read or set the frequency in Hz."""
        if value is None:
            return self._freq
        self._freq = value
        return self._tell()

    def duty_u16(self, value=None):
        """Read or set the duty, 0..65535."""
        if value is None:
            return self._duty
        self._duty = value
        return self._tell()

    def deinit(self):
        """Stop it."""
        self._duty = 0
        self._tell()


class Timer:
    """A soft timer; its callback runs like a pin's handler."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id=-1, **options):
        self.due_us = 0
        if options:
            self.init(**options)

    def init(self, *, mode=1, freq=-1, period=-1, callback=None, hard=False):
        """Start: `period` in ms, or `freq` in Hz."""
        simwire.remove_alarm(self)
        self._period_us = int(1000000 / freq) if freq > 0 else 1000 * period
        self._periodic = mode == Timer.PERIODIC
        self._callback = callback
        self.due_us = simwire.now_us() + self._period_us
        simwire.add_alarm(self)

    def fire(self):
        """Called by simwire when `due_us` has come."""
        if self._periodic:
            self.due_us += self._period_us
        else:
            simwire.remove_alarm(self)
        if self._callback:
            self._callback(self)

    def deinit(self):
        """Stop."""
        simwire.remove_alarm(self)


class WDT:
    """The watchdog: it cannot be stopped, and it resets the board when not fed in time."""

    def __init__(self, id=0, timeout=5000):
        if not 0 < timeout <= 8388:
            raise ValueError("timeout exceeds 8388")
        simwire.call(simwire.OP_WDT, 0, timeout)

    def feed(self):
        """Start the time anew; it travels with the next call, as an output does."""
        simwire.feed()


class RTC:
    """The board's clock; it starts at 2021-01-01 00:00:00 at power-on."""

    def __init__(self, *args):
        pass

    def datetime(self, value=None):
        """Read or set (year, month, day, weekday, hour, minute, second, 0)."""
        if value is None:
            t = time.gmtime()
            return (t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0)
        seconds = time.mktime((value[0], value[1], value[2], value[4], value[5], value[6], 0, 0))
        time.clock_offset_us = seconds * 1000000 - simwire.now_us()
        return None


def lightsleep(time_ms=-1):
    """Sleep at low power until the time is over, an armed pin changes or a UART has a byte."""
    simwire.wait(
        1000 * time_ms if time_ms >= 0 else -1,
        simwire.WAKE_PIN | simwire.WAKE_UART,
    )


def sleep():
    """Wait for any interrupt."""
    lightsleep(-1)


def idle():
    """Wait for the next interrupt, at most a millisecond (the system tick)."""
    simwire.wait(1000, simwire.WAKE_PIN | simwire.WAKE_UART)


def deepsleep(time_ms=-1):
    """Power down, then reset: never returns."""
    simwire.call(simwire.OP_DEEPSLEEP, 0, 1000 * time_ms if time_ms >= 0 else (1 << 47))
    raise SystemExit(0)


def reset():
    """Reset the board: never returns."""
    simwire.call(simwire.OP_RESET, 0, 0)
    raise SystemExit(0)


soft_reset = reset
bootloader = reset


def reset_cause():
    """PWRON_RESET, or WDT_RESET after a watchdog bite, `reset` or `deepsleep` (as on RP2)."""
    return _cause


def unique_id():
    """Eight bytes, given by the scenario."""
    return _uid


def freq(hz=None):
    """125 MHz; setting it has no effect."""
    return 125000000 if hz is None else None


def disable_irq():
    """Hold handlers back; returns the state for `enable_irq`."""
    return simwire.mask(True)


def enable_irq(state=False):
    """Let handlers run again when `state` says they did."""
    simwire.mask(state)


def time_pulse_us(pin, pulse_level, timeout_us=1000000):
    """Length of a pulse at `pulse_level`; -2 when it never began, -1 when it never ended."""
    start = simwire.now_us()
    while pin.value() != pulse_level:
        if simwire.now_us() - start >= timeout_us:
            return -2
    start = simwire.now_us()
    while pin.value() == pulse_level:
        if simwire.now_us() - start >= timeout_us:
            return -1
    return simwire.now_us() - start
