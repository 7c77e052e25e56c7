"""Cross-validation against a naive loop, what it says where something is missing, and the interval of a share."""

import pytest
import torch

from modeling_cde.fit.heads import Examples
from modeling_cde.fit.validation import cross_validate, wilson_interval

ACTIONS = ("close", "open", "wave")
OPPOSITES = {"open": "close", "close": "open"}


def nearest_mean(examples, actions):
    """A head whose answers a naive loop can repeat."""
    delta = examples.features[:, 1] - examples.features[:, 0]
    means = torch.stack([delta[examples.labels == label].mean(0) for label in range(len(actions))])
    return lambda features: -torch.cdist(features[:, 1] - features[:, 0], means)


@pytest.fixture(scope="module")
def noisy():
    """36 pairs of three actions, with noise, of four kinds in six scenes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(36) % 3
    truth = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 0, 1]])[labels]
    before = torch.randn(36, 3, generator=generator)
    after = before + truth + 0.9 * torch.randn(36, 3, generator=generator)
    objects = [("box", "door", "jar", "pot")[i // 3 % 4] for i in range(36)]
    numbers = torch.tensor([sorted(set(objects)).index(name) for name in objects])
    return Examples(torch.stack([before, after], 1), labels, numbers), objects, [i // 6 for i in range(36)]


def naive_accuracy(examples, groups):
    """Each group left out once; with a swapped copy of each pair of open and close."""
    right = 0
    for left in sorted(set(groups)):
        deltas = {label: [] for label in range(3)}
        for i, group in enumerate(groups):
            if group != left:
                delta, label = examples.features[i, 1] - examples.features[i, 0], int(examples.labels[i])
                deltas[label].append(delta)
                if label < 2:
                    deltas[1 - label].append(-delta)
        means = [torch.stack(values).mean(0) for values in deltas.values()]
        for i in (i for i, group in enumerate(groups) if group == left):
            delta = examples.features[i, 1] - examples.features[i, 0]
            right += min(range(3), key=lambda a: float((delta - means[a]).norm())) == int(examples.labels[i])
    return right / len(groups)


def test_each_scene_and_each_object_is_left_out_once(noisy):
    examples, objects, scenes = noisy
    found = cross_validate(examples, ACTIONS, scenes, objects, OPPOSITES, nearest_mean, "closed_form", folds=6)
    assert found.says == []
    assert {name: part["folds"] for name, part in found.parts.items()} == {"new scenes": 6, "left-out objects": 4}
    for name, groups in (("new scenes", scenes), ("left-out objects", objects)):
        assert found.parts[name]["n"] == 36
        assert 0.5 < found.parts[name]["accuracy"] < 1  # so that right and wrong answers are compared
        assert found.parts[name]["accuracy"] == pytest.approx(naive_accuracy(examples, groups))
    assert "| new scenes | 36 | 6 |" in found.table()


@pytest.mark.parametrize(
    ("scenes", "objects", "said", "parts"),
    [
        (None, None, "Scenes are not given, so single pairs", {"new pairs"}),
        ([0] * 36, None, "All pairs are of one scene", {"new pairs"}),
        ([i % 3 for i in range(36)], None, "only 3 scenes, so there are 3 folds instead of 5", {"new scenes"}),
        ([i // 6 for i in range(36)], ["box", "jar"] * 18, "only 2 kinds of objects (box, jar)", {"new scenes"}),
    ],
)
def test_what_is_missing_is_said(noisy, scenes, objects, said, parts):
    found = cross_validate(noisy[0], ACTIONS, scenes, objects, OPPOSITES, nearest_mean, "closed_form")
    assert any(said in sentence for sentence in found.says), found.says
    assert set(found.parts) == parts


def test_fewer_pairs_than_folds_are_left_out_one_by_one(noisy):
    found = cross_validate(noisy[0].rows([0, 1, 2]), ACTIONS, None, None, OPPOSITES, nearest_mean, "closed_form")
    assert found.says[1] == "There are only 3 pairs, so there are 3 folds instead of 5."
    # The only pair that waves cannot be tested; the other two are each other's opposite.
    assert found.says[-1].startswith("Not tested on new pairs: wave (1), since no other fold has the action")
    assert found.parts["new pairs"]["n"] == 2


def test_an_action_of_one_kind_is_not_tested_on_left_out_objects(noisy):
    examples, _, scenes = noisy
    objects = ["cat" if label == 2 else name for label, name in zip(examples.labels.tolist(), noisy[1], strict=True)]
    found = cross_validate(examples, ACTIONS, scenes, objects, OPPOSITES, nearest_mean, "closed_form")
    assert found.parts["left-out objects"]["n"] == 24 and found.parts["new scenes"]["n"] == 36
    assert any("Not tested on left-out objects: wave (12)" in sentence for sentence in found.says)


def test_trained_heads_have_few_folds(noisy):
    objects = [f"kind {i // 3}" for i in range(36)]
    found = cross_validate(noisy[0], ACTIONS, None, objects, OPPOSITES, nearest_mean, "trained")
    assert found.parts["left-out objects"]["folds"] == 5
    found = cross_validate(noisy[0], ACTIONS, None, objects, OPPOSITES, nearest_mean, "closed_form")
    assert found.parts["left-out objects"]["folds"] == 12


def test_one_fold_is_refused(noisy):
    with pytest.raises(ValueError, match="folds=1"):
        cross_validate(noisy[0], ACTIONS, None, None, OPPOSITES, nearest_mean, "closed_form", folds=1)


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (44, 48, 0.8045, 0.9671)],
)
def test_interval_of_a_share(right, number, low, high):
    assert wilson_interval(right, number) == pytest.approx((low, high), abs=1e-4)
    for bound in wilson_interval(right, number):  # where the share is 1.96 standard deviations away
        if 1e-6 < bound < 1 - 1e-6:
            assert abs(right / number - bound) == pytest.approx(1.959964 * (bound * (1 - bound) / number) ** 0.5)
