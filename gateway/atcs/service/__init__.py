"""A junction as a process of its own: nothing that the agent does delays or ends it.

`control` (the 10 Hz loop on its own thread), `process` (the loop, the socket to the agent, NTCIP,
neighbours, the log), `settings` ([[junction]]), `letters` (signed messages).
"""
