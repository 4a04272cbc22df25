"""The monitor's `micropython.const` on CPython, where these tests join it with the controller."""

import sys
import types

if "micropython" not in sys.modules:
    module = types.ModuleType("micropython")
    module.__dict__["const"] = lambda value: value
    sys.modules["micropython"] = module
