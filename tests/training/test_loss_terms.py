"""The terms of the loss by name: their values, weights and gradients, and their means over batches."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from modeling_cde.training.losses import (
    CDELoss,
    TermMeans,
    named_terms,
    sparsity_loss,
    supervised_contrastive_loss,
    weighted_sum,
)


def draw(n, dimensions, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dimensions, generator=generator), torch.randint(classes, (n,), generator=generator)


def terms_of(cross_entropy, delta, labels, loss=None, **outputs):
    return (loss or CDELoss())({"loss": cross_entropy, "delta": delta, **outputs}, labels)


def test_sparsity_equals_the_formula():
    delta = draw(5, 7, 2, 3)[0].double()
    expected = sum(sum(abs(float(x)) for x in row) for row in delta) / 5
    assert sparsity_loss(delta).item() == pytest.approx(expected, abs=1e-12)
    assert sparsity_loss(delta, "mean").item() == pytest.approx(expected / 7, abs=1e-12)
    assert sparsity_loss(torch.zeros(0, 7)).item() == 0.0
    assert sparsity_loss(torch.tensor([[1.0, -2.0]])).item() == 3.0


def test_all_terms_by_name_and_their_sum():
    delta, labels = draw(8, 4, 3, 4)
    loss = CDELoss(2.0, 0.5, 0.2)
    terms = terms_of(torch.tensor(0.7), delta, labels, loss=loss)
    assert list(terms) == ["cross_entropy", "contrastive", "sparsity", "anchors_without_positive", "delta_norm"]
    assert loss.weights == {"cross_entropy": 1.0, "auxiliary": 1.0, "contrastive": 2.0, "sparsity": 0.5}
    assert terms["sparsity"] == sparsity_loss(delta)
    assert terms["contrastive"] == supervised_contrastive_loss(delta, labels, 0.2)
    expected = 0.7 + 2.0 * terms["contrastive"] + 0.5 * terms["sparsity"]
    torch.testing.assert_close(weighted_sum(terms, loss.weights), expected)
    norms = [math.sqrt(sum(float(x) ** 2 for x in row)) for row in delta]
    assert terms["delta_norm"].item() == pytest.approx(sum(norms) / 8, rel=1e-6)


def test_the_norm_of_deltas_tells_of_collapse_and_has_no_gradient():
    delta = torch.zeros(4, 3, requires_grad=True)
    assert terms_of(delta.sum(), delta, torch.zeros(4, dtype=torch.long))["delta_norm"].item() == 0.0
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.bfloat16, requires_grad=True)
    norm = terms_of(rows.float().sum(), rows, torch.tensor([0, 1]))["delta_norm"]
    assert terms_of(torch.tensor(0.0), rows[:1], torch.tensor([0]))["delta_norm"] == 5.0
    assert norm.item() == 3.0 and norm.dtype == torch.float32 and not norm.requires_grad


def test_a_term_of_weight_zero_is_measured_without_gradient():
    delta, labels = draw(8, 4, 3, 5)
    delta.requires_grad_()
    cross_entropy = (delta**2).mean()
    loss = CDELoss(contrastive_weight=0.0, sparsity_weight=0.0)
    terms = terms_of(cross_entropy, delta, labels, loss=loss)
    assert weighted_sum(terms, loss.weights) is terms["cross_entropy"]
    assert terms["contrastive"] > 0 and not terms["contrastive"].requires_grad
    assert terms["sparsity"] > 0 and not terms["sparsity"].requires_grad


def test_term_means_are_weighted_and_start_anew():
    means = TermMeans()
    assert means.pop() == {}
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)}, 1.0)
    means.add({"a": torch.tensor(4.0), "b": torch.tensor(9.0)}, {"a": 2.0, "b": torch.tensor(0.0)})
    assert means.pop() == {"a": 3.0, "b": 5.0}
    assert means.pop() == {}
    means.add({"a": torch.tensor(4.0)}, 0.0)
    assert means.pop() == {"a": 0.0}
    for _ in range(300):  # more ones than bfloat16 can count
        means.add({"a": torch.tensor(1.0, dtype=torch.bfloat16)}, 1.0)
    assert means.sums()["a"].tolist() == [300.0, 300.0]


@pytest.mark.parametrize("patch_loss", ["aggregated", "per_patch", None])
def test_arguments_and_configuration_reach_the_loss(patch_loss):
    args = SimpleNamespace(contrastive_weight=3.0, sparsity_weight=4.0, temperature=0.7, sparsity_reduction="mean")
    config = SimpleNamespace(patch_loss=patch_loss) if patch_loss else None
    loss = CDELoss.from_args(args, config, gather=None)
    assert loss.weights == {"cross_entropy": 1.0, "auxiliary": 1.0, "contrastive": 3.0, "sparsity": 4.0}
    assert (loss.temperature, loss.sparsity_reduction, loss.gather) == (0.7, "mean", None)
    assert loss.patch_loss == (patch_loss or "per_patch")
    assert CDELoss.from_args(args).gather is CDELoss().gather is not None
    delta, labels = draw(8, 4, 3, 0)
    terms = terms_of(torch.tensor(0.0), delta, labels, loss=loss)
    assert terms["contrastive"] == supervised_contrastive_loss(delta, labels, 0.7)
    assert terms["sparsity"] == sparsity_loss(delta, "mean")


def test_the_published_weights_are_the_default():
    loss = CDELoss()
    assert loss.weights == {"cross_entropy": 1.0, "auxiliary": 1.0, "contrastive": 2.0, "sparsity": 1.0}
    assert (loss.sparsity_reduction, loss.patch_loss) == ("sum", "per_patch")


def test_only_a_training_compares_the_samples_of_all_processes():
    delta, labels = draw(4, 4, 1, 1)

    def twice(rows):
        return torch.cat([rows, rows]), 0, 2

    loss = CDELoss(gather=twice)
    both = terms_of(torch.tensor(0.0), delta, torch.arange(4), loss=loss.train())
    alone = terms_of(torch.tensor(0.0), delta, torch.arange(4), loss=loss.eval())
    assert (both["anchors_without_positive"], alone["anchors_without_positive"]) == (0, 1)
    assert both["contrastive"] > 0 == alone["contrastive"]


def test_the_auxiliary_term_is_taken_out_of_the_model_s_loss():
    delta, labels = draw(6, 4, 3, 2)
    own, part = torch.tensor([2.0, 4.0]), torch.tensor([0.5, 1.5], dtype=torch.float64)
    terms = terms_of(own, delta, labels, auxiliary_loss=part)
    assert list(terms)[:2] == ["cross_entropy", "auxiliary"]
    assert (terms["cross_entropy"], terms["auxiliary"]) == (2.0, 1.0) and terms["auxiliary"].dtype == own.dtype
    alone = CDELoss(0.0, 0.0)({"loss": own, "delta": None, "auxiliary_loss": part}, labels)
    assert alone == {"cross_entropy": 2.0, "auxiliary": 1.0}
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        with pytest.raises(ValueError, match="no `delta`"):
            CDELoss(*weights)({"loss": own}, labels)


@pytest.mark.parametrize("weights", [(2.0, 0.0), (0.0, 2.0)])
def test_each_weight_decides_on_the_gradient_of_its_own_term(weights):
    delta, labels = draw(6, 4, 2, 3)
    loss = CDELoss(*weights)
    terms = terms_of(delta.requires_grad_().sum(), delta, labels, loss=loss)
    assert [terms[name].requires_grad for name in ("contrastive", "sparsity")] == [weight > 0 for weight in weights]
    with torch.no_grad():
        assert not any(term.requires_grad for term in terms_of(delta.sum(), delta, labels, loss=loss).values())


def test_the_mean_of_a_batch_is_one_over_the_anchors_that_have_a_positive():
    loss, (delta, labels) = CDELoss(), draw(8, 4, 1, 4)
    labels[:2] = torch.tensor([5, 6])
    terms = terms_of(torch.tensor(0.0), delta, labels, loss=loss)
    counts = loss.counts(terms, 8)
    assert counts.keys() == {"contrastive"} and counts["contrastive"].item() == pytest.approx(6)
    assert loss.counts({"cross_entropy": torch.tensor(0.0)}, 8) == {}


def test_what_a_loss_returns_becomes_one_number_a_name():
    per_sample = torch.tensor([1.0, 3.0], requires_grad=True)
    terms = named_terms({"a": per_sample, "b": torch.tensor(7), "c": torch.ones(2, 2)})
    assert {name: term.item() for name, term in terms.items()} == {"a": 2.0, "b": 7, "c": 1.0}
    assert all(term.ndim == 0 for term in terms.values()) and terms["a"].requires_grad
    with pytest.raises(ValueError, match="must return its terms by name, .*; got Tensor"):
        named_terms(torch.tensor(0.0))


def test_the_sum_has_each_term_with_its_weight_and_no_other():
    a, b, c = (torch.tensor(value, requires_grad=True) for value in (2.0, 3.0, 5.0))
    total = weighted_sum({"a": a, "b": b, "c": c, "seen": torch.tensor(9.0)}, {"a": 1, "b": 0.5, "c": 0.0, "d": 4.0})
    assert total.item() == 3.5
    total.backward()
    assert (a.grad, b.grad, c.grad) == (1.0, 0.5, None)
    assert weighted_sum({"b": b, "a": a}, {"a": -1.0, "b": 1.0}).item() == 1.0
    with pytest.raises(ValueError, match="the term 'a' has a gradient and no weight"):
        weighted_sum({"a": a}, {"b": 1.0})
    with pytest.raises(ValueError, match="no term of the loss has a weight over 0: it has none"):
        weighted_sum({}, {})


def test_means_go_on_from_sums_and_are_reduced_over_processes():
    first = TermMeans()
    first.add({"a": torch.tensor(2.0), "b": torch.tensor(1.0)}, 3.0)
    kept = first.sums()
    second = TermMeans(kept)
    second.add({"a": torch.tensor(6.0), "c": torch.tensor(4.0, requires_grad=True)}, {"a": torch.tensor(1), "c": 2})
    assert {name: pair.tolist() for name, pair in second.sums().items()} == {"a": [12, 4], "b": [3, 3], "c": [8, 2]}
    assert {name: pair.tolist() for name, pair in kept.items()} == {"a": [6, 3], "b": [3, 3]}
    other = torch.tensor([[8.0, 6.0], [1.0, 1.0], [0.0, 0.0]])
    assert second.pop(lambda sums: sums + other) == {"a": 2.0, "b": 1.0, "c": 4.0}
    assert second.sums() == {} and first.pop() == {"a": 2.0, "b": 1.0}


def test_sums_are_where_the_terms_are_and_in_float32_at_least():
    means = TermMeans()
    means.add({"a": torch.zeros((), device="meta")}, {"a": torch.tensor(2.0)})
    assert means.sums()["a"].device.type == "meta"
    for dtype, kept in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        means = TermMeans()
        means.add({"a": torch.tensor(1.0, dtype=dtype)}, torch.tensor(2.0).item())
        assert means.sums()["a"].dtype == kept


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: supervised_contrastive_loss(torch.zeros(3, 2, 2), torch.zeros(3)), r"shape \(n, D\)"),
        (lambda: supervised_contrastive_loss(torch.zeros(3, 2), torch.zeros(2)), r"labels \(n,\)"),
        (lambda: supervised_contrastive_loss(torch.zeros(3, 2), torch.zeros(3), 0.0), "temperature"),
        (lambda: supervised_contrastive_loss(torch.zeros(3, 2), torch.zeros(3), math.nan), "temperature"),
        (lambda: supervised_contrastive_loss(torch.zeros(3, 2), torch.zeros(3), chunk=0), "chunk"),
        (lambda: sparsity_loss(torch.zeros(3)), r"shape \(n, D\)"),
        (lambda: sparsity_loss(torch.zeros(3, 2), "max"), "reduction"),
        (lambda: terms_of(torch.tensor(0.0), torch.zeros(3, 4, 2), torch.zeros(3)), r"for delta \(3, 4, 2\)"),
        (
            lambda: terms_of(torch.tensor(0.0), torch.zeros(3, 2), torch.zeros(3), patch_delta=torch.zeros(2, 4, 2)),
            r"labels \(3,\) for patch_delta \(2, 4, 2\)",
        ),
        (lambda: terms_of(None, torch.zeros(3, 2), torch.zeros(3)), "no `loss`"),
        (lambda: terms_of(torch.tensor(0.0), None, torch.zeros(3)), "no `delta`"),
        (lambda: weighted_sum({"a": torch.tensor(0.0)}, {}), "no term of the loss has a weight over 0: a"),
        (lambda: named_terms({"loss": torch.tensor(0.0)}), "the weighted sum"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_lower_loss_the_better_the_classes_are_separated():
    labels = torch.tensor([0, 0, 1, 1])
    angles = torch.tensor([0.0, 0.2, 0.0, 0.2])
    losses = []
    for apart in (0.0, 1.0, 2.0, 3.0):
        turned = angles + apart * labels
        delta = torch.stack([turned.cos(), turned.sin()], 1)
        losses.append(supervised_contrastive_loss(delta, labels, 0.5).item())
    assert all(a > b for a, b in pairwise(losses))
