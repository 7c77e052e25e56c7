"""How the clean protocol assigns whole groups (scenes, kitchens) to train, validation or test."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from .annotations import Pair

# The weight of missing pairs: in total, of an action, of a combination. Serving a combination must outweigh missing an
# action and the total, or early combinations would take the place of late ones.
_WEIGHTS = (1, 1, 3)
_PAIR = sum(_WEIGHTS)  # the weight of a pair that is missing in all three ways
_Stratum = tuple[str, ...]  # (), (action,) or (action, object)


class GroupDivision:
    """Groups on three sides: train, validation and test.

    First, groups come in random order, those with the largest share of held-out pairs first (train would lose these);
    each goes to the evaluation part whose target numbers (of pairs in total, by action, and by combination) it
    approaches most, or to train if it approaches none or has the last pair of a combination in train.

    Then, if groups are so large or combinations so rare that validation or test has less than half of its target, or
    an OOD part has almost nothing, more groups follow, the most useful first. Now combinations may leave train, and
    their other pairs are lost, but each action keeps its objects, and `needed` stays.

    Attributes:
        sides: Group -> `"train"`, `"validation"` or `"test"`.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        held_out: Mapping[str, tuple[str, str]],
        shares: Mapping[str, float],
        generator: random.Random,
        *,
        keep: int,
        needed: set[_Stratum],
        enough: int,
        share_evaluation_groups: bool,
    ) -> None:
        """Divide the groups.

        Args:
            pairs: Sorted by pair_id.
            held_out: pair_id of each held-out pair -> its shift and OOD part.
            shares: Of the pairs that are not held out, for `"validation"` and `"test"`.
            generator: Draws the order of the groups.
            keep, share_evaluation_groups: `min_train_objects` and `share_evaluation_groups` of `CleanOptions`.
            needed: Combinations that stay in train.
            enough: An OOD part with fewer pairs takes more groups, if they are more useful there than in train.
        """
        self._shares, self._needed, self._share_groups = shares, needed, share_evaluation_groups
        self.sides: dict[str, str] = {}
        self._held: dict[str, Counter[tuple[str, str]]] = {}  # group -> (shift, part) -> its held-out pairs
        self._strata: dict[str, Counter[_Stratum]] = {}  # group -> stratum -> its other pairs
        for pair in pairs:
            held = self._held.setdefault(pair.group, Counter())
            strata = self._strata.setdefault(pair.group, Counter())
            if pair.pair_id in held_out:
                held[held_out[pair.pair_id]] += 1
            else:
                strata.update(_levels(pair.action, pair.object))
        self._left: Counter[_Stratum] = Counter()  # of a stratum: pairs that are in train or still unassigned
        for strata in self._strata.values():
            self._left.update(strata)
        self._total = Counter(self._left)
        self._wanting = {part: {s: share * n for s, n in self._left.items()} for part, share in shares.items()}
        self._objects = Counter(stratum[0] for stratum in self._left if len(stratum) == 2)  # of an action, in train
        self._least = {action: min(keep, number) for action, number in self._objects.items()}

        order = sorted(self._strata)
        generator.shuffle(order)
        order.sort(key=self._held_share, reverse=True)  # stable
        for group in order:
            if (side := self._first_side(group)) != "train":
                self._move(group, side)
        for part in sorted(shares, key=self._behind, reverse=True):
            self._fill(order, part)
        for shift, part in sorted(set(held_out.values())):
            self._fill_ood(order, shift, part, enough)
        self.sides |= {group: "train" for group in order if group not in self.sides}

    def combinations_in_train(self) -> set[_Stratum]:
        """The (action, object) combinations in train."""
        return {stratum for stratum, number in self._left.items() if len(stratum) == 2 and number > 0}

    def is_used(self, group: str, part: str) -> bool:
        """Whether pairs of this group that are held out for an OOD part can be used there."""
        side = self.sides.get(group, "train")
        return side != "train" and (self._share_groups or part == f"{side}_ood")

    def _held_share(self, group: str) -> float:
        held = sum(self._held[group].values())
        return held / (held + self._strata[group][()])

    def _behind(self, part: str) -> float:
        """The share of its target pairs that a part still lacks."""
        wanted = self._shares[part] * self._total[()]
        return self._wanting[part][()] / wanted if wanted else 0.0

    def _first_side(self, group: str) -> str:
        own = Counter(part.removesuffix("_ood") for _, part in self._held[group].elements())
        if self._share_groups:
            own.clear()  # either side serves
        strata = self._strata[group]
        if not strata:  # held-out pairs only: outside train, where they can be used
            return "validation" if own["validation"] > own["test"] else "test"
        best, side = (0, 0.0, 0.0), "train"
        if any(len(s) == 2 and self._left[s] <= number for s, number in strata.items()):
            return side
        for part, wanted in self._wanting.items():
            gain = self._gain(strata, part)
            urgency = wanted[()] / self._shares[part]  # among equals, the part that lacks more
            if gain > 0 and (own[part], gain, urgency) > best:
                best, side = (own[part], gain, urgency), part
        return side

    def _gain(self, strata: Mapping[_Stratum, int], part: str) -> float:
        """How much closer these pairs bring a part to its target."""
        wanted = self._wanting[part]
        return sum(_WEIGHTS[len(s)] * (abs(wanted[s]) - abs(wanted[s] - number)) for s, number in strata.items())

    def _move(self, group: str, side: str) -> None:
        """Take a group out of train."""
        self.sides[group] = side
        for stratum, number in self._strata[group].items():
            self._left[stratum] -= number
            self._wanting[side][stratum] -= number
            if len(stratum) == 2 and not self._left[stratum]:
                self._objects[stratum[0]] -= 1

    def _fill(self, order: Sequence[str], part: str) -> None:
        """Move groups to a part that has less than half of its target, the most useful first."""
        if self._behind(part) <= 0.5:
            return
        scores = ((self._score(group, part, to_fill=True), place) for place, group in enumerate(order))
        waiting = [(-score, place) for score, place in scores if score is not None]
        heapq.heapify(waiting)
        while waiting and self._behind(part) > 0.5:
            _, place = heapq.heappop(waiting)
            score = self._score(order[place], part, to_fill=True)  # earlier moves may have lowered it
            if score is None:
                continue
            if waiting and (-score, place) > waiting[0]:
                heapq.heappush(waiting, (-score, place))
            else:
                self._move(order[place], part)

    def _fill_ood(self, order: Sequence[str], shift: str, part: str, enough: int) -> None:
        """Move groups to the side of an OOD part that has almost nothing."""
        there = [group for group in order if self._held[group][shift, part]]
        while (found := sum(self._held[g][shift, part] for g in there if self.is_used(g, part))) < enough:
            side = part.removesuffix("_ood")
            scores = {group: score for group in there if (score := self._score(group, side)) is not None}
            best = max(scores, key=lambda group: scores[group], default=None)
            if best is None or (found and scores[best] <= 0):  # a first group is worth its cost
                return
            self._move(best, side)

    def _score(self, group: str, part: str, to_fill: bool = False) -> float | None:
        """What moving a group from train to a part is worth; None if it must stay."""
        if group in self.sides:
            return None
        strata = self._strata[group]
        gone = [s for s, number in strata.items() if len(s) == 2 and self._left[s] == number]
        fewer = Counter(action for action, _ in gone)
        if not self._needed.isdisjoint(gone) or any(self._objects[a] - n < self._least[a] for a, n in fewer.items()):
            return None
        kept = Counter(strata)
        for stratum in gone:
            for level in _levels(*stratum):
                kept[level] -= strata[stratum]
        if to_fill and not 0 < kept[()] < 2 * self._wanting[part][()]:  # adds nothing, or more than is missing
            return None
        held = self._held[group].items()
        saved = sum(n for (_, ood), n in held if self._share_groups or ood == f"{part}_ood")
        return self._gain(kept, part) + _PAIR * (saved - sum(self._total[stratum] for stratum in gone))


def _levels(action: str, name: str) -> tuple[_Stratum, ...]:
    """The strata that a pair counts in: all, its action, and its combination."""
    return (), (action,), (action, name)
