"""Firmware for the harness's own tests: each function tries one thing and prints what it found."""

import os
import random
import select
import time

import machine


def say(*values):
    print(*values)


def clock():
    """Time passes by sleeping and by looking at it, and not otherwise."""
    start = time.ticks_us()
    sum(range(10000))
    say("work", time.ticks_diff(time.ticks_us(), start) < 50)
    start = time.ticks_ms()
    time.sleep_ms(1500)
    say("slept", time.ticks_diff(time.ticks_ms(), start))
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < 100:
        pass
    say("spun", time.ticks_diff(time.ticks_ms(), start))
    say("wrapped", time.ticks_ms() < 10000, time.ticks_add((1 << 30) - 1, 2))
    say("year", time.gmtime()[0], len(time.gmtime()))
    machine.RTC().datetime((2025, 9, 10, 2, 5, 0, 0, 0))
    say("set", time.time(), time.mktime((2025, 9, 10, 5, 0, 0, 0, 0)))


def pins():
    """Levels, pulls, interrupts that wake, and outputs that are seen."""
    button = machine.Pin(14, machine.Pin.IN, machine.Pin.PULL_UP)
    say("pulled", button.value())
    lamp = machine.Pin("LED", machine.Pin.OUT, value=0)
    edges = []
    button.irq(lambda p: edges.append((p.value(), time.ticks_ms())), machine.Pin.IRQ_FALLING)
    start = time.ticks_ms()
    machine.lightsleep(5000)
    say("woken", time.ticks_diff(time.ticks_ms(), start), edges[0][0])
    lamp.on()
    start = time.ticks_ms()
    time.sleep_ms(3000)
    say("slept on", time.ticks_diff(time.ticks_ms(), start), len(edges))
    lamp.off()
    ticked = []
    timer = machine.Timer(period=100, callback=lambda t: ticked.append(1))
    time.sleep_ms(1050)
    timer.deinit()
    time.sleep_ms(500)
    say("timer", len(ticked))


def serial():
    """Bytes take their time both ways."""
    uart = machine.UART(0, 9600, tx=machine.Pin(0), rx=machine.Pin(1))
    start = time.ticks_us()
    uart.write(b"0123456789")
    uart.flush()
    say("flushed", round(time.ticks_diff(time.ticks_us(), start) / 1000))
    poller = select.poll()
    poller.register(uart, select.POLLIN)
    start = time.ticks_ms()
    ready = poller.poll(2000)
    say("polled", len(ready), time.ticks_diff(time.ticks_ms(), start) >= 800)
    time.sleep_ms(100)
    say("read", uart.read())
    say("nothing", uart.read(), uart.any())
    timed = machine.UART(0, 9600, timeout=300)
    start = time.ticks_ms()
    say("timeout", timed.read(5), time.ticks_diff(time.ticks_ms(), start))


def chance():
    """Randomness is the scenario's; identity too."""
    say("random", os.urandom(8), random.getrandbits(24), machine.unique_id())


def converter():
    say("adc", machine.ADC(26).read_u16(), machine.ADC(machine.Pin(27)).read_u16())
    try:
        machine.I2C(0).readfrom(0x34, 1)
    except OSError as error:
        say("i2c", error.errno)


def boots():
    """Counts its starts in a file and in no other way survives."""
    try:
        with open("count") as f:
            count = int(f.read())
    except OSError:
        count = 0
    with open("count.new", "w") as f:
        f.write(str(count + 1))
    os.rename("count.new", "count")
    say("boot", count + 1, machine.reset_cause())
    if count == 0:
        machine.reset()
    if count == 1:
        machine.deepsleep(2000)
    if count == 2:
        machine.WDT(timeout=1000)
        time.sleep_ms(5000)
    if count == 3:
        machine.WDT(timeout=1000)
        raise ValueError("crash")
    dog = machine.WDT(timeout=1000)
    for _ in range(5):
        time.sleep_ms(800)
        dog.feed()
    say("fed")


def writes():
    """Appends numbered records for ever: the harness cuts the power inside a write."""
    with open("log", "ab") as f:
        pass
    with open("log", "rb") as f:
        whole = f.read()
    whole = whole[: len(whole) // 8 * 8]
    for i in range(0, len(whole), 8):
        assert whole[i : i + 8] == b"%08d" % (i // 8), whole[i : i + 8]
    say("found", len(whole) // 8)
    n = len(whole) // 8
    while True:
        with open("log", "r+b") as f:
            f.seek(8 * n)
            f.write(b"%08d" % n)
        n += 1
        time.sleep_ms(100)


def spins():
    """Never gives time back."""
    while True:
        pass


def asks():
    """A call after the other, for the measurement of a round trip."""
    uart = machine.UART(0, 9600)
    while True:
        uart.read(1)
        time.sleep_ms(1)


def sleep_long():
    """A pin goes up, and down a thousand seconds later by the board's clock."""
    pin = machine.Pin(5, machine.Pin.OUT, value=1)
    for _ in range(100):
        time.sleep_ms(10_000)
    pin.value(0)
    time.sleep_ms(1)
