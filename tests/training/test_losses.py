"""The loss terms against references written from the formulas, closed forms and values computed by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_cde.training import contrastive
from modeling_cde.training.losses import (
    CDELoss,
    flatten_deltas,
    sparsity_loss,
    supervised_contrastive_loss,
    weighted_sum,
)

TEMPERATURES = (0.05, 0.1, 0.5, 1.0)


def naive_contrastive(delta, labels, temperature):
    """The formula in Python floats: (loss, share of anchors without a positive)."""
    rows = [[float(x) for x in row] for row in delta]
    labels = [int(label) for label in labels]

    def cosine(a, b):
        norm_a, norm_b = math.sqrt(sum(x * x for x in a)), math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / (norm_a * norm_b)

    losses = []
    for i, anchor in enumerate(rows):
        positives = [p for p in range(len(rows)) if p != i and labels[p] == labels[i]]
        if not positives:
            continue
        denominator = sum(math.exp(cosine(anchor, rows[j]) / temperature) for j in range(len(rows)) if j != i)
        terms = [-math.log(math.exp(cosine(anchor, rows[p]) / temperature) / denominator) for p in positives]
        losses.append(sum(terms) / len(terms))
    return (sum(losses) / len(losses) if losses else 0.0), 1 - len(losses) / len(rows)


def terms_of(cross_entropy, delta, labels, patch_delta=None, loss=None):
    """The terms of a model's outputs; by default with the published weights."""
    return (loss or CDELoss())({"loss": cross_entropy, "delta": delta, "patch_delta": patch_delta}, labels)


def draw(n, dimensions, classes, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(n, dimensions, generator=generator, dtype=dtype)
    return delta, torch.randint(classes, (n,), generator=generator)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n", "classes"), [(2, 1), (5, 2), (12, 4), (9, 20)])
def test_contrastive_equals_the_formula(n, classes, temperature):
    for seed in range(3):
        delta, labels = draw(n, 6, classes, seed)
        expected, lonely = naive_contrastive(delta, labels, temperature)
        for chunk in (None, 1, n // 2, n - 1):
            loss = supervised_contrastive_loss(delta, labels, temperature, chunk=chunk)
            assert loss.item() == pytest.approx(expected, abs=1e-12)
        terms = terms_of(torch.tensor(0.0), delta, labels, loss=CDELoss(temperature=temperature))
        assert terms["contrastive"].item() == pytest.approx(expected, abs=1e-12)
        assert terms["anchors_without_positive"].item() == pytest.approx(lonely, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 8, 50])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equal_deltas_of_one_class_give_log_n_minus_1(n, temperature):
    delta = torch.tensor([0.3, -2.0, 0.5]).expand(n, 3)
    loss = supervised_contrastive_loss(delta, torch.zeros(n, dtype=torch.long), temperature)
    assert loss.item() == pytest.approx(math.log(n - 1), abs=1e-5)


def test_closed_form_of_two_opposite_classes():
    # c classes of m equal deltas in orthogonal directions: (m-1) e^(1/τ) and (c-1)m e^0 in the denominator.
    for m, c, temperature in ((2, 3, 1.0), (4, 2, 0.5)):
        delta = torch.eye(c, dtype=torch.float64).repeat_interleave(m, 0)
        labels = torch.arange(c).repeat_interleave(m)
        expected = math.log((m - 1) * math.exp(1 / temperature) + (c - 1) * m) - 1 / temperature
        assert supervised_contrastive_loss(delta, labels, temperature).item() == pytest.approx(expected, abs=1e-12)


def test_pinned_values():
    # By hand, τ = 1. Rows: a = (1, 0), b = (0, 2), c = (3, 0), d = (-1, 0); cosines: ab 0, ac 1, ad -1, bc 0,
    # bd 0, cd -1. Labels 0 0 1 2: a and b are positives of each other, c and d have none and are left out.
    #   l_a = -log(e^0 / (e^0 + e^1 + e^-1)) = log(1 + 2.7182818 + 0.3678794) = 1.4076060
    #   l_b = -log(e^0 / (e^0 + e^0 + e^0))  = log 3                          = 1.0986123
    delta = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2])
    assert supervised_contrastive_loss(delta, labels, 1.0).item() == pytest.approx(1.2531091, abs=1e-6)
    # Labels 0 0 0 1: three anchors; the mean over two positives is taken outside of the logarithm.
    #   l_a = log(4.0861613) - (0 + 1)/2 = 0.9076060,  l_b = log 3 - 0 = 1.0986123
    #   l_c = log(e^1 + e^0 + e^-1) - (1 + 0)/2 = 0.9076060
    labels = torch.tensor([0, 0, 0, 1])
    assert supervised_contrastive_loss(delta, labels, 1.0).item() == pytest.approx(0.9712748, abs=1e-6)
    # L1: (1 + 2 + 3 + 1) / 4
    assert sparsity_loss(delta).item() == 1.75
    assert sparsity_loss(delta, "mean").item() == 0.875


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 16),
    dimensions=st.integers(1, 8),
    classes=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-3, 1e4),
    temperature=st.sampled_from(TEMPERATURES),
)
def test_contrastive_properties(n, dimensions, classes, seed, scale, temperature):
    delta, labels = draw(n, dimensions, classes, seed, torch.float32)
    loss = supervised_contrastive_loss(delta, labels, temperature)
    assert loss.isfinite() and loss >= -1e-6
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(supervised_contrastive_loss(delta[order], labels[order], temperature), loss, **close)
    torch.testing.assert_close(supervised_contrastive_loss(delta * scale, labels, temperature), loss, **close)
    torch.testing.assert_close(supervised_contrastive_loss(delta, labels * 7 + 3, temperature), loss, **close)


