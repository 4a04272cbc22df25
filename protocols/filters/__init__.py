"""Small integer filters shared by device and gateway.

burst    `Burst`: one reading out of 5..31 raw ones: median, MAD, counts
despike  `Despike`: holds a jump back until it persists, two samples at most
rate     `RateOfRise`: Theil-Sen slope over a short window, minutes to a level
stage    `StageFilter`: Normal, Waspada, Siaga, Awas with hysteresis and hold
interval `IntervalPolicy`: how often to sample
"""
