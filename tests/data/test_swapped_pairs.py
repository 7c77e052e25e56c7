"""Swapped pairs: which ones there are, what a model is shown of them, and that no picture is copied for them."""

from collections import Counter

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.data.sampler import training_batches
from modeling_cde.data.schema import OPPOSITES, SWAPPED, pair_features
from modeling_cde.data.swapped_pairs import held_out_combinations, with_swapped
from modeling_cde.data.transforms import PairTransform
from tests.data.tiny_pairs import ACTIONS, OBJECTS, picture, rows

OPPOSITE = {"open": "close", "close": "open", "turnon": "turnoff", "turnoff": "turnon"}
PICTURES = ("before", "after", "mask_before", "mask_after")


def table(made):
    """As `load_pairs` returns it: pictures stay encoded."""
    loaded = datasets.Dataset.from_list(made, features=pair_features(ACTIONS, OBJECTS))
    for name in PICTURES:
        loaded = loaded.cast_column(name, datasets.Image(decode=False))
    return loaded


def marked(number):
    """Rows that all have a box and two masks that differ."""
    made = rows(number)
    for i, row in enumerate(made):
        row["box"] = [1, 2, 8, 9]
        row["mask_before"], row["mask_after"] = (
            {"bytes": picture(seed, mode="L"), "path": None} for seed in (900 + i, 500 + i)
        )
    return made


def naive(made, held_out=()):
    """(pair_id, action, swapped) of the rows and of their copies."""
    copies = []
    for row in made:
        other = OPPOSITE.get(ACTIONS[row["action"]])
        if other is not None and (ACTIONS.index(other), row["object"]) not in held_out:
            copies.append((row["pair_id"], ACTIONS.index(other), True))
    return [(row["pair_id"], row["action"], False) for row in made] + copies


def listed(pairs):
    columns = pairs.with_format(None)
    return list(zip(columns["pair_id"], columns["action"], columns[SWAPPED], strict=True))


@pytest.mark.parametrize("chosen", [None, [7, 3, 5, 80, 41, 40, 2, 66, 13, 12, 11, 10, 9, 8], range(20, 80)])
def test_the_copies_are_those_of_a_naive_loop_also_of_selected_rows(chosen):
    made = rows(90)
    whole = table(made)
    pairs = whole if chosen is None else whole.select(chosen)
    made = made if chosen is None else [made[i] for i in chosen]
    both = with_swapped(pairs, OPPOSITES)
    expected = naive(made)
    assert listed(both) == expected and len(made) < len(both) < 2 * len(made)
    by_id = {row["pair_id"]: row for row in made}
    for row in both:  # nothing else of a row changes
        original = by_id[row["pair_id"]]
        assert {name: row[name] for name in original if name != "action"} == {
            name: value for name, value in original.items() if name != "action"
        }
    assert both.features["action"] == pairs.features["action"]
    assert not any(row[SWAPPED] for row in both if ACTIONS[row["action"]] == "break")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 2)), min_size=1, max_size=12),
    st.sets(st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 2)), max_size=8),
)
def test_the_copies_of_any_pairs(labels, others):
    held_out = others - set(labels)
    blank = {name: None for name in (*PICTURES, "box")}
    made = [
        {**blank, "action": action, "object": kind, "scene": "s", "pair_id": f"pair{i}"}
        for i, (action, kind) in enumerate(labels)
    ]
    expected = naive(made, held_out)
    if len(expected) == len(made):
        with pytest.raises(ValueError, match="swap_opposites needs an action whose opposite is known"):
            with_swapped(table(made), OPPOSITES, held_out)
        return
    tested = [dict(made[0], action=action, object=kind) for action, kind in others] or made
    assert held_out_combinations({"train": table(made), "test_comp": table(tested)}) == held_out
    both = with_swapped(table(made), OPPOSITES, held_out)
    assert listed(both) == expected
    assert not held_out & set(zip(both["action"][:], both["object"][:], strict=True))
    # Swapping all of the pairs that have copies, and the copies, gives the same pairs again.
    copied = {pair_id for pair_id, _, swapped in expected if swapped}
    kept = {one for one in listed(both) if one[0] in copied}
    opposite = {i: ACTIONS.index(OPPOSITE[name]) for i, name in enumerate(ACTIONS) if name in OPPOSITE}
    assert {(pair_id, opposite[action], not swapped) for pair_id, action, swapped in kept} == kept