def loss_and_gradient(delta, labels, temperature=0.1, weight=1.0, **options):
    delta = delta.clone().requires_grad_()
    loss = supervised_contrastive_loss(delta, labels, temperature, **options)
    (loss * weight).backward()
    return loss.detach(), delta.grad


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 40),
    chunk=st.integers(1, 39),
    dimensions=st.integers(1, 8),
    classes=st.integers(1, 30),
    zeros=st.integers(0, 3),
    seed=st.integers(0, 2**31),
    temperature=st.sampled_from(TEMPERATURES),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_chunks_give_the_loss_and_the_gradient_of_all_at_once(
    n, chunk, dimensions, classes, zeros, seed, temperature, dtype
):
    delta, labels = draw(n, dimensions, classes, seed, dtype)
    delta[:zeros] = 0.0
    expected = loss_and_gradient(delta, labels, temperature, weight=3.0, chunk=n)
    got = loss_and_gradient(delta, labels, temperature, weight=3.0, chunk=chunk)
    close = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 2e-2}[dtype]
    for value, reference in zip(got, expected, strict=True):
        assert value.dtype == reference.dtype
        torch.testing.assert_close(value, reference, rtol=close, atol=close)
    with torch.no_grad():
        torch.testing.assert_close(supervised_contrastive_loss(delta, labels, temperature, chunk=chunk), got[0])


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_the_shares_of_processes_add_up_to_the_whole(chunk):
    delta, labels = draw(14, 5, 4, 6)
    loss, gradient = loss_and_gradient(delta, labels, 0.3)
    shares, total = [0, 3, 9, 14], delta.clone().requires_grad_()
    parts = []
    for first, end in pairwise(shares):  # three processes, each with its own number of rows

        def gather(rows, first=first):
            # The directions of all the others come from where ours come from, so their gradient can be looked at.
            everyone = torch.nn.functional.normalize(total) if rows.is_floating_point() else labels
            return everyone, first, len(shares) - 1

        parts.append(supervised_contrastive_loss(total[first:end], labels[first:end], 0.3, gather=gather, chunk=chunk))
    mean = torch.stack(parts).mean()  # what DistributedDataParallel makes of them
    mean.backward()
    torch.testing.assert_close(mean, loss)
    torch.testing.assert_close(total.grad, gradient)


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("own", [True, False])
def test_chunks_give_the_gradient_of_either_side_alone(chunk, own):
    """Of this process's deltas, or of those of all the others."""
    delta, labels = draw(6, 4, 2, 9)
    found = []
    for size in (chunk, 6):
        x = delta.clone().requires_grad_()
        local, others = (x, x.detach()) if own else (x.detach(), x)

        def gather(rows, others=others):
            return (torch.nn.functional.normalize(others) if rows.is_floating_point() else labels), 0, 1

        supervised_contrastive_loss(local, labels, 0.3, gather=gather, chunk=size).backward()
        found.append(x.grad)
    assert found[1].abs().max() > 0
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return result


