"""Settings for the whole suite: property tests repeat themselves exactly unless asked to roam.

`HYPOTHESIS_PROFILE=roam` draws new examples at each run and prints the seed of a failure; the
default profile is derandomised, so that a red test is red again. No example has a deadline: the
machines that run this are shared, and speed has its own place in tests/bench.
"""

import os

from hypothesis import HealthCheck, settings

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "exact", derandomize=True, deadline=None, database=None, suppress_health_check=_QUIET
)
settings.register_profile(
    "roam", deadline=None, print_blob=True, suppress_health_check=_QUIET, max_examples=500
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "exact"))