@pytest.mark.parametrize("augment", [True, None])
def test_a_copy_is_the_pair_backwards_bit_for_bit(augment):
    transform = PairTransform((16, 16), augment=augment, seed=3, extras=("objects", "masks"))
    both = with_swapped(table(marked(60)), OPPOSITES).with_transform(transform)
    pair_ids = both.with_format(None)["pair_id"][:]
    swapped = both.with_format(None)[SWAPPED][:]
    shown = []
    for epoch in (0, 4):
        transform.set_epoch(epoch)
        batch = both[:]
        shown.append(batch["pixel_values"])
        original = {pair_id: i for i, pair_id in enumerate(pair_ids[: swapped.index(True)])}
        for i in range(swapped.index(True), len(both)):
            first = original[pair_ids[i]]
            for name in ("pixel_values", "masks"):
                assert torch.equal(batch[name][i], batch[name][first].flip(0)), name
                assert not torch.equal(batch[name][i], batch[name][first]), name
            assert ACTIONS[batch["labels"][i]] == OPPOSITE[ACTIONS[batch["labels"][first]]]
            assert batch["objects"][i] == batch["objects"][first]
    assert all(torch.equal(a, b) for a, b in zip(*shown, strict=True)) == (augment is None)


def test_the_pairs_themselves_are_shown_as_without_copies():
    pairs = table(marked(30))
    transform = PairTransform((16, 16), augment=True, extras=("masks",))
    plain, both = (one.with_transform(transform)[: len(pairs)] for one in (pairs, with_swapped(pairs, OPPOSITES)))
    assert plain["labels"] == both["labels"]
    for name in ("pixel_values", "masks"):
        assert all(torch.equal(a, b) for a, b in zip(plain[name], both[name], strict=True))


def test_swapping_twice_is_the_identity():
    made = marked(60)
    first = with_swapped(table(made), OPPOSITES).filter(lambda row: row[SWAPPED])
    exchange = {"before": "after", "after": "before", "mask_before": "mask_after", "mask_after": "mask_before"}
    backwards = table([{exchange.get(name, name): row[name] for name in made[0]} for row in first])
    again = with_swapped(backwards, OPPOSITES).filter(lambda row: row[SWAPPED])
    transform = PairTransform((16, 16), extras=("masks",))
    copied = set(again["pair_id"][:])
    original = table([row for row in made if row["pair_id"] in copied])
    assert len(copied) == len(first) > 10
    found, expected = again.with_transform(transform)[:], original.with_transform(transform)[:]
    assert found["labels"] == expected["labels"]
    for name in ("pixel_values", "masks"):
        assert all(torch.equal(a, b) for a, b in zip(found[name], expected[name], strict=True))


def test_class_aware_batches_count_a_copy_under_its_new_action():
    made = rows(60)
    for i, row in enumerate(made):  # one pair closes, all others open; nothing else is done
        row |= {"action": ACTIONS.index("close" if i == 0 else "open"), "object": 0}
    both = with_swapped(table(made), OPPOSITES)
    assert Counter(both["action"][:]) == {0: 60, 1: 60}
    _, batches = training_batches(both, 8, "action", min_per_class=2, seed=0, drop_last=True)
    labels = both["action"][:]
    seen = []
    for batch in batches:
        assert min(Counter(labels[i] for i in batch).values()) >= 2
        seen += batch
    assert len(batches) == 15 and len(set(seen)) > 110


def addresses(pairs):
    return {chunk.field("bytes").buffers()[2].address for chunk in pairs.data.column("before").chunks}


@pytest.mark.parametrize("chosen", [range(90), range(80, 10, -3)])
def test_no_picture_is_copied(chosen):
    pairs = table(rows(90)).select(chosen)
    assert addresses(with_swapped(pairs, OPPOSITES)) == addresses(pairs)


def test_a_column_of_the_users_own_named_swapped_changes_nothing():
    made = marked(60)
    own = table(made).add_column("swapped", [True] * len(made))
    transform = PairTransform((16, 16), extras=("masks",))
    for rows_, expected_ in ((own, table(made)), (with_swapped(own, OPPOSITES), with_swapped(table(made), OPPOSITES))):
        found, expected = rows_.with_transform(transform)[:], expected_.with_transform(transform)[:]
        assert found["labels"] == expected["labels"]
        for name in ("pixel_values", "masks"):
            assert all(torch.equal(a, b) for a, b in zip(found[name], expected[name], strict=True)), name
        assert set(rows_.with_format(None)["swapped"][:]) == {True}


def test_data_without_opposites_are_refused_by_their_actions():
    made = rows(60)
    opened = [row for row in made if ACTIONS[row["action"]] in ("open", "break")]
    held_out = {(ACTIONS.index("close"), kind) for kind in range(len(OBJECTS))}
    with pytest.raises(ValueError, match=r"\(their actions: open, break\)"):
        with_swapped(table(opened), OPPOSITES, held_out)
    with pytest.raises(ValueError, match="their actions: open, close, break, turnon, turnoff"):
        with_swapped(table(made), {"push": "pull", "pull": "push"})
