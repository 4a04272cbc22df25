"""The junction: signal controller, adaptive mode, plans, and what the world can read of it.

`plan` (junction and timing as data), `checks` (is it safe, by the published formulas), `kernel`
(the only code that changes a lamp), `controller` (decides what to ask of the kernel), `adaptive`
(predictive decisions), `adapters.sumo` (the same decisions in somebody else's simulator).
"""
