"""The conflict monitor of a signal cabinet: card, monitor, log. Shares nothing with the controller.

It runs on its own RP2040, reads the lamp outputs back, and holds the relay that lets the controller
drive them. `firmware.apps.cabinet` wires it to pins.
"""
