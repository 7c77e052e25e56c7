"""What the evaluation wrote comes back as arrays; files that do not fit are refused in one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from modeling_cde.analysis.delta_set import load_delta_sets, load_examples
from tests.analysis.synthetic_deltas import make_set, save_sets


def patch_set(split: str = "test"):
    rng = np.random.default_rng(0)
    return make_set(
        rng.normal(size=(5, 3)),
        [0, 1, 2, 3, 0],
        [0, 1, 0, 1, -1],
        split=split,
        patch_delta=rng.normal(size=(5, 2, 3)).astype(np.float32),
        patch_indices=np.array([[0, 3]] * 5),
        box_coverage=rng.uniform(size=(5, 6)).astype(np.float32),
        mask_coverage=rng.uniform(size=(5, 6)).astype(np.float32),
        patch_grid=(2, 3),
    )


def test_everything_comes_back(tmp_path):
    written = patch_set(), patch_set("train")
    sets = load_delta_sets(save_sets(tmp_path, *written))
    assert list(sets) == ["test", "train"]
    for part in written:
        for name, value in vars(part).items():
            read = getattr(sets[part.split], name)
            assert np.array_equal(read, value), name
            assert not isinstance(value, np.ndarray) or read.dtype == value.dtype
    assert load_delta_sets(tmp_path / "deltas.safetensors").keys() == sets.keys()


def test_an_old_file_loads_with_none_in_the_new_places(tmp_path):
    part = make_set(np.eye(4), [0, 1, 2, 3])
    [(name, read)] = load_delta_sets(save_sets(tmp_path, part, header={"opposites": None})).items()
    assert name == "test"
    assert read.patch_delta is read.patch_indices is read.box_coverage is read.mask_coverage is read.patch_grid is None
    assert read.opposites["open"] == "close" and set(read.opposites) <= set(read.actions)
    assert load_examples(tmp_path) is None


def test_names_of_rows_and_opposites_in_the_split():
    part = patch_set()
    assert part.action_labels() == ["open", "close", "dirty", "clean", "open"]
    assert part.object_labels() == ["object 0", "object 1", "object 0", "object 1", "unknown"]
    assert part.opposite_pairs() == [("open", "close"), ("dirty", "clean")]
    assert make_set(np.eye(3), [0, 2, 3]).opposite_pairs() == [("dirty", "clean")]
    assert list(part.predictions) == [0, 1, 2, 3, 0] and len(part) == 5


def test_examples_come_back_with_their_rows(tmp_path):
    pictures = np.arange(2 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 2, 4, 4, 3)
    rows = [{"split": "test", "row": i, "pair_id": f"pair {i}", "action": "open", "object": "object 0"} for i in (0, 3)]
    save_sets(tmp_path, patch_set(), header={"examples": rows}, **{"examples/pictures": pictures})
    examples = load_examples(tmp_path)
    assert examples is not None and len(examples) == 2
    assert np.array_equal(examples.pictures, pictures) and examples.rows == rows
    save_sets(tmp_path, patch_set(), header={"examples": rows[:1]}, **{"examples/pictures": pictures})
    with pytest.raises(ValueError, match="describes 1 of 2 examples"):
        load_examples(tmp_path)


def test_weights_of_examples_lie_in_rows_and_columns(tmp_path):
    pictures = np.zeros((2, 2, 4, 6, 3), dtype=np.uint8)
    rows = [{"split": "test", "row": i, "pair_id": f"pair {i}", "action": "open", "object": "door"} for i in range(2)]
    weights = np.arange(12, dtype=np.float32).reshape(2, 6)

    def saved(grid=(2, 3), **tensors):
        named = {f"examples/{name}": value for name, value in ({"pictures": pictures} | tensors).items()}
        return save_sets(tmp_path, patch_set(), header={"examples": rows, "patch_grid": grid}, **named)

    examples = load_examples(saved(patch_weights=weights, mask_coverage=weights / 12))
    assert examples.patch_weights.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert examples.mask_coverage.shape == (2, 2, 3) and examples.box_coverage is None
    assert load_examples(saved()).patch_weights is None
    for wrong, said in ((weights[:1], "not a number for each patch of 2 examples"), (weights * np.nan, "not finite")):
        with pytest.raises(ValueError, match=said):
            load_examples(saved(patch_weights=wrong))
    with pytest.raises(ValueError, match=r"deltas.safetensors"):
        load_examples(saved(grid={"rows": 2}, patch_weights=weights))


def test_what_is_no_file_of_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="deltas.safetensors is missing: give the output folder"):
        load_delta_sets(tmp_path)
    (tmp_path / "deltas.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        load_delta_sets(tmp_path)
    with pytest.raises(ValueError, match="the header has no 'rows'"):
        load_delta_sets(save_sets(tmp_path, patch_set(), header={"rows": None}))
    with pytest.raises(ValueError, match="validation/delta is missing"):
        load_delta_sets(save_sets(tmp_path, patch_set(), header={"rows": {"validation": {"pair_id": [], "scene": []}}}))


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"rows": {"test": {"pair_id": ["a"], "scene": ["b"] * 5}}}, "1 pair_ids for 5 pairs"),
        ({"actions": ["open", "close"]}, "logits has shape"),
        ({"objects": ["object 0"]}, "objects must be in"),
        ({"patch_grid": [2, 2]}, "box_coverage has shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, header, sentence):
    with pytest.raises(ValueError, match=f"deltas.safetensors: split 'test': {sentence}"):
        load_delta_sets(save_sets(tmp_path, patch_set(), header=header))


def test_rows_without_names_and_patches_outside_of_the_grid_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the header does not name the pairs and scenes of 'test'"):
        load_delta_sets(save_sets(tmp_path, patch_set(), header={"rows": {"test": {"scene": ["b"] * 5}}}))
    with pytest.raises(ValueError, match=r"patch_indices must be in \[0, 6\)"):
        replace(patch_set(), patch_indices=np.array([[0, 6]] * 5))
