"""The published rules against naive references, at their boundaries and on random boxes and pictures; the verbs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_scripts.procthor import acceptance, actions
from data_scripts.procthor.acceptance import Box
from data_scripts.procthor.actions import ACTIONS, NEVER_TARGETS, VERBS
from modeling_cde.data.splits import OPPOSITES

SIZE = 672


def square(left: int, top: int, width: int, height: int) -> Box:
    return Box(left, top, left + width - 1, top + height - 1)


@st.composite
def boxes(draw: st.DrawFn, size: int = SIZE) -> Box:
    (x0, x1), (y0, y1) = (sorted(draw(st.tuples(*[st.integers(0, size - 1)] * 2))) for _ in range(2))
    return Box(x0, y0, x1, y1)


def pixels_of(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box.xmin, box.xmax + 1) for y in range(box.ymin, box.ymax + 1)}


@given(box=boxes())
@settings(deadline=None)
def test_suitable_boxes(box: Box) -> None:
    columns, rows = range(box.xmin, box.xmax + 1), range(box.ymin, box.ymax + 1)
    inner = range(20, SIZE - 20)
    whole = all(x in inner for x in (columns[0], columns[-1])) and all(y in inner for y in (rows[0], rows[-1]))
    large = len(columns) > 100 and len(rows) > 100
    assert (box.width, box.height) == (len(columns), len(rows))
    assert acceptance.suitable(box, SIZE, SIZE) == (len(columns) >= 60 and len(rows) >= 60 and (whole or large))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (square(300, 300, 60, 60), True),
        (square(300, 300, 59, 200), False),
        (square(300, 300, 200, 59), False),
        (square(20, 20, 60, 60), True),
        (square(19, 20, 60, 60), False),
        (square(20, 19, 60, 60), False),
        (square(SIZE - 20 - 60, SIZE - 20 - 60, 60, 60), True),
        (square(SIZE - 19 - 60, 300, 60, 60), False),
        (square(300, SIZE - 19 - 60, 60, 60), False),
        (square(0, 0, 101, 101), True),
        (square(0, 0, 100, 400), False),
        (square(0, 0, SIZE, SIZE), True),
    ],
)
def test_the_boundaries_of_suitable(box: Box, expected: bool) -> None:
    assert acceptance.suitable(box, SIZE, SIZE) is expected


@given(first=boxes(12), second=boxes(12))
def test_intersection_and_hull(first: Box, second: Box) -> None:
    common = acceptance.intersection(first, second)
    assert (pixels_of(common) if common else set()) == pixels_of(first) & pixels_of(second)
    around = acceptance.hull(first, second)
    assert pixels_of(around) >= pixels_of(first) | pixels_of(second)
    for smaller in (around._replace(xmin=around.xmin + 1), around._replace(ymax=around.ymax - 1)):
        assert not pixels_of(smaller) >= pixels_of(first) | pixels_of(second)


@settings(max_examples=200, deadline=None)
@given(
    before=arrays(np.uint8, (8, 10, 3), elements=st.integers(0, 255), fill=st.just(7)),
    after=arrays(np.uint8, (8, 10, 3), elements=st.integers(0, 255), fill=st.just(7)),
    box_before=boxes(8),
    box_after=boxes(8),
)
def test_refusal_counts_pixels(before: np.ndarray, after: np.ndarray, box_before: Box, box_after: Box) -> None:
    changed = {(x, y) for y in range(8) for x in range(10) if any(before[y, x, c] != after[y, x, c] for c in range(3))}
    common = pixels_of(box_before) & pixels_of(box_after)
    both = [*pixels_of(box_before), *pixels_of(box_after)]
    (xs, ys) = zip(*both, strict=True)
    outside = {(x, y) for x, y in changed if not (min(xs) <= x <= max(xs) and min(ys) <= y <= max(ys))}
    if not common:
        expected = acceptance.NO_OVERLAP
    elif len(changed & common) <= 2:
        expected = acceptance.TOO_LITTLE
    else:
        expected = acceptance.TOO_MUCH_OUTSIDE if len(outside) >= 3 else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acceptance, "MIN_CHANGED", 2)
        patch.setattr(acceptance, "MAX_OUTSIDE", 3)
        assert acceptance.refusal(acceptance.changed_pixels(before, after), box_before, box_after) == expected


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (1001, 19, None),
        (1000, 0, acceptance.TOO_LITTLE),
        (0, 400, acceptance.TOO_LITTLE),
        (1001, 20, acceptance.TOO_MUCH_OUTSIDE),
    ],
)
def test_the_published_thresholds(inside: int, outside: int, expected: str | None) -> None:
    before = np.zeros((100, 100, 3), np.uint8)
    after = before.copy()
    box = Box(0, 0, 49, 49)
    index = np.arange(2500)[:inside]
    after[index // 50, index % 50, 1] = 1  # one step of one channel is a change
    index = np.arange(outside)
    after[60 + index // 40, 60 + index % 40, 2] = 255
    assert acceptance.refusal(acceptance.changed_pixels(before, after), box, box) == expected


def test_the_intersection_has_inclusive_bounds() -> None:
    # 1001 pixels change, the last of them in the last column of both boxes.
    before = np.zeros((40, 1100, 3), np.uint8)
    after = before.copy()
    after[0, :1001] = 9
    changed = acceptance.changed_pixels(before, after)
    assert acceptance.refusal(changed, Box(0, 0, 1000, 0), Box(0, 0, 1050, 3)) is None
    assert acceptance.refusal(changed, Box(0, 0, 999, 0), Box(0, 0, 1050, 3)) == acceptance.TOO_LITTLE


@given(mask=arrays(bool, (6, 9)))
def test_mask_box(mask: np.ndarray) -> None:
    on = [(x, y) for y in range(6) for x in range(9) if mask[y, x]]
    xs, ys = [x for x, _ in on], [y for _, y in on]
    assert acceptance.mask_box(mask) == (Box(min(xs), min(ys), max(xs), max(ys)) if on else None)


def test_the_rules_are_recorded() -> None:
    assert acceptance.rules() == {
        "min_side": 60, "margin": 20, "border_side": 100, "min_candidates": 2, "min_changed": 1000, "max_outside": 20,
    }  # fmt: skip


@given(state=st.dictionaries(st.sampled_from(actions.STATE_KEYS), st.booleans()))
def test_possible_actions(state: dict[str, bool]) -> None:
    table = {
        "break": ("breakable", "isBroken", False),
        "clean": ("dirtyable", "isDirty", True),
        "close": ("openable", "isOpen", True),
        "dirty": ("dirtyable", "isDirty", False),
        "open": ("openable", "isOpen", False),
        "slice": ("sliceable", "isSliced", False),
        "turnoff": ("toggleable", "isToggled", True),
        "turnon": ("toggleable", "isToggled", False),
        "use": ("canBeUsedUp", "isUsedUp", False),
    }
    expected = [verb for verb, (can, key, now) in table.items() if state.get(can) and state.get(key, False) is now]
    assert [action.verb for action in actions.possible_actions(state)] == expected
    assert actions.actionable(state) == any(state.get(can) for can, _, _ in table.values())


def test_opposites_are_those_of_the_splits() -> None:
    ours = {action.verb: action.opposite for action in ACTIONS if action.opposite}
    for verb, opposite in ours.items():
        assert OPPOSITES[verb] == opposite and ours[opposite] == verb
        first, second = (next(action for action in ACTIONS if action.verb == name) for name in (verb, opposite))
        assert (first.ability, first.state) == (second.ability, second.state) and first.goal is not second.goal
    assert not {verb for verb in VERBS if verb in OPPOSITES} - set(ours)
    assert list(VERBS) == sorted(VERBS) and "cook" not in VERBS


def test_classes_are_types_and_parts_without_what_is_never_acted_on() -> None:
    names = actions.object_classes(["Fridge", "Toaster", "Bed", "Doorway", "Fridge"])
    assert names == sorted(set(names)) and {"Fridge", "Bed", "Drawer", "Cabinet"} <= set(names)
    assert not set(names) & NEVER_TARGETS
