"""Which links may be green together: native stages, and the larger set that the foes allow."""

from collections.abc import Iterator, Sequence

STAGES_MAX = 24
"""More stages cost time and add nothing: on real junctions the natural ones come first."""


def masks_of(states: Sequence[str]) -> list[int]:
    """Green links of each state string as a bit mask, link 0 lowest; states with yellow skipped."""
    masks: list[int] = []
    for state in states:
        if any(char in "yYuU" for char in state):
            continue
        mask = 0
        for i, char in enumerate(state):
            if char in "GgOo":
                mask |= 1 << i
        if mask and mask not in masks:
            masks.append(mask)
    return masks


def compatible(count: int, foes: Sequence[int], native: Sequence[int]) -> list[int]:
    """For each link the links that may be green with it: no foe, or together in a native state."""
    everything = (1 << count) - 1
    result: list[int] = []
    for i in range(count):
        mask = everything & ~foes[i]
        for state in native:
            if state >> i & 1:
                mask |= state
        result.append(mask | 1 << i)
    return result


def maximal_sets(allowed: Sequence[int], limit: int) -> Iterator[int]:
    """Maximal sets of pairwise compatible links (Bron and Kerbosch, with pivot)."""
    count = len(allowed)
    found = 0
    stack: list[tuple[int, int, int]] = [(0, (1 << count) - 1, 0)]
    while stack and found < limit:
        chosen, candidates, excluded = stack.pop()
        if not candidates and not excluded:
            found += 1
            yield chosen
            continue
        pool = candidates | excluded
        if not candidates:
            continue
        pivot, best = 0, -1
        bits = pool
        while bits:
            low = bits & -bits
            bits ^= low
            i = low.bit_length() - 1
            covered = (candidates & allowed[i] & ~(1 << i)).bit_count()
            if covered > best:
                pivot, best = i, covered
        bits = candidates & ~(allowed[pivot] & ~(1 << pivot))
        while bits:
            low = bits & -bits
            bits ^= low
            i = low.bit_length() - 1
            near = allowed[i] & ~low
            stack.append((chosen | low, candidates & near, excluded & near))
            candidates ^= low
            excluded |= low


def complete(mask: int, foes: Sequence[int]) -> int:
    """`mask` with every further link that is no foe of any in it, lowest first."""
    for i in range(len(foes)):
        if not mask >> i & 1 and not mask & foes[i]:
            mask |= 1 << i
    return mask


def whole_lanes(allowed: Sequence[int], lanes: Sequence[int], limit: int) -> list[int]:
    """Maximal sets of lanes whose links are all pairwise in `allowed`, as masks of links."""
    lanes = [lane for lane in lanes if lane]
    near: list[int] = []
    for a, one in enumerate(lanes):
        common = -1
        for i in range(len(allowed)):
            if one >> i & 1:
                common &= allowed[i]
        near.append(
            sum(1 << b for b, other in enumerate(lanes) if a == b or other & ~common == 0)
            if one & ~common == 0
            else 0
        )
    result: list[int] = []
    for chosen in maximal_sets(near, limit):
        mask = 0
        for a, lane in enumerate(lanes):
            if chosen >> a & 1 and near[a]:
                mask |= lane
        if mask and mask not in result:
            result.append(mask)
    return result


def derive(
    count: int, foes: Sequence[int], states: Sequence[str], lanes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """(stages, compatible sets) of a junction; `lanes` are the links of each approach lane.

    Native states come first, with every link added that is nobody's foe there; then the largest
    sets of whole lanes without any foes, where they protect a turn that gives way in every native
    state, and those that native states allow. Every link is in some stage.
    """
    native = masks_of(states)
    allowed = compatible(count, foes, native)
    # Compatibility must hold both ways, whatever the source said.
    for i in range(count):
        for j in range(count):
            if not allowed[j] >> i & 1:
                allowed[i] &= ~(1 << j)
    stages: list[int] = []
    for mask in native:
        whole = complete(mask, foes)
        if whole not in stages:
            stages.append(whole)
    everything = (1 << count) - 1
    free = [everything & ~foes[i] & allowed[i] for i in range(count)]
    own = len(stages)
    # Links that no native stage serves without giving way.
    unguarded = 0
    for i in range(count):
        if not any(mask >> i & 1 and not mask & foes[i] for mask in stages):
            unguarded |= 1 << i
    for relation, known in ((free, own), (allowed, 0)):
        extra = whole_lanes(relation, lanes, 200)
        extra.sort(key=lambda mask: -mask.bit_count())
        for mask in extra:
            if len(stages) >= STAGES_MAX or mask in stages:
                continue
            # One approach alone costs the others their green: only for turns with no other way.
            if relation is free and not mask & unguarded:
                continue
            if not any(mask & ~stage == 0 for stage in stages[known:]):
                stages.append(mask)
    served = 0
    for mask in stages:
        served |= mask
    for i in range(count):
        if not served >> i & 1:
            mask = complete(1 << i, foes)
            stages.append(mask)
            served |= mask
    return stages or [0], allowed
