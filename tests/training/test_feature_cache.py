"""Features of a frozen backbone kept on disk: the numbers of training stay, and nothing stale or half is ever read."""

import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, Image
from safetensors.torch import load_file

from modeling_cde import (
    CDEForActionClassification,
    ConcatenationForActionClassification,
    ICMForActionClassification,
    JointEncoderForActionClassification,
    SMSForActionClassification,
)
from modeling_cde.data import PairCollator, PairTransform, pair_features
from modeling_cde.training import feature_cache, feature_files
from modeling_cde.training.feature_cache import cache_features, check_caching
from modeling_cde.training.feature_files import ROW, CachedFeatures
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.training.training_data import fitting_arguments, training_parts
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows
from tests.tiny_models import backbone_config, clips, tiny_cde
from tests.tiny_pairs import quick

LABELS = dict(enumerate(ACTIONS))


def pairs(number=24, first=0, **options):
    """Drawn pairs, seen whole."""
    made = Dataset.from_list(rows(number, first), features=pair_features(ACTIONS, OBJECTS))
    for column in ("before", "after", "mask_before", "mask_after"):
        made = made.cast_column(column, Image(decode=False))
    return made.with_transform(PairTransform((32, 32), crop="none", **options))


def frozen(mode="global", kind=CDEForActionClassification, family="vit", **options):
    if kind is CDEForActionClassification:
        dropout = 0.1 if mode == "global" else 0.0  # without it, patches that are not kept take a shorter way
        model = tiny_cde(family, delta_mode=mode, id2label=LABELS, projector_dropout=dropout, **options)
    else:
        torch.manual_seed(0)
        model = kind.from_backbone(backbone_config(family), id2label=LABELS, delta_dim=16, **options)
    model.freeze_backbone()
    return model


def trained(folder, model, splits, **options):
    """Two epochs with evaluation."""
    settings = {"num_train_epochs": 2, "max_steps": -1, "eval_strategy": "epoch", "label_column": "action"}
    args = quick(folder, **(settings | options))
    trainer = CDETrainer(
        model=model,
        args=args,
        train_dataset=splits["train"],
        eval_dataset={"validation": splits["validation"]},
        data_collator=PairCollator(),
    )
    trainer.train(resume_from_checkpoint=options.get("resume_from_checkpoint"))
    return trainer


def losses(trainer):
    names = ("loss", "contrastive", "sparsity", "eval_validation_loss", "grad_norm")
    return [entry[name] for entry in trainer.state.log_history for name in names if name in entry]


@pytest.fixture
def count_encodings(monkeypatch):
    """How many clips the backbone reads, in a list."""
    seen, encode = [], feature_cache._encode

    def counted(base, clips, autocast):
        seen.append(len(clips))
        return encode(base, clips, autocast)

    monkeypatch.setattr(feature_cache, "_encode", counted)
    return seen


