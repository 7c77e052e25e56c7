"""What a classifier answers where no action of its own happened: "nothing changed" or "something else".

    nothing changed    the pictures are equal, or ||delta|| < nothing_below
    something else     otherwise, where familiarity < else_below
    familiarity        the largest cosine of delta with the direction of an action
    direction          of an action: the mean of delta / ||delta|| over its training pairs, as a unit vector

The largest cosine with a class as a score of what is known is due to E. Techapanurak, M. Suganuma and T. Okatani,
"Hyperparameter-free out-of-distribution detection using cosine similarity", 2020. How it was chosen among six scores:
`python -m benchmarks.rejection choose`.

Both thresholds are quantiles of what pairs have that the model was not fitted to: `calibrate`. They are fields of the
configuration, and the directions are a buffer of the classifier, so that they travel with the checkpoint. One that has
none rejects equal pictures alone.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

NOTHING, ELSE = "nothing changed", "something else"
#: The least share of pairs with known actions that thresholds keep, of those that they are calibrated on.
KEPT = 0.95


class Rejection(NamedTuple):
    """An answer that is no action, and how far the pair is beyond its threshold: in [0.5, 1], 0.5 at the threshold."""

    label: str
    score: float


def delta_length(delta: torch.Tensor) -> torch.Tensor:
    """How much changed: the Euclidean length of deltas (..., D), float32 (...)."""
    length: torch.Tensor = delta.float().norm(dim=-1)
    return length


def action_directions(delta: torch.Tensor, labels: torch.Tensor, num_actions: int) -> torch.Tensor:
    """The direction of each action, (A, D) float32, from deltas (n, D) and their labels (n,); 0 without pairs."""
    members = F.one_hot(labels, num_actions).float()  # (n, A)
    return F.normalize(members.T @ F.normalize(delta.float(), dim=-1), dim=-1)


def familiarity(delta: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """How much deltas (n, D) are like those of some action with directions (A, D): in [-1, 1], float32 (n,)."""
    return (F.normalize(delta.float(), dim=-1) @ directions.float().T).amax(dim=-1)


def calibrate(lengths: torch.Tensor, familiarities: torch.Tensor, kept: float = KEPT) -> tuple[float, float]:
    """Thresholds `nothing_below` and `else_below` that keep at least the share `kept` of pairs with known actions.

    Each is the quantile (1 - kept) / 2, rounded down to a value that a pair has. So both together reject at most
    1 - kept of these pairs, and of few pairs none.

    Args:
        lengths, familiarities: (n,) each, of pairs that the model was not fitted to.
        kept: In (0, 1].

    Raises:
        ValueError: There are no pairs, or `kept` is out of range.
    """
    if not len(lengths) or len(lengths) != len(familiarities):
        raise ValueError(
            f"Thresholds need pairs with both scores; there are {len(lengths)} lengths and {len(familiarities)} "
            "familiarities."
        )
    if not 0 < kept <= 1:
        raise ValueError(f"kept={kept} must be in (0, 1].")
    place = int(len(lengths) * (1 - kept) / 2)
    nothing_below, else_below = (float(values.sort().values[place]) for values in (lengths, familiarities))
    return nothing_below, else_below


def set_thresholds(model: Any, directions: torch.Tensor, nothing_below: float, else_below: float) -> None:
    """Gives a `CDEForActionClassification` its thresholds and directions (A, D)."""
    model.config.nothing_below, model.config.else_below = nothing_below, else_below
    reserve_directions(model)
    model.classifier.directions.copy_(directions)


def drop_thresholds(model: Any) -> None:
    """Takes thresholds and directions away, if there are some."""
    if getattr(getattr(model, "config", None), "else_below", None) is None:
        return
    model.config.nothing_below = model.config.else_below = None
    del model.classifier.directions


def reserve_directions(model: nn.Module) -> None:
    """Makes room for the directions in the classifier of a model whose configuration has thresholds."""
    classifier = getattr(model, "classifier", None)
    if getattr(model.config, "else_below", None) is not None and isinstance(classifier, nn.Linear):
        classifier.register_buffer("directions", torch.zeros_like(classifier.weight, requires_grad=False))


def rejected(model: Any, delta: torch.Tensor, equal: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs a model answers by "nothing changed", and which by "something else"; (n,) bool, never both true.

    Args:
        model: Any model with a CDE configuration.
        delta: Of the pairs, (n, D).
        equal: Whether the pictures of each pair are equal, (n,) bool. None: they are not.
    """
    nothing = torch.zeros(len(delta), dtype=torch.bool, device=delta.device)
    if equal is not None:
        nothing = nothing | equal.to(delta.device)
    if model.config.nothing_below is not None:
        nothing = nothing | (delta_length(delta) < model.config.nothing_below)
    if model.config.else_below is None:
        return nothing, torch.zeros_like(nothing)
    directions = model.classifier.directions.to(delta.device)
    return nothing, ~nothing & (familiarity(delta, directions) < model.config.else_below)


def rejection(model: Any, delta: torch.Tensor, equal: bool = False) -> Rejection | None:
    """The answer to one pair with a delta (D,) that is no action; arguments otherwise as for `rejected`.

    The score of "nothing changed" is t / (t + ||delta||) with the threshold t, and 1 for equal pictures; that of
    "something else" is the logistic function of how far the familiarity is below its threshold.
    """
    nothing, other = rejected(model, delta[None], torch.tensor([equal]))
    if equal:
        return Rejection(NOTHING, 1.0)
    if bool(nothing):
        below = model.config.nothing_below
        return Rejection(NOTHING, below / (below + delta_length(delta).item()))
    if bool(other):
        known = familiarity(delta[None], model.classifier.directions.to(delta.device))
        return Rejection(ELSE, torch.sigmoid(model.config.else_below - known).item())
    return None
