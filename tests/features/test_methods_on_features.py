"""Every method reads kept features and gives the numbers of pictures, so that methods are compared on equal ones."""

import datasets
import pytest
import torch

from modeling_cde.data import PairCollator, PairTransform, pair_features
from modeling_cde.data.schema import OPPOSITES
from modeling_cde.data.swapped_pairs import with_swapped
from modeling_cde.evaluation.predictions import predict
from modeling_cde.features.keep import keep_features, takes_features
from modeling_cde.features.store import FeatureStore
from modeling_cde.models.methods import METHODS
from modeling_cde.training.trainer import CDETrainer
from tests.data.tiny_pairs import ACTIONS, OBJECTS, picture, rows
from tests.models.auxiliary_model import tiny_auxiliary
from tests.tiny_models import backbone_config, clips, excite
from tests.tiny_pairs import quick

OPTIONS = {
    "icm": {"num_objects": len(OBJECTS)},
    "sms": {"action_blocks": [0, 0, 1, 2, 2]},
    "token_matching": {"position_weight": 0.3},
    "neighbours": {"num_neighbours": 4, "bank_size": 64},
    "cde": {"delta_mode": "patch", "top_k_patches": 3},
}
READ = {"published": {}, "layers where it changed": {"pooling": "change", "feature_layers": [1, -1]}}


def pairs(number=18, first=0, swapped=False):
    """Drawn pairs; every other one has a box and masks."""
    made = datasets.Dataset.from_list(rows(number, first), features=pair_features(ACTIONS, OBJECTS))
    return with_swapped(encoded(made), OPPOSITES) if swapped else encoded(made)


def encoded(made):
    """As `load_pairs` gives them: the pictures are bytes."""
    for column in ("before", "after", "mask_before", "mask_after"):
        made = made.cast_column(column, datasets.Image(decode=False))
    return made


def frozen(method, family="vit", **options):
    torch.manual_seed(0)
    settings = {"id2label": dict(enumerate(ACTIONS)), "delta_dim": 16} | OPTIONS.get(method, {}) | options
    model = METHODS[method].model_class.from_backbone(backbone_config(family), **settings)
    excite(model)
    model.freeze_backbone()
    return model.eval()


def whole(model, **options):
    return PairTransform((32, 32), **({"crop": "none", "extras": model.extra_inputs} | options))


def one_epoch(folder, model, train, validation):
    settings = {"num_train_epochs": 1, "max_steps": -1, "eval_strategy": "epoch", "label_column": "action"}
    trainer = CDETrainer(
        model=model,
        args=quick(folder, **settings),
        train_dataset=train,
        eval_dataset={"validation": validation},
        data_collator=PairCollator(),
    )
    trainer.train()
    names = ("loss", "grad_norm", "eval_validation_loss")
    return [entry[name] for entry in trainer.state.log_history for name in names if name in entry]


@pytest.mark.parametrize("read", READ.values(), ids=READ)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_from_features_what_it_learns_from_pictures(method, read, tmp_path):
    """Up to rounding: features are computed in other batches than training reads them in."""
    model, other = frozen(method, **read), frozen(method, **read)
    transform, splits = whole(model), {"train": pairs(swapped=True), "validation": pairs(7, first=50)}
    kept = keep_features(other, splits, transform, FeatureStore(tmp_path / "store"), batch_size=5)
    batch = next(iter(torch.utils.data.DataLoader(kept["train"], 4, collate_fn=PairCollator())))
    reads_patches = other.config.reads_patches
    width = 32 * (2 if read else 1)
    assert batch["features"].shape == ((4, 2, 16, width) if reads_patches else (4, 2, width))
    shown = {name: split.with_transform(transform) for name, split in splits.items()}
    expected = one_epoch(tmp_path, model, shown["train"], shown["validation"])
    found = one_epoch(tmp_path, other, kept["train"], kept["validation"])
    assert len(expected) > 8 and found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for (name, value), learned in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(learned, value, rtol=1e-3, atol=1e-4, msg=name)
    if method == "neighbours":
        assert other.bank_count == model.bank_count == 30  # of 33 pairs: batches are whole
    scored = [predict(model, split, transform) for split in (splits["validation"], kept["validation"])]
    for one, two in ((scored[0].logits, scored[1].logits), (scored[0].delta, scored[1].delta)):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert scored[0].logits.std() > 1e-3