@pytest.mark.parametrize(("mode", "family"), [("global", "vit"), ("patch", "vit"), ("global", "resnet")])
def test_training_on_cached_features_gives_the_numbers_of_training_on_pictures(tmp_path, mode, family, monkeypatch):
    """Up to 1e-5: features are computed in other batches than training reads them in, which may round otherwise."""
    monkeypatch.setattr(feature_files, "PART_BYTES", 8 * 1024)  # several parts in both modes
    splits = {"train": pairs(), "validation": pairs(7, first=50)}
    model, other = frozen(mode, family=family), frozen(mode, family=family)
    cached = cache_features(other, splits, tmp_path / "features", batch_size=5)
    plain, quickly = trained(tmp_path, model, splits), trained(tmp_path, other, cached)
    assert len(losses(plain)) > 20
    assert losses(quickly) == pytest.approx(losses(plain), rel=1e-5, abs=1e-6)
    for (name, expected), found in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6), name
    quickly.save_model(str(tmp_path / "saved"))  # a plain checkpoint
    loaded = CDEForActionClassification.from_pretrained(tmp_path / "saved")
    batch = PairCollator()([splits["train"][0]])
    assert torch.allclose(loaded(**batch).logits, other.eval()(**batch).logits, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_patches_that_are_not_kept_bring_back_no_gradient(dropout):
    """So that features need not be projected with one: values, places and gradients are those of pictures."""
    model = tiny_cde("vit", delta_mode="patch", projector_dropout=dropout).train()
    model.freeze_backbone()
    pixels, labels = clips(3, frames=3), torch.tensor([[0, 1], [2, 1], [1, 0]])
    with torch.no_grad():
        features = model.cde.encode(pixels)[0].unflatten(0, (3, 3))
    found = []
    for inputs in ({"pixel_values": pixels}, {"features": features}):
        torch.manual_seed(0)
        model.zero_grad()
        outputs = model(labels=labels, **inputs)
        (outputs.loss + outputs.patch_delta.square().sum() + outputs.delta.abs().sum()).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        found.append([outputs.patch_indices, outputs.patch_delta, outputs.states, outputs.logits, *gradients])
    assert torch.equal(found[0][0], found[1][0])
    for expected, value in zip(*found, strict=True):
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert outputs.states.requires_grad == (dropout > 0)


def test_rows_give_what_encode_gives_and_keep_their_columns(tmp_path):
    model, whole = frozen("patch"), pairs()
    picked, drawn_from = whole.select([5, 3, 8]), torch.get_rng_state()
    cached = cache_features(model, {"train": picked}, tmp_path, batch_size=2)["train"]
    assert torch.equal(torch.get_rng_state(), drawn_from)  # dropout's numbers are those without a cache
    with torch.no_grad():
        expected = model.cde.encode(PairCollator()([picked[i] for i in range(3)])["pixel_values"])[0]
    batch = PairCollator()(cached.__getitems__([2, 0]))
    assert batch["features"].shape == (2, 2, 16, 32)
    assert torch.allclose(batch["features"], expected.unflatten(0, (3, 2))[[2, 0]], atol=1e-6)
    assert batch["labels"].tolist() == [picked[i]["labels"] for i in (2, 0)]
    plain = cached.with_format(None)
    assert plain["pair_id"][:] == picked.with_format(None)["pair_id"][:] and "before" not in plain.column_names
    assert plain.features["action"].names == ACTIONS


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ConcatenationForActionClassification, {}),
        (ICMForActionClassification, {"num_objects": 10}),
        (SMSForActionClassification, {"action_blocks": [0, 0, 1, 2, 2]}),
    ],
)
def test_baselines_that_read_features_alone(tmp_path, kind, options):
    model = frozen(kind=kind, **options)
    split = pairs(4, extras=model.extra_inputs)
    cached = cache_features(model, {"train": split}, tmp_path)["train"]
    found, expected = (model(**PairCollator()([part[i] for i in range(4)])) for part in (cached, split))
    assert torch.allclose(found.logits, expected.logits, atol=1e-5) and torch.allclose(found.loss, expected.loss)


def test_what_is_on_disk_is_computed_once_and_never_for_something_else(tmp_path, count_encodings, capsys):
    def computed(model, split, **options):
        count_encodings.clear()
        cache_features(model, {"train": split, "again": split}, tmp_path, **options)
        return sum(count_encodings) - 2  # one pair of each tells the shape

    model, split = frozen(), pairs()
    assert computed(model, split) == 24
    assert "24 pairs of again: 0.0 MB" in capsys.readouterr().out
    assert computed(frozen(), pairs(seed=7), batch_size=3) == 0  # a seed draws nothing where nothing is augmented
    assert computed(model, pairs(24, first=1)) == 24  # other pictures
    assert computed(model, split.select(range(23))) == 23
    assert computed(model, split.with_transform(PairTransform((32, 32), crop="none", mean=(0.4, 0.5, 0.5)))) == 24
    assert computed(frozen("patch"), split) == 24
    assert computed(frozen(family="dinov2"), split) == 24
    assert computed(model, split, autocast=torch.bfloat16) == 24
    with torch.no_grad():
        next(model.cde.backbone.parameters()).view(-1)[0] += 1e-3
    assert computed(model, split) == 24
    with torch.no_grad():
        model.classifier.weight += 1  # comes after the features
    assert computed(model, split) == 0
    descriptions = [json.loads(path.read_text()) for path in tmp_path.glob("*/description.json")]
    assert len(descriptions) == len(list(tmp_path.iterdir())) == 8
    assert {item["rows"] for item in descriptions} == {23, 24}


def test_what_is_stopped_or_damaged_goes_on_at_the_part_that_is_missing(tmp_path, monkeypatch, count_encodings):
    monkeypatch.setattr(feature_files, "PART_BYTES", 2 * 32 * 4 * 5)  # five pairs
    model, split = frozen(), pairs()
    write, written = feature_files.save_file, []

    def stopping(tensors, path):
        write(tensors, path)
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(feature_files, "save_file", stopping)
    with pytest.raises(KeyboardInterrupt):
        cache_features(model, {"train": split}, tmp_path)
    parts = sorted(tmp_path.glob("*/*.safetensors"))
    assert [path.name for path in parts] == ["000000000.safetensors", "000000005.safetensors"]
    parts[1].write_bytes(parts[1].read_bytes()[:-3])
    count_encodings.clear()
    cached = cache_features(model, {"train": split}, tmp_path)["train"]
    assert sum(count_encodings) == 1 + 24 - 5
    with torch.no_grad():
        expected = feature_cache._encode(model.cde, PairCollator()([split[i] for i in range(24)])["pixel_values"], None)
    assert torch.allclose(torch.stack(cached[:]["features"]), expected, atol=1e-5)
    assert not list(tmp_path.glob("*/tmp-*"))


