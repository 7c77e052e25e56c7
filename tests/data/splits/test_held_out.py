"""What is held out where there is little to choose from, and what is said where there is too little."""

from __future__ import annotations

import random

import pytest

from modeling_cde.data.splits import OPPOSITES
from modeling_cde.data.splits.annotations import Pair, SplitError
from modeling_cde.data.splits.held_out import hold_out_combinations, hold_out_objects


def pairs_of(*combinations: tuple[str, str], times: int = 1) -> list[Pair]:
    """Each pair in a group of its own."""
    rows = [row for row in combinations for _ in range(times)]
    return [Pair(f"p{i:03d}", action, name, f"g{i}") for i, (action, name) in enumerate(rows)]


SIX = [(action, f"o{i}") for i in range(6) for action in ("open", "close")]


@pytest.mark.parametrize(("enough", "times"), [(2, 1), (5, 1), (5, 4), (5, 5)])
def test_where_all_are_rare_they_are_held_out_all_the_same(enough: int, times: int) -> None:
    pairs = pairs_of(*SIX, times=times)
    found = hold_out_combinations(pairs, 0.3, 1, enough, OPPOSITES, random.Random(0), pairs)
    assert [len(found[part]) for part in ("validation_ood", "test_ood")] == [2, 2]  # 0.3 of 12
    rare = pairs_of(*((action, f"o{i}") for i in range(4) for action in ("open", "break")), times=1)
    assert all(hold_out_objects(rare, 0.5, 1, enough, random.Random(0)).values())


def test_a_rare_one_is_left_where_there_are_two_others() -> None:
    pairs = pairs_of(*SIX[:8], times=5) + pairs_of(*SIX[8:], times=4)
    for seed in range(8):
        found = hold_out_combinations(pairs, 0.9, 1, 5, OPPOSITES, random.Random(seed), pairs)
        assert not {name for items in found.values() for _, name in items} & {"o4", "o5"}
        objects = hold_out_objects(
            pairs_of(*SIX[:8], times=3) + pairs_of(*SIX[8:], times=2), 0.9, 1, 5, random.Random(seed)
        )
        assert not {name for names in objects.values() for name in names} & {"o4", "o5"}


def test_the_opposite_stays_in_training_and_so_do_other_objects() -> None:
    pairs = pairs_of(*SIX, times=5)
    for keep in (1, 2, 4):
        found = hold_out_combinations(pairs, 0.9, keep, 5, OPPOSITES, random.Random(1), pairs)
        held = {tuple(item) for items in found.values() for item in items}
        assert not {(OPPOSITES[action], name) for action, name in held} & held
        for action in ("open", "close"):
            assert 6 - sum(one == action for one, _ in held) >= keep
        assert len(held) == min(6, 2 * (6 - keep))


def test_what_there_is_too_little_of_is_counted() -> None:
    for names, told in ((["o1"], "of 1 object at least two"), (["o1", "o2"], "of 2 objects at least two")):
        with pytest.raises(SplitError, match=told):
            hold_out_objects(pairs_of(*(("open", name) for name in names)), 0.3, 2, 5, random.Random(0))
    pairs = pairs_of(*SIX[:2], times=3)
    with pytest.raises(
        SplitError, match=r"of 2 \(action, object\) combinations, 2 have their opposite on the same object"
    ):
        hold_out_combinations(pairs, 0.3, 1, 5, OPPOSITES, random.Random(0), pairs)
    everything = pairs_of(*SIX, times=3)
    with pytest.raises(
        SplitError, match=r"of 12 .* combinations, 2 of them not on objects held out for the shift syst, 2"
    ):
        hold_out_combinations(pairs, 0.3, 1, 5, OPPOSITES, random.Random(0), everything)
    many = pairs_of(*((f"action {i:02d}", "o1") for i in range(14)))
    with pytest.raises(SplitError, match=r"action 11: 1 and 2 more\)"):
        hold_out_objects(many, 0.3, 1, 1, random.Random(0))


def test_opposites_in_one_group_are_not_held_out() -> None:
    """One of them could not be tested, or the other not be in train."""
    together = [pair._replace(group="g") for pair in pairs_of(*SIX[:4], times=5)]
    with pytest.raises(SplitError, match="0 have their opposite on the same object in another group"):
        hold_out_combinations(together, 0.3, 1, 5, OPPOSITES, random.Random(0), together)
