"""From one house to its pairs: look around, act on something, keep what the published rules accept.

Given a simulator that repeats itself, a house gives the same pairs every time: all that is drawn here comes from
(seed, house, reset), and what Unity draws is seeded from it.

What the published generator does otherwise:

- It takes what the simulator shows next for the result, also of a move or an action that was refused, or that left the
  object's state as it was. Here those are counted and give no pair.
- It draws one of the target's abilities and then that one's verb, "cook" among them, and passes over a target whose
  verb cannot be undone and was done. Here one of the verbs that can be done is drawn, without "cook", which its readers
  drop.
- It loses a target that is no longer there after the action, hence all that was sliced. Here its pieces stand for it.
- It ends a house after the reset in which it has more than 20 pairs, so with 21 to 25; here 25 end it at once.
- It tries all positions, see `Quota.looks`, arranges every house by the seeds 0 to 5, and seeds neither materials nor
  light.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_scripts.procthor.acceptance import MIN_CANDIDATES, Box, changed_pixels, mask_box, refusal, suitable
from data_scripts.procthor.actions import NEVER_TARGETS, Action, actionable, possible_actions
from data_scripts.procthor.simulator import Refusal, SceneObject, Simulator, View

_PIECE = re.compile(r"[A-Za-z]+(Sliced|Cracked)_\d+")  # of "Apple|surface|2|7": "Apple|surface|2|7|AppleSliced_1"


@dataclass(frozen=True)
class Quota:
    """How much is tried and kept."""

    pairs_per_reset: int = 5  # kept at most from one arrangement of a house; as published
    pairs_per_house: int = 25  # kept at most from a house; as published
    resets: int = 6  # arrangements of a house that are tried; as published (a third of the 20 pairs wanted)
    # Positions that are tried in one arrangement. The published code tries all: thousands in large houses.
    looks: int = 300

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"--{name} is {value}; give at least 1.")


@dataclass(frozen=True)
class Pair:
    """One accepted pair; arrays have the rendered size, pictures `(height, width, 3)` uint8 RGB, boxes inclusive."""

    verb: str  # name of the action
    noun: str  # type of the target
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    box_before: Box
    box_after: Box
    mask_before: NDArray[np.bool_]  # `(height, width)`, the target's pixels
    mask_after: NDArray[np.bool_]  # likewise; of a target that was cut up, those of its pieces
    reset: int  # number of the arrangement that it was taken in


@dataclass
class Harvest:
    """What a house gave: pairs in the order in which they were taken, and why other tries gave none."""

    pairs: list[Pair] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def reset_rng(seed: int, house: int, reset: int) -> np.random.Generator:
    """The random numbers of one arrangement, independent of all others."""
    return np.random.default_rng([seed, house, reset])


def generate_house(
    simulator: Simulator, house: Mapping[str, Any], number: int, seed: int, quota: Quota | None = None
) -> Harvest:
    """Take the pairs of a house, given as in the file of houses; the simulator may be in any state.

    Raises:
        HouseError: The simulator cannot build the house.
        SimulatorError: The simulator is lost; call again with another one and get the same pairs.
    """
    quota = quota or Quota()
    harvest = Harvest()
    for reset in range(quota.resets):
        wanted = min(quota.pairs_per_reset, quota.pairs_per_house - len(harvest.pairs))
        if wanted < 1:
            break
        rng = reset_rng(seed, number, reset)
        simulator.open_house(house)
        for step in simulator.rearrange(int(rng.integers(2**31))):
            harvest.rejected[f"{step} refused"] += 1
        _harvest_arrangement(simulator, rng, reset, wanted, quota.looks, harvest)
    return harvest


def candidates(view: View) -> list[tuple[SceneObject, Box]]:
    """Objects of a view that may be targets: visible, of a kind that can be acted on, and large enough in it."""
    height, width = view.picture.shape[:2]
    found = []
    for item in view.objects:
        if item.visible and item.type not in NEVER_TARGETS and actionable(item.state):
            box = view.box(item.id)
            if box is not None and suitable(box, width, height):
                found.append((item, box))
    return found


def find_target(view: View, object_id: str) -> tuple[Box, NDArray[np.bool_]] | None:
    """Box and mask of an object or, where it is no longer there, of the pieces that it was cut into."""
    box, mask = view.box(object_id), view.mask(object_id)
    if box is not None and mask is not None:
        return box, mask
    pieces = [
        piece
        for item in view.objects
        if item.id.startswith(object_id + "|") and _PIECE.fullmatch(item.id[len(object_id) + 1 :])
        if (piece := view.mask(item.id)) is not None
    ]
    if not pieces:
        return None
    union: NDArray[np.bool_] = np.logical_or.reduce(pieces)
    box = mask_box(union)
    return None if box is None else (box, union)


def _harvest_arrangement(
    simulator: Simulator, rng: np.random.Generator, reset: int, wanted: int, looks: int, harvest: Harvest
) -> None:
    """Add up to `wanted` pairs of the house as it is arranged now."""
    # Sorted first: the order in which Unity lists them is nowhere promised.
    positions = sorted(simulator.positions())
    if not positions:
        harvest.rejected["no reachable position"] += 1
    taken = 0
    for index in rng.permutation(len(positions))[:looks]:
        outcome = _try_position(simulator, rng, positions[index], reset)
        if isinstance(outcome, str):
            harvest.rejected[outcome] += 1
            continue
        harvest.pairs.append(outcome)
        taken += 1
        if taken == wanted:
            return


def _try_position(simulator: Simulator, rng: np.random.Generator, position: Any, reset: int) -> Pair | str:
    """A pair taken from there, or why there is none."""
    # Drawn at every position, whatever comes of it, so that the numbers do not depend on what is refused.
    heading = int(rng.integers(360))
    first, second = rng.random(2)
    view = simulator.look(position, heading)
    if isinstance(view, Refusal):
        return "position refused"
    found = candidates(view)
    if len(found) < MIN_CANDIDATES:
        return f"fewer than {MIN_CANDIDATES} candidates in view"
    target, _ = found[int(first * len(found))]
    actions = possible_actions(target.state)
    if not actions:
        return "nothing left to do to the target"
    return _take_pair(simulator, view, target, actions[int(second * len(actions))], reset)


def _take_pair(simulator: Simulator, before: View, target: SceneObject, action: Action, reset: int) -> Pair | str:
    """Act, and judge what changed."""
    start = find_target(before, target.id)
    if start is None:
        return "no mask before the action"
    after = simulator.act(action, target.id)
    if isinstance(after, Refusal):
        why = ": the agent or something else is in the way" if after.blocked else ""
        return f"{action.verb} refused{why}"
    now = next((item for item in after.objects if item.id == target.id), None)
    if now is not None and now.state[action.state] is not action.goal:
        return f"{action.verb} without effect on {action.state}"
    end = find_target(after, target.id)
    if end is None:
        return "no mask after the action"
    why_not = refusal(changed_pixels(before.picture, after.picture), start[0], end[0])
    if why_not is not None:
        return why_not
    return Pair(action.verb, target.type, before.picture, after.picture, start[0], end[0], start[1], end[1], reset)
