"""The wires of a cabinet: relay boards over Modbus, GPIO lines, and what each of them means.

`wiring` (the cabinet file), `points` (lamps to outputs, inputs to meanings), `modbus` and `gpio`
(the boards), `lamps` (failed lamps from their current).
"""
