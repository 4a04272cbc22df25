"""Traffic at a junction: SUMO networks and observations, rival controllers, and a cabinet by pins.

`sumo` and `rivals` need the `sumo` extra; `queue` and `cabinet` need nothing.
"""
