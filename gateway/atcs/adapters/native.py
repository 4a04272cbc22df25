"""What the native green states say of each link, and the signal groups that follow from them.

Links out of one lane that every native state treats alike are one group: one decision, one lamp.
A controller then works on the smaller junction of groups, and `Groups.expand` writes its state out
by link. Links that no native state ever stops (`O`, `o`: uncontrolled) belong to no group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.atcs.adapters.spec import Junction

GREENS = "GgOo"
"""What lets a vehicle go in a native state; `O` and `o` are signals that are switched off."""


@dataclass(slots=True)
class Groups:
    """How the links of a spec map to signal groups."""

    of_link: list[int]
    """The group of each link; -1 for a link that is never stopped."""
    fixed: list[str]
    """What a link without a group shows, always."""
    rest: list[str]
    """By link: what it shows while its group is red: `r`, or `s` (turn after a stop, on red)."""

    def expand(self, state: Sequence[str]) -> str:
        """One character a link, from one character a group."""
        chars: list[str] = []
        for link, group in enumerate(self.of_link):
            if group < 0:
                chars.append(self.fixed[link])
            else:
                char = state[group]
                chars.append(self.rest[link] if char == "r" else char)
        return "".join(chars)


def steady(states: Sequence[str]) -> list[str]:
    """The states in which nothing is changing."""
    return [state for state in states if not any(char in "yYuU" for char in state)]


def group(known: Junction) -> tuple[Junction, Groups]:
    """The junction of `known`'s signal groups, and how to get back."""
    states = steady(known.states)
    chars = [
        tuple(state[i] if i < len(state) else "r" for state in states) for i in range(known.count)
    ]
    groups = Groups([-1] * known.count, ["r"] * known.count, ["r"] * known.count)
    members: list[list[int]] = []
    found: dict[tuple[str, tuple[str, ...]], int] = {}
    for i in range(known.count):
        shown = set(chars[i])
        if shown and shown <= {"O", "o"}:
            groups.fixed[i] = "O" if shown == {"O"} else "o"
            continue
        if "s" in shown and "r" not in shown:
            groups.rest[i] = "s"
        key = (known.in_lanes[i], chars[i])
        if known.in_lanes[i] and key in found:
            members[found[key]].append(i)
        else:
            found[key] = len(members)
            members.append([i])
        groups.of_link[i] = found[key]
    count = len(members)
    foes = [0] * count
    for g, links in enumerate(members):
        for i in links:
            for j in range(known.count):
                if known.foes[i] >> j & 1 and groups.of_link[j] >= 0:
                    foes[g] |= 1 << groups.of_link[j]
        foes[g] &= ~(1 << g)
    links_of: dict[str, int] = {}
    for lane, mask in known.links_of.items():
        own = 0
        for i in range(known.count):
            if mask >> i & 1 and groups.of_link[i] >= 0:
                own |= 1 << groups.of_link[i]
        if own:
            links_of[lane] = own
    reduced = Junction(
        known.name,
        count,
        [known.in_lanes[links[0]] for links in members],
        [
            list(dict.fromkeys(out for i in links for out in known.out_lanes[i]))
            for links in members
        ],
        links_of,
        foes,
        [
            "".join(state[links[0]] if links[0] < len(state) else "r" for links in members)
            for state in states
        ],
        known.lengths_m,
        known.speeds_mps,
        known.neighbours,
    )
    return reduced, groups


def right_of_way(known: Junction) -> tuple[list[int], int]:
    """(per link the links it yields to while green, mask of links that may show priority)."""
    minor = [0] * known.count
    priority = 0
    for state in steady(known.states):
        for i, char in enumerate(state):
            if char == "G":
                priority |= 1 << i
            if char not in "go":
                continue
            for j, other in enumerate(state):
                if other in GREENS and known.foes[i] >> j & 1:
                    minor[i] |= 1 << j
    for i in range(known.count):
        # A link that never had priority may still take it where none of its foes is green.
        if minor[i] or not priority >> i & 1:
            minor[i] |= known.foes[i]
            priority |= 1 << i
    return minor, priority
