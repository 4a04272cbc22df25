"""LoRaWAN 1.0.4: crypto, frames, MAC commands, regions, time on air and the end device.

Import what you need from the module that has it; this package imports nothing by itself, so a
device loads only its own region.
"""
