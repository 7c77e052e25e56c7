"""Training and evaluation on kept features: the numbers of pictures, each picture encoded once, nothing stale."""

import pytest
import torch
from datasets import Image, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from modeling_cde import (
    CDEForActionClassification,
    ConcatenationForActionClassification,
    ICMForActionClassification,
    SMSForActionClassification,
)
from modeling_cde.data import PairCollator, PairTransform
from modeling_cde.data.swapped_pairs import with_swapped
from modeling_cde.features import keep as keep_module
from modeling_cde.features.keep import keep_features
from modeling_cde.features.store import FeatureStore
from modeling_cde.training.trainer import CDETrainer
from tests.features.stored_pairs import LABELS, WHOLE, expected, features, frozen, kept, pairs
from tests.tiny_models import backbone_config
from tests.tiny_pairs import quick


def trained(folder, model, splits):
    """Two epochs with evaluation."""
    args = quick(folder, num_train_epochs=2, max_steps=-1, eval_strategy="epoch", label_column="action")
    parts = {"train_dataset": splits["train"], "eval_dataset": {"validation": splits["validation"]}}
    trainer = CDETrainer(model=model, args=args, data_collator=PairCollator(), **parts)
    trainer.train()
    return trainer


def losses(trainer):
    names = ("loss", "contrastive", "sparsity", "eval_validation_loss", "grad_norm")
    return [entry[name] for entry in trainer.state.log_history for name in names if name in entry]


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("vit", {"projector_dropout": 0.1}),
        ("vit", {"delta_mode": "patch"}),
        ("dinov2", {"pooling": "change", "feature_layers": [1, 2]}),
        ("resnet", {}),
    ],
)
def test_training_on_features_gives_the_numbers_of_training_on_pictures(tmp_path, family, options, monkeypatch):
    """Up to 1e-5: features are computed in other batches than training reads them in, which may round otherwise."""
    monkeypatch.setattr(keep_module, "PART_ROWS", 10)  # several parts
    rows = {"train": pairs(), "validation": pairs(7, first=50)}
    rows["train"] = with_swapped(rows["train"], {"open": "close", "close": "open"})
    model, other = frozen(family, **options), frozen(family, **options)
    read = kept(other, rows, FeatureStore(tmp_path / "store"), batch_size=5)
    plain = trained(tmp_path, model, {name: split.with_transform(WHOLE) for name, split in rows.items()})
    quickly = trained(tmp_path, other, read)
    assert len(losses(plain)) > 20
    assert losses(quickly) == pytest.approx(losses(plain), rel=1e-5, abs=1e-6)
    for (name, value), found in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(found, value, rtol=1e-4, atol=1e-6), name
    quickly.save_model(str(tmp_path / "saved"))  # a plain checkpoint
    loaded = CDEForActionClassification.from_pretrained(tmp_path / "saved")
    batch = PairCollator()([rows["validation"].with_transform(WHOLE)[0]])
    assert torch.allclose(loaded(**batch).logits, other.eval()(**batch).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ConcatenationForActionClassification, {}),
        (ConcatenationForActionClassification, {"pooling": "change", "feature_layers": [1, 2]}),
        (ICMForActionClassification, {"num_objects": 10}),
        (SMSForActionClassification, {"action_blocks": [0, 0, 1, 2, 2]}),
    ],
)
def test_baselines_read_them(tmp_path, kind, options):
    torch.manual_seed(0)
    model = kind.from_backbone(backbone_config("vit"), id2label=LABELS, delta_dim=16, **options)
    transform, rows = PairTransform((32, 32), crop="none", extras=model.extra_inputs), pairs(4)
    read = keep_features(model, {"train": rows}, transform, FeatureStore(tmp_path))["train"]
    shown = rows.with_transform(transform)
    found, wanted = (model(**PairCollator()([part[i] for i in range(4)])) for part in (read, shown))
    assert torch.allclose(found.logits, wanted.logits, atol=1e-5) and torch.allclose(found.loss, wanted.loss)


