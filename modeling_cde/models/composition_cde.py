"""Several actions in one delta: their sum, which actions a delta is the sum of, and which state they lead to.

    mean of an action       m_a = mean of the deltas of its training pairs, u_a = m_a / ||m_a||
    composed actions        m_a + m_b + ...
    decoding                r = delta; repeat: the action with the largest <r, u_a>, then r = r - <r, u_a> u_a
                            until max_steps, or an action explains less than `next_action_above` of ||delta||^2
    retrieval               candidates by their distance to z_before + m_a + m_b + ...

Decoding is matching pursuit (S. Mallat and Z. Zhang, "Matching pursuits with time-frequency dictionaries", 1993) with
the action means as dictionary, each used once. The order of the answer is how much each explains, not which came first:
end points do not say that.

The means are a buffer of the classifier and `next_action_above` is a field of the configuration, so that they travel
with the checkpoint. `python -m modeling_cde.evaluation.action_means` fills them.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def action_means(delta: torch.Tensor, labels: torch.Tensor, num_actions: int) -> torch.Tensor:
    """The mean delta of each action, (A, D) float32, from deltas (n, D) and labels (n,); 0 without pairs."""
    members = F.one_hot(labels, num_actions).float()  # (n, A)
    return members.T @ delta.float() / members.sum(dim=0).clamp(min=1)[:, None]


def pursue(delta: torch.Tensor, means: torch.Tensor, max_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Matching pursuit of deltas (n, D) on means (A, D), without a stopping rule.

    Returns:
        The actions in the order in which they are found, (n, k) int64 with k = min(max_steps, A); and the share of
        ||delta||^2 that each explains, (n, k) float32, 0 for one that points the other way.
    """
    directions = F.normalize(means.float(), dim=-1)  # (A, D)
    residual = delta.float()
    whole = residual.square().sum(dim=-1).clamp(min=1e-12)  # (n,)
    free = torch.ones(len(delta), len(means), dtype=torch.bool, device=delta.device)
    found, shares = [], []
    for _ in range(min(max_steps, len(means))):
        along = (residual @ directions.T).masked_fill(~free, -torch.inf)  # (n, A)
        length, action = along.max(dim=-1)  # (n,)
        length = length.clamp(min=0)
        residual = residual - length[:, None] * directions[action]
        free = free.scatter(1, action[:, None], False)
        found.append(action)
        shares.append(length.square() / whole)
    return torch.stack(found, dim=1), torch.stack(shares, dim=1)


def reserve_means(model: nn.Module) -> None:
    """Makes room for the means in the classifier of a model whose configuration has a stopping rule for them."""
    classifier = getattr(model, "classifier", None)
    if getattr(model.config, "next_action_above", None) is not None and isinstance(classifier, nn.Linear):
        classifier.register_buffer("means", torch.zeros_like(classifier.weight, requires_grad=False))


def set_action_means(model: Any, means: torch.Tensor, next_action_above: float) -> None:
    """Gives a `CDEForActionClassification` its action means (A, D) and the stopping rule of `decode_actions`."""
    model.config.next_action_above = next_action_above
    reserve_means(model)
    model.classifier.means.copy_(means)


class ComposesActions:
    """What models with action means can say of several actions."""

    config: Any

    def compose(self, actions: Sequence[str | int]) -> torch.Tensor:
        """The delta of several actions together: the sum of their means, (D,).

        Raises:
            ValueError: The model has no action means, or there is no such action.
        """
        means, names = self._means(), self.config.id2label
        ids = [actions] if isinstance(actions, (str, int)) else list(actions)
        known = {name: i for i, name in names.items()}
        for action in ids:
            if (action not in known) if isinstance(action, str) else (action not in names):
                raise ValueError(f"There is no action {action!r}; there are {', '.join(names.values())}.")
        chosen = [known[action] if isinstance(action, str) else action for action in ids]
        return means[chosen].sum(dim=0)

    def decode_actions(self, delta: torch.Tensor, max_steps: int = 2) -> list[list[tuple[str, float]]]:
        """The actions that deltas are the sum of, for each delta at least one.

        Args:
            delta: (n, D).
            max_steps: The most actions in an answer, at least 1.

        Returns:
            For each delta the names of its actions, each with the share of the squared length that it explains.

        Raises:
            ValueError: The model has no action means, the shape is another, or `max_steps` is out of range.
        """
        means = self._means()
        if delta.ndim != 2 or delta.shape[-1] != means.shape[-1]:
            raise ValueError(f"delta has the shape {tuple(delta.shape)}; give (n, {means.shape[-1]}).")
        if max_steps < 1:
            raise ValueError(f"max_steps is {max_steps}; give at least 1.")
        found, shares = pursue(delta, means.to(delta.device), max_steps)
        enough = shares >= self.config.next_action_above
        answers = []
        for actions, parts, more in zip(found.tolist(), shares.tolist(), enough.tolist(), strict=True):
            kept = next((k for k in range(1, len(actions)) if not more[k]), len(actions))
            answers.append([(self.config.id2label[a], s) for a, s in zip(actions[:kept], parts[:kept], strict=True)])
        return answers

    def retrieve(
        self, before: torch.Tensor, actions: Sequence[str | int], candidates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Candidate states by how near they are to where actions lead from a state.

        Args:
            before: The state before, (D,).
            actions: Names or ids.
            candidates: States, (n, D).

        Returns:
            Numbers of the candidates, nearest first, (n,) int64; and their distances in that order, (n,).

        Raises:
            ValueError: See `compose`.
        """
        wanted = before + self.compose(actions).to(before)
        distances, order = (candidates - wanted).norm(dim=-1).sort(stable=True)
        return order, distances

    def _means(self) -> torch.Tensor:
        means = getattr(getattr(self, "classifier", None), "means", None)
        if means is None:
            raise ValueError(
                f"This {type(self).__name__} has no action means: give them to the checkpoint of a "
                "CDEForActionClassification by `python -m modeling_cde.evaluation.action_means FOLDER`."
            )
        return means  # type: ignore[no-any-return]
