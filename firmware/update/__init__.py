"""Two application slots, the choice between them, and how a new release gets in.

`boot` runs first, from the loader's folder; `slots` and `health` are also the application's.
"""