def test_a_run_resumes_on_its_cache(tmp_path):
    splits = {"train": pairs(), "validation": pairs(7, first=50)}
    settings = {"save_strategy": "steps", "save_steps": 3}
    cached = [cache_features(frozen(), splits, tmp_path / "features") for _ in range(2)]
    whole = trained(tmp_path / "run", frozen(), cached[0], **settings)
    settings["resume_from_checkpoint"] = str(tmp_path / "run" / "checkpoint-3")
    resumed = trained(tmp_path / "run", frozen(), cached[1], **settings)
    found = resumed.model.state_dict()
    for name, expected in whole.model.state_dict().items():
        assert torch.equal(found[name], expected), name


def test_worker_processes_get_names_of_files_and_no_numbers(tmp_path):
    cached = cache_features(frozen(), {"train": pairs(3)}, tmp_path)["train"]
    transform = cached.format["format_kwargs"]["transform"]
    transform({ROW: [0], "action": [0]})
    assert len(pickle.dumps(transform)) < 1000
    (copied,) = CachedFeatures(*transform.__reduce__()[1])({ROW: [2], "action": [0]})["features"]
    (file,) = tmp_path.glob("*/*.safetensors")
    assert torch.equal(copied, load_file(file)["features"][2])


def test_features_that_change_are_refused(tmp_path, monkeypatch):
    def refused(sentence, model=None, split=None):
        split = pairs(3) if split is None else split
        with pytest.raises(ValueError, match=sentence) as error:
            cache_features(model or frozen(), {"train": split}, tmp_path)
        assert "\n" not in str(error.value) and not list(tmp_path.iterdir())

    refused("backbone of this CDEForActionClassification is trained", tiny_cde("vit", id2label=LABELS))
    half = tiny_cde("vit", id2label=LABELS)
    half.freeze_backbone(num_blocks=1)
    refused("is trained", half)
    refused("JointEncoder.* reads more than the features", frozen(kind=JointEncoderForActionClassification))
    refused("split train are augmented", split=pairs(3, augment=True))
    refused("split train has no PairTransform", split=pairs(3).with_format(None))
    refused("split train is a stream", split=pairs(3).with_format(None).to_iterable_dataset())
    refused("split train has no pairs", split=pairs(3).select([]))
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    refused("features take 0.0 MB, and .* has 0.0 MB left: name a features_folder")


@pytest.mark.parametrize("where", [None, "elsewhere"])
def test_train_py_puts_them_where_its_flags_say_and_reads_them_by_itself(tmp_path, where):
    whole = pairs(6).with_format(None)
    splits = {"train": whole, "validation": whole.select([1, 2]), "test": whole}
    plain = PairTransform((32, 32), crop="none")
    folder = tmp_path / "run" / "features" if where is None else tmp_path / where
    flags = SimpleNamespace(cache_features=True, features_folder=where and str(folder))
    args = quick(tmp_path / "run", dataloader_num_workers=1)
    train, validation = training_parts(flags, args, frozen(), splits, plain, plain)
    assert set(train[0]) == {"features", "labels"} and list(validation) == ["validation"]
    assert len(list(folder.glob("*/*.safetensors"))) == 2
    fitting = fitting_arguments(flags, SimpleNamespace(streaming=False), args)
    assert fitting.dataloader_num_workers == 0 and args.dataloader_num_workers == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"freeze_backbone": False}, "add --freeze_backbone true"),
        ({"augment": True}, "add --augment false"),
        ({"lora_rank": 4}, "lora_rank changes"),
        ({"streaming": True}, "leave out streaming"),
        ({}, None),
        ({"cache_features": False, "augment": True}, None),
        ({"cache_features": False, "features_folder": "x"}, "add --cache_features true"),
    ],
)
def test_flags_are_looked_at_together(given, sentence):
    flags = {"cache_features": True, "freeze_backbone": True, "lora_rank": 0, "augment": False, "streaming": False}
    flags = SimpleNamespace(**({"features_folder": None} | flags | given))
    if sentence is None:
        check_caching(flags, flags)
    else:
        with pytest.raises(ValueError, match=sentence):
            check_caching(flags, flags)
