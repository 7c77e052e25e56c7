"""Subsets: nested, seeded, by name, and refused where nothing would be left."""

import warnings

import pytest

from modeling_cde.data.subsets import take_subsets


def ids(rows):
    return set(rows["pair_id"][:])


def names(rows, column):
    return {rows.features[column].int2str(i) for i in rows.with_format(None)[column]}


def test_nothing_asked_changes_nothing(splits):
    assert {name: ids(rows) for name, rows in take_subsets(splits).items()} == {n: ids(r) for n, r in splits.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_training_pairs_are_nested_and_keep_the_actions_shares(splits, seed):
    whole = splits["train"]
    kept = {number: take_subsets(splits, train_pairs=number, seed=seed) for number in (4, 5, 20, 41, len(whole))}
    smaller: set[str] = set()
    for number, parts in kept.items():
        rows = parts["train"]
        assert len(rows) == number and smaller <= ids(rows) and names(rows, "action") == names(whole, "action")
        smaller = ids(rows)
        for action in names(whole, "action"):
            label = whole.features["action"].str2int(action)
            share = whole["action"][:].count(label) / len(whole)
            assert abs(rows["action"][:].count(label) - share * number) <= 1.5
        assert all(parts[name] is splits[name] for name in splits if name != "train")
    assert ids(kept[20]["train"]) != ids(take_subsets(splits, train_pairs=20, seed=seed + 2)["train"])


@pytest.mark.parametrize("seed", range(5))
def test_training_objects_are_nested_and_the_tests_keep_theirs(splits, seed):
    train = splits["train"]
    whole = names(train, "object")
    smaller: set[str] = set()
    for number in range(4, len(whole) + 1):  # four can hold the four actions
        parts = take_subsets(splits, train_objects=number, seed=seed)
        kept = names(parts["train"], "object")
        assert len(kept) == number and smaller <= kept <= whole
        name_of = train.features["object"].int2str
        assert ids(parts["train"]) == {row["pair_id"] for row in train if name_of(row["object"]) in kept}
        assert all(parts[name] is splits[name] for name in splits if name != "train")
        smaller = kept


@pytest.mark.parametrize("seed", range(4))
def test_actions_go_from_every_split_and_opposites_stay_together(splits, seed):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = take_subsets(splits, num_actions=2, seed=seed)
    kept = names(parts["train"], "action")
    assert kept in ({"open", "close"}, {"clean", "dirty"})
    for name, rows in parts.items():
        assert names(rows, "action") <= kept and len(rows) > 0
        assert rows.features["action"] == splits[name].features["action"]  # ids mean the same in every run
    gone = [name for name in splits if not names(splits[name], "action") & kept]
    assert set(splits) - set(parts) == set(gone) == {str(w.message).split()[5] for w in caught}


def test_the_order_of_the_rows_does_not_matter(splits):
    turned = {name: rows.select(range(len(rows) - 1, -1, -1)) for name, rows in splits.items()}
    asked = {"train_pairs": 9, "train_objects": 5, "num_actions": 4, "seed": 4}
    first, second = (take_subsets(some, **asked)["train"] for some in (splits, turned))
    assert ids(first) == ids(second) and len(first) == 9


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"train_pairs": 3}, "train_pairs=3 is less than one pair for each of 4 actions"),
        ({"train_pairs": 100_000}, r"train_pairs=100000 must be in \[1, \d+\]: there are \d+ training pairs"),
        ({"train_objects": 0}, r"train_objects=0 must be in \[1, "),
        ({"train_objects": 1}, r"train_objects=1 leaves no training pair of .*: choose more objects"),
        ({"num_actions": 5}, r"num_actions=5 must be in \[1, 4\]"),
    ],
)
def test_what_cannot_be_had_is_refused(splits, asked, message):
    with pytest.raises(ValueError, match=message):
        take_subsets(splits, **asked)
