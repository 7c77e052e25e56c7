"""The training loss: named terms, and the weight of each.

    L = cross-entropy + α_contrast · L_contrast + α_sparsity · L_sparsity

`CDETrainer(loss=...)` takes `CDELoss`, which is the default, or any other module or function of (outputs, labels) that
returns its terms by name and has their `weights`; see "Add a loss term" in docs/extend.md.

Everything is computed in float32 or better, also inside autocast.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from .contrastive import TEMPERATURE, Gather, at_least_float32, contrastive_terms, supervised_contrastive_loss
from .distributed import gather_rows

__all__ = ["CDELoss", "TermMeans", "flatten_deltas", "sparsity_loss", "supervised_contrastive_loss", "weighted_sum"]

#: Terms by name, each a scalar or one value per sample.
Loss = Callable[[Any, torch.Tensor], Mapping[str, torch.Tensor]]


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
    """The loss of the method: a model's outputs and labels in, a dict of named terms out.

    The contrastive and the sparsity term are taken on the deltas or, with `patch_loss="per_patch"` and a model that
    selects patches, on every selected patch, which takes the label of its sample. The patches of one sample are then
    positives of each other, so that no sample with two patches is without a positive, and the sparsity term is the mean
    over all selected patches.

    In training mode the contrastive term compares the samples of all processes, in evaluation mode those of this one.

    Args:
        contrastive_weight: α_contrast ≥ 0; 2.0 as published.
        sparsity_weight: α_sparsity ≥ 0; 1.0 as published.
        temperature: τ > 0 of the contrastive term; the default is ours.
        sparsity_reduction: "sum" over dimensions, as published, or "mean".
        patch_loss: "per_patch" or "aggregated", as in the model's configuration.
        gather: see `supervised_contrastive_loss`; None compares the samples of this process alone.

    Attributes:
        weights: the weight of each term in the loss. What `forward` returns besides is logged and not minimised.
    """

    def __init__(
        self,
        contrastive_weight: float = 2.0,
        sparsity_weight: float = 1.0,
        temperature: float = TEMPERATURE,
        sparsity_reduction: str = "sum",
        patch_loss: Literal["per_patch", "aggregated"] = "per_patch",
        *,
        gather: Gather | None = gather_rows,
    ) -> None:
        super().__init__()
        own = {"contrastive": contrastive_weight, "sparsity": sparsity_weight}
        self.weights: dict[str, float] = {"cross_entropy": 1.0, "auxiliary": 1.0, **own}
        self.temperature = temperature
        self.sparsity_reduction = sparsity_reduction
        self.patch_loss = patch_loss
        self.gather = gather

    @classmethod
    def from_args(cls, args: Any, config: Any = None, **options: Any) -> "CDELoss":
        """The loss that `CDETrainingArguments` ask for, and a model's configuration by its `patch_loss`.

        Further arguments are those of a subclass.
        """
        return cls(
            contrastive_weight=args.contrastive_weight,
            sparsity_weight=args.sparsity_weight,
            temperature=args.temperature,
            sparsity_reduction=args.sparsity_reduction,
            patch_loss=getattr(config, "patch_loss", "per_patch"),
            **options,
        )

    def forward(self, outputs: Any, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute all terms.

        Args:
            outputs: a model's outputs, or a dict: `loss`, `delta` (B, D) or (B, T-1, D), and optionally `patch_delta`
                (B, k, D) or (B, T-1, k, D) and `auxiliary_loss`, a part of `loss`.
            labels: (B,) or (B, T-1), one action per delta.

        Returns:
            Scalars without their weights: "cross_entropy", "auxiliary" if the model has such a term, "contrastive" and
            "sparsity". A term of weight 0 is measured without gradient. Two measures, which never have one:
            "anchors_without_positive", the share in [0, 1] of anchors that the contrastive mean leaves out, and
            "delta_norm", the mean Euclidean norm (1/n) Σ_i ‖δ_i‖₂ ≥ 0 of the deltas that the terms are taken on, which
            shows when they collapse.

        Raises:
            ValueError: if there is not one label per delta, or the model gives no loss, or no delta for terms that have
                a weight.
        """
        own_loss = outputs.get("loss")
        if own_loss is None:
            raise ValueError("CDELoss: the model's outputs have no `loss`; pass the model `labels`.")
        own_loss = own_loss.mean()  # a vector under DataParallel
        terms = {"cross_entropy": own_loss}
        if outputs.get("auxiliary_loss") is not None:
            auxiliary = outputs["auxiliary_loss"].mean().to(own_loss)
            terms = {"cross_entropy": own_loss - auxiliary, "auxiliary": auxiliary}
        contrastive_weight, sparsity_weight = self.weights["contrastive"], self.weights["sparsity"]
        if outputs.get("delta") is None:
            if contrastive_weight or sparsity_weight:
                raise ValueError(
                    "CDELoss: the model's outputs have no `delta`; set contrastive_weight=0 and sparsity_weight=0."
                )
            return terms
        patches = outputs.get("patch_delta") if self.patch_loss == "per_patch" else None
        features, actions = flatten_deltas(outputs["delta"], labels, patches)
        grad = torch.is_grad_enabled()
        with torch.set_grad_enabled(grad and contrastive_weight != 0):
            gather = self.gather if self.training else None
            contrastive, lonely = contrastive_terms(features, actions, self.temperature, gather)
        with torch.set_grad_enabled(grad and sparsity_weight != 0):
            sparsity = sparsity_loss(features, self.sparsity_reduction)
        norms: torch.Tensor = torch.linalg.vector_norm(at_least_float32(features.detach()), dim=1)  # (n,)
        measures = {"anchors_without_positive": lonely, "delta_norm": norms.sum() / max(len(norms), 1)}
        return {**terms, "contrastive": contrastive, "sparsity": sparsity, **measures}

    def counts(self, terms: Mapping[str, torch.Tensor], samples: int) -> dict[str, torch.Tensor]:
        """Of how many each term of a batch is the mean, for those that are not the mean of all `samples`."""
        # A sample is one anchor, or k with patches: the same number in every batch.
        return {"contrastive": samples * (1 - terms["anchors_without_positive"])} if "contrastive" in terms else {}


