"""Heap and allocation of the end device, printed as `name value` lines; run by the bench.

Run under MicroPython: `micropython tests/protocols/lorawan/heap.py`. The collector is off while
something is measured, so `gc.mem_alloc` counts every block that was taken.
"""

import gc
import sys
import time


def used():
    gc.collect()
    return gc.mem_alloc()


def main():
    start = used()
    from protocols.lorawan.regions import region

    home = region("AS923-2")
    after_region = used()
    from protocols.lorawan import device as dev

    after_code = used()
    from tests.protocols.lorawan.aes import aes
    from tests.protocols.lorawan.double import (
        APP_KEY,
        DEV_EUI,
        JOIN_EUI,
        Entropy,
        MemoryStore,
        Network,
        World,
    )

    keys, store, entropy = dev.Keys(DEV_EUI, JOIN_EUI, APP_KEY), MemoryStore(), Entropy()
    before = used()
    device = dev.Device(home, aes, store, entropy, keys)
    print("region_bytes", after_region - start)
    print("code_bytes", after_code - after_region)
    print("device_bytes", used() - before)
    del device

    world = World(Network())
    world.join()
    print("record_bytes", len(world.store.record))
    device = world.device
    data = b"12345678901"
    totals = [0, 0, 0, 0]
    times_us = [0, 0]
    count = 200
    for i in range(count):
        world.forget()
        # A frame that ends with an acknowledgement in RX1, or with two empty windows.
        confirmed = i & 1
        assert device.send(1, data, len(data), bool(confirmed), world.now_ms)
        gc.collect()
        gc.disable()
        mark = gc.mem_alloc()
        begin = time.ticks_us()
        op = device.step(world.now_ms)
        while op != dev.OP_TX:
            world.advance(max(1, device.deadline_ms - world.now_ms))
            mark = gc.mem_alloc()
            begin = time.ticks_us()
            op = device.step(world.now_ms)
        times_us[0] += time.ticks_diff(time.ticks_us(), begin)
        totals[0] += gc.mem_alloc() - mark
        radio = device.radio
        reply = world.network.hear(bytes(radio.tx_buf[: radio.tx_len]))
        now = world.now_ms + 400
        mark = gc.mem_alloc()
        device.tx_done(now)
        windows = 0
        while windows < 2:
            op = device.step(now)
            if op == dev.OP_RX:
                windows += 1
                if confirmed:
                    break
                device.rx_timeout(now)
            elif op == dev.OP_NONE:
                now = device.deadline_ms
        totals[1] += gc.mem_alloc() - mark
        if confirmed:
            for k in range(len(reply)):
                device.rx_buf[k] = reply[k]
            mark = gc.mem_alloc()
            begin = time.ticks_us()
            device.rx_done(len(reply), -90, 28, now)
            times_us[1] += time.ticks_diff(time.ticks_us(), begin)
            totals[2] += gc.mem_alloc() - mark
        mark = gc.mem_alloc()
        while device.step(now):
            pass
        while device.next_event() is not None:
            pass
        totals[3] += gc.mem_alloc() - mark
        gc.enable()
        world.advance(now - world.now_ms + 60000)
    print("allocated_to_send", totals[0] // count)
    print("allocated_in_windows", totals[1])
    print("allocated_by_downlink", totals[2] * 2 // count)
    print("allocated_to_finish", totals[3] // count)
    print("us_to_send", times_us[0] // count)
    print("us_by_downlink", times_us[1] * 2 // count)


if sys.implementation.name == "micropython":
    main()
