"""Answers that are no action: equal pictures in every family, thresholds, and what a checkpoint keeps of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel

from modeling_cde import ActionClassificationPipeline, CDEForActionClassification, CDEImageProcessor
from modeling_cde.models.methods import METHODS
from modeling_cde.models.rejection_cde import (
    ELSE,
    NOTHING,
    action_directions,
    calibrate,
    delta_length,
    drop_thresholds,
    familiarity,
    rejected,
    rejection,
    set_thresholds,
)
from modeling_cde.training.new_model import options_from_data
from tests.tiny_models import FAMILY_NAMES, backbone_config, clips, tiny_cde


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


X, Y = picture(0), picture(1)


def pipe_of(model):
    return ActionClassificationPipeline(model=model, image_processor=CDEImageProcessor(size=32), device="cpu")


def with_thresholds(model, nothing_below, else_below, seed=3):
    directions = torch.nn.functional.normalize(
        torch.randn(model.config.num_labels, model.config.delta_dim, generator=torch.Generator().manual_seed(seed)),
        dim=-1,
    )
    set_thresholds(model, directions, nothing_below, else_below)
    return model


def test_the_scores_are_a_naive_reference():
    generator = torch.Generator().manual_seed(0)
    delta, labels = torch.randn(9, 4, generator=generator), torch.tensor([0, 1, 2] * 3)
    directions = action_directions(delta, labels, 3)
    for action in range(3):
        mean = np.mean([row / np.sqrt((row**2).sum()) for row in delta[labels == action].numpy()], axis=0)
        assert directions[action].numpy() == pytest.approx(mean / np.sqrt((mean**2).sum()), abs=1e-6)
    for row, length, known in zip(delta, delta_length(delta), familiarity(delta, directions), strict=True):
        assert length.item() == pytest.approx(sum(x * x for x in row.tolist()) ** 0.5)
        cosines = [sum(x * d for x, d in zip(row.tolist(), way, strict=True)) for way in directions.tolist()]
        assert known.item() == pytest.approx(max(cosines) / length.item(), abs=1e-6)


def test_a_delta_of_zero_is_like_no_action_and_an_action_without_pairs_has_no_direction():
    directions = action_directions(torch.eye(3), torch.tensor([0, 0, 2]), 3)
    assert directions[1].tolist() == [0, 0, 0]
    assert familiarity(torch.zeros(1, 3), directions).item() == 0


def test_thresholds_keep_the_stated_share():
    lengths = torch.arange(1.0, 1001.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    nothing_below, else_below = calibrate(lengths, -lengths)
    assert (lengths < nothing_below).sum() == 25 and (-lengths < else_below).sum() == 25
    # More is rejected the less has to be kept, and of few pairs nothing is.
    kept = [calibrate(lengths, -lengths, share)[0] for share in (1.0, 0.99, 0.9, 0.5)]
    assert kept == sorted(kept) and kept[0] == 1
    assert calibrate(torch.tensor([3.0, 2.0]), torch.tensor([0.1, 0.2])) == (2.0, pytest.approx(0.1))


@pytest.mark.parametrize("lengths", [torch.zeros(0), torch.zeros(2)])
def test_thresholds_of_no_pairs_are_refused(lengths):
    with pytest.raises(ValueError, match="Thresholds need pairs"):
        calibrate(lengths, torch.zeros(0))
    with pytest.raises(ValueError, match=r"kept=0 must be in \(0, 1\]"):
        calibrate(torch.ones(1), torch.ones(1), 0)


def test_a_higher_threshold_rejects_no_fewer():
    model, delta = tiny_cde("vit"), torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    counts = []
    for nothing_below, else_below in ((0.0, -1.0), (3.5, -1.0), (4.0, 0.0), (4.5, 0.5), (100.0, 0.5)):
        nothing, other = rejected(with_thresholds(model, nothing_below, else_below), delta)
        assert not (nothing & other).any()
        counts.append(int((nothing | other).sum()))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 50


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("mode", ["global", "patch"])
def test_equal_pictures_have_no_action_in_any_family(family, mode):
    model = tiny_cde(family, delta_mode=mode)
    found = pipe_of(model)(X, X)
    assert found[0] == {"label": NOTHING, "score": 1.0} and all(answer["score"] == 0 for answer in found[1:])
    # Their delta is zero but for rounding: with a threshold, the pictures need not be looked at.
    with torch.no_grad():
        delta = model(clips()[:, :1].expand(-1, 2, -1, -1, -1)).delta[:, 0]
    assert rejected(with_thresholds(model, 1e-3, -1.0), delta)[0].all()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.needs_masks])
def test_equal_pictures_have_no_action_with_any_method(name):
    kind = METHODS[name].model_class
    options = options_from_data(METHODS[name].config_class, ["open", "close"], ["cup", "door"])
    pipe = pipe_of(kind.from_backbone(backbone_config("vit"), delta_dim=8, **options).eval())
    assert pipe(X, X, top_k=1) == [{"label": NOTHING, "score": 1.0}]
    assert pipe(X, X, reject=False)[0]["label"] in ("open", "close")
    assert {answer["label"] for answer in pipe(X, Y)} == {"open", "close"}


def test_the_pipeline_says_that_nothing_changed_or_something_else():
    model = tiny_cde("vit")
    pipe = pipe_of(model)
    actions, delta = pipe(X, Y), torch.tensor(pipe(X, Y, return_delta=True)["delta"])
    length = delta_length(delta).item()
    with_thresholds(model, 2 * length, -1.0)
    found = pipe(X, Y)
    assert found[0] == {"label": NOTHING, "score": pytest.approx(2 / 3)}
    assert [answer["label"] for answer in found[1:]] == [answer["label"] for answer in actions]
    assert [3 * answer["score"] for answer in found[1:]] == pytest.approx([answer["score"] for answer in actions])
    assert sum(answer["score"] for answer in found) == pytest.approx(1)
    assert pipe(X, Y, top_k=1) == found[:1] and pipe(X, Y, reject=False) == actions
    assert pipe(X, Y, return_delta=True)["actions"] == found

    with_thresholds(model, 0.5 * length, 1.0)
    first = pipe(X, Y)[0]
    known = familiarity(delta[None], model.classifier.directions).item()
    assert first == {"label": ELSE, "score": pytest.approx(1 / (1 + np.exp(known - 1)), abs=1e-5)}
    assert pipe([(X, Y), (X, X), (X, Y)], batch_size=3, top_k=1)[1] == [{"label": NOTHING, "score": 1.0}]
    with_thresholds(model, 0.5 * length, -1.0)
    assert pipe(X, Y) == actions
    assert rejection(model, delta) is None


def test_a_score_is_finite_for_any_delta():
    model = with_thresholds(tiny_cde("vit"), 1.0, 0.9)
    for scale in (0.0, 1e-30, 1.0, 1e30):
        answer = rejection(model, scale * torch.ones(16))
        assert answer is not None and 0.5 <= answer.score <= 1


def test_a_checkpoint_keeps_its_thresholds(tmp_path):
    model = with_thresholds(tiny_cde("vit"), 0.25, 0.5)
    model.save_pretrained(tmp_path)
    loaded = CDEForActionClassification.from_pretrained(tmp_path)
    assert (loaded.config.nothing_below, loaded.config.else_below) == (0.25, 0.5)
    assert torch.equal(loaded.classifier.directions, model.classifier.directions)
    encoder = AutoModel.from_pretrained(tmp_path)  # has no classifier, and reads it where the pipeline asks for it
    assert torch.equal(encoder.with_classifier().classifier.directions, model.classifier.directions)
    drop_thresholds(loaded)
    assert loaded.config.else_below is None and "classifier.directions" not in loaded.state_dict()


def test_new_actions_have_no_directions_yet(tmp_path):
    with_thresholds(tiny_cde("vit"), 0.25, 0.5).save_pretrained(tmp_path)
    new = {"id2label": {0: "lift", 1: "lower"}, "ignore_mismatched_sizes": True}
    loaded = CDEForActionClassification.from_pretrained(tmp_path, **new)
    assert torch.equal(loaded.classifier.directions, torch.zeros(2, 16))


def test_a_checkpoint_from_before_there_were_thresholds_rejects_equal_pictures_alone(tmp_path):
    tiny_cde("vit").save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["nothing_below"], saved["else_below"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    pipe = pipe_of(CDEForActionClassification.from_pretrained(tmp_path))
    assert {answer["label"] for answer in pipe(X, Y)} == {"open", "close", "break"}
    assert pipe(X, X, top_k=1) == [{"label": NOTHING, "score": 1.0}]


@pytest.mark.parametrize("field", ["nothing_below", "else_below"])
@pytest.mark.parametrize("value", ["much", float("nan"), True])
def test_a_threshold_that_is_no_number_is_refused(field, value):
    with pytest.raises(ValueError, match=f"CDEConfig.{field} must be a finite number"):
        tiny_cde("vit", **{field: value})
