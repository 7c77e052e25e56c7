"""Several actions in one delta: sums of means, pursuit and retrieval beside their formulas, and the pipeline."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from transformers import pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor, CDEModel
from modeling_cde.evaluation.action_means import choose_stop, main, threshold_between
from modeling_cde.models.composition_cde import action_means, pursue, set_action_means
from tests.tiny_models import clips, tiny_cde

NAMES = ["open", "close", "break"]


def naive_pursuit(delta, means, steps):
    """One delta, with loops, from the formula."""
    delta, means = np.asarray(delta, np.float64), np.asarray(means, np.float64)
    residual, found, shares = delta.copy(), [], []
    for _ in range(steps):
        along = {a: residual @ m / np.linalg.norm(m) for a, m in enumerate(means) if a not in found}
        best = max(along, key=lambda a: along[a])
        part = max(along[best], 0.0)
        residual -= part * means[best] / np.linalg.norm(means[best])
        found.append(best)
        shares.append(part**2 / (delta @ delta))
    return found, shares


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 5))
def test_pursuit_is_its_formula(seed, actions, steps):
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(actions, 7, generator=generator)
    delta = torch.randn(4, 7, generator=generator)
    found, shares = pursue(delta, means, steps)
    assert found.shape == shares.shape == (4, min(steps, actions))
    for row in range(4):
        expected, parts = naive_pursuit(delta[row], means, min(steps, actions))
        assert shares[row].tolist() == pytest.approx(parts, abs=1e-4)
        if 0 not in shares[row].tolist():  # where none points that way, which one is said does not matter
            assert found[row].tolist() == expected
        assert len(set(found[row].tolist())) == len(found[row])
        assert float(shares[row].sum()) <= 1 + 1e-5  # each step takes a part of what is left


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_sums_of_orthogonal_means_are_taken_apart(seed, number):
    generator = torch.Generator().manual_seed(seed)
    means = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0][:4] * (1 + torch.rand(4, 1, generator=generator))
    chosen = torch.randperm(4, generator=generator)[:number]
    found, shares = pursue(means[chosen].sum(dim=0)[None], means, 4)
    assert set(found[0, :number].tolist()) == set(chosen.tolist())
    assert float(shares[0, :number].sum()) == pytest.approx(1, abs=1e-4)
    assert float(shares[0, number:].sum()) == pytest.approx(0, abs=1e-4)


def test_means_are_those_of_each_action_and_0_without_pairs():
    delta = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    assert action_means(delta, torch.tensor([0, 0, 2]), 4).tolist() == [[2, 1], [0, 0], [5, 5], [0, 0]]


@pytest.fixture(scope="module")
def model():
    made = tiny_cde("vit")
    set_action_means(made, 3 * torch.eye(3, 16) + 0.1, 0.2)
    return made


def test_composed_actions_are_the_sum_of_their_means(model):
    means = model.classifier.means
    assert torch.equal(model.compose(["open", "break"]), means[0] + means[2])
    assert torch.equal(model.compose([0, "break"]), model.compose(["break", "open"]))
    assert torch.equal(model.compose("close"), means[1])
    assert model.compose([]).tolist() == [0.0] * 16


def test_a_delta_is_decoded_up_to_the_stopping_rule(model):
    both, one = model.compose(["open", "break"]), model.compose(["close"])
    answers = model.decode_actions(torch.stack([both, one, both, -one]), 2)
    assert [sorted(name for name, _ in answer) for answer in answers[:3]] == [
        ["break", "open"],
        ["close"],
        ["break", "open"],
    ]
    assert len(answers[3]) == 1 and answers[3][0][1] == 0  # an answer always, with nothing explained
    assert [len(answer) for answer in model.decode_actions(torch.stack([both, one]), 1)] == [1, 1]
    found, shares = pursue(both[None], model.classifier.means, 2)
    assert model.decode_actions(both[None])[0] == [
        (NAMES[a], s) for a, s in zip(found[0].tolist(), shares[0].tolist(), strict=True)
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_retrieval_is_the_nearest_state_to_the_sum(seed):
    model = tiny_with_means()
    generator = torch.Generator().manual_seed(seed)
    before, candidates = torch.randn(16, generator=generator), torch.randn(5, 16, generator=generator)
    order, distances = model.retrieve(before, ["open", "close"], candidates)
    wanted = before.double() + model.classifier.means[:2].double().sum(dim=0)
    expected = sorted((float((c.double() - wanted).norm()), i) for i, c in enumerate(candidates))
    assert order.tolist() == [i for _, i in expected]
    assert distances.tolist() == pytest.approx([d for d, _ in expected], rel=1e-5)


def tiny_with_means(kept=[]):  # noqa: B006
    if not kept:
        kept.append(tiny_cde("vit"))
        set_action_means(kept[0], torch.randn(3, 16, generator=torch.Generator().manual_seed(3)), 0.1)
    return kept[0]


def test_means_travel_with_the_checkpoint(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = CDEForActionClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.classifier.means, model.classifier.means)
    assert loaded.config.next_action_above == 0.2
    pair = clips()
    assert torch.equal(loaded(pair).logits, model(pair).logits)
    encoder, info = CDEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with pytest.raises(ValueError, match="This CDEModel has no action means"):
        encoder.compose(["open"])


def test_wrong_calls_say_what_is_wrong(model):
    with pytest.raises(ValueError, match=r"has no action means: give them .*action_means FOLDER"):
        tiny_cde("vit").compose(["open"])
    for wrong in ("opne", 3, -1):
        with pytest.raises(ValueError, match=f"There is no action {wrong!r}; there are open, close, break"):
            model.compose([wrong])
    with pytest.raises(ValueError, match=r"delta has the shape \(3,\); give \(n, 16\)"):
        model.decode_actions(torch.zeros(3))
    with pytest.raises(ValueError, match="max_steps is 0"):
        model.decode_actions(torch.zeros(1, 16), 0)
    with pytest.raises(ValueError, match=r"next_action_above must be in \[0, 1\]"):
        tiny_cde("vit", next_action_above=1.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_no_threshold_divides_better(low, high):
    def share(bound):
        return sum(v < bound for v in low) / len(low) + sum(v >= bound for v in high) / len(high)

    found = threshold_between(torch.tensor(low).double(), torch.tensor(high).double())
    assert share(found) == pytest.approx(max(share(k / 2) for k in range(-1, 20)))


def test_the_stop_divides_single_actions_from_sums_of_two():
    means = 2 * torch.eye(4, 8)
    labels = torch.arange(4).repeat(20)
    noise = 0.1 * torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
    stop = choose_stop(means[labels] + noise, labels, means)
    assert 0.02 < stop < 0.48  # half of a sum is the second action's, and next to nothing of a single one
    with pytest.raises(ValueError, match="at least two actions"):
        choose_stop(noise, torch.zeros(80, dtype=torch.int64), means)


def test_the_command_gives_a_checkpoint_its_means_and_the_pipeline_answers_several_actions(tmp_path, capsys):
    made = tiny_cde("vit")
    made.save_pretrained(tmp_path)
    CDEImageProcessor(size=32).save_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(3).repeat(10)
    centre = torch.randn(3, 16, generator=generator)
    deltas = {}
    for part in ("train", "validation", "validation_syst"):
        deltas[f"{part}/delta"] = centre[labels] + 0.1 * torch.randn(30, 16, generator=generator)
        deltas[f"{part}/labels"] = labels.clone()
    save_file(deltas, tmp_path / "deltas.safetensors")
    main([str(tmp_path)])
    assert "a further action must explain" in capsys.readouterr().out
    pipe = pipeline("action-classification", model=str(tmp_path), device="cpu")
    assert torch.allclose(pipe.model.classifier.means, action_means(deltas["train/delta"], labels, 3))
    pictures = [Image.fromarray(np.full((32, 32, 3), shade, np.uint8)) for shade in (30, 200)]
    answer = pipe(*pictures, max_actions=2, return_delta=True)
    (expected,) = pipe.model.decode_actions(torch.tensor([answer["delta"]]), 2)
    assert answer["actions"] == [{"label": name, "score": pytest.approx(share)} for name, share in expected]
    assert len(pipe(*pictures)) == 3  # without it, as before
    with pytest.raises(ValueError, match="max_actions must be a whole number"):
        pipe(*pictures, max_actions=0)


def test_the_command_says_what_is_missing(tmp_path):
    with pytest.raises(SystemExit):
        main([])
    with pytest.raises(FileNotFoundError, match=r"has no deltas.safetensors: train there"):
        main([str(tmp_path)])
    save_file({"test/delta": torch.zeros(2, 3)}, tmp_path / "deltas.safetensors")
    with pytest.raises(ValueError, match="no training or no validation pairs"):
        main([str(tmp_path)])
