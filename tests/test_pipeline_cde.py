"""pipeline("action-classification"): kinds of input, scores, errors."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor, ConcatenationForActionClassification
from tests.tiny_models import backbone_config, tiny_cde


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))


X, Y = picture(0), picture(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    tiny_cde("vit", delta_mode="patch").save_pretrained(path)
    CDEImageProcessor(size=32).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pipe(folder):
    return pipeline("action-classification", model=str(folder), device="cpu")


def test_scores_are_the_models(pipe, folder):
    assert type(pipe.model) is CDEForActionClassification
    model = CDEForActionClassification.from_pretrained(folder)
    with torch.no_grad():
        scores = model(**CDEImageProcessor.from_pretrained(folder)(X, Y)).logits.softmax(dim=-1)[0]
    found = pipe(X, Y)
    assert {item["label"] for item in found} == {"open", "close", "break"}
    for item in found:
        assert item["score"] == pytest.approx(scores[model.config.label2id[item["label"]]].item(), abs=1e-5)
    assert [item["score"] for item in found] == sorted((item["score"] for item in found), reverse=True)
    assert pipe(X, Y, top_k=1) == found[:1]


def test_kinds_of_input(pipe, tmp_path):
    X.save(tmp_path / "x.png")
    Y.save(tmp_path / "y.png")
    single = pipe(X, Y)
    other = pipe(Y, X)
    assert pipe(str(tmp_path / "x.png"), str(tmp_path / "y.png")) == single
    assert pipe(np.array(X), np.array(Y)) == single
    assert pipe((X, Y)) == pipe({"before": X, "after": Y}) == single
    for several in (pipe([(X, Y), (Y, X)]), pipe([X, Y], [Y, X]), pipe([(X, Y), (Y, X)], batch_size=2)):
        for found, expected in zip(several, [single, other], strict=True):
            assert [item["label"] for item in found] == [item["label"] for item in expected]
            assert [i["score"] for i in found] == pytest.approx([i["score"] for i in expected], abs=1e-5)


def test_wrong_calls_are_answered(pipe):
    with pytest.raises(TypeError, match=r"call pipe\(before, after\)"):
        pipe(X)
    with pytest.raises(TypeError, match="as many after as before"):
        pipe([X, Y], [Y])
    with pytest.raises(TypeError, match="no argument 'topk'"):
        pipe(X, Y, topk=3)


def test_the_baseline_has_a_pipeline_too(tmp_path):
    labels = {0: "open", 1: "close", 2: "break"}
    model = ConcatenationForActionClassification.from_backbone(backbone_config("vit"), id2label=labels, delta_dim=8)
    model.save_pretrained(tmp_path)
    CDEImageProcessor(size=32).save_pretrained(tmp_path)
    pipe = pipeline("action-classification", model=str(tmp_path), device="cpu")
    assert type(pipe.model) is ConcatenationForActionClassification
    assert len(pipe(X, Y)) == 3