def test_of_many_deltas_no_square_is_held(monkeypatch):
    def largest(n, **options):
        delta, labels = draw(n, 2, 7, n, torch.float32)
        with Largest() as seen:
            loss_and_gradient(delta, labels, **options)
        return seen.elements

    assert largest(1448) == 1448**2
    assert largest(1449) <= 2**21 < largest(1449, chunk=1449)
    monkeypatch.setattr(contrastive, "_SCORES", 2**12)
    monkeypatch.setattr(contrastive, "_ANCHORS", 8)
    assert largest(64) == 2**12
    assert largest(500) <= 2**12
    assert largest(1000) == 8 * 1000


def test_chunks_of_a_large_batch_give_the_terms_of_all_at_once():
    delta, labels = draw(1500, 16, 40, 7, torch.float32)
    labels[:3] = torch.tensor([90, 91, 92])  # three anchors without a positive
    terms = terms_of(torch.tensor(0.0), delta, labels)
    expected, gradient = loss_and_gradient(delta.double(), labels, chunk=1500)
    torch.testing.assert_close(terms["contrastive"].double(), expected, rtol=1e-6, atol=0)
    assert terms["anchors_without_positive"].item() == pytest.approx(3 / 1500, abs=1e-6)
    _, got = loss_and_gradient(delta, labels)
    torch.testing.assert_close(got.double(), gradient, rtol=1e-4, atol=1e-8)


def test_the_loss_in_chunks_compiles_in_one_graph():
    delta, labels = draw(10, 3, 3, 8)
    x = delta.clone().requires_grad_()
    loss = torch.compile(supervised_contrastive_loss, backend="eager", fullgraph=True)(x, labels, chunk=4)
    loss.backward()
    expected, gradient = loss_and_gradient(delta, labels)
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(x.grad, gradient)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("labels", [[], [0], [0, 1], [3, 1, 2, 0]])
def test_no_positive_gives_zero_and_no_gradient(labels):
    delta = torch.randn(len(labels), 4, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):  # nor NaN on the way, as of the log of nothing
        loss = supervised_contrastive_loss(delta, torch.tensor(labels, dtype=torch.long))
        assert loss.item() == 0.0 and loss.requires_grad
        loss.backward()
    assert torch.equal(delta.grad, torch.zeros_like(delta))


