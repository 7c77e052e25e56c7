"""The study: what its heads are trained and tested on, and what becomes of their results."""

import itertools
import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.study.__main__ import main
from benchmarks.study.experiments import EXPERIMENTS, PAIRS_OF_KINDS, Fit, parts_of
from benchmarks.study.pairs import READINGS, Pairs
from benchmarks.study.power_law import power_law
from benchmarks.study.results import Results, show_table
from benchmarks.study.shrinkage import nearest_direction
from modeling_cde.data.splits import OPPOSITES, CleanOptions

DONE = {0: ["open", "close"], 1: ["turnon", "turnoff"], 2: ["dirty", "clean", "break"]}
KINDS = 18


def drawn(number=720, kinds=KINDS, done=DONE, seed=0):
    """Pairs without features: kinds that each have the actions of a group, up to three pairs in a scene."""
    generator = random.Random(seed)
    columns = {name: [] for name in ("action", "object", "scene", "pair_id")}
    for i in range(number):
        kind = generator.randrange(kinds)
        columns["action"].append(generator.choice(done[kind % len(done)]))
        columns["object"].append(f"kind{kind:02d}")
        columns["scene"].append(f"scene{i // 3:04d}")
        columns["pair_id"].append(f"pair{generator.randrange(10**9):09d}")
    options = CleanOptions(share_evaluation_groups=True)
    return Pairs({}, {}, {}, *columns.values(), mechanism=None, options=options)


PAIRS = drawn()
ALL_ACTIONS = set(PAIRS.action)
WORDS = ["train", "kinds 6", "kinds 12", "pairs 5", "pairs 100", "share 1", "share 10", "share 100"]
SEEDS = st.integers(0, 10**6)
QUICK = settings(max_examples=12, deadline=None)


def combinations(rows, pairs=PAIRS):
    return {(pairs.action[i], pairs.object[i]) for i in rows}


@QUICK
@given(SEEDS, st.sampled_from(WORDS), st.sampled_from([None, 2, 4, 6]))
def test_no_head_is_trained_on_what_it_is_tested_on(seed, word, actions):
    fit = Fit("row", seed, "cls", train=word, actions=actions)
    parts = parts_of(fit, PAIRS)
    train = parts["train"]
    assert train == sorted(set(train)) and "test_syst" in parts
    for name, rows in parts.items():
        assert rows == sorted(set(rows)) and rows
        if name != "train":
            assert not set(rows) & set(train)
        if name.endswith("syst"):
            assert not {PAIRS.object[i] for i in rows} & {PAIRS.object[i] for i in train}
        if name.endswith("comp"):
            assert not combinations(rows) & combinations(train)
    assert parts == parts_of(fit, PAIRS)
    kept = {PAIRS.action[i] for i in train}
    assert kept == ALL_ACTIONS if actions is None else len(kept) <= actions
    assert all({PAIRS.action[i] for i in rows} <= kept for rows in parts.values())


@QUICK
@given(SEEDS, st.sampled_from([4, 6, 12]))
def test_so_many_kinds_have_500_pairs_at_most(seed, number):
    # 5 of 9 kinds of 300 pairs make more than 500.
    many = drawn(2700, 9)
    chosen = [parts_of(Fit("row", seed, "cls", train=f"kinds {number}"), PAIRS)["train"]]
    chosen.append(parts_of(Fit("row", seed, "cls", train=f"all {number}"), PAIRS)["train"])
    for rows in chosen:
        assert len({PAIRS.object[i] for i in rows}) == number and {PAIRS.action[i] for i in rows} == ALL_ACTIONS
        kinds = {PAIRS.object[i] for i in rows}
        every = PAIRS.of_kinds(kinds)
        assert set(rows) <= set(every) and len(rows) == len(set(rows)) == min(PAIRS_OF_KINDS, len(every))
    rows = parts_of(Fit("row", seed, "cls", train="all 5"), many)["train"]
    assert len(rows) == PAIRS_OF_KINDS and len({many.object[i] for i in rows}) == 5
    assert parts_of(Fit("row", seed, "cls", train="all"), many) == {"train": list(range(len(many)))}


@QUICK
@given(SEEDS, st.integers(1, 1000), st.integers(1, 100))
def test_fewer_pairs_are_a_part_of_the_training_part_with_each_action(seed, number, share):
    whole = PAIRS.split(seed)
    for word, wanted in ((f"pairs {number}", number), (f"share {share}", round(len(whole["train"]) * share / 100))):
        parts = parts_of(Fit("row", seed, "cls", train=word), PAIRS)
        assert set(parts["train"]) <= set(whole["train"])
        assert len(parts["train"]) == min(len(whole["train"]), max(wanted, len(ALL_ACTIONS)))
        assert {PAIRS.action[i] for i in parts["train"]} == ALL_ACTIONS
        assert {k: v for k, v in parts.items() if k != "train"} == {k: v for k, v in whole.items() if k != "train"}


