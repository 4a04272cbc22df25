"""The device's program; `firmware.main.run` starts it.

Imported first, so here the collector is told to run after every 16 KB: an import leaves much
behind, and long-lived objects that land between it would tear the heap to pieces (a tracker started
from source ran out of 640 KB with 384 KB in use).
"""

import gc

if hasattr(gc, "threshold"):  # MicroPython's own
    gc.threshold(16_384)