def test_zero_deltas_are_harmless():
    delta = torch.randn(6, 4)
    delta[[0, 3]] = 0.0
    delta.requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    loss = supervised_contrastive_loss(delta, labels)
    loss.backward()
    assert loss.isfinite() and delta.grad.isfinite().all()
    assert torch.equal(delta.grad[[0, 3]], torch.zeros(2, 4))  # no direction, so none that is better
    assert delta.grad.abs().max() < 100
    all_zero = torch.zeros(4, 3, requires_grad=True)
    loss = supervised_contrastive_loss(all_zero, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert torch.equal(all_zero.grad, torch.zeros(4, 3))


def test_a_delta_of_the_smallest_norm_has_no_direction():
    delta, labels = torch.tensor([[0.5, 0.0], [3.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0, 1])
    for eps, cosine in ((0.5, 0.0), (0.49, 1.0)):
        loss, gradient = loss_and_gradient(delta, labels, 1.0, eps=eps)
        assert loss.item() == pytest.approx(math.log(math.exp(cosine) + 1) - cosine, abs=1e-6)
        assert bool(gradient[0].any()) == (eps < 0.5)


def test_all_is_computed_where_the_deltas_are():
    rows, labels = torch.zeros(4, 3, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    assert contrastive._all_at_once(rows, rows, labels, labels, 0, 0.1).device.type == "meta"


def test_gradients_are_those_of_the_formula():
    delta, labels = draw(6, 3, 2, 0)
    delta.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive_loss(x, labels, 0.3), (delta,))
    weights = CDELoss().weights
    assert torch.autograd.gradcheck(lambda x: weighted_sum(terms_of(x.sum(), x, labels), weights), (delta,))
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive_loss(x, labels, 0.3, chunk=4), (delta,))
    loss = supervised_contrastive_loss(delta, labels, 0.3, chunk=4)
    with pytest.raises(RuntimeError, match="chunk=6"):  # and no wrong second derivative
        torch.autograd.grad(loss, delta, create_graph=True)


def test_stable_at_low_temperature_and_extreme_scale():
    delta, labels = draw(8, 4, 2, 1, torch.float32)
    for factor, temperature in ((1.0, 1e-3), (1e15, 0.1), (1e-4, 0.1)):
        for chunk in (8, 3):
            loss, gradient = loss_and_gradient(delta * factor, labels, temperature, chunk=chunk)
            assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_inside_autocast_and_for_half_input(dtype):
    delta, labels = draw(16, 32, 3, 2, torch.float32)
    expected = supervised_contrastive_loss(delta, labels), sparsity_loss(delta)
    with torch.autocast("cpu", dtype=dtype):
        got = supervised_contrastive_loss(delta, labels), sparsity_loss(delta)
    assert [x.dtype for x in got] == [torch.float32] * 2
    assert torch.equal(torch.stack(got), torch.stack(expected))
    half = delta.to(dtype)
    assert torch.equal(supervised_contrastive_loss(half, labels), supervised_contrastive_loss(half.float(), labels))
    big = torch.full((2, 256), 300.0, dtype=dtype)  # the sum is over the range of float16
    assert sparsity_loss(big).item() == pytest.approx(256 * 300, rel=1e-2)


@pytest.mark.parametrize("clip", [False, True])
def test_per_patch_is_the_loss_of_every_patch_with_its_samples_label(clip):
    batch, k, dimensions = 4, 3, 5
    patches = torch.randn(batch, 1, k, dimensions) if clip else torch.randn(batch, k, dimensions)
    labels = torch.tensor([0, 1, 0, 2])
    rows, actions = flatten_deltas(patches.mean(-2), labels, patches)
    assert actions.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2]
    assert torch.equal(rows, torch.stack([p for sample in patches.reshape(batch, k, -1) for p in sample]))
    terms = terms_of(torch.tensor(0.0), patches.mean(-2), labels, patches, CDELoss(temperature=0.5))
    expected, _ = naive_contrastive(rows, actions, 0.5)
    assert terms["contrastive"].item() == pytest.approx(expected, abs=1e-5)
    # Sample 3 is alone with its action, but its patches are positives of each other.
    assert terms["anchors_without_positive"].item() == 0.0
    aggregated = terms_of(torch.tensor(0.0), patches.mean(-2), labels, patches, CDELoss(patch_loss="aggregated"))
    assert aggregated["anchors_without_positive"].item() == 0.5


def test_every_delta_of_a_sequence_counts():
    delta, labels = torch.randn(3, 4, 6), torch.randint(3, (3, 4))
    terms = terms_of(torch.tensor(0.0), delta, labels, loss=CDELoss(temperature=0.5))
    expected, lonely = naive_contrastive(delta.reshape(12, 6), labels.reshape(12), 0.5)
    assert terms["contrastive"].item() == pytest.approx(expected, abs=1e-5)
    assert terms["anchors_without_positive"].item() == pytest.approx(lonely, abs=1e-6)