def test_rows_keep_their_columns_and_training_s_dropout_its_numbers(tmp_path):
    model, rows, state = frozen("vit", delta_mode="patch"), pairs().select([5, 3, 8]), torch.get_rng_state()
    read = kept(model, rows, FeatureStore(tmp_path), batch_size=2)
    assert torch.equal(torch.get_rng_state(), state)
    batch = PairCollator()(read.__getitems__([2, 0]))
    assert torch.allclose(batch["features"], expected(model, rows)[[2, 0]], atol=1e-6)
    assert batch["labels"].tolist() == [rows["action"][i] for i in (2, 0)]
    plain = read.with_format(None)
    assert plain["pair_id"][:] == rows["pair_id"][:] and "before" not in plain.column_names
    assert {name: plain.features[name] for name in ("action", "object", "box")} == {
        name: rows.features[name] for name in ("action", "object", "box")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store that has pairs 0 to 11 of 24, in parts of 5, and the features of all."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keep_module, "PART_ROWS", 5)
        folder = tmp_path_factory.mktemp("store")
        kept(frozen(pooling="change"), pairs(12), FeatureStore(folder), batch_size=2)
    return folder, expected(frozen(pooling="change"), pairs())


@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 23), min_size=1, max_size=30),
    order=st.lists(st.integers(0, 99), max_size=10),
    opposite=st.booleans(),
)
def test_any_rows_in_any_order_have_the_features_of_their_pictures(whole, numbers, order, opposite):
    """Also repeated ones, such that are not kept yet, swapped copies, and what datasets does to the result."""
    folder, right = whole
    rows, wanted = pairs().select(numbers), right[numbers]
    opposites = {"open": "close", "close": "open"}
    if opposite and (copied := [place for place, act in enumerate(rows["action"]) if act < 2]):
        rows, wanted = with_swapped(rows, opposites), torch.cat([wanted, wanted[copied].flip(1)])
    read = kept(frozen(pooling="change"), rows, FeatureStore(folder))
    assert torch.allclose(features(read), wanted, atol=1e-6)
    if picked := [number % len(read) for number in order]:
        assert torch.allclose(features(read.select(picked)), wanted[picked], atol=1e-6)
        assert torch.allclose(read[picked[0]]["features"], wanted[picked[0]], atol=1e-6)


def test_a_picture_is_encoded_once_whatever_the_split_the_head_the_seed_and_the_run(tmp_path, encoded):
    store = FeatureStore(tmp_path)
    rows = {"train": with_swapped(pairs(), {"open": "close", "close": "open"}), "test": pairs(30)}
    assert len(rows["train"]) > 24
    for _ in range(2):
        kept(frozen(), rows, store)
        assert (sum(encoded), store.encoded, store.found) == (30, 30, 0)
    again = FeatureStore(tmp_path)
    other = frozen(delta_dim=8, projector_num_layers=1)
    with torch.no_grad():
        other.classifier.weight += 1
    kept(other, {"test_syst": pairs(40, first=1)}, again, batch_size=3)
    assert (sum(encoded), again.encoded, again.found) == (41, 11, 29)


