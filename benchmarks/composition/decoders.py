"""Who names the two actions between two end points: pursuit, the two largest logits, and what is trained on two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from modeling_cde.evaluation.action_means import threshold_between
from modeling_cde.models.composition_cde import pursue


@dataclass(frozen=True)
class Ranked:
    """What a decoder says of n pairs of frames: two actions each, and how sure it is that there are two.

    Attributes:
        actions: (n, 2) int64, the surer one first.
        second: (n,), larger where a second action is likelier; comparable within one decoder.
    """

    actions: torch.Tensor
    second: torch.Tensor

    def both(self, names: Sequence[str]) -> list[frozenset[str]]:
        """The answer where it is known that there are two."""
        return [frozenset(names[a] for a in row) for row in self.actions.tolist()]

    def counted(self, names: Sequence[str], above: float) -> list[frozenset[str]]:
        """The answer where there may be one or two: the second one is said from `above` on."""
        kept = (self.second >= above).tolist()
        rows = self.actions.tolist()
        return [frozenset(names[a] for a in row[: 1 + more]) for row, more in zip(rows, kept, strict=True)]


def choose_count(one: Ranked, two: Ranked) -> float:
    """From where on a second action is said, from pairs with one action and pairs with two."""
    return threshold_between(one.second, two.second)


def by_pursuit(delta: torch.Tensor, means: torch.Tensor) -> Ranked:
    """Matching pursuit on action means (A, D), of deltas (n, D)."""
    found, shares = pursue(delta, means, 2)
    return Ranked(found, shares[:, 1])


def by_logits(logits: torch.Tensor) -> Ranked:
    """The two largest of logits (n, A); the second one's probability says whether it is there."""
    best = logits.float().softmax(dim=-1).topk(2, dim=-1)
    return Ranked(best.indices, best.values[:, 1])


class SetClassifier:
    """An upper bound: ten yes-or-no classifiers that are trained on pairs of actions, and on single ones.

    Each is a logistic regression on standardised differences of features.

    Args:
        difference: (n, D_b).
        actions: The actions of each.
        names: Of all actions; one that never occurs is never said.
        strength: C of the regressions.
    """

    def __init__(
        self, difference: torch.Tensor, actions: Sequence[frozenset[str]], names: Sequence[str], strength: float
    ) -> None:
        from sklearn.linear_model import LogisticRegression

        self.scale = difference.std().clamp(min=1e-9)
        x = (difference / self.scale).numpy()
        self.models: list[Any] = []
        for name in names:
            y = [name in done for done in actions]
            if not any(y):
                self.models.append(None)
                continue
            fitted = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
            self.models.append(fitted.fit(x, y))

    def __call__(self, difference: torch.Tensor) -> Ranked:
        """Its answers to differences (n, D_b)."""
        x = (difference / self.scale).numpy()
        scores = [
            torch.full((len(x),), -torch.inf, dtype=torch.float64)
            if model is None
            else torch.from_numpy(model.decision_function(x)).double()
            for model in self.models
        ]
        best = torch.stack(scores, dim=1).topk(2, dim=-1)
        return Ranked(best.indices, best.values[:, 1])
