"""From a house to its pairs: repeatable, within its quota, every rule kept, every rejection counted by name."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts.procthor import generator
from data_scripts.procthor.acceptance import NO_OVERLAP, TOO_LITTLE, TOO_MUCH_OUTSIDE, Box
from data_scripts.procthor.actions import ACTIONS, NEVER_TARGETS, VERBS
from data_scripts.procthor.generator import Harvest, Pair, Quota, candidates, find_target, generate_house, reset_rng
from data_scripts.procthor.simulator import Camera, HouseError, Machine, Position, Refusal, SceneObject, SimulatorError
from tests.data_scripts.fake_ai2thor import FakeStart, Faults, make_house

SIZE = 360
SMALL = Quota(pairs_per_reset=3, pairs_per_house=7, resets=4, looks=12)
MIXED = "Fridge Television Bed Apple TissueBox Vase Toaster Mug Drawer"


def harvest(
    faults: Faults | None = None, number: int = 3, seed: int = 0, quota: Quota = SMALL, types: str = ""
) -> Harvest:
    simulator = FakeStart(faults or Faults())(Camera(size=SIZE), Machine())
    try:
        return generate_house(simulator, make_house(number, *([types] if types else [])), number, seed, quota)
    finally:
        simulator.stop()


def always(**times: int) -> Faults:
    return Faults(None, {name.replace("_", " "): count for name, count in times.items()})


def content(pair: Pair) -> tuple[Any, ...]:
    arrays = (pair.before, pair.after, pair.mask_before, pair.mask_after)
    return (pair.verb, pair.noun, pair.box_before, pair.box_after, pair.reset, *(array.tobytes() for array in arrays))


@pytest.fixture(scope="module")
def plain() -> Harvest:
    return harvest()


@pytest.fixture(scope="module")
def mixed() -> Harvest:
    return harvest(types=MIXED, quota=Quota(5, 25, 6, 40))


def test_a_house_gives_the_same_pairs_every_time(plain: Harvest) -> None:
    again = harvest()
    assert [content(pair) for pair in again.pairs] == [content(pair) for pair in plain.pairs] and plain.pairs
    assert again.rejected == plain.rejected


def test_a_used_simulator_gives_the_same_pairs(plain: Harvest) -> None:
    simulator = FakeStart()(Camera(size=SIZE), Machine())
    generate_house(simulator, make_house(8), 8, 5, SMALL)
    again = generate_house(simulator, make_house(3), 3, 0, SMALL)
    simulator.stop()
    assert [content(pair) for pair in again.pairs] == [content(pair) for pair in plain.pairs]


def test_a_house_that_is_done_again_after_a_crash_gives_the_same_pairs(plain: Harvest, tmp_path: Path) -> None:
    faults = Faults(tmp_path, {"reset restart": 2, "step timeout": 1})
    lost = 0
    while True:
        try:
            again = harvest(faults)
            break
        except SimulatorError:
            lost += 1
    assert lost == 3
    assert [content(pair) for pair in again.pairs] == [content(pair) for pair in plain.pairs]


def test_seed_house_and_reset_all_matter(plain: Harvest) -> None:
    numbers = {tuple(reset_rng(*key).integers(2**31, size=4)) for key in np.ndindex(3, 3, 3)}
    assert len(numbers) == 27
    other = harvest(seed=1)
    assert [content(pair) for pair in other.pairs] != [content(pair) for pair in plain.pairs]
    assert len({pair.before.tobytes() for pair in plain.pairs}) > 3


def test_quotas_are_kept(mixed: Harvest) -> None:
    for quota in (SMALL, Quota(2, 25, 2, 50), Quota(5, 4, 6, 300), Quota(5, 25, 6, 1)):
        found = harvest(quota=quota)
        per_reset = Counter(pair.reset for pair in found.pairs)
        assert len(found.pairs) <= quota.pairs_per_house and set(per_reset) <= set(range(quota.resets))
        assert max(per_reset.values()) <= quota.pairs_per_reset
        # A look gives a pair or one reason.
        assert len(found.pairs) + sum(found.rejected.values()) <= quota.resets * quota.looks
    assert len(harvest(quota=SMALL).pairs) == 7 and len(harvest(quota=Quota(2, 25, 2, 50)).pairs) == 4
    assert len(mixed.pairs) == 25


def test_the_published_quota_is_the_default() -> None:
    assert (Quota().pairs_per_reset, Quota().pairs_per_house, Quota().resets) == (5, 25, 6)
    with pytest.raises(ValueError, match="--looks is 0; give at least 1"):
        Quota(looks=0)


def test_every_pair_keeps_the_rules(mixed: Harvest) -> None:
    for pair in mixed.pairs:
        assert pair.before.shape == pair.after.shape == (SIZE, SIZE, 3)
        assert pair.verb in VERBS and pair.noun not in NEVER_TARGETS
        for box, mask in ((pair.box_before, pair.mask_before), (pair.box_after, pair.mask_after)):
            rows, columns = np.nonzero(mask)
            assert box == (columns.min(), rows.min(), columns.max(), rows.max())
        box = pair.box_before
        width, height = box.xmax - box.xmin + 1, box.ymax - box.ymin + 1
        free = min(box.xmin, box.ymin, SIZE - 1 - box.xmax, SIZE - 1 - box.ymax)
        assert min(width, height) >= 60 and (free >= 20 or min(width, height) > 100)
        changed = (pair.before.astype(int) != pair.after).any(axis=2)
        after = pair.box_after
        inside = changed[max(box.ymin, after.ymin) : min(box.ymax, after.ymax) + 1]
        assert inside[:, max(box.xmin, after.xmin) : min(box.xmax, after.xmax) + 1].sum() > 1000
        changed[min(box.ymin, after.ymin) : max(box.ymax, after.ymax) + 1][
            :, min(box.xmin, after.xmin) : max(box.xmax, after.xmax) + 1
        ] = False
        assert changed.sum() < 20
    # What is cut up is found by its pieces.
    assert "slice" in {pair.verb for pair in mixed.pairs}


def test_a_target_that_lights_the_room_is_rejected(mixed: Harvest) -> None:
    assert mixed.rejected[TOO_MUCH_OUTSIDE] > 0
    assert not [pair for pair in mixed.pairs if (pair.noun, pair.verb) == ("Television", "turnon")]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (always(no_mask=1), "no mask after the action"),
        (always(position_refused=1), "position refused"),
        (always(no_positions=1), "no reachable position"),
        (always(materials_refused=1), "RandomizeMaterials refused"),
    ],
)
def test_rejections_are_counted_by_name(faults: Faults, reason: str) -> None:
    found = harvest(faults, types="Fridge FloorLamp Bed Vase TissueBox Mug")
    assert found.rejected[reason] > 0
    if reason != "RandomizeMaterials refused":
        assert not found.pairs


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ("action refused", "{} refused"),
        ("agent in the way", "{} refused: the agent or something else is in the way"),
        ("bad argument", "{} refused"),
    ],
)
def test_refused_actions_are_counted_by_verb_and_the_next_position_is_tried(
    fault: str, pattern: str, tmp_path: Path, plain: Harvest
) -> None:
    found = harvest(Faults(tmp_path, {fault: 2}))
    verbs = [pattern.format(verb) for verb in VERBS]
    assert sum(found.rejected[reason] for reason in verbs) == 2
    assert len(found.pairs) == len(plain.pairs)


def test_an_action_without_effect_is_no_pair() -> None:
    found = harvest(always(no_effect=1), types="Fridge FloorLamp Bed Vase TissueBox Mug")
    assert not found.pairs
    assert any("without effect on is" in reason for reason in found.rejected)


def test_one_candidate_is_not_enough() -> None:
    found = harvest(types="Fridge Chair Toaster StoveKnob")
    assert not found.pairs and set(found.rejected) == {"fewer than 2 candidates in view"}


def test_targets_with_nothing_left_to_do_are_counted() -> None:
    found = harvest(types="Vase Apple Vase TissueBox Vase", quota=Quota(5, 25, 1, 60))
    assert found.rejected["nothing left to do to the target"] > 0


def test_errors_of_the_simulator_are_passed_on() -> None:
    with pytest.raises(HouseError):
        harvest(always(house_refused=1))
    with pytest.raises(SimulatorError):
        harvest(always(reset_restart=1))


class Still:
    """A view made by hand."""

    def __init__(self, objects: list[SceneObject], masks: dict[str, Box]) -> None:
        self.picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.objects = objects
        self._boxes = masks

    def box(self, object_id: str) -> Box | None:
        return self._boxes.get(object_id)

    def mask(self, object_id: str) -> Any:
        if object_id not in self._boxes:
            return None
        mask = np.zeros((SIZE, SIZE), bool)
        self._boxes[object_id].of(mask)[:] = True
        return mask


def item(object_id: str, visible: bool = True, **state: bool) -> SceneObject:
    return SceneObject(object_id, object_id.split("|")[0], visible, state)


def test_candidates_are_visible_actionable_and_large_enough() -> None:
    good, small = Box(100, 100, 200, 200), Box(100, 100, 158, 200)
    view = Still(
        [
            item("Safe|1", openable=True),
            item("Safe|2", openable=True, isOpen=True),
            item("Safe|3", visible=False, openable=True),
            item("Safe|4", openable=True),
            item("Safe|5", openable=True),
            item("Chair|6", isOpen=True),
            item("Toaster|7", toggleable=True),
            item("Vase|8", breakable=True, isBroken=True),  # a candidate in the count, though nothing is left to do
        ],
        {name: good for name in ("Safe|1", "Safe|2", "Safe|3", "Chair|6", "Toaster|7", "Vase|8")} | {"Safe|4": small},
    )
    assert [(found.id, box) for found, box in candidates(view)] == [
        ("Safe|1", good), ("Safe|2", good), ("Vase|8", good),
    ]  # fmt: skip


def test_pieces_stand_for_a_target_that_is_gone() -> None:
    first, second, other = Box(10, 10, 19, 19), Box(30, 15, 39, 29), Box(100, 100, 110, 110)
    objects = [
        item(name) for name in ("Apple|1", "Apple|1|AppleSliced_0", "Apple|1|AppleSliced_1", "Apple|11|AppleSliced_0")
    ]
    view = Still(objects, {objects[1].id: first, objects[2].id: second, objects[3].id: other})
    found = find_target(view, "Apple|1")
    assert found is not None and found[0] == (10, 10, 39, 29) and found[1].sum() == 100 + 150
    assert find_target(Still(objects, {"Apple|1": other, objects[1].id: first}), "Apple|1")[0] == other
    basin = [item("Sink|1"), item("Sink|1|SinkBasin")]
    assert find_target(Still(basin, {"Sink|1|SinkBasin": first}), "Sink|1") is None
    cracked = [item("Egg|1"), item("Egg|1|EggCracked_0")]
    assert find_target(Still(cracked, {"Egg|1|EggCracked_0": first}), "Egg|1")[0] == first


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda view: view._boxes.update({"Safe|1": Box(250, 250, 340, 340)}), NO_OVERLAP),
        (lambda view: None, TOO_LITTLE),
        (lambda view: view.picture.__setitem__(slice(None), 9), TOO_MUCH_OUTSIDE),
        (lambda view: view._boxes.pop("Safe|1"), "no mask after the action"),
    ],
)
def test_what_changed_is_judged(change: Callable[[Still], object], reason: str) -> None:
    box = Box(100, 100, 200, 200)
    before = Still([item("Safe|1", openable=True)], {"Safe|1": box})
    after = Still([item("Safe|1", openable=True, isOpen=True)], {"Safe|1": box})
    change(after)

    class OneAnswer:
        def act(self, action: Any, object_id: str) -> Any:
            return after

    opened = next(action for action in ACTIONS if action.verb == "open")
    assert generator._take_pair(OneAnswer(), before, before.objects[0], opened, 0) == reason


def test_positions_are_visited_in_an_order_that_the_simulator_does_not_choose() -> None:
    class Walker:
        """Lists its positions in any order, and refuses all of them."""

        def __init__(self, reverse: bool) -> None:
            self.grid = [Position(0.25 * index, 0.9, 1.0) for index in range(20)]
            if reverse:
                self.grid.reverse()
            self.looks: list[tuple[Position, float]] = []

        def open_house(self, house: Any) -> None: ...

        def rearrange(self, seed: int) -> list[str]:
            return []

        def positions(self) -> list[Position]:
            return list(self.grid)

        def look(self, position: Position, heading: float) -> Refusal:
            self.looks.append((position, heading))
            return Refusal("no")

    walkers = [Walker(False), Walker(True)]
    for walker in walkers:
        found = generate_house(walker, make_house(0), 0, 0, Quota(5, 25, 2, 8))
        assert found.rejected == {"position refused": 16}
    assert walkers[0].looks == walkers[1].looks
    assert len(set(walkers[0].looks[:8])) == 8 and all(0 <= heading < 360 for _, heading in walkers[0].looks)
