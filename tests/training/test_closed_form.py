"""Discriminant analysis against loops, scikit-learn, and what must hold of any of it."""

import time

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from modeling_cde.training.closed_form import Discriminant, choose_shrinkage, fit_lda


def drawn(number=90, size=12, actions=3, objects=4, seed=0):
    """Deltas whose actions differ, and differ from object to object, with unequal numbers of pairs."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(actions, (number,), generator=generator).sort().values
    labels[:actions] = torch.arange(actions)
    kinds = torch.randint(objects, (number,), generator=generator)
    means = torch.randn(actions, size, generator=generator)
    ways = 0.7 * torch.randn(actions, objects, size, generator=generator)
    delta = means[labels] + ways[labels, kinds] + torch.randn(number, size, generator=generator)
    return delta, labels, kinds


def naive_scores(delta, labels, objects, shrinkage, between, asked):
    """The formula of the module's docstring, pair by pair."""
    delta = delta.double()
    size, number = delta.shape[1], len(delta)
    actions = sorted(set(labels.tolist()))
    mean = {a: delta[labels == a].mean(0) for a in actions}
    scatter = torch.zeros(size, size, dtype=torch.float64)
    cells = sorted(set(zip(labels.tolist(), objects.tolist(), strict=True)))
    for a, o in cells:
        rows = delta[(labels == a) & (objects == o)]
        among = rows.mean(0) - mean[a]
        scatter += between * torch.outer(among, among) / len(cells)
        for row in rows:
            scatter += torch.outer(row - rows.mean(0), row - rows.mean(0)) / number
    shrunk = (1 - shrinkage) * scatter + shrinkage * scatter.trace() / size * torch.eye(size, dtype=torch.float64)
    inverse = torch.linalg.inv(shrunk)
    scores = [[mean[a] @ inverse @ x - mean[a] @ inverse @ mean[a] / 2 for a in actions] for x in asked.double()]
    return torch.tensor(scores, dtype=torch.float64)


def centred(scores):
    """Scores without what is added to all actions alike."""
    return scores - scores.mean(1, keepdim=True)


