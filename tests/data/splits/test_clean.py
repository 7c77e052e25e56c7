"""The laws of a split on random tables: disjoint, complete, unseen, seed-stable, order-independent."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modeling_cde.data.splits import (
    OPPOSITES,
    PARTS,
    CleanOptions,
    SplitManifest,
    annotations_sha256,
    clean_split,
    joint_split,
)
from tests.data.tables import epic_table

Table = dict[str, list[str]]
FAMILIES = (
    ("open", "close"),
    ("turnon", "turnoff"),
    ("dirty", "clean"),
    ("fill", "empty"),
    ("break",),
    ("slice",),
)
REFUSALS = ("Too few objects", "Too few combinations", "leaves")


def make_table(
    seed: int, pairs: int = 600, objects: int = 14, families: int = 2, scene_size: int = 3, skew: float = 0.0
) -> Table:
    """Random pairs: each object takes part in some families of actions, some objects come more often."""
    generator = random.Random(seed)
    names = [f"object{i:02d}" for i in range(objects)]
    actions = {n: [a for f in generator.sample(FAMILIES, families) for a in f] for n in names}
    weights = [1 + skew * i for i in range(objects)]
    rows = []
    for i in range(pairs):
        name = generator.choices(names, weights)[0]
        scene = f"scene{i // scene_size if scene_size else 0:04d}"
        rows.append((f"pair{generator.randrange(10**9):09d}-{i}", generator.choice(actions[name]), name, scene))
    columns = zip(*rows, strict=True)
    return {key: list(values) for key, values in zip(("pair_id", "action", "object", "scene"), columns, strict=True)}


tables = st.builds(
    make_table,
    seed=st.integers(0, 10**6),
    pairs=st.integers(20, 400),
    objects=st.integers(2, 24),
    families=st.integers(1, 4),
    scene_size=st.sampled_from([0, 1, 2, 5, 20]),
    skew=st.sampled_from([0.0, 1.0]),
)


def long_tailed(seed: int, pairs: int, objects: int, groups: int) -> Table:
    """As kitchens are: few frequent actions and objects, many rare ones, groups of all sizes."""
    generator = random.Random(seed)
    actions = [a for family in FAMILIES for a in family]
    names = [f"object{i:03d}" for i in range(objects)]

    def draw(values: list[str], power: float) -> list[str]:
        return generator.choices(values, [1 / (i + 1) ** power for i in range(len(values))], k=pairs)

    return {
        "pair_id": [f"pair{generator.randrange(10**9):09d}-{i}" for i in range(pairs)],
        "action": draw(actions, 1.2),
        "object": draw(names, 1.2),
        "scene": draw([f"kitchen{i}" for i in range(groups)], 0.7),
    }


long_tails = st.builds(
    long_tailed,
    seed=st.integers(0, 10**6),
    pairs=st.integers(50, 800),
    objects=st.integers(5, 120),
    groups=st.integers(2, 60),
)
choices = st.builds(
    CleanOptions,
    validation=st.sampled_from([0.1, 0.3]),
    test=st.sampled_from([0.15, 0.4]),
    ood=st.sampled_from([0.1, 0.3, 0.9]),
    min_train_objects=st.integers(1, 3),
    cap=st.sampled_from([None, 0.7, 2.0]),
    min_ood_pairs=st.sampled_from([1, 5]),
    group_by=st.sampled_from([None, "scene"]),
    share_evaluation_groups=st.booleans(),
)
fast = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def refused_or(split, *arguments):
    """The split, or no example at all where the table is refused with one of the known sentences."""
    try:
        return split(*arguments)
    except ValueError as error:
        assert any(word in str(error) for word in REFUSALS), error
        assume(False)


def check_laws(table: Table, manifest: SplitManifest, options: CleanOptions) -> None:
    manifest.check(table)
    row = {
        p: (a, o, s) for p, a, o, s in zip(*(table[k] for k in ("pair_id", "action", "object", "scene")), strict=True)
    }
    assigned = [pair for ids in (*manifest.parts.values(), *manifest.unused.values()) for pair in ids]
    assert sorted(assigned) == sorted(table["pair_id"])  # disjoint and complete
    absent = {part for part in ("validation", "test") if getattr(options, part) == 0}
    absent |= {"validation_ood", "test_ood"} if manifest.shift == "none" else set()
    assert tuple(manifest.parts) == PARTS and {part for part in PARTS if not manifest.parts[part]} == absent

    def columns(part: str) -> tuple[set[str], set[str], set[tuple[str, str]]]:
        rows = [row[pair] for pair in manifest.parts[part]]
        return {a for a, _, _ in rows}, {o for _, o, _ in rows}, {(a, o) for a, o, _ in rows}

    actions, objects, combinations = columns("train")
    for part in ("validation", "test"):
        assert columns(part)[2] <= combinations
    everywhere_else = set()
    for part in ("train", "validation", "test"):
        everywhere_else |= columns(part)[1] if manifest.shift == "syst" else columns(part)[2]
    assert set(manifest.held_out) == ({"validation_ood", "test_ood"} if manifest.shift != "none" else set())
    held = {part: {x if isinstance(x, str) else tuple(x) for x in xs} for part, xs in manifest.held_out.items()}
    held = {"validation_ood": set(), "test_ood": set()} | held
    assert not held["validation_ood"] & held["test_ood"]
    for part in ("validation_ood", "test_ood"):
        part_actions, part_objects, part_combinations = columns(part)
        assert part_actions <= actions  # a known action ...
        if manifest.shift == "syst":
            assert part_objects <= held[part] and not part_objects & everywhere_else  # ... on an unseen object
            assert not held[part] & everywhere_else
        else:
            assert part_combinations <= held[part] and not held[part] & everywhere_else
            for action, name in held[part]:  # ... on a known object, whose opposite was seen
                assert name in objects and (OPPOSITES[action], name) in combinations
    seen: dict[str, set[str]] = {}
    for action, name in combinations:
        seen.setdefault(action, set()).add(name)
    over_cap = set(manifest.unused.get("over the cap", []))
    for action in {row[pair][0] for pair in row if pair not in over_cap}:
        had = {row[pair][1] for pair in row if pair not in over_cap and row[pair][0] == action}
        assert len(seen[action]) >= min(options.min_train_objects, len(had))
    if options.group_by:
        scenes = {part: {row[pair][2] for pair in ids} for part, ids in manifest.parts.items()}
        for part in PARTS[1:]:
            assert not scenes["train"] & scenes[part]
        assert not scenes["validation"] & scenes["test"]
        if not options.share_evaluation_groups:  # three sides: training, selecting, reporting
            selecting, reporting = (scenes[part] | scenes[f"{part}_ood"] for part in ("validation", "test"))
            assert not selecting & reporting
    if options.cap is not None:
        limit = max(1, int(options.cap * len(row) / len(set(table["action"]))))
        used = Counter(row[pair][0] for ids in manifest.parts.values() for pair in ids)
        assert max(used.values()) <= limit


@fast
@given(tables | long_tails, st.sampled_from(["comp", "syst", "none"]), st.integers(0, 99), choices)
def test_clean_split_keeps_the_laws(table, shift, seed, options):
    check_laws(table, refused_or(clean_split, table, shift, seed, options), options)


any_tables = st.builds(
    make_table,
    seed=st.integers(0, 10**6),
    pairs=st.integers(1, 60),
    objects=st.integers(1, 3),
    families=st.integers(1, 2),
    scene_size=st.sampled_from([0, 1, 5]),
)


@fast
@given(
    tables | long_tails | any_tables,
    st.integers(0, 99),
    choices,
    st.sampled_from(["validation", "test"]) | st.none(),
)
def test_without_a_shift_parts_may_be_left_out_and_one_object_is_enough(table, seed, options, kept):
    left_out = {part: 0.0 for part in ("validation", "test") if part != kept}
    options = replace(options, **left_out)
    if kept:
        check_laws(table, refused_or(clean_split, table, "none", seed, options), options)
        return
    manifest = clean_split(table, "none", seed, options)  # never refused
    check_laws(table, manifest, options)
    assert set(manifest.unused) <= {"over the cap"}
    uncapped = clean_split(table, "none", seed, replace(options, cap=None))
    assert uncapped.parts["train"] == sorted(table["pair_id"]) and not uncapped.unused
    assert "ood" not in uncapped.report() and "nothing is held out" in uncapped.report()


def test_nothing_is_held_out_of_a_manifest_without_a_shift():
    manifest = clean_split(small(), "none", 0)
    manifest.parts["test_ood"].append(manifest.parts["test"].pop())
    with pytest.raises(ValueError, match="in test_ood, though .* is not held out for it"):
        manifest.check(small())


@fast
@given(tables | long_tails, st.integers(0, 99), choices)
def test_joint_split_keeps_the_laws_and_shares_the_in_distribution_parts(table, seed, options):
    manifests = refused_or(joint_split, table, seed, options)
    for manifest in manifests.values():
        check_laws(table, manifest, options)
    for part in ("train", "validation", "test"):
        assert manifests["comp"].parts[part] == manifests["syst"].parts[part]
    ood = [set(m.parts[p]) for m in manifests.values() for p in ("validation_ood", "test_ood")]
    assert sum(map(len, ood)) == len(set().union(*ood))


@fast
@given(tables | long_tails, st.integers(0, 99), choices, st.randoms(use_true_random=False))
def test_a_split_depends_on_annotations_and_seed_only(table, seed, options, shuffler):
    first = refused_or(joint_split, table, seed, options)
    order = list(range(len(table["pair_id"])))
    shuffler.shuffle(order)
    random.seed(shuffler.random())
    state = random.getstate()
    again = joint_split({key: [values[i] for i in order] for key, values in table.items()}, seed, options)
    assert again == first
    assert random.getstate() == state  # the caller's generator is neither read nor moved


def test_shares_are_near_what_was_asked_for():
    for group_by in (None, "scene"):
        manifest = clean_split(make_table(3, pairs=3000), "syst", 0, CleanOptions(group_by=group_by))
        sizes = {part: len(ids) for part, ids in manifest.parts.items()}
        inside = sizes["train"] + sizes["validation"] + sizes["test"]
        assert sizes["validation"] / inside == pytest.approx(0.1, abs=0.02)
        assert sizes["test"] / inside == pytest.approx(0.15, abs=0.02)
        assert sum(map(len, manifest.held_out.values())) == round(0.3 * 14)


def test_each_part_is_stratified():
    table = make_table(5, pairs=4000, scene_size=1, skew=0.5)
    manifest = clean_split(table, "syst", 0)
    row = dict(zip(table["pair_id"], zip(table["action"], table["object"], strict=True), strict=True))
    inside = Counter(row[p] for part in ("train", "validation", "test") for p in manifest.parts[part])
    for part, share in (("validation", 0.1), ("test", 0.15)):
        found = Counter(row[p] for p in manifest.parts[part])
        assert all(abs(found[c] - share * n) <= 2 for c, n in inside.items())


def test_held_out_objects_cover_the_actions_of_both_parts():
    table = make_table(1, pairs=3000, objects=20, scene_size=1)
    manifest = clean_split(table, "syst", 0)
    for part in ("validation_ood", "test_ood"):
        assert len(manifest.counts[part]["actions"]) >= 8  # of 10, by 3 objects


def test_another_seed_gives_another_split():
    table = make_table(0)
    assert joint_split(table, 0)["syst"].parts != joint_split(table, 1)["syst"].parts


def test_an_option_of_one_step_leaves_the_other_choices_alone():
    table = make_table(0, pairs=2000, scene_size=1)
    held = [clean_split(table, "syst", 0, CleanOptions(test=share)).held_out for share in (0.1, 0.3)]
    assert held[0] == held[1]


def test_given_objects_are_held_out():
    table = make_table(0)
    wanted = {"validation_ood": ["object03"], "test_ood": ["object07", "object01"]}
    manifest = clean_split(table, "syst", 0, CleanOptions(ood_objects=wanted))
    assert manifest.held_out == {"validation_ood": ["object03"], "test_ood": ["object01", "object07"]}


def small(**changes: list[str]) -> Table:
    table = {
        "pair_id": [f"p{i}" for i in range(40)],
        "action": ["open", "close"] * 20,
        "object": [f"o{i // 2 % 5}" for i in range(40)],
        "scene": [f"s{i}" for i in range(40)],
    }
    return {**table, **changes}


IMPOSSIBLE = {
    "missing column": ({k: v for k, v in small().items() if k != "scene"}, "syst", {}, "no column scene"),
    "unknown group": (small(), "syst", {"group_by": "kitchen"}, "no column kitchen"),
    "ragged": (small(object=["o1"]), "syst", {}, "different lengths"),
    "no rows": ({k: [] for k in small()}, "syst", {}, "no rows"),
    "not a name": (small(object=[*small()["object"][:-1], ""]), "syst", {}, "must be a name"),
    "repeated id": (
        small(pair_id=["p7"] * 2 + [f"q{i}" for i in range(38)]),
        "syst",
        {},
        "'p7' occurs twice",
    ),
    "few objects": (small(object=["o1", "o2"] * 20), "syst", {}, "Too few objects.*open: 1"),
    "one object": (small(object=["o1"] * 40), "syst", {}, "of 1 object at least two"),
    "two objects": (small(object=["o1", "o2"] * 20), "syst", {}, "of 2 objects at least two"),
    "no opposites": (small(action=["break", "slice"] * 20), "comp", {}, "Too few combinations"),
    "one scene": (small(scene=["s"] * 40), "syst", {}, "leaves .* empty: 40 pairs in 1 groups"),
    "vanishing action": (
        small(action=["open"] * 38 + ["break"] * 2, object=[f"o{i % 5}" for i in range(38)] + ["o9"] * 2),
        "syst",
        {"ood_objects": {"validation_ood": ["o1"], "test_ood": ["o9"]}},
        "'break' vanishes from training.*o9",
    ),
    "unknown object": (
        small(),
        "syst",
        {"ood_objects": {"validation_ood": ["o1"], "test_ood": ["sofa"]}},
        "The held-out object 'sofa' has no pairs",
    ),
    "object twice": (
        small(),
        "syst",
        {"ood_objects": {"validation_ood": ["o1"], "test_ood": ["o1"]}},
        "'o1' is held out for two parts",
    ),
    "unknown shift": (small(), "noun", {}, "no shift 'noun'"),
    "no share": (small(), "syst", {"test": 0.0}, "share test is 0.0"),
    "no share for both": (small(), "comp", {"validation": 0.0}, "share validation is 0.0; .* or the shift none"),
    "no share out of range": (small(), "none", {"validation": -0.1}, "share validation is -0.1"),
    "no held-out share": (small(), "none", {"ood": 0.0}, "share ood is 0.0"),
    "one scene and no shift": (small(scene=["s"] * 40), "none", {}, r"none split .* do without validation \(share 0\)"),
    "objects for none": (
        small(),
        "none",
        {"ood_objects": {"test_ood": ["o2"], "validation_ood": ["o1"]}},
        "the none split holds out nothing; use syst",
    ),
    "no training": (small(), "syst", {"test": 0.6, "validation": 0.5}, "leave nothing for train"),
    "no minimum": (small(), "syst", {"min_train_objects": 0}, "min_train_objects is 0"),
    "no cap": (small(), "syst", {"cap": 0.0}, "cap is 0.0"),
    "endless cap": (small(), "syst", {"cap": float("inf")}, "cap is inf"),
    "unknown cap": (small(), "syst", {"cap": float("nan")}, "cap is nan"),
    "half of the parts": (
        small(),
        "syst",
        {"ood_objects": {"test_ood": ["o1"]}},
        "give validation_ood and test_ood",
    ),
    "no objects": (
        small(),
        "syst",
        {"ood_objects": {"test_ood": [], "validation_ood": ["o1"]}},
        "leaves a part without objects",
    ),
    "objects for comp": (
        small(),
        "comp",
        {"ood_objects": {"test_ood": ["o2"], "validation_ood": ["o1"]}},
        "use syst, or leave it out",
    ),
    "no pairs": (small(), "syst", {"min_ood_pairs": 0}, "min_ood_pairs is 0"),
    "one-way opposite": (small(), "comp", {"opposites": {"open": "close"}}, "'open' is not given both ways"),
}


@pytest.mark.parametrize(("table", "shift", "options", "sentence"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_request_says_which(table, shift, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        clean_split(table, shift, 0, CleanOptions(**options))


@pytest.mark.parametrize("scene", ["scene", "video"])
@pytest.mark.parametrize("shift", ["syst", "comp", "joint"])
def test_real_kitchens_are_divided_by_default(scene, shift):
    """Twelve kitchens or 58 videos, a long tail of verbs and nouns: most seeds give a split, the others advice."""
    table = epic_table()
    table = {**table, "scene": table[scene]}
    refused = []
    for seed in range(6):
        try:
            made = joint_split(table, seed) if shift == "joint" else {shift: clean_split(table, shift, seed)}
        except ValueError as error:
            refused.append(str(error))
            continue
        for manifest in made.values():
            check_laws(table, manifest, CleanOptions())
            sizes = {part: len(ids) for part, ids in manifest.parts.items()}
            assert sizes["train"] > 250 and sizes["validation"] > 8 and sizes["test"] > 8
    assert len(refused) <= 4
    for sentence in refused:
        assert "take another seed" in sentence and "divide pair by pair (group_by None)" in sentence
    joint_split(table, 0, CleanOptions(group_by=None))


def test_groups_too_large_for_a_share_still_fill_their_part():
    """Four kitchens and a combination that one of them alone has: it is dropped where its kitchen is tested."""
    table = make_table(1, pairs=400, objects=8, scene_size=100)
    table["object"][:5], table["action"][:5] = ["oven"] * 5, ["slice"] * 5
    lost = 0
    for seed in range(12):
        try:
            manifest = clean_split(table, "syst", seed)
        except ValueError as error:
            assert "leaves" in str(error)
            continue
        check_laws(table, manifest, CleanOptions())
        lost += len(manifest.unused.get("a combination that no training group has", ()))
    assert lost


def test_rare_objects_are_held_out_only_where_there_are_no_others():
    table = make_table(2, pairs=600, objects=8, scene_size=0)
    rare = [f"rare{i}" for i in range(10)]
    table["object"][:10], table["action"][:10] = rare, ["break"] * 10
    options = CleanOptions(group_by=None, cap=None)
    held = clean_split(table, "syst", 0, options).held_out
    assert not {name for names in held.values() for name in names} & set(rare)
    held = clean_split(table, "syst", 0, CleanOptions(group_by=None, cap=None, min_ood_pairs=1)).held_out
    assert {name for names in held.values() for name in names} & set(rare)


def test_shared_evaluation_groups_give_larger_parts():
    table = make_table(0, pairs=1500, scene_size=4)
    sizes = []
    for share in (False, True):
        manifest = clean_split(table, "syst", 0, CleanOptions(share_evaluation_groups=share))
        sizes.append(sum(len(manifest.parts[part]) for part in ("validation_ood", "test_ood")))
    assert sizes[0] < sizes[1]


def test_the_time_grows_with_the_table_and_not_with_its_square():
    seconds = []
    for pairs in (3000, 18_000):
        table = long_tailed(0, pairs, 60, pairs // 20)
        start = time.process_time()
        clean_split(table, "syst", 0, CleanOptions(cap=None))
        seconds.append(time.process_time() - start)
    assert seconds[1] < 24 * max(seconds[0], 0.02)


def test_the_hash_covers_every_cell_and_no_order():
    table = small()
    reference = annotations_sha256(table)
    assert annotations_sha256({key: values[::-1] for key, values in table.items()}) == reference
    for key in table:
        assert annotations_sha256({**table, key: [*table[key][:-1], "other"]}) != reference
