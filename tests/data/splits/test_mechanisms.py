"""The shift `mech`: training sees a held-out mechanism neither under its action nor under the opposite."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.data.splits import (
    OPPOSITES,
    PARTS,
    CleanOptions,
    SplitError,
    SplitManifest,
    annotations_sha256,
    causal_triplet_split,
    clean_split,
    joint_split,
)
from tests.data.splits.test_clean import FAMILIES, Table, choices, fast, make_table

REFUSALS = ("Too few mechanisms", "leaves")


def with_mechanisms(table: Table, seed: int, number: int = 4) -> Table:
    """Each object does the actions of a family in a way of its own, one of `number`."""
    generator = random.Random(seed)
    first = {action: family[0] for family in FAMILIES for action in family}
    ways: dict[tuple[str, str], str] = {}
    rows = list(zip(table["action"], table["object"], strict=True))
    for action, name in rows:
        ways.setdefault((first[action], name), f"{first[action]} by {generator.randrange(number)}")
    return {**table, "mechanism": [ways[first[action], name] for action, name in rows]}


tables = st.builds(
    lambda seed, pairs, objects, scene_size, number: with_mechanisms(
        make_table(seed, pairs, objects, scene_size=scene_size), seed, number
    ),
    seed=st.integers(0, 10**6),
    pairs=st.integers(40, 500),
    objects=st.integers(4, 24),
    scene_size=st.sampled_from([0, 1, 3]),
    number=st.integers(2, 6),
)


def seen(table: Table, manifest: SplitManifest, *parts: str) -> set[tuple[str, str]]:
    """The (action, mechanism) of some parts."""
    ids = {pair for part in parts for pair in manifest.parts[part]}
    rows = zip(table["pair_id"], table["action"], table["mechanism"], strict=True)
    return {(action, mechanism) for pair, action, mechanism in rows if pair in ids}


@fast
@given(tables, st.integers(0, 99), choices)
def test_held_out_mechanisms_keep_the_laws(table, seed, options):
    try:
        manifest = clean_split(table, "mech", seed, options)
    except SplitError as error:
        assert any(word in str(error) for word in REFUSALS)
        return
    manifest.check(table)
    assigned = [pair for ids in (*manifest.parts.values(), *manifest.unused.values()) for pair in ids]
    assert sorted(assigned) == sorted(table["pair_id"])  # disjoint and complete
    known = seen(table, manifest, "train", "validation", "test")
    held = {part: {tuple(item) for item in items} for part, items in manifest.held_out.items()}
    assert held["validation_ood"] and held["test_ood"] and not held["validation_ood"] & held["test_ood"]
    trained = {action for action, _ in seen(table, manifest, "train")}
    for part, items in held.items():
        assert seen(table, manifest, part) <= items and not items & known
        assert {action for action, _ in items} <= trained  # a known action ...
        for action, mechanism in items:  # ... in a way that its opposite did not show either
            assert (OPPOSITES.get(action), mechanism) not in known
    if options.group_by:
        scene = dict(zip(table["pair_id"], table["scene"], strict=True))
        groups = {part: {scene[pair] for pair in manifest.parts[part]} for part in PARTS}
        assert not any(groups["train"] & groups[part] for part in PARTS[1:])


@fast
@given(tables, st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_split_depends_on_annotations_and_seed_only(table, seed, shuffler):
    order = list(range(len(table["pair_id"])))
    shuffler.shuffle(order)
    random.seed(shuffler.randrange(99))
    try:
        assert clean_split({k: [v[i] for i in order] for k, v in table.items()}, "mech", seed) == clean_split(
            table, "mech", seed
        )
    except SplitError as error:
        assert any(word in str(error) for word in REFUSALS)


def test_actions_take_turns_and_keep_a_mechanism():
    # Four ways to open, two to fill, and one to soil: a mechanism that is alone is never held out.
    number = {"open": 4, "close": 4, "fill": 2, "empty": 2, "dirty": 1, "clean": 1}
    things = [(a, way, f"thing{way}{i}") for a, ways in number.items() for way in range(ways) for i in range(3)]
    rows = [(f"p{i}", a, name, f"s{i}", f"way{way}") for i, (a, way, name) in enumerate(3 * things)]
    names = ("pair_id", "action", "object", "scene", "mechanism")
    table = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    for seed in range(5):
        held = clean_split(table, "mech", seed, CleanOptions(ood=0.9)).held_out
        left: dict[str, set[str]] = defaultdict(set)
        for action, way in {(row[1], row[4]) for row in rows} - {tuple(x) for xs in held.values() for x in xs}:
            left[action].add(way)
        assert {action: len(ways) for action, ways in left.items()} == dict.fromkeys(number, 1)
        assert all([a, way] in items for items in held.values() for action, way in items for a in (OPPOSITES[action],))
        # Three ways to open and one to fill may go: two for each part, each with both actions.
        assert [len(held[part]) for part in ("test_ood", "validation_ood")] == [4, 4]


def test_a_manifest_reloads_and_checks_and_knows_its_mechanisms(tmp_path):
    table = with_mechanisms(make_table(3), 3)
    manifest = clean_split(table, "mech", 1)
    manifest.save(tmp_path / "split.json")
    loaded = SplitManifest.load(tmp_path / "split.json")
    assert loaded == manifest and "held out for test_ood: " in manifest.report()
    loaded.check(table)
    moved = {**table, "mechanism": [*table["mechanism"][1:], table["mechanism"][0] + "x"]}
    with pytest.raises(ValueError, match="was made from other annotations"):
        loaded.check(moved)
    with pytest.raises(SplitError, match="no column mechanism"):
        loaded.check({key: values for key, values in table.items() if key != "mechanism"})
    held = manifest.parts["test_ood"].pop()
    manifest.parts["train"].append(held)
    with pytest.raises(ValueError, match=f"has {held} in train, though .* is held out"):
        manifest.check(table)


def test_the_column_changes_no_other_split():
    table = make_table(0)
    more = with_mechanisms(table, 0)
    assert joint_split(more) == joint_split(table) and clean_split(more, "none") == clean_split(table, "none")
    assert annotations_sha256(more) == annotations_sha256(table) != annotations_sha256(more, mechanisms=True)


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        (make_table(0), {}, "no column mechanism, which says how .*; add it, or choose the shift comp or syst"),
        (
            with_mechanisms(make_table(0), 0, 1),
            {},
            r"Too few mechanisms .* another one and 2 objects .*break: 1, clean: 1",
        ),
        (with_mechanisms(make_table(0), 0), {"min_train_objects": 99}, "another one and 99 objects in training"),
        ({**make_table(0), "mechanism": ["door"] * 599 + [""]}, {}, "column mechanism contains ''; every value"),
        (
            with_mechanisms(make_table(0), 0),
            {"ood_objects": {"test_ood": ["object01"], "validation_ood": ["object02"]}},
            "the mech split holds out mechanisms; use syst",
        ),
    ],
)
def test_an_impossible_request_says_which(table, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        clean_split(table, "mech", 0, CleanOptions(**options))


def test_the_published_protocol_has_no_such_shift():
    with pytest.raises(ValueError, match="has no shift 'mech'; choose comp or syst"):
        causal_triplet_split(with_mechanisms(make_table(0), 0), "mech")