@pytest.mark.parametrize("number", [90, 8])  # more pairs than dimensions, and fewer
@pytest.mark.parametrize("between", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_the_scores_are_those_of_the_formula(number, between, shrinkage):
    delta, labels, objects = drawn(number)
    asked = torch.randn(5, 12, generator=torch.Generator().manual_seed(7))
    found = fit_lda(delta, labels, objects, shrinkage, between).scores(asked)
    torch.testing.assert_close(centred(found), centred(naive_scores(delta, labels, objects, shrinkage, between, asked)))


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
@pytest.mark.parametrize("of_each", [1, 3])
def test_with_as_many_pairs_of_each_object_it_is_scikit_learns(shrinkage, of_each):
    """As many pairs of each combination, though one action has fewer objects; one pair each leaves W empty."""
    table = torch.cartesian_prod(torch.arange(3), torch.arange(30 // of_each))[:-5].repeat(of_each, 1)
    delta = torch.randn(len(table), 12, generator=torch.Generator().manual_seed(0)) + table[:, :1] + table[:, 1:] % 3
    labels, objects = table.T
    shares = torch.bincount(labels).double() / len(labels)
    other = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage, priors=shares.numpy())
    other.fit(delta.double().numpy(), labels.numpy())
    expected = torch.from_numpy(other.decision_function(delta.double().numpy())) - shares.log()
    found = fit_lda(delta, labels, objects, shrinkage).scores(delta)
    torch.testing.assert_close(centred(found), centred(expected))


def test_directions_are_white_and_the_first_tells_most():
    delta, labels, _ = drawn()
    objects = torch.arange(len(labels))  # of one pair each: B is the whole scatter
    head = fit_lda(delta, labels, objects, 0.0)
    assert head.directions.shape == (2, 12)  # three actions
    means = torch.stack([delta.double()[labels == action].mean(0) for action in range(3)])
    residuals = (delta.double() - means[labels]) @ head.directions.T
    torch.testing.assert_close(residuals.T @ residuals / len(delta), torch.eye(2, dtype=torch.float64))
    first, second = head.weight.square().sum(0)
    assert first > second
    one = fit_lda(delta, labels, objects, 0.0, max_dim=1)
    torch.testing.assert_close(one.directions, head.directions[:1])


@pytest.mark.parametrize("scale", [1e-7, 1e7])
@pytest.mark.parametrize("number", [90, 8])
def test_the_unit_of_the_features_does_not_matter(number, scale):
    delta, labels, objects = drawn(number)
    delta, asked = delta.double(), torch.randn(5, 12, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found, scaled = (fit_lda(delta * unit, labels, objects, 0.3).scores(asked * unit) for unit in (1.0, scale))
    torch.testing.assert_close(scaled, found)


@pytest.mark.parametrize("number", [4, 5, 8, 14, 15, 16, 40])
def test_there_are_as_many_values_as_dimensions_in_which_an_action_varies(number):
    delta, labels, objects = drawn(number)
    analysis = Discriminant(delta, labels, objects, 3)
    assert analysis.values.shape == (min(number - 3, 12),) and (analysis.values > 0).all()
    unit = torch.eye(len(analysis.values), dtype=torch.float64)
    torch.testing.assert_close(analysis.vectors @ analysis.vectors.T, unit)


def test_with_swapped_pairs_opposite_actions_exchange_their_scores():
    delta, labels, objects = drawn(actions=4)
    opposite = torch.tensor([1, 0, 3, 2])
    both = (torch.cat([delta, -delta]), torch.cat([labels, opposite[labels]]), objects.repeat(2))
    head = fit_lda(*both, 0.3)
    assert len(head.directions) == 2  # opposite means are on one line
    asked = torch.randn(5, 12)
    torch.testing.assert_close(head.scores(-asked), head.scores(asked)[:, opposite])
    torch.testing.assert_close(head.scores(-asked) - head.bias, -(head.scores(asked) - head.bias))
    torch.testing.assert_close(head.bias[:2].diff(), torch.zeros(1, dtype=torch.float64))


def test_a_dozen_pairs_take_milliseconds():
    delta, labels, objects = drawn(12, 1536, 4)
    fit_lda(delta, labels, objects, 0.5)
    began = time.process_time()
    head = fit_lda(delta, labels, objects, 0.5)
    assert time.process_time() - began < 0.5  # a matrix of all dimensions alone takes longer
    assert head.directions.shape == (3, 1536)
    assert (head.scores(delta).argmax(1) == labels).all()


def test_one_pair_an_action_gives_the_nearest_mean():
    delta = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    head = fit_lda(delta, torch.arange(3), torch.zeros(3, dtype=torch.long), 0.5)
    asked = torch.randn(30, 20)
    assert (head.scores(asked).argmax(1) == torch.cdist(asked, delta).argmin(1)).all()


def test_the_best_shrinkage_is_chosen_and_of_equal_ones_the_largest():
    delta, labels, objects = drawn(30, 40)
    analysis = Discriminant(delta, labels, objects, 3)
    parts = {"a": drawn(60, 40)[:2], "b": drawn(30, 40, seed=1)[:2]}
    chosen, accuracies = choose_shrinkage(analysis, parts, (0.9, 0.01, 0.3))
    for shrinkage, accuracy in accuracies.items():
        scores = {name: analysis.head(shrinkage).scores(d) for name, (d, _) in parts.items()}
        right = [(scores[name].argmax(1) == y).double().mean().item() for name, (_, y) in parts.items()]
        assert accuracy == pytest.approx(sum(right) / 2)
    assert accuracies[chosen] == max(accuracies.values()) and set(accuracies) == {0.01, 0.3, 0.9}
    easy = {"train": (100 * analysis.means.float(), torch.arange(3))}
    assert choose_shrinkage(analysis, easy, (0.3, 0.5))[0] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shrinkage": 1.5}, r"shrinkage=1.5 must be in \[0, 1\]"),
        ({"shrinkage": 0.0}, "shrinkage=0.0 is too little for deltas that vary in . of their 12 dimensions"),
        ({"between": -1.0}, "between=-1.0 must be"),
        ({"between": float("inf")}, "between=inf must be a finite number"),
        ({"delta": torch.zeros(8, 3, 4)}, r"delta must be \(n, D_b\), .*, not \(8, 3, 4\)"),
        ({"labels": torch.zeros(7, dtype=torch.long)}, r"not \(8, 12\), \(7,\) and \(8,\)"),
        ({"num_actions": 4}, "each of the 4 actions, and action 3 has none"),
        ({"num_actions": 2}, "each of the 2 actions, and there are labels up to 2"),
        ({"objects": torch.zeros(3)}, r"labels and objects \(n,\), not \(8, 12\), \(8,\) and \(3,\)"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    delta, labels, objects = drawn(8)
    arguments = {"delta": delta, "labels": labels, "objects": objects, "shrinkage": 0.5} | change
    with pytest.raises(ValueError, match=message):
        fit_lda(**arguments)
