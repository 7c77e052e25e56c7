"""Thresholds from validation parts, and the rates that `metrics.json` has of them."""

import pytest
import torch

from modeling_cde import CDEForActionClassification
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.evaluate import evaluate_splits, results_table
from modeling_cde.evaluation.predictions import predict
from modeling_cde.evaluation.rejections import answer_shares, pairs_of_one_picture, still_pairs
from modeling_cde.models.modeling_concatenation import ConcatenationForActionClassification
from modeling_cde.models.rejection_cde import action_directions, delta_length, drop_thresholds, familiarity
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import backbone_config, excite

TRANSFORM = PairTransform(size=(32, 32), crop="box")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {"id2label": dict(enumerate(ACTIONS)), "delta_dim": 16}
    model = CDEForActionClassification.from_backbone(backbone_config("vit"), **options)
    excite(model)
    return model.eval()


def test_thresholds_are_those_of_unseen_validation_pairs(splits, model, tmp_path):
    parts = {name: rows for name, rows in splits.items() if name != "train"}
    metrics = evaluate_splits(model, parts, TRANSFORM, tmp_path, bank=splits["train"], examples=0, calibrate=True)
    found = metrics["rejections"]
    unseen = [name for name in parts if name.startswith("validation_")]
    assert sorted(found["calibrated_on"]) == sorted(unseen) and found["pairs"] == sum(len(parts[n]) for n in unseen)
    train = predict(model, splits["train"], TRANSFORM)
    directions = action_directions(train.delta, train.labels, len(ACTIONS))
    assert torch.allclose(model.classifier.directions, directions, atol=1e-5)
    delta = torch.cat([predict(model, parts[name], TRANSFORM).delta for name in sorted(unseen)])
    place = int(len(delta) * 0.025)
    expected = delta_length(delta).sort().values[place], familiarity(delta, directions).sort().values[place]
    assert (found["nothing_below"], found["else_below"]) == pytest.approx([one.item() for one in expected], abs=1e-5)
    assert (model.config.nothing_below, model.config.else_below) == (found["nothing_below"], found["else_below"])

    assert set(found["splits"]) == set(parts) and found["unknown"] == {}
    for name, shares in found["splits"].items():
        assert shares["pairs"] == len(parts[name])
        assert shares["action"] + shares["nothing"] + shares["else"] == pytest.approx(1)
    assert found["still"]["pairs"] == min(100, len(next(iter(parts.values()))))
    missed = 100 * (1 - found["splits"]["test"]["action"])
    assert f"{missed:.1f} % on test" in results_table(metrics)
    again = evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path / "again", examples=0)["rejections"]
    assert again["splits"]["test"] == found["splits"]["test"] and "calibrated_on" not in again
    drop_thresholds(model)
    assert "rejections" not in evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path, examples=0)


def test_unknown_actions_are_counted_apart(splits, tmp_path):
    known = [name for name in ACTIONS if name != "open"]
    options = {"id2label": dict(enumerate(known)), "delta_dim": 16, "nothing_below": 1e9, "else_below": 0.0}
    model = CDEForActionClassification.from_backbone(backbone_config("vit"), **options).eval()
    metrics = evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path, examples=0)
    pairs = metrics["splits"]["test"]["left_out"]["open"]
    expected = {"open": {"pairs": pairs, "nothing": 1.0, "else": 0.0, "action": 0.0}}
    assert pairs > 0 and metrics["rejections"]["unknown"] == {"test": expected}


def test_a_baseline_gets_no_thresholds(splits, tmp_path):
    options = {"id2label": dict(enumerate(ACTIONS)), "delta_dim": 8}
    model = ConcatenationForActionClassification.from_backbone(backbone_config("vit"), **options)
    parts = {name: splits[name] for name in ("validation", "test")}
    metrics = evaluate_splits(model, parts, TRANSFORM, tmp_path, bank=splits["train"], examples=0, calibrate=True)
    assert "rejections" not in metrics and model.config.else_below is None


def test_pairs_of_one_picture_differ_by_a_shift_and_light():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    centre, scale = (torch.tensor(values).reshape(3, 1, 1) for values in (mean, std))
    ramp = (torch.arange(100.0).expand(100, 100) / 200 + torch.arange(100.0)[:, None] / 400).expand(20, 3, 100, 100)
    pairs = still_pairs((ramp - centre) / scale, mean, std)
    assert torch.equal(pairs, still_pairs((ramp - centre) / scale, mean, std))
    first, second = (pairs[:, frame] * scale + centre for frame in (0, 1))
    assert torch.allclose(first, ramp, atol=1e-6)
    # The ramp is .375 at 50, 50; a step right adds .005, a step down .0025: 1 or 2 of each, and up to 10 % of light.
    steps = {round(down * 0.0025 + right * 0.005, 4) for down in (-2, -1, 1, 2) for right in (-2, -1, 1, 2)}
    light = second[:, 0, 50, 51] - second[:, 0, 50, 50]  # .005 times the light
    for value, factor in zip(second[:, 0, 50, 50].tolist(), (light / 0.005).tolist(), strict=True):
        assert 0.9 <= factor <= 1.1
        assert min(abs(value / factor - 0.375 - step) for step in steps) < 1e-4


def test_pairs_of_one_picture_are_of_the_rows_pictures(splits):
    pairs = pairs_of_one_picture(splits["test"], TRANSFORM, 3)
    assert pairs.shape == (3, 2, 3, 32, 32)
    assert torch.equal(pairs[0, 0], splits["test"].with_transform(TRANSFORM)[0]["pixel_values"][0])


def test_shares_are_of_all_pairs(model):
    model.config.nothing_below = 1.5
    delta = torch.zeros(4, 16)
    delta[:, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert answer_shares(model, delta) == {"pairs": 4, "nothing": 0.5, "else": 0.0, "action": 0.5}
    model.config.nothing_below = None