def test_a_kind_that_is_left_out_is_what_training_lacks():
    for kind in PAIRS.kinds:
        parts = parts_of(Fit("row", 3, "cls", train=f"without {kind}"), PAIRS)
        assert set(parts) == {"train", "left_out"}
        assert {PAIRS.object[i] for i in parts["left_out"]} == {kind}
        assert sorted(parts["train"] + parts["left_out"]) == list(range(len(PAIRS)))
        assert kind not in {PAIRS.object[i] for i in parts["train"]}


@pytest.mark.parametrize("number", [2, 4, 6, 7])
def test_actions_are_the_same_in_all_parts_and_opposites_stay_together(number):
    whole = PAIRS.split(5)
    parts = parts_of(Fit("row", 5, "cls", actions=number), PAIRS)
    kept = {PAIRS.action[i] for i in parts["train"]}
    assert len(kept) == number and all(OPPOSITES[one] in kept for one in kept - {"break"})
    assert parts == {
        name: [i for i in rows if PAIRS.action[i] in kept]
        for name, rows in whole.items()
        if any(PAIRS.action[i] in kept for i in rows)
    }


def test_an_action_whose_opposite_the_data_set_lacks_takes_no_place():
    pairs = drawn(done={0: ["open", "close"], 1: ["break", "clean"]})
    parts = parts_of(Fit("row", 0, "cls", actions=3), pairs)
    assert {pairs.action[i] for i in parts["train"]} == {"open", "close", "break"}


def test_kinds_that_cannot_be_drawn_are_refused_and_none_is_asked_for():
    with pytest.raises(ValueError, match=r"There are \d+ kinds to train on, and 18 are asked for"):
        parts_of(Fit("row", 0, "cls", train="kinds 18"), PAIRS)
    with pytest.raises(ValueError, match="No 2 of the 18 kinds to train on have all actions"):
        parts_of(Fit("row", 0, "cls", train="all 2"), PAIRS)
    for name in ("kinds", "transfer_kinds"):
        fits = EXPERIMENTS[name](PAIRS, range(4))
        assert fits and all(parts_of(fit, PAIRS) for fit in fits)


def test_every_experiment_names_each_head_once_with_a_reading_that_exists():
    for name, experiment in EXPERIMENTS.items():
        fits = experiment(PAIRS, range(3))
        told = [(fit.row, fit.seed, fit.train if name == "left_out" else None) for fit in fits]
        assert len(set(told)) == len(told)
        assert {fit.reading for fit in fits} <= set(READINGS)
    left = [fit.train for fit in EXPERIMENTS["left_out"](PAIRS, range(3)) if fit.row == "changed patches, CDE"]
    assert left == [f"without {kind}" for kind in PAIRS.kinds]


# Results


def some_results(path, accuracies, first_seed=0):
    results = Results(path)
    for row, values in accuracies.items():
        for seed, value in enumerate(values, first_seed):
            accuracy = {"test": value + 0.1, "test_comp": value / 2, "test_syst": value}
            results.add(Fit(row, seed, "cls", flags={"max_steps": 3}), {"train_pairs": 9, "accuracy": accuracy})
    return results


def test_results_come_back_in_the_order_of_the_experiment(tmp_path):
    path = tmp_path / "data" / "methods.json"
    fits = [Fit(row, seed, "cls", flags={"swap_opposites": True}) for row in "ab" for seed in range(2)]
    other = Fit("c", 7, "change", train="kinds 8")
    results = Results.load(path)
    assert results.heads == []
    for number, fit in enumerate([other, *reversed(fits)]):
        assert not results.has(fit)
        results.add(fit, {"train_pairs": number, "accuracy": {"test_syst": number / 8}})
    results.save(fits)
    again = Results.load(path)
    assert [(head["fit"]["row"], head["fit"]["seed"]) for head in again.heads] == [
        ("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 7),
    ]  # fmt: skip
    assert all(again.has(fit) for fit in [other, *fits]) and again.heads == results.heads
    assert not again.has(Fit("a", 2, "cls")) and not again.has(Fit("a", 0, "cls"))  # without its flags it is another
    assert len(path.read_text().splitlines()) == len(fits) + 3  # a line for each head
    again.save(fits)
    assert Results.load(path).heads == again.heads


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]


def test_the_table_has_the_numbers_of_a_naive_computation(tmp_path):
    first, second = [0.5, 0.52, 0.61, 0.71], [0.58, 0.5, 0.7, 0.76]
    table = show_table(some_results(tmp_path / "r.json", {"one": first, "other": second}), range(4), "test_syst")
    header, _, one, other = cells(table)
    assert header == ["", "seeds", "IID", "OOD compositional", "OOD systematic", "OOD systematic, to the first row"]

    def shown(values):
        mean = sum(values) / len(values)
        spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        return f"{100 * mean:.1f} ± {100 * spread:.1f}"

    for row, values in ((one, first), (other, second)):
        assert row[1:5] == ["4", shown([v + 0.1 for v in values]), shown([v / 2 for v in values]), shown(values)]
    gains = [100 * (b - a) for a, b in zip(first, second, strict=True)]
    means = sorted(sum(chosen) / 4 for chosen in itertools.product(gains, repeat=4))
    cut = int(0.025 * len(means))
    low, high = means[cut], means[-1 - cut]
    assert one[5] == "reference"
    assert other[5] == f"{sum(gains) / 4:+.1f} [{low:+.1f}, {high:+.1f}], 3 of 4 above 0"