@pytest.mark.parametrize("family", ["dinov2", "resnet"])
@pytest.mark.parametrize("method", ["oracle_mask", "token_matching", "joint", "neighbours"])
def test_clips_of_other_backbones(method, family):
    model = frozen(method, family, feature_layers=[-1, 1])
    extra = {"masks": (clips(3, 4, seed=1)[:, :, 0] > 0.5).float()} if model.extra_inputs else {}
    labels = torch.tensor([[0, 1, 4], [2, 2, 0], [1, 3, 3]])
    with torch.no_grad():
        features = model.cde.encode(clips(3, 4))[0].unflatten(0, (3, 4))
        expected = model(clips(3, 4), labels=labels, **extra)
        found = model(features=features, labels=labels, **extra)
    for name in ("loss", "logits", "delta", "states"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("method", ["oracle_mask", "token_matching", "joint", "neighbours"])
def test_wrong_features_get_one_sentence(method):
    model = frozen(method, pooling="change", feature_layers=[1, 2])
    patches = "patches, " if model.config.reads_patches else ""
    extra = {"masks": torch.ones(2, 2, 32, 32)} if model.extra_inputs else {}
    with pytest.raises(ValueError, match=rf"features must be \(batch, frames >= 2, {patches}64\), as this model's"):
        model(features=torch.zeros(2, 2, 16, 32) if patches else torch.zeros(2, 2, 32), **extra)
    with pytest.raises(ValueError, match="features replace pixel_values"):
        model(clips(2), features=torch.zeros(2, 2, 16, 64), **extra)
    with pytest.raises(TypeError, match="pixel_values must be a tensor"):
        model(**extra)
    if extra:
        with pytest.raises(ValueError, match=r"masks must have the shape \(2, 2, 32, 32\)"):
            model(features=torch.zeros(2, 2, 16, 64), masks=torch.ones(2, 1, 32, 32))


def sideways(pair):
    """The pair with pictures and masks that are not square."""
    mask = {"mask_before": {"bytes": picture(7, 20, 14, mode="L"), "path": None}} if pair["mask_before"] else {}
    size = {"before": {"bytes": picture(1, 20, 14), "path": None}, "after": {"bytes": picture(2, 20, 14), "path": None}}
    return pair | size | mask | {"mask_after": None}


@pytest.mark.parametrize("crop", ["none", "box"])
def test_masks_are_those_beside_the_pictures(crop, tmp_path):
    model = frozen("oracle_mask")
    drawn = rows(10) if crop == "none" else [{**pair, "box": [8, 0, 11, 9]} for pair in rows(10)]
    made = datasets.Dataset.from_list([*drawn, *map(sideways, drawn)], features=pair_features(ACTIONS, OBJECTS))
    splits = {"train": with_swapped(encoded(made), OPPOSITES), "test": encoded(made).select([3, 12, 4])}
    transform = whole(model, crop=crop)
    kept = keep_features(model, splits, transform, FeatureStore(tmp_path))
    assert len(splits["train"]) > 20
    for name, split in splits.items():
        items = [(dict(a), dict(b)) for a, b in zip(split.with_transform(transform), kept[name], strict=True)]
        for expected, found in items:
            assert torch.equal(found["masks"], expected["masks"]) and found["labels"] == expected["labels"]
        assert len({mask.sum().item() for _, found in items for mask in found["masks"]}) > 2
    chosen = kept["train"].select([5, 0])  # as training does with shuffled rows
    assert torch.equal(chosen[0]["masks"], splits["train"].with_transform(transform)[5]["masks"])


def test_masks_of_rows_without_masks_boxes_and_names(tmp_path):
    """Ones, as beside pictures; and where nobody asks for masks, no row keeps one."""
    plain = pairs(4).select_columns(["before", "after", "action", "object"])
    kept = keep_features(frozen("oracle_mask"), {"a": plain}, whole(frozen("oracle_mask")), FeatureStore(tmp_path))
    assert all(bool((row["masks"] == 1).all()) for row in kept["a"])
    kept = keep_features(frozen("joint"), {"a": pairs(4)}, whole(frozen("joint")), FeatureStore(tmp_path))
    assert "box" in kept["a"].column_names and "mask_before" not in kept["a"].column_names
    assert set(kept["a"][0]) == {"features", "labels"}


def test_each_method_takes_features():
    assert all(takes_features(frozen(method)) for method in METHODS) and not takes_features(tiny_auxiliary())


def test_what_features_cannot_say_is_refused(tmp_path):
    def refused(model, sentence, size=(32, 32)):
        transform = PairTransform(size, crop="none", extras=model.extra_inputs)
        with pytest.raises(ValueError, match=sentence) as error:
            keep_features(model, {"train": pairs(3)}, transform, FeatureStore(tmp_path))
        assert "\n" not in str(error.value) and not list(tmp_path.iterdir())

    refused(frozen("joint"), "reads where patches are, .* have 32x64 pixels: show it square", (64, 32))
    refused(frozen("token_matching"), "reads where patches are", (32, 40))
    model = tiny_auxiliary()
    model.freeze_backbone()
    refused(model, "takes no features in place of pictures: give it that argument, as Concat")


@pytest.mark.parametrize(("method", "options"), [("oracle_mask", {}), ("token_matching", {"position_weight": 0.0})])
def test_pictures_that_are_not_square_are_kept_where_their_shape_is_known_or_not_read(method, options, tmp_path):
    model = frozen(method, **options)
    transform = PairTransform((32, 64), crop="none", extras=model.extra_inputs)
    kept = keep_features(model, {"a": pairs(6)}, transform, FeatureStore(tmp_path))
    scored = [predict(model, split, transform).logits for split in (pairs(6), kept["a"])]
    torch.testing.assert_close(*scored, rtol=1e-4, atol=1e-5)
