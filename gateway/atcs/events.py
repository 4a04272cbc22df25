"""Events in the codes of the Indiana Traffic Signal Hi Resolution Data Logger Enumerations.

(Sturdevant et al., Purdue University, 2012; the subset below.) The parameter is a phase number from
1 (the movement's place in the plan), a detector channel from 1, or what the code says.
"""

from dataclasses import dataclass

PHASE_ON = 0
BEGIN_GREEN = 1
PHASE_CHECK = 2  # somebody else waits
MIN_COMPLETE = 3
GAP_OUT = 4
MAX_OUT = 5
FORCE_OFF = 6
GREEN_TERMINATION = 7
BEGIN_YELLOW = 8
END_YELLOW = 9
BEGIN_RED_CLEARANCE = 10
END_RED_CLEARANCE = 11
PHASE_INACTIVE = 12
BEGIN_WALK = 21
BEGIN_PED_CLEARANCE = 22
BEGIN_DONT_WALK = 23
BARRIER = 31
CALL_ON = 43
CALL_OFF = 44
PED_CALL = 45
PHASE_OMIT_ON = 46
PHASE_OMIT_OFF = 47
DETECTOR_OFF = 81
DETECTOR_ON = 82
DETECTOR_RESTORED = 83
DETECTOR_FAULT_OTHER = 84
DETECTOR_FAULT_SILENT = 85
DETECTOR_FAULT_STUCK = 87
DETECTOR_FAULT_CHATTER = 88
PED_BUTTON_OFF = 89
PED_BUTTON_ON = 90
PED_DETECTOR_FAILED = 91
PED_DETECTOR_RESTORED = 92
PREEMPT_CALL = 102
PREEMPT_CALL_OFF = 104
PREEMPT_ENTRY = 105
PREEMPT_DWELL = 107
PREEMPT_EXIT = 111
PRIORITY_CHECK_IN = 112
PRIORITY_EARLY_GREEN = 113
PRIORITY_EXTENSION = 114
PRIORITY_CHECK_OUT = 115
PATTERN_CHANGE = 131
CYCLE_CHANGE = 132
OFFSET_CHANGE = 133
COORDINATION_STATE = 150
UNIT_FLASH = 173  # parameter: NTCIP 1202 unitFlashStatus
ALARM = 174
MANUAL = 178
INTERVAL_ADVANCE = 179
STOP_TIME = 180
STARTUP = 184
SPLIT = 300
"""Plus the phase, 1..16: seconds of green, yellow and clearance that it had (as MAXTIME logs)."""

NOT_FLASH, AUTOMATIC_FLASH, LOCAL_FLASH, FAULT_FLASH, MMU_FLASH, STARTUP_FLASH = 2, 3, 4, 5, 6, 7
"""Values of unitFlashStatus."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: when (controller's monotonic ms), code, parameter, and a word for it."""

    time_ms: int
    code: int
    parameter: int
    note: str = ""
