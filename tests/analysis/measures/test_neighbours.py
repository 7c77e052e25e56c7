"""k-NN and prototypes: naive loops, scikit-learn, and a bank that never holds the pair itself."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from modeling_cde.analysis.measures.neighbours import measure_neighbours, nearest_neighbour_labels, prototype_labels
from tests.analysis.synthetic_deltas import make_set


def cosine(x, y):
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y) or 1))


def naive_neighbours(queries, bank, labels, k, leave_one_out):
    found = []
    for i, query in enumerate(queries):
        others = [j for j in range(len(bank)) if not (leave_one_out and j == i)]
        nearest = sorted(others, key=lambda j: -cosine(query, bank[j]))[:k]
        votes = {}
        for j in nearest:
            count, close = votes.get(labels[j], (0, 0.0))
            votes[labels[j]] = (count + 1, close + cosine(query, bank[j]))
        found.append(max(votes, key=lambda label: votes[label]))
    return found


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_neighbours_are_those_of_a_loop(k, leave_one_out):
    rng = np.random.default_rng(k)
    bank, labels = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    queries = bank if leave_one_out else rng.normal(size=(30, 4))
    found = nearest_neighbour_labels(queries, bank, labels, k, leave_one_out)
    assert found.tolist() == naive_neighbours(queries, bank, labels, k, leave_one_out)


def test_more_rows_than_are_compared_at_once_and_scikit_learn():
    rng = np.random.default_rng(0)
    bank, labels, queries = rng.normal(size=(300, 6)), rng.integers(0, 2, 300), rng.normal(size=(1100, 6))
    theirs = KNeighborsClassifier(5, metric="cosine").fit(bank, labels)  # two classes and odd k: no equal votes
    assert np.array_equal(nearest_neighbour_labels(queries, bank, labels, 5), theirs.predict(queries))


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_prototypes_are_those_of_a_loop(leave_one_out):
    rng = np.random.default_rng(0)
    bank, labels = rng.normal(size=(40, 4)), rng.choice([0, 1, 3], 40)
    queries = bank if leave_one_out else rng.normal(size=(30, 4))
    expected = []
    for i, query in enumerate(queries):
        keep = np.arange(40) != i if leave_one_out else np.full(40, True)
        means = {c: bank[keep & (labels == c)].mean(axis=0) for c in (0, 1, 3)}
        expected.append(max(means, key=lambda c: cosine(query, means[c])))
    assert prototype_labels(queries, bank, labels, leave_one_out).tolist() == expected


def test_a_class_of_one_row_has_no_prototype_without_it():
    rows = np.array([[1, 0], [0, 1], [0.1, 1]], dtype=np.float32)
    assert prototype_labels(rows, rows, np.array([0, 1, 1]), leave_one_out=True).tolist() == [1, 1, 1]


def test_directions_by_action_are_found_and_states_are_compared_side_by_side():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    delta = rng.normal(size=(4, 16))[labels] * rng.uniform(0.1, 9, size=(80, 1))
    before = 100 * rng.normal(size=(80, 16))
    part = make_set(delta, labels, states=np.stack([before, before + delta], axis=1).astype(np.float32))
    found = measure_neighbours(part)
    assert (found["k"], found["bank"], found["bank_n"]) == (5, "leave-one-out", 80)
    assert found["knn"] == found["prototype"] == 1 and found["knn_states"] < 0.6
    states = part.states.reshape(80, 32)
    expected = naive_neighbours(states, states, labels, 5, True)
    assert found["knn_states"] == np.mean(np.array(expected) == labels)


@pytest.mark.parametrize("with_bank", [False, True])
def test_each_figure_is_that_of_its_name(with_bank):
    """Noise: the three accuracies differ, so that none can stand in for another."""
    rng = np.random.default_rng(7)
    before, delta = rng.normal(size=(2, 100, 6))
    states = np.stack([before, before + delta], axis=1).astype(np.float32)
    labels = rng.integers(0, 3, 100)
    split, bank = (
        make_set(
            delta[rows], labels[rows], states=states[rows], split=name, pair_ids=[f"{name} {i}" for i in range(50)]
        )
        for name, rows in (("test", slice(50)), ("train", slice(50, 100)))
    )
    kept = bank if with_bank else split
    found = measure_neighbours(split, bank if with_bank else None, k=3)
    sides = [part.states.reshape(50, 12) for part in (split, kept)]
    expected = {
        "knn": naive_neighbours(split.delta, kept.delta, kept.labels, 3, not with_bank),
        "prototype": prototype_labels(split.delta, kept.delta, kept.labels, not with_bank),
        "knn_states": naive_neighbours(*sides, kept.labels, 3, not with_bank),
    }
    figures = {name: np.mean(np.array(labels) == split.labels) for name, labels in expected.items()}
    assert len(set(figures.values())) == 3
    assert {name: found[name] for name in figures} == pytest.approx(figures) and found["k"] == 3


def test_pairs_of_the_split_are_taken_out_of_the_bank():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 30)
    part = make_set(rng.normal(size=(30, 8)), labels)
    bank_labels = np.concatenate([labels, rng.integers(0, 4, 50)])
    bank_delta = np.concatenate([part.delta, rng.normal(size=(50, 8))])
    ids = [*part.pair_ids, *(f"train {i}" for i in range(50))]
    found = measure_neighbours(part, make_set(bank_delta, bank_labels, split="train", pair_ids=ids), k=1)
    assert (found["bank"], found["bank_n"]) == ("train", 50)
    expected = naive_neighbours(part.delta, bank_delta[30:].astype(np.float32), bank_labels[30:], 1, False)
    assert found["knn"] == np.mean(np.array(expected) == labels) < 0.7
    only_shared = make_set(part.delta, labels, split="train")
    assert measure_neighbours(part, only_shared)["bank"] == "leave-one-out"


def test_without_another_pair_there_is_nothing_to_compare():
    assert measure_neighbours(make_set([[1, 0]], [0])) is None
    with pytest.raises(ValueError, match="at least one other row"):
        nearest_neighbour_labels(np.eye(2), np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="at least one row"):
        prototype_labels(np.eye(2), np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
