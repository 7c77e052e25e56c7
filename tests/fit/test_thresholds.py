"""Thresholds of a fitted classifier come from pairs that were left out, and travel with its checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_cde.fit import heads, thresholds
from modeling_cde.fit.folds import grouped_folds
from modeling_cde.models.rejection_cde import action_directions, delta_length, familiarity


def as_pictures(pair):
    return tuple(map(Image.fromarray, pair))


def test_thresholds_are_the_lowest_scores_of_pairs_that_were_left_out(classifier, pairs):
    """Of so few pairs none is rejected: a naive loop over the three kinds of objects finds the same two numbers."""
    X, y, objects, _ = pairs
    classifier.fit(X, y, objects)
    found, features = classifier.rejections_, torch.tensor(classifier.encode(X))
    labels = [sorted(set(y)).index(name) for name in y]
    lengths, known = [], []
    for fold in grouped_folds(objects, labels, 3, 0):
        rest = [i for i in range(len(X)) if i not in fold]
        other = type(classifier)(**classifier.get_params())
        other.fit(features[rest], [y[i] for i in rest], [objects[i] for i in rest])
        with torch.no_grad():
            train, own = (other.model_(features=features[rows]).delta[:, 0] for rows in (rest, fold))
        opposite = {"open": "close", "close": "open", "turnon": "turnoff", "turnoff": "turnon"}
        both = torch.cat([train, -train])  # the head is linear, so that a swapped pair has the opposite delta
        names = [y[i] for i in rest] + [opposite[y[i]] for i in rest]
        directions = action_directions(both, torch.tensor([sorted(set(y)).index(n) for n in names]), 4)
        lengths.append(delta_length(own))
        known.append(familiarity(own, directions))
    assert found["nothing_below"] == pytest.approx(torch.cat(lengths).min().item(), rel=1e-3)
    assert found["else_below"] == pytest.approx(torch.cat(known).min().item(), rel=1e-3)
    assert found["pairs"] == 24 and set(found["unknown_actions"]) == set(y)
    assert all(shares["pairs"] == 6 for shares in found["unknown_actions"].values())


def test_the_checkpoint_says_when_nothing_changed(classifier, pairs, tmp_path):
    X, y, objects, _ = pairs
    classifier.fit(X, y, objects)
    thresholds.measure_still(classifier, X)
    classifier.save_pretrained(tmp_path)
    pipe = pipeline("action-classification", model=str(tmp_path))
    assert pipe.model.config.nothing_below == classifier.rejections_["nothing_below"]
    before, _ = as_pictures(X[0])
    assert pipe(before, before, top_k=1) == [{"label": "nothing changed", "score": 1.0}]
    darker = Image.fromarray((0.99 * np.array(before)).astype(np.uint8))
    assert pipe(before, darker, top_k=1)[0]["label"] == "nothing changed"
    metrics = json.loads((tmp_path / "metrics.json").read_text())["rejections"]
    assert metrics == classifier.rejections_ and metrics["still"]["pairs"] == 24
    card = (tmp_path / "README.md").read_text()
    assert "| open, by a head without it | 6 |" in card and "| nothing | 24 |" in card
    assert "The thresholds come from 24 pairs, each of which was left out of a fit" in card


def test_a_trained_head_is_fitted_once_more(classifier, pairs, monkeypatch):
    monkeypatch.setattr(heads, "STEPS", 2)
    X, y, objects, _ = pairs
    found = classifier.set_params(head="trained").fit(X, y, objects).rejections_
    assert found["pairs"] == 8 and "unknown_actions" not in found  # one kind of object of three


def test_too_few_pairs_give_no_thresholds(classifier, pairs, tmp_path):
    X, y, _, _ = pairs
    two = [0, y.index("turnon")]
    classifier.set_params(opposites={}).fit([X[i] for i in two], [y[i] for i in two])
    assert classifier.rejections_ is None and classifier.model_.config.else_below is None
    thresholds.measure_still(classifier, X)
    classifier.save_pretrained(tmp_path)
    assert "even if nothing or something else happened" in (tmp_path / "README.md").read_text()
