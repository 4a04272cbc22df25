"""The demonstration: a storm on a river, from MicroPython firmware to the city's broker."""
