"""Firmware for the harness's own tests: sends three packets and sleeps in between."""

import os
import random
import time

import machine


def command(spi, cs, busy, data):
    while busy.value():
        pass
    cs.value(0)
    buf = bytearray(data)
    spi.write_readinto(buf, buf)
    cs.value(1)
    return bytes(buf)


def run():
    spi = machine.SPI(1, baudrate=4000000)
    cs = machine.Pin(3, machine.Pin.OUT, value=1)
    busy = machine.Pin(2, machine.Pin.IN)
    dio1 = machine.Pin(20, machine.Pin.IN)
    reset = machine.Pin(15, machine.Pin.OUT, value=1)
    edges = []
    dio1.irq(lambda pin: edges.append(time.ticks_us()), machine.Pin.IRQ_RISING)
    reset.value(0)
    time.sleep_ms(1)
    reset.value(1)
    time.sleep_ms(1)

    def say(*data):
        return command(spi, cs, busy, data)

    say(0x80, 0)
    say(0x97, 2, 0, 1, 64)  # 1.8 V, 5 ms
    say(0x07, 0, 0)
    say(0x89, 0x7F)
    say(0x9D, 1)
    say(0x8A, 1)
    frf = 921400000 * (1 << 25) // 32000000
    say(0x86, frf >> 24, (frf >> 16) & 255, (frf >> 8) & 255, frf & 255)
    say(0x95, 4, 7, 0, 1)
    say(0x8E, 14, 4)
    say(0x8B, 7, 4, 1, 0)
    say(0x8F, 0, 0)
    say(0x08, 0x03, 0xFF, 0x03, 0xFF, 0, 0, 0, 0)
    say(0x0D, 0x08, 0xD8, 0xFE)
    say(0x0D, 0x08, 0x89, 0x05)
    with open("boots.txt", "a") as f:
        f.write("x")
    with open("boots.txt") as f:
        boots = len(f.read())
    for n in range(3):
        payload = bytes([boots, n]) + os.urandom(6)
        say(0x0E, 0, *payload)
        say(0x8C, 0, 8, 0, len(payload), 1, 0)
        edges.clear()
        say(0x83, 0, 0, 0)
        while not edges:
            machine.lightsleep(5000)
        irq = say(0x12, 0, 0, 0)
        assert irq[3] & 1, irq
        say(0x02, 0x03, 0xFF)
        time.sleep_ms(500 + random.getrandbits(8))
    print("done", time.ticks_ms(), boots)