def named_terms(returned: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a loss returned as scalars by name.

    Raises:
        ValueError: if it is not a mapping, or takes a name that the trainer logs.
    """
    if not isinstance(returned, Mapping):
        raise ValueError(
            f"CDETrainer: a loss must return its terms by name, such as {{'cross_entropy': outputs.loss}}; got "
            f"{type(returned).__name__}."
        )
    if "loss" in returned:
        raise ValueError(
            "CDETrainer: 'loss' is the name of the weighted sum, which the trainer computes; return its terms alone."
        )
    return {name: term.mean() if term.ndim else term for name, term in returned.items()}


def weighted_sum(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Σ weight · term over scalars, in the order of the terms; a term of weight 0 has no part in it.

    Raises:
        ValueError: if a term that would be trained has no weight, or no term has one.
    """
    total = None
    for name, term in terms.items():
        if name not in weights and term.requires_grad:
            raise ValueError(
                f"CDETrainer: the term {name!r} has a gradient and no weight: add it to the loss's `weights`, or "
                "detach it to log it alone."
            )
        if weight := weights.get(name, 0.0):
            part = term if weight == 1 else weight * term
            total = part if total is None else total + part
    if total is None:
        raise ValueError(f"CDETrainer: no term of the loss has a weight over 0: {', '.join(terms) or 'it has none'}.")
    return total


class TermMeans:
    """Weighted means of named terms over batches.

    Kept on the terms' device, so that adding does not wait for it.
    """

    def __init__(self, sums: Mapping[str, torch.Tensor] | None = None) -> None:
        self._sums = dict(sums or {})  # name -> (2,): sum of weight · value, sum of weights

    def sums(self) -> dict[str, torch.Tensor]:
        """What has been counted; another `TermMeans` can go on from it."""
        return dict(self._sums)

    def add(self, terms: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor | float] | float) -> None:
        """Count scalars, each with its own weight or all with the same."""
        for name, value in terms.items():
            value = at_least_float32(value.detach())
            weight = weights[name] if isinstance(weights, Mapping) else weights
            # Made where the value is: to copy a number to a GPU would wait until it has done all it was given.
            weight = weight.to(value) if isinstance(weight, torch.Tensor) else torch.full_like(value, weight)
            pair = torch.stack([weight * value, weight])  # (2,)
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def pop(self, reduce: Callable[[torch.Tensor], torch.Tensor] = lambda sums: sums) -> dict[str, float]:
        """The means by name, 0 for a term without weight; the count starts anew.

        `reduce` sums a (terms, 2) tensor over the processes, which must all have counted the same terms.
        """
        sums, self._sums = self._sums, {}
        if not sums:
            return {}
        totals = reduce(torch.stack(list(sums.values()))).tolist()  # (terms, 2)
        return {name: total / weight if weight else 0.0 for name, (total, weight) in zip(sums, totals, strict=True)}


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
    actions = labels.reshape(-1)  # (B·(T-1),)
    k, dimensions = (1, delta.shape[-1]) if patch_delta is None else patch_delta.shape[-2:]
    for name, given, per_label in (("delta", delta, 1), ("patch_delta", patch_delta, k)):
        if given is not None and given.numel() != len(actions) * per_label * given.shape[-1]:
            raise ValueError(
                f"CDELoss: one label per delta is needed, got labels {tuple(labels.shape)} for {name} "
                f"{tuple(given.shape)}."
            )
    rows = (delta if patch_delta is None else patch_delta).reshape(-1, dimensions)  # (B·(T-1)·k, D)
    return rows, actions if patch_delta is None else actions.repeat_interleave(k)
