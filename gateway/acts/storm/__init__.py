"""Storm mode: nodes sample faster and sirens are tested in silence before the water comes.

settings `StormSettings`
causes   `RainCause`, `RiseCause`: what a site sees by itself
mode     `StormMode`: when the mode begins, lasts and ends
nowcast  CAP 1.2 and its feeds, read safely
feed     fetches them, from a file or by HTTP
act      `StormAct`
"""
