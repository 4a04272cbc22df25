"""Predictive, decentralised decisions: what to serve next, from what a cabinet can sense.

`arrivals` (one lane: who waits, who comes), `stages` (which sets of links may be green together),
`planner` (rolling horizon: which stage, and when).
"""
