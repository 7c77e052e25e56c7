"""The parts of train.py's data: which store they use, which arguments fit them, and what they are shown by."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from transformers.trainer_utils import IntervalStrategy

from modeling_cde import CDEImageProcessor
from modeling_cde.data.augmentation import Augmentation
from modeling_cde.data.swapped_pairs import held_out_combinations, with_swapped
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.lda_head import sentence
from modeling_cde.training.training_data import (
    OPPOSITES,
    bank_of,
    feature_store,
    fitting_arguments,
    keeping,
    sentence_of,
    training_parts,
    training_splits,
    training_transforms,
)
from tests.data.streamed_pairs import stream_of, write_files
from tests.tiny_pairs import quick

FROZEN = ModelArguments(freeze_backbone=True, backbone="x")
PLAIN = DataArguments(data="pairs", augment=False)


@pytest.mark.parametrize(
    ("model", "data", "needs"),
    [
        ({"freeze_backbone": False}, {}, "--freeze_backbone true"),
        ({"lora_rank": 2}, {}, "--freeze_backbone true"),
        ({}, {"augment": True}, "--augment false"),
        ({}, {"streaming": True}, "--streaming false"),
        ({"feature_store_gb": 0}, {}, "--feature_store_gb above 0"),
    ],
)
def test_features_are_kept_only_where_every_epoch_sees_the_same(model, data, needs):
    def store(**options):
        changed = (SimpleNamespace(**vars(FROZEN) | model | options), SimpleNamespace(**vars(PLAIN) | data))
        return feature_store(*changed)

    assert store() is None
    with pytest.raises(ValueError, match=f"feature_store says where features are kept, which needs {needs}"):
        store(feature_store="here")
    with pytest.raises(ValueError, match=f"classifier='lda' is computed from kept features, which needs {needs}"):
        store(classifier="lda")


def test_features_are_kept_where_and_in_as_much_as_is_asked(tmp_path):
    found = feature_store(dataclasses.replace(FROZEN, feature_store=str(tmp_path), feature_store_gb=3.0), PLAIN)
    assert (found.folder, found.limit) == (tmp_path, 3_000_000_000)


SETTINGS = {"class_aware_sampling": True, "dataloader_num_workers": 2, "dataloader_prefetch_factor": 3}
SETTINGS |= {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
SETTINGS |= {"metric_for_best_model": "loss", "eval_on_start": True, "dataloader_persistent_workers": True}


def settings(args):
    return {name: getattr(args, name) for name in SETTINGS}


def test_arguments_are_those_that_fit_the_data_and_the_user_s_stay(tmp_path):
    args = quick(tmp_path, **SETTINGS)
    before = settings(args)
    assert settings(fitting_arguments(None, PLAIN, args)) == before
    kept = {"dataloader_num_workers": 0, "dataloader_prefetch_factor": None, "dataloader_persistent_workers": False}
    assert settings(fitting_arguments(SimpleNamespace(), PLAIN, args)) == before | kept
    alone = {"eval_strategy": IntervalStrategy.NO, "eval_on_start": False}
    alone |= {"load_best_model_at_end": False, "metric_for_best_model": None}
    assert settings(fitting_arguments(None, PLAIN, args, validates=False)) == before | alone
    streaming = SimpleNamespace(streaming=True, source="pairs")
    with pytest.warns(UserWarning, match="--class_aware_sampling false switches this warning off"):
        assert settings(fitting_arguments(None, streaming, args)) == before | {"class_aware_sampling": False}
    args.class_aware_sampling = False
    assert settings(fitting_arguments(None, streaming, args)) == before | {"class_aware_sampling": False}
    assert settings(args) == before | {"class_aware_sampling": False}


def test_a_schedule_that_follows_the_validation_needs_one(tmp_path):
    args = quick(tmp_path, lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="epoch")
    assert fitting_arguments(None, PLAIN, args).lr_scheduler_type == "reduce_lr_on_plateau"
    with pytest.raises(
        ValueError, match="lr_scheduler_type=reduce_lr_on_plateau follows the validation, and pairs has"
    ):
        fitting_arguments(None, PLAIN, args, validates=False)


@pytest.mark.parametrize(("bf16", "precision"), [(True, "bf16"), (False, "float32")])
@pytest.mark.parametrize(("device", "workers", "used"), [("cpu", 3, 0), ("cuda", 3, 3), ("cuda", None, 0)])
def test_features_are_encoded_as_the_training_computes(bf16, precision, device, workers, used):
    args = SimpleNamespace(bf16=bf16, dataloader_num_workers=workers, device=torch.device(device))
    assert keeping(args) == {"precision": precision, "num_workers": used}


@pytest.mark.parametrize(("view", "crop"), [("single", "box"), ("multi", "none")])
@pytest.mark.parametrize(("actions", "flip"), [(["open"], True), (["moveleft", "moveright"], False)])
def test_only_training_is_augmented_and_names_with_sides_are_not_mirrored(view, crop, actions, flip):
    model, processor = SimpleNamespace(extra_inputs=("objects",)), CDEImageProcessor(size=32)
    data = DataArguments(data="pairs", view=view)
    plain, augmented = training_transforms(data, model, processor, actions, seed=5)
    for transform in (plain, augmented):
        assert (transform.crop, transform.extras, transform.size) == (crop, ("objects",), (32, 32))
    assert plain.augment is None and augmented.seed == 5
    assert augmented.augment == Augmentation.for_actions(actions) and (augmented.augment.flip > 0) == flip
    off = training_transforms(dataclasses.replace(data, augment=False), model, processor, actions, seed=5)
    assert not off[1].augment


def test_parts_are_shown_by_their_transforms_or_kept(splits):
    def plain(rows):
        return {"by": ["plain"] * len(rows["action"])}

    def augmented(rows):
        return {"by": ["augmented"] * len(rows["action"])}

    data = DataArguments(data="pairs", swap_opposites=True)
    train, validation = training_parts(data, splits, (plain, augmented), None)
    assert train[0] == {"by": "augmented"} and all(rows[0] == {"by": "plain"} for rows in validation.values())
    assert set(validation) == {name for name in splits if name.startswith("validation")}
    swapped = with_swapped(splits["train"], OPPOSITES, held_out_combinations(splits))
    assert train.with_format(None)["action"][:] == swapped["action"][:] and len(train) > len(splits["train"])
    asked = []

    def keep(parts):
        asked.append({name: len(rows) for name, rows in parts.items()})
        return {name: f"kept {name}" for name in parts}

    train, validation = training_parts(data, splits, (plain, augmented), keep)
    assert train == "kept train" and validation == {name: f"kept {name}" for name in validation}
    assert asked == [{name: len(rows) for name, rows in (splits | {"train": swapped}).items()}]
    data = dataclasses.replace(data, swap_opposites=False)
    assert len(training_parts(data, splits, (plain, augmented), None)[0]) == len(splits["train"])


def test_splits_are_chosen_from_or_streamed(data):
    options = {"data": str(data), "shift": "both"}
    chosen = training_splits(DataArguments(**options, train_pairs=9), seed=1)
    assert len(chosen["train"]) == 9
    other = training_splits(DataArguments(**options, train_pairs=9), seed=2)
    assert chosen["train"]["pair_id"][:] != other["train"]["pair_id"][:]
    streamed = training_splits(DataArguments(**options, streaming=True, stream_buffer=7), seed=1)
    assert streamed["train"].buffer == 7 and streamed.keys() == chosen.keys()


def test_the_bank_of_a_stream_is_a_sample(tmp_path):
    rows = [1, 2, 3]
    assert bank_of(rows) is rows
    assert len(bank_of(stream_of(write_files(tmp_path), augment=False))) == 53


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("a\n  b", "a b"),
        ("In worker\nOriginal Traceback (most recent):\n  File x\nValueError: pair 3\n is bad", "pair 3 is bad"),
        ("x\nOriginal Traceback\nFirst: one\nmodule.Error: two: three", "two: three"),
    ],
)
def test_an_error_of_a_worker_is_said_without_its_traceback(message, sentence):
    assert sentence_of(ValueError(message)) == sentence


def test_what_is_said_of_a_head_names_what_it_was_chosen_on():
    record = {"shrinkage": 0.3, "chosen_on": ["a", "b"], "validation_accuracy": {"0.3": 0.81249, "0.1": 0.5}}
    assert sentence(record).endswith("with shrinkage 0.3, which has the best accuracy on a and b (0.812).")
    alone = sentence({"shrinkage": 0.5, "chosen_on": [], "validation_accuracy": {}})
    assert alone.endswith("with shrinkage 0.5, the default, since there are no validation pairs to choose it by.")
