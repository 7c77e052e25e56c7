"""The terms of the training loss: tensors in, named scalars out. No model is known here.

    L = cross-entropy + α_contrast · L_contrast + α_sparsity · L_sparsity

All is computed in float32 at least, also inside autocast. With several processes pass `gather`: the
contrastive term then compares the samples of all of them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from .contrastive import Gather, at_least_float32, contrastive_terms, supervised_contrastive_loss

__all__ = ["CDELoss", "TermMeans", "flatten_deltas", "sparsity_loss", "supervised_contrastive_loss"]


def sparsity_loss(delta: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
    """L1 norm of the deltas, averaged over the samples: (1/n) Σ_i ‖δ_i‖₁.

    Args:
        delta: (n, D), floating; half precision is summed in float32.
        reduction: over the D dimensions: "sum", as published, or "mean", which does not grow with D.

    Returns:
        A scalar ≥ 0 of at least float32; 0 for n = 0.

    Raises:
        ValueError: for another reduction or shape.
    """
    if delta.ndim != 2:
        raise ValueError(f"sparsity_loss: delta must have shape (n, D), got {tuple(delta.shape)}.")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"sparsity_loss: reduction must be 'sum' or 'mean', got {reduction!r}.")
    n, dimensions = delta.shape
    total = at_least_float32(delta).abs().sum()
    return total / (max(n, 1) * (dimensions if reduction == "mean" else 1))


class CDELoss(nn.Module):
    """The loss of the method as a dict of named terms.

    The terms are taken on the deltas (B, D) or, if `patch_delta` is passed, on every kept patch of every
    sample, with the sample's label on all of them. In that case the patches of one sample are positives of
    each other, no sample is without a positive as long as it keeps two patches, and the sparsity term is the
    mean over all kept patches.

    Args:
        contrastive_weight: α_contrast ≥ 0; 2.0 as published.
        sparsity_weight: α_sparsity ≥ 0; 1.0 as published.
        temperature: τ > 0 of the contrastive term; the default is ours.
        sparsity_reduction: "sum" over dimensions, as published, or "mean".
    """

    def __init__(
        self,
        contrastive_weight: float = 2.0,
        sparsity_weight: float = 1.0,
        temperature: float = 0.1,
        sparsity_reduction: str = "sum",
    ) -> None:
        super().__init__()
        self.contrastive_weight = contrastive_weight
        self.sparsity_weight = sparsity_weight
        self.temperature = temperature
        self.sparsity_reduction = sparsity_reduction

    def forward(
        self,
        cross_entropy: torch.Tensor,
        delta: torch.Tensor,
        labels: torch.Tensor,
        patch_delta: torch.Tensor | None = None,
        *,
        gather: Gather | None = None,
        sparsity_scale: float = 1.0,
    ) -> dict[str, torch.Tensor]:
        """Compute all terms.

        Args:
            cross_entropy: scalar, the model's own loss.
            delta: (B, D) or (B, T-1, D).
            labels: (B,) or (B, T-1), one action per delta.
            patch_delta: (B, k, D) or (B, T-1, k, D), the kept patches, for the loss per patch; None for the
                loss on `delta`.
            gather: see `supervised_contrastive_loss`.
            sparsity_scale: factor in [0, 1] on the sparsity weight, for a warm-up.

        Returns:
            Scalars: "cross_entropy", "contrastive" and "sparsity" without their weights, "loss" with them,
            "anchors_without_positive", the share in [0, 1] of anchors that the contrastive mean leaves out, and
            "delta_norm", the mean Euclidean norm (1/n) Σ_i ‖δ_i‖₂ ≥ 0 of the deltas that the terms are taken on,
            which tells when they collapse. A term of weight 0 is still measured, without gradient; the last two
            never have one.

        Raises:
            ValueError: if there is not one label per delta.
        """
        features, actions = flatten_deltas(delta, labels, patch_delta)
        sparsity_weight = self.sparsity_weight * sparsity_scale
        grad = torch.is_grad_enabled()
        with torch.set_grad_enabled(grad and self.contrastive_weight != 0):
            contrastive, lonely = contrastive_terms(features, actions, self.temperature, gather)
        with torch.set_grad_enabled(grad and sparsity_weight != 0):
            sparsity = sparsity_loss(features, self.sparsity_reduction)
        loss = cross_entropy
        if self.contrastive_weight != 0:
            loss = loss + self.contrastive_weight * contrastive
        if sparsity_weight != 0:
            loss = loss + sparsity_weight * sparsity
        return {
            "cross_entropy": cross_entropy,
            "contrastive": contrastive,
            "sparsity": sparsity,
            "loss": loss,
            "anchors_without_positive": lonely,
            "delta_norm": _mean_norm(features),
        }


class TermMeans:
    """Weighted means of named terms over batches.

    Kept on the terms' device, so that adding does not wait for it.
    """

    def __init__(self, sums: Mapping[str, torch.Tensor] | None = None) -> None:
        self._sums = dict(sums or {})  # name -> (2,): sum of weight · value, sum of weights

    def sums(self) -> dict[str, torch.Tensor]:
        """What has been counted; with it another one goes on."""
        return dict(self._sums)

    def add(self, terms: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor | float] | float) -> None:
        """Count scalars, each with its own weight or all with the same."""
        for name, value in terms.items():
            value, weight = value.detach(), weights[name] if isinstance(weights, Mapping) else weights
            # Made where the value is: to copy a number to a GPU would wait until it has done all it was given.
            weight = weight.to(value) if isinstance(weight, torch.Tensor) else torch.full_like(value, weight)
            pair = torch.stack([weight * value, weight])  # (2,)
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def pop(self, reduce: Callable[[torch.Tensor], torch.Tensor] = lambda sums: sums) -> dict[str, float]:
        """The means by name, 0 for a term without weight; the count starts anew.

        Args:
            reduce: sums a (terms, 2) tensor over the processes, which must all have counted the same terms.
        """
        names = list(self._sums)
        if not names:
            return {}
        totals = reduce(torch.stack([self._sums[name] for name in names]))  # (terms, 2)
        self._sums = {}
        return {
            name: total / weight if weight else 0.0
            for name, (total, weight) in zip(names, totals.tolist(), strict=True)
        }


def flatten_deltas(
    delta: torch.Tensor, labels: torch.Tensor, patch_delta: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One row per delta that takes part in the loss, and its action.

    Args:
        delta: (B, D) or (B, T-1, D).
        labels: (B,) or (B, T-1).
        patch_delta: None, or (B, k, D) or (B, T-1, k, D).

    Returns:
        (n, D) and (n,): n = number of labels, times k with patches.

    Raises:
        ValueError: if there is not one label per delta.
    """
    rows = delta.reshape(-1, delta.shape[-1])  # (B·(T-1), D)
    actions = labels.reshape(-1)  # (B·(T-1),)
    if rows.shape[0] != actions.shape[0]:
        raise ValueError(
            f"CDELoss: one label per delta is needed, got labels {tuple(labels.shape)} for delta {tuple(delta.shape)}."
        )
    if patch_delta is None:
        return rows, actions
    k, dimensions = patch_delta.shape[-2:]
    rows = patch_delta.reshape(-1, dimensions)  # (B·(T-1)·k, D)
    if rows.shape[0] != actions.shape[0] * k:
        raise ValueError(
            f"CDELoss: one label per delta is needed, got labels {tuple(labels.shape)} for patch_delta "
            f"{tuple(patch_delta.shape)}."
        )
    return rows, actions.repeat_interleave(k)  # (B·(T-1)·k,)


def _mean_norm(delta: torch.Tensor) -> torch.Tensor:
    """Mean Euclidean norm of the rows of delta (n, D), a scalar of at least float32; 0 for n = 0."""
    norms: torch.Tensor = torch.linalg.vector_norm(at_least_float32(delta.detach()), dim=1)  # (n,)
    return norms.sum() / max(len(norms), 1)
