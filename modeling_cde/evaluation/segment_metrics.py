"""How well segments of clips were found: which, in which order, when, and how much of an action is done.

A segment is (start, end, label): frame `start` is the last one without any of the action, frame `end` the first with
all of it, so it has the steps start ... end - 1 of the T - 1 steps of a clip. What belongs to no segment is idle.

F1@k and the edit score are those of C. Lea et al., "Temporal convolutional networks for action segmentation and
detection" (2017), without a class for idle steps.
"""

import math
from collections.abc import Hashable, Sequence

Segment = tuple[int, int, Hashable]


def overlap(one: Segment, other: Segment) -> float:
    """Intersection over union of their steps."""
    common = max(min(one[1], other[1]) - max(one[0], other[0]), 0)
    return common / (one[1] - one[0] + other[1] - other[0] - common)


def match(found: Sequence[Segment], true: Sequence[Segment], least: float) -> list[tuple[int, int]]:
    """Pairs (number in found, number in true) of one label that overlap by at least `least`, each number once.

    In order of time, each found segment takes the true one of its label that it overlaps most; if that is taken already
    or overlaps less, the found segment has no match.
    """
    pairs, taken = [], set()
    for number, segment in enumerate(found):
        shares = [overlap(segment, other) if other[2] == segment[2] else 0.0 for other in true]
        best = max(range(len(true)), key=shares.__getitem__, default=None)
        if best is not None and shares[best] >= least and shares[best] > 0 and best not in taken:
            taken.add(best)
            pairs.append((number, best))
    return pairs


def segmental_f1(found: Sequence[Sequence[Segment]], true: Sequence[Sequence[Segment]], least: float) -> float:
    """F1 of the segments of all clips together, in [0, 1]; a segment counts if it overlaps by at least `least`.

    NaN if no clip has a segment, neither found nor true.
    """
    hits = sum(len(match(f, t, least)) for f, t in zip(found, true, strict=True))
    total = sum(map(len, found)) + sum(map(len, true))
    return 2 * hits / total if total else math.nan


def edit_score(found: Sequence[Segment], true: Sequence[Segment]) -> float:
    """1 - edits / length of the longer, in [0, 1]: whether the labels come in the right order, whenever they do."""
    first, second = ([segment[2] for segment in segments] for segments in (found, true))
    if not first and not second:
        return 1.0
    row = list(range(len(second) + 1))  # edits from the labels so far to each beginning of the second
    for i, label in enumerate(first, start=1):
        above, row = row, [i]
        for j, other in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (label != other)))
    return 1 - row[-1] / max(len(first), len(second))


def onset_errors(found: Sequence[Segment], true: Sequence[Segment], least: float = 0.1) -> list[int]:
    """For each matched segment, by how many frames it starts too early or too late; see `match`."""
    return [abs(found[i][0] - true[j][0]) for i, j in match(found, true, least)]


def false_alarms(found: Sequence[Segment], true: Sequence[Segment]) -> int:
    """How many found segments lie in idle steps alone, whatever their label."""
    return sum(all(overlap(segment, other) == 0 for other in true) for segment in found)


def idle_steps(true: Sequence[Segment], frames: int) -> int:
    """How many of the steps of a clip belong to no segment."""
    return frames - 1 - sum(end - start for start, end, _ in true)


def alarm_rate(alarms: int, idle: int, frames_per_second: float | None = None) -> float:
    """False alarms per idle minute, or per 1,000 idle steps where there is no frame rate; NaN without idle steps."""
    if not idle:
        return math.nan
    return alarms / idle * (1000 if frames_per_second is None else 60 * frames_per_second)


def spearman(values: Sequence[float], others: Sequence[float]) -> float:
    """The rank correlation; equal values share their mean rank. NaN if all values of one side are equal."""
    a, b = _ranks(values), _ranks(others)
    mean = (len(a) + 1) / 2
    spread = math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))
    if not spread:
        return math.nan
    return sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True)) / spread


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    for last in range(1, len(order) + 1):
        if last == len(order) or values[order[last]] != values[order[first]]:
            for place in order[first:last]:
                ranks[place] = (first + last + 1) / 2  # the mean of first + 1 ... last
            first = last
    return ranks