def test_two_readings_of_several_methods_cost_one_pass_of_each_picture(tmp_path, encoded):
    first, second = frozen(), frozen(pooling="change", feature_layers=[1, 2])
    kept(first, pairs(), FeatureStore(tmp_path), also=[second])
    assert sum(encoded) == 24
    read = kept(second, pairs(), FeatureStore(tmp_path))
    assert sum(encoded) == 24 and torch.allclose(features(read), expected(second, pairs()), atol=1e-6)
    kept(first, pairs(6, first=30), FeatureStore(tmp_path))
    read = kept(second, pairs(32), FeatureStore(tmp_path), also=[first])  # 30 and 31 are kept of the first alone
    assert sum(encoded) == 24 + 6 + 8 and torch.allclose(features(read), expected(second, pairs(32)), atol=1e-6)
    tables = [load_file(path)["keys"] for path in tmp_path.glob("*/*.safetensors")]
    assert sum(map(len, tables)) == 36 + 32  # nothing is kept twice
    changed = frozen()
    with torch.no_grad():
        next(changed.cde.backbone.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(ValueError, match="backbones with other weights"):
        kept(first, pairs(), FeatureStore(tmp_path), also=[changed])


@pytest.mark.parametrize("column", ["before", "after"])
def test_another_picture_is_another_pair_and_other_labels_are_not(tmp_path, encoded, column):
    store = FeatureStore(tmp_path)
    kept(frozen(), pairs(), store)
    relabelled = pairs().map(
        lambda row, i: {"action": 0, "object": 0, "scene": "x", "pair_id": str(i)}, with_indices=True
    )
    kept(frozen(), relabelled, store)
    assert sum(encoded) == 24

    def swapped_bytes(row):
        content = bytearray(row[column]["bytes"])
        return {column: {"bytes": bytes(content) + b"\0", "path": None}}  # one byte more after the end of the PNG

    changed = pairs().map(swapped_bytes, features=pairs().features)
    kept(frozen(), changed.cast_column(column, Image(decode=False)), store)
    assert sum(encoded) == 48


def test_the_box_counts_where_it_is_cut_out(tmp_path, encoded):
    rows = pairs(6).filter(lambda row: row["box"] is not None)
    moved = rows.map(lambda row: {"box": [0, 2, 8, 9]})
    for crop, number in (("none", 3), ("box", 3 + 6)):
        for part in (rows, moved):
            keep_features(frozen(), {"train": part}, PairTransform((32, 32), crop=crop), FeatureStore(tmp_path))
        assert sum(encoded) == number


def test_a_backbone_that_gives_no_numbers_is_refused(tmp_path):
    model = frozen()
    with torch.no_grad():
        next(model.cde.backbone.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        kept(model, pairs(3), FeatureStore(tmp_path))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    rows = pairs(3).map(lambda row: {"after": {"bytes": b"no picture", "path": None}}, features=pairs(3).features)
    rows = concatenate_datasets([pairs(3, first=9), rows])
    for column in ("before", "after", "mask_before", "mask_after"):
        rows = rows.cast_column(column, Image(decode=False))
    for workers in (0, 1):
        with pytest.raises(ValueError, match="pair00000"):
            kept(frozen(), rows, FeatureStore(tmp_path), num_workers=workers)


def test_workers_load_what_a_thread_loads(tmp_path):
    found = [kept(frozen(), pairs(), FeatureStore(tmp_path / str(n)), num_workers=n, batch_size=7) for n in (0, 1)]
    assert torch.equal(*map(features, found))


def test_what_has_no_features_to_keep_is_refused(tmp_path):
    def refused(sentence, split=None, **options):
        transform = PairTransform((32, 32), crop="none", **options)
        with pytest.raises(ValueError, match=sentence) as error:
            keep_features(frozen(), {"train": split or pairs(3)}, transform, FeatureStore(tmp_path))
        assert "\n" not in str(error.value) and not list(tmp_path.iterdir())

    refused("Augmented pictures differ", augment=True)
    refused("split train is a stream", split=pairs(3).to_iterable_dataset())
    with pytest.raises(ValueError, match="split train has no pairs"):
        kept(frozen(), pairs(3).select([]), FeatureStore(tmp_path))


def test_a_column_of_the_users_own_named_swapped_exchanges_no_features(tmp_path):
    read = kept(frozen(), pairs(6).add_column("swapped", [True] * 6), FeatureStore(tmp_path))
    assert torch.allclose(features(read), expected(frozen(), pairs(6)), atol=1e-6)
