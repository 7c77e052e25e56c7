"""The terms of the training loss: tensors in, named scalars out. No model is known here.

    L = cross-entropy + α_contrast · L_contrast + α_sparsity · L_sparsity

All is computed in float32 at least, also inside autocast. With several processes pass `gather`: the
contrastive term then compares the samples of all of them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

# (n_local, ...) -> ((n_total, ...) with gradient, index in it of the first local row, number of processes)
Gather = Callable[[torch.Tensor], tuple[torch.Tensor, int, int]]

_EPS = 1e-6  # far over the rounding noise of an encoder, far under any difference that means something


def supervised_contrastive_loss(
    delta: torch.Tensor,
    labels: torch.Tensor,
    temperature: float = 0.1,
    *,
    gather: Gather | None = None,
    eps: float = _EPS,
) -> torch.Tensor:
    """Supervised contrastive loss on cosine similarity: deltas of one action attract, those of others repel.

    For anchor i with positives P(i) = {p ≠ i : label p = label i} and s_ij = cos(δ_i, δ_j) / τ

        l_i = -1/|P(i)| · Σ_{p ∈ P(i)} log( exp s_ip / Σ_{j ≠ i} exp s_ij )

    and the loss is the mean of l_i over the anchors with P(i) ≠ ∅.

    (L_out of Khosla et al. 2020, without a factor τ). That the mean runs over the anchors that have a
    positive, and neither over all anchors nor as a sum, is our choice: the source of the method does not say.
    n equal deltas of one class give log(n - 1).

    Args:
        delta: (n, D), floating; half precision is computed in float32.
        labels: (n,), integer actions; rows with equal labels are positives of each other.
        temperature: τ > 0. The default is ours.
        gather: makes the rows of all processes out of this process's. The result is then
            (sum over local anchors) · processes / (anchors with a positive everywhere), so that the mean over
            processes, which is what DistributedDataParallel takes of the gradients, is one process's loss.
        eps: a delta of norm ≤ eps has no direction: its cosine with all others is 0, and it gets no gradient.

    Returns:
        A scalar ≥ 0 of at least float32. 0, with zero gradient, if no anchor has a positive; never NaN for
        finite input.

    Raises:
        ValueError: if the shapes do not fit or the temperature is not positive.
    """
    loss, _ = _contrastive(delta, labels, temperature, gather, eps)
    return loss


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
    total = _at_least_float32(delta).abs().sum()
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
            contrastive, lonely = _contrastive(features, actions, self.temperature, gather, _EPS)
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

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}  # name -> (2,): sum of weight · value, sum of weights

    def add(self, terms: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor | float] | float) -> None:
        """Count scalars, each with its own weight or all with the same."""
        for name, value in terms.items():
            weight = torch.as_tensor(weights[name] if isinstance(weights, Mapping) else weights).to(value.detach())
            pair = torch.stack([weight * value.detach(), weight])  # (2,)
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


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean_norm(delta: torch.Tensor) -> torch.Tensor:
    """Mean Euclidean norm of the rows of delta (n, D), a scalar of at least float32; 0 for n = 0."""
    norms: torch.Tensor = torch.linalg.vector_norm(_at_least_float32(delta.detach()), dim=1)  # (n,)
    return norms.sum() / max(len(norms), 1)


def _contrastive(
    delta: torch.Tensor, labels: torch.Tensor, temperature: float, gather: Gather | None, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`supervised_contrastive_loss`, and the share of anchors without a positive; both scalars."""
    if delta.ndim != 2 or labels.shape != delta.shape[:1]:
        raise ValueError(
            "supervised_contrastive_loss: delta must have shape (n, D) and labels (n,), got "
            f"{tuple(delta.shape)} and {tuple(labels.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"supervised_contrastive_loss: temperature must be positive, got {temperature}.")
    with torch.autocast(delta.device.type, enabled=False):  # a matrix product would fall back to half precision
        local = _directions(_at_least_float32(delta), eps)  # (n, D)
        everyone, first, processes = gather(local) if gather else (local, 0, 1)  # (N, D)
        all_labels = gather(labels)[0] if gather else labels  # (N,)
        n, total = len(local), len(everyone)
        own = torch.arange(first, first + n, device=delta.device)[:, None] == torch.arange(total, device=delta.device)
        positive = (labels[:, None] == all_labels[None, :]) & ~own  # (n, N)
        num_positives = positive.sum(1)  # (n,)

        scores = local @ everyone.T / temperature  # (n, N)
        # The smallest finite number instead of -inf: alone in a row, -inf would make the gradient NaN.
        log_denominator = scores.masked_fill(own, torch.finfo(scores.dtype).min).logsumexp(1)  # (n,)
        mean_positive = (scores * positive).sum(1) / num_positives.clamp(min=1)  # (n,)
        has_positive = num_positives > 0
        per_anchor = torch.where(has_positive, log_denominator - mean_positive, 0.0)  # (n,)

        # Counted on the gathered labels, so that no process needs another's result.
        anchors = ((all_labels[:, None] == all_labels[None, :]).sum(1) > 1).sum()  # ()
        loss = per_anchor.sum() * processes / anchors.clamp(min=1)
        return loss, 1.0 - anchors / max(total, 1)


def _directions(x: torch.Tensor, eps: float) -> torch.Tensor:
    """x (n, D) with rows of length 1, and rows of zeros, without gradient, where the norm is at most eps.

    Dividing by max(norm, eps) instead would send gradients of size 1/eps into pairs of equal images.
    """
    norm = torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True)
    has_direction = norm > eps
    safe = torch.where(has_direction, x, torch.ones_like(x))
    unit = safe / torch.linalg.vector_norm(safe, dim=1, keepdim=True)
    return torch.where(has_direction, unit, torch.zeros_like(x))
