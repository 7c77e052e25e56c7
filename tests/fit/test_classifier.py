"""`CDEClassifier`: as an estimator, on pictures of every kind, saved and loaded, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_cde import CDEClassifier, CDEForActionClassification
from modeling_cde.cards import publishing
from modeling_cde.features import keep as keep_module
from modeling_cde.fit import heads
from modeling_cde.fit.heads import Examples
from modeling_cde.training.closed_form import fit_lda
from tests.fit.conftest import ACTIONS, SIDE, draw, save_backbone

NEW = [draw(action, kind, 3) for action in ACTIONS for kind in ("box", "lamp")]
NEW_Y = [action for action in ACTIONS for _ in range(2)]


def test_it_learns_what_pairs_show(classifier, pairs):
    X, y, objects, _ = pairs
    assert classifier.fit(X, y, objects) is classifier
    assert classifier.classes_.tolist() == sorted(ACTIONS)
    assert (classifier.head_, classifier.n_pairs_) == ("closed_form", 24)
    probabilities = classifier.predict_proba(NEW)
    assert probabilities.shape == (8, 4) and np.allclose(probabilities.sum(1), 1)
    assert classifier.predict(NEW).tolist() == NEW_Y
    assert classifier.score(NEW, NEW_Y) == 1 and classifier.score(NEW[:2], ["open", "close"]) == 0.5
    assert classifier.predict_proba([]).shape == (0, 4)


def test_the_closed_form_is_the_analysis_of_pairs_and_swapped_pairs(classifier, pairs):
    X, y, objects, _ = pairs
    features = torch.tensor(classifier.encode(X))
    deltas, labels, kinds = [], [], []
    opposite = {"open": "close", "close": "open", "turnon": "turnoff", "turnoff": "turnon"}
    for sign, names in ((1, y), (-1, [opposite[name] for name in y])):
        for pair, name, kind in zip(features, names, objects, strict=True):
            deltas.append(sign * (pair[1] - pair[0]))
            labels.append(sorted(ACTIONS).index(name))
            kinds.append(("box", "door", "lamp").index(kind))
    head = fit_lda(torch.stack(deltas), torch.tensor(labels), torch.tensor(kinds), heads.SHRINKAGE)
    classifier.fit(X, y, objects)
    new = torch.tensor(classifier.encode(NEW))
    expected = head.scores(new[:, 1] - new[:, 0]).softmax(1)
    np.testing.assert_allclose(classifier.predict_proba(NEW), expected, rtol=1e-3, atol=1e-5)


def test_swapped_copies_follow_the_pairs():
    examples = Examples(torch.arange(12.0).view(3, 2, 2), torch.tensor([0, 2, 1]), torch.tensor([5, 6, 7]))
    both = examples.with_swapped({0: 1, 1: 0})
    assert both.labels.tolist() == [0, 2, 1, 1, 0] and both.objects.tolist() == [5, 6, 7, 5, 7]
    assert torch.equal(both.features[3], examples.features[0].flip(0))
    assert torch.equal(both.features[4], examples.features[2].flip(0))
    assert len(examples.with_swapped({})) == 3


def test_a_trained_head(classifier, pairs, monkeypatch):
    monkeypatch.setattr(heads, "STEPS", 40)
    X, y, objects, _ = pairs
    features = classifier.encode(X)
    classifier.set_params(head="trained").fit(features, y, objects)
    assert classifier.head_ == "trained" and classifier.model_.config.delta_dim == 256
    assert classifier.score(NEW, NEW_Y) > 0.5
    again = CDEClassifier(**classifier.get_params()).fit(features, y, objects)
    assert np.array_equal(again.predict_proba(NEW), classifier.predict_proba(NEW))
    other = CDEClassifier(**classifier.get_params()).set_params(seed=1).fit(features, y, objects)
    assert not np.array_equal(other.predict_proba(NEW), classifier.predict_proba(NEW))


def test_the_number_of_pairs_chooses_the_head():
    assert heads.head_for(heads.FEW - 1) == "closed_form" and heads.head_for(heads.FEW) == "trained"


def test_estimator_rules(backbone, store, pairs):
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GroupKFold, cross_val_score

    given = CDEClassifier(backbone, image_size=SIDE, feature_store=store, opposites={"open": "close"}, seed=3)
    copy = clone(given)
    assert copy.get_params() == given.get_params() and is_classifier(copy) and not hasattr(copy, "model_")
    assert repr(CDEClassifier()) == "CDEClassifier()" and "seed=3" in repr(copy)
    with pytest.raises(ValueError, match="no parameter 'sead'; its own are backbone"):
        given.set_params(sead=1)
    X, y, objects, scenes = pairs
    for inputs in (X, given.encode(X)):
        scores = cross_val_score(given, inputs, y, groups=scenes, cv=GroupKFold(3), params={"objects": objects})
        assert len(scores) == 3 and scores.mean() > 0.5


def test_cross_validation_leaves_the_classifier_as_it_is(classifier, pairs):
    X, y, objects, scenes = pairs
    found = classifier.cross_validate(X, y, objects, scenes)
    assert set(found.parts) == {"new scenes", "left-out objects"} and not hasattr(classifier, "model_")
    assert found.parts["new scenes"]["n"] == 24 and found.parts["new scenes"]["accuracy"] > 0.5


def test_pictures_of_every_kind_are_read_alike(classifier, pairs, tmp_path):
    arrays = pairs[0][:2]
    images = [[Image.fromarray(picture) for picture in pair] for pair in arrays]
    paths = []
    for i, pair in enumerate(images):
        paths.append(tuple(str(tmp_path / f"{i}_{place}.png") for place in range(2)))
        for path, image in zip(paths[-1], pair, strict=True):
            image.save(path)
    rows = [{"before": before, "after": after} for before, after in paths]
    expected = classifier.encode(arrays)
    assert expected.shape == (2, 2, 2 * 32) and expected.dtype == np.float32
    for given in (images, paths, rows, np.array(arrays), [(tmp_path / a, tmp_path / b) for a, b in paths]):
        assert np.array_equal(classifier.encode(given), expected)


def test_pictures_are_encoded_once(classifier, pairs, tmp_path, monkeypatch):
    classifier.set_params(feature_store=str(tmp_path))
    classifier.fit(*pairs[:2])
    monkeypatch.setattr(keep_module.Encoder, "__call__", lambda *args: pytest.fail("encoded again"))
    assert classifier.fit(*pairs[:2]).score(*pairs[:2]) > 0.9


def test_many_pictures_are_read_a_part_at_a_time(classifier, pairs, monkeypatch):
    expected = classifier.encode(pairs[0])
    monkeypatch.setattr("modeling_cde.fit.pairs._BYTES_AT_ONCE", 20_000)
    assert np.array_equal(classifier.encode(pairs[0]), expected)


def test_a_fitted_classifier_can_be_fitted_on_another_backbone(classifier, pairs, tmp_path):
    X, y = pairs[:2]
    classifier.fit(X, y)
    other = save_backbone(tmp_path, seed=1, hidden_size=16)
    classifier.set_params(backbone=other).fit(X, y)
    assert classifier.model_.base_model.reader.feature_dim == 32 and classifier.score(X, y) > 0.5


def test_the_checkpoint_is_one_like_any_other(classifier, pairs, tmp_path):
    X, y, objects, scenes = pairs
    classifier.fit(X, y, objects)
    report = classifier.cross_validate(X, y, objects, scenes)
    classifier.save_pretrained(tmp_path, report, data="photos", command="python fit.py photos")
    expected = classifier.predict_proba(NEW)
    pipe = pipeline("action-classification", model=str(tmp_path))
    answers = pipe([tuple(map(Image.fromarray, pair)) for pair in NEW], top_k=1)
    assert [answer[0]["label"] for answer in answers] == NEW_Y
    np.testing.assert_allclose([answer[0]["score"] for answer in answers], expected.max(1), atol=1e-4)
    assert isinstance(CDEForActionClassification.from_pretrained(tmp_path), CDEForActionClassification)
    loaded = CDEClassifier.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded.predict_proba(NEW), expected, atol=1e-5)
    card = (tmp_path / "README.md").read_text()
    assert (
        "| new scenes | 24 |" in card and "fitted to 24 pairs of\n`photos`" in card and "python fit.py photos" in card
    )


def test_it_is_published_with_its_card(classifier, pairs, monkeypatch):
    sent = {}

    def commit(repo_id, files, **options):
        sent.update({name: file if isinstance(file, bytes) else file.read_bytes() for name, file in files.items()})
        return f"the address of {repo_id}"

    monkeypatch.setattr(publishing, "commit_files", commit)
    assert classifier.fit(*pairs[:2]).push_to_hub("org/my-actions") == "the address of org/my-actions"
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "metrics.json"} <= set(sent)
    assert b'CDEClassifier.from_pretrained("org/my-actions")' in sent["README.md"]

    def refuse(*args, **options):
        raise PermissionError("The Hub refuses this token.")

    monkeypatch.setattr(publishing, "commit_files", refuse)
    with pytest.raises(PermissionError, match="^The Hub refuses this token.$"):  # no advice on a folder that is gone
        classifier.push_to_hub("org/my-actions")


def test_a_loaded_classifier_can_be_fitted_again(classifier, pairs, tmp_path):
    X, y, _, _ = pairs
    classifier.fit(X, y).save_pretrained(tmp_path / "first")
    loaded = CDEClassifier.from_pretrained(tmp_path / "first").set_params(feature_store=classifier.feature_store)
    assert np.array_equal(loaded.encode(NEW), classifier.encode(NEW))
    words = ["wave" if name in ("turnon", "turnoff") else name for name in y]
    assert loaded.fit(X, words).classes_.tolist() == ["close", "open", "wave"]
    loaded.save_pretrained(tmp_path / "second")
    assert "The accuracy of this checkpoint was not measured." in (tmp_path / "second" / "README.md").read_text()
    assert CDEClassifier.from_pretrained(tmp_path / "second").predict(NEW[:2]).tolist() == ["open", "open"]


@pytest.mark.parametrize("family", ("vit", "resnet", "clip"))
def test_other_backbones(family, pairs, store, tmp_path):
    from transformers import AutoModel

    from modeling_cde import CDEImageProcessor
    from tests.tiny_models import backbone_config

    AutoModel.from_config(backbone_config(family)).save_pretrained(tmp_path)
    CDEImageProcessor(size=SIDE).save_pretrained(tmp_path)
    fitted = CDEClassifier(str(tmp_path), image_size=SIDE, feature_store=store).fit(*pairs[:2])
    assert fitted.score(*pairs[:2]) > 0.5


def test_actions_may_be_numbers(classifier, pairs):
    X, y, _, _ = pairs
    numbers = [ACTIONS.index(name) for name in y]
    assert classifier.fit(X, numbers).predict(NEW).tolist() == [ACTIONS.index(name) for name in NEW_Y]


@pytest.mark.parametrize(
    ("X", "y", "others", "said"),
    [
        ([], [], {}, "There are no pairs: give at least one pair of each of two actions"),
        (NEW[:2], ["open", "open"], {}, "All pairs show the action 'open'"),
        (NEW[:2], ["open"], {}, "X has 2 pairs, but y has 1 values"),
        (NEW[:2], ["open", "close"], {"objects": ["box"]}, "X has 2 pairs, but objects has 1 values"),
        (NEW[:2], ["open", ""], {}, r"y\[1\] is empty"),
        (NEW[:2], "open", {}, "y is 'open': give a list"),
        ([("a.png", "b.png", "c.png")], ["open"], {}, r"X\[0\] is no pair"),
        ("photos", ["open"], {}, "X is str: give a list of pairs"),
        ([("no.png", "none.png"), NEW[0]], ["open", "close"], {}, "no picture no.png, which pair 0 .* and 1 more"),
        ([NEW[0], (NEW[0][0], NEW[0][0][:16])], ["open", "close"], {}, "pair 1 have different sizes"),
        (np.zeros((2, 2, 7), np.float32), ["open", "close"], {}, r"this backbone gives \(n, 2, 64\)"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_sentence(classifier, X, y, others, said):
    with pytest.raises((ValueError, OSError), match=said):
        classifier.fit(X, y, **others)


def test_other_wrong_use_is_said_in_a_sentence(classifier, backbone):
    with pytest.raises(ValueError, match="not fitted yet"):
        classifier.predict(NEW)
    with pytest.raises(ValueError, match="head='svm' is not known; choose one of: auto, closed_form, trained"):
        classifier.set_params(head="svm").fit(NEW, NEW_Y)
    with pytest.raises(ValueError, match="not a trained action model"):
        CDEClassifier.from_pretrained(backbone)
