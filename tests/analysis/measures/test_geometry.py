"""All figures of a run in one file: its shape, its honesty about what it cannot tell, and its command."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modeling_cde.analysis.geometry_sections import geometry_sections
from modeling_cde.analysis.measures.figures import MEASURES
from modeling_cde.analysis.measures.geometry import main, measure, summary_table
from modeling_cde.analysis.plots.run_plots import Pictures
from tests.analysis.synthetic_deltas import make_set, save_sets


def synthetic(seed=0, n=96, split="test", **fields):
    """Deltas of one direction an action, opposites turned round, small noise."""
    rng = np.random.default_rng(seed)
    labels, objects = np.arange(n) % 4, np.arange(n) // 4 % 3
    effect = np.zeros((4, 16))
    effect[[0, 1], 0] = effect[[2, 3], 1] = 1, -1
    delta = effect[labels] + 0.05 * rng.normal(size=(n, 16))
    logits = 10 * np.eye(4)[labels]
    ids = [f"{split} {i}" for i in range(n)]
    return make_set(delta, labels, objects, logits=logits.astype(np.float32), split=split, pair_ids=ids, **fields)


def test_known_deltas_give_known_figures(tmp_path):
    result = measure(save_sets(tmp_path, synthetic(), synthetic(1, split="train")))
    assert list(result["splits"]) == ["test"]  # the training pairs are the bank, and no split to be reported
    assert result["bank"] == {"split": "train", "n": 96}
    found = result["splits"]["test"]
    assert (found["n"], found["dimensions"]) == (96, 16)
    assert found["cosines"]["actions"] == ["open", "close", "dirty", "clean"]
    assert found["opposites"]["mean"] < -0.99 and abs(found["opposites"]["others"]["mean"]) < 0.05
    assert found["variance"]["action"] > 0.9
    assert sum(found["variance"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(found["variance_by_chance"].values()) == pytest.approx(1, abs=1e-5)
    assert found["transfer"]["accuracy"] == 1 and found["probes"]["object"]["delta"] < 0.6
    assert set(found["sparsity"]["effective_dimensions"]) == {"open", "close", "dirty", "clean"}
    assert len(found["sparsity"]["profile"]) == 16
    assert found["neighbours"] == {
        "k": 5,
        "bank": "train",
        "bank_n": 96,
        "knn": 1,
        "prototype": 1,
        "knn_states": 1,
    }
    assert found["calibration"]["ece"] < 0.01 and found["patches"] is None


def test_the_file_holds_what_is_returned_and_is_the_same_every_time(tmp_path):
    folder = save_sets(tmp_path, synthetic())
    result = measure(folder)
    first = (folder / "geometry.json").read_bytes()
    assert json.loads(first) == result
    measure(folder / "deltas.safetensors")
    assert (folder / "geometry.json").read_bytes() == first


def patch_fields(rng, n):
    return {
        "patch_delta": rng.normal(size=(n, 2, 16)).astype(np.float32),
        "patch_indices": rng.integers(0, 4, (n, 2)),
        "box_coverage": rng.uniform(size=(n, 4)).astype(np.float32),
        "patch_grid": (2, 2),
    }


def test_patch_mode_is_in_file_and_table(tmp_path):
    part = synthetic(**patch_fields(np.random.default_rng(0), 96))
    result = measure(save_sets(tmp_path, part, replace(part, split="test_syst")))
    patches = result["splits"]["test_syst"]["patches"]
    assert patches["k"] == 2 and patches["in_box"] == pytest.approx(0.5, abs=0.1) and patches["in_mask"] is None
    table = summary_table(result)
    assert "| selected patches in the box | 0." in table and "| selected patches in the mask | – | – |" in table
    assert table.splitlines()[0] == "|  | IID | OOD systematic |"


def test_the_table_has_a_column_for_each_split_and_a_row_for_each_figure():
    test = {"n": 96, "neighbours": {"knn": 0.5}, "probes": {"object": {"states": 0.25}}, "patches": None}
    lines = summary_table({"splits": {"test": test, "test_syst": {"n": 4}}}).splitlines()
    assert lines[:3] == ["|  | IID | OOD systematic |", "| --- | ---: | ---: |", "| pairs | 96 | 4 |"]
    assert "| k-NN on deltas | 0.500 | – |" in lines and "| object read from state | 0.250 | – |" in lines
    assert [line.split(" | ")[0][2:] for line in lines[3:]] == [name for name in MEASURES if "patch" not in name]
    with_patches = summary_table({"splits": {"test": test, "test_syst": {"n": 4, "patches": {"in_box": 0.75}}}})
    assert "| selected patches in the box | – | 0.750 |" in with_patches
    assert len(with_patches.splitlines()) == 3 + len(MEASURES)


@pytest.mark.parametrize(
    "part",
    [
        make_set([[1, 0, 0]], [0]),
        make_set(np.zeros((6, 3)), [0, 1, 2, 3, 0, 1], [0, 1, 0, 1, 0, 1]),
        make_set(np.random.default_rng(0).normal(size=(4, 3)), [0, 0, 0, 0]),
        make_set(np.random.default_rng(0).normal(size=(4, 1)), [0, 1, 2, 3], [-1, -1, -1, -1]),
        make_set(
            np.zeros((2, 16)),
            [0, 1],
            **{**patch_fields(np.random.default_rng(0), 2), "patch_delta": np.zeros((2, 2, 16))},
        ),
    ],
    ids=["one pair", "collapsed", "one action", "one dimension and unknown objects", "collapsed patches"],
)
def test_poor_splits_give_none_and_a_note(tmp_path, part):
    with np.errstate(all="raise"):
        result = measure(save_sets(tmp_path, part))["splits"]["test"]
    assert result["notes"] and all(note.endswith(".") for note in result["notes"])
    assert "NaN" not in (tmp_path / "geometry.json").read_text()
    summary_table({"splits": {"test": result}})


def test_a_note_tells_the_reason(tmp_path):
    """The deltas do vary; what is missing is the object."""
    part = make_set(np.random.default_rng(0).normal(size=(6, 3)), [0, 1] * 3, [-1] * 6)
    notes = measure(save_sets(tmp_path, part))["splits"]["test"]["notes"]
    assert "The object of every pair is unknown, so there are no shares of variance." in notes
    assert "With 1 possible arrangement of the actions, p cannot fall below 1.00." in notes
    assert not any("do not vary" in note for note in notes)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    part = synthetic()
    part.delta[3, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 96 pairs of split 'test' have deltas, states or scores that are not"):
        measure(save_sets(tmp_path, part))
    logits = np.zeros((96, 4), dtype=np.float32)
    logits[:, 1:] = -np.inf  # an impossible action is no failure
    assert measure(save_sets(tmp_path, synthetic(), **{"test/logits": logits}))["splits"]["test"]["calibration"]


def test_a_file_of_training_pairs_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no split with pairs to measure"):
        measure(save_sets(tmp_path, synthetic(split="train")))


def test_the_command_prints_the_table_and_says_what_is_wrong(tmp_path, capsys):
    folder = save_sets(tmp_path / "run", synthetic())
    main([str(folder)])
    printed = capsys.readouterr().out
    assert "| cosine of opposite actions | -0.9" in printed and f"{folder / 'geometry.json'} holds" in printed
    assert "- The file has no training pairs: k-NN and prototypes compare" in printed
    main([str(save_sets(tmp_path / "two", synthetic(), synthetic(1, split="test_syst")))])
    assert "of its split. (IID, OOD systematic)\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="deltas.safetensors is missing: give the output folder"):
        main([str(tmp_path / "absent")])


def test_mechanisms_are_measured_where_the_data_name_them(tmp_path):
    ways = ["door" if i // 4 % 3 else "drawer" for i in range(96)]
    named, other = synthetic(mechanisms=ways), synthetic(split="test_syst")
    found = measure(save_sets(tmp_path, named, other))["splits"]
    shares = found["test"]["mechanism_variance"]
    assert shares["action"] > 0.9 and sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert set(found["test"]["mechanism_variance_by_chance"]) == set(shares)
    assert found["test_syst"]["mechanism_variance"] is None
    (table,) = [
        table
        for section in geometry_sections({"splits": found, "bank": None}, Pictures())
        for table in section.tables
        if "how the action is done" in table.caption
    ]
    assert [row[2] for row in table.rows] == [None] * 6 and table.rows[0][1] == shares["action"]