def test_the_table_pairs_seeds_and_leaves_others_out(tmp_path):
    results = some_results(tmp_path / "r.json", {"one": [0.5, 0.6], "other": [0.7, 0.9, 0.1]})
    apart = Fit("apart", 9, "cls")
    results.add(apart, {"accuracy": {"test": 1.0, "test_comp": 1.0, "test_syst": 1.0}})
    table = cells(show_table(results, range(10), "test_syst"))
    assert table[3][1] == "3" and table[3][5].startswith("+25.0 ")  # of the two seeds that both have
    assert table[4][5] == "no seed in common"
    assert [row[0] for row in cells(show_table(results, range(2), "test"))[2:]] == ["one", "other"]
    assert cells(show_table(results, range(2), "test"))[0].count("IID") == 1
    assert show_table(results, range(50, 60), "test_syst") == "There are no results yet."
    assert "'one' were not tested on validation_syst" in show_table(results, range(2), "validation_syst")


def test_a_head_of_an_older_experiment_does_not_stand_in_for_that_of_today(tmp_path):
    results = some_results(tmp_path / "r.json", {"one": [0.5]})
    today = Fit("one", 0, "change")
    results.add(today, {"accuracy": {"test": 0.9, "test_comp": 0.9, "test_syst": 0.9}})
    results.save([today])
    assert cells(show_table(Results.load(results.path), range(1), "test_syst"))[2][2] == "90.0"


def test_the_tables_of_kinds_that_were_left_out(tmp_path):
    results = Results(tmp_path / "r.json")
    right = {"one": {"box": "110", "jug": "10"}, "other": {"box": "111", "jug": "00"}}
    mechanisms = {"box": ["lid", "lid", "stain"], "jug": ["lid", None]}
    for row, kinds in right.items():
        for kind, hits in kinds.items():
            answers = [
                {"action": "open", "mechanism": mechanism, "answer": "open" if hit == "1" else "x", "pairs": 1}
                for hit, mechanism in zip(hits, mechanisms[kind], strict=True)
            ]
            results.add(Fit(row, 0, "cls", train=f"without {kind}"), {"kind": kind, "answers": answers})
    summary, kinds, mechanism = show_table(results, range(1), "test_syst").split("\n\n")
    assert cells(summary)[2:] == [["one", "58.3", "0 of 2"], ["other", "50.0", "1 of 2"]]
    assert cells(kinds) == [["kind", "one", "other"], ["---", "---:", "---:"], ["jug", "50", "0"], ["box", "67", "100"]]
    assert cells(mechanism)[2:] == [["lid", "100", "67"], ["stain", "0", "100"]]
    results.heads.pop()  # stopped before the last one
    assert cells(show_table(results, range(1), "test_syst").split("\n\n")[1])[2:] == [
        ["box", "67", "100"],
        ["jug", "50", ""],
    ]
    for head in results.heads:
        head["answers"] = [answer | {"mechanism": None} for answer in head["answers"]]
    assert "mechanism" not in show_table(results, range(1), "test_syst")


def test_the_command_prints_the_table_of_what_is_there(tmp_path, capsys):
    results = some_results(tmp_path / "rooms" / "methods.json", {"one": [0.5, 0.7]}, first_seed=40)
    results.save([])
    assert json.loads(results.path.read_text())
    main(["methods", "--data", "anywhere/rooms", "--results", str(tmp_path), "--table"])
    assert "| one | 2 |" in capsys.readouterr().out


def test_the_power_law_is_found_where_there_is_one():
    errors = {n: {seed: 80 * n**-0.5 * (1 + 0.02 * (seed - 1)) for seed in range(3)} for n in (4, 8, 16, 32)}
    law = power_law(errors)
    assert law.exponent == pytest.approx(0.5) and law.scale == pytest.approx(80)
    assert law.low == pytest.approx(0.5) and law.high == pytest.approx(0.5)  # every seed has the same exponent
    assert law.at(64) == pytest.approx(10)
    assert law.sentence() == "error -29 % by doubling [-29, -29]"


def test_the_power_law_s_interval_comes_from_the_seeds():
    exponents = [0.2, 0.5, 0.8]
    errors = {n: {seed: 80 * n ** -exponents[seed] for seed in range(3)} for n in (4, 8, 16, 32)}
    law = power_law(errors)
    assert 0.15 < law.low < 0.3 < law.exponent < 0.6 < law.high < 0.85


def test_the_nearest_direction_does_not_depend_on_lengths():
    generator = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=1)
    labels = torch.arange(4).repeat(5)
    lengths = torch.rand(20, 1, generator=generator) + 0.01
    train = means[labels] * lengths
    assert nearest_direction(train, labels, means * 1e-6).tolist() == [0, 1, 2, 3]
    turned = means + 0.1 * torch.randn(4, 8, generator=generator)
    naive = [max(range(4), key=lambda k: float(means[k] @ one / one.norm())) for one in turned]
    assert nearest_direction(train, labels, turned).tolist() == naive
