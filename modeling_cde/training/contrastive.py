"""The supervised contrastive term: the formula for one batch of deltas, all at once or in chunks of anchors.

All is computed in float32 at least, also inside autocast.

Notable:
- Up to 2^21 similarities (1,448 deltas against each other) are held at once, in autograd's own operations. Of more, a
  chunk of anchors is taken at a time and its gradient with it, so that memory grows with the number of deltas and not
  with its square. Both forms give the same numbers but for rounding.
"""

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Gather", "at_least_float32", "contrastive_terms", "supervised_contrastive_loss"]

# (n_local, ...) -> ((n_total, ...) with gradient, index in it of the first local row, number of processes)
Gather = Callable[[torch.Tensor], tuple[torch.Tensor, int, int]]

TEMPERATURE = 0.1  # the default everywhere; ours, because the paper states none

_EPS = 1e-6  # far over the rounding noise of an encoder, far under any difference that means something
_SCORES = 2**21  # as many similarities as stay in a processor's cache: 8 MB in float32
_ANCHORS = 128  # at the least in a chunk: a matrix product of fewer rows is slow


def supervised_contrastive_loss(
    delta: torch.Tensor,
    labels: torch.Tensor,
    temperature: float = TEMPERATURE,
    *,
    gather: Gather | None = None,
    eps: float = _EPS,
    chunk: int | None = None,
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
        gather: makes the rows of all processes out of this process's, (N, D). The result is then
            (sum over local anchors) · processes / (anchors with a positive everywhere), so that the mean over
            processes, which is what DistributedDataParallel takes of the gradients, is one process's loss.
        eps: a delta of norm ≤ eps has no direction: its cosine with all others is 0, and it gets no gradient.
        chunk: anchors, of the n, that are compared with all N deltas at a time; n or more: all at once. Default: all
            while n·N ≤ 2^21, else 2^21 / N, at least 128. In chunks, the gradient is made with the loss, and has no
            gradient itself.

    Returns:
        A scalar ≥ 0 of at least float32. 0, with zero gradient, if no anchor has a positive; never NaN for
        finite input.

    Raises:
        ValueError: if the shapes do not fit, or the temperature or the chunk is not positive.
    """
    loss, _ = contrastive_terms(delta, labels, temperature, gather, eps, chunk)
    return loss


def contrastive_terms(
    delta: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    gather: Gather | None = None,
    eps: float = _EPS,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`supervised_contrastive_loss`, and the share in [0, 1] of anchors without a positive; both scalars."""
    if delta.ndim != 2 or labels.shape != delta.shape[:1]:
        raise ValueError(
            "supervised_contrastive_loss: delta must have shape (n, D) and labels (n,), got "
            f"{tuple(delta.shape)} and {tuple(labels.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"supervised_contrastive_loss: temperature must be positive, got {temperature}.")
    if chunk is not None and chunk < 1:
        raise ValueError(f"supervised_contrastive_loss: chunk must be 1 or more, got {chunk}.")
    with torch.autocast(delta.device.type, enabled=False):  # a matrix product would fall back to half precision
        local = _directions(at_least_float32(delta), eps)  # (n, D)
        everyone, first, processes = gather(local) if gather else (local, 0, 1)  # (N, D)
        all_labels = gather(labels)[0] if gather else labels  # (N,)
        n, total = len(local), len(everyone)
        if chunk is None:
            chunk = n if n * total <= _SCORES else max(_SCORES // total, _ANCHORS)
        if chunk >= n:
            anchors_loss = _all_at_once(local, everyone, labels, all_labels, first, temperature)
        else:
            # Views, since torch.compile refuses one tensor as two arguments, which they are where nothing is gathered.
            all_rows, all_actions = everyone.view_as(everyone), all_labels.view_as(all_labels)
            arguments = (local, all_rows, labels, all_actions, first, temperature, chunk)
            anchors_loss = _InChunks.apply(*arguments)  # type: ignore[no-untyped-call]
        # Counted on the gathered labels, so that no process needs another's result.
        anchors = (_count_equal(all_labels, all_labels) > 1).sum()  # ()
        return anchors_loss * processes / anchors.clamp(min=1), 1.0 - anchors / max(total, 1)


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """x, in float32 if it is of half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _directions(x: torch.Tensor, eps: float) -> torch.Tensor:
    """x (n, D) with rows of length 1, and rows of zeros, without gradient, where the norm is at most eps.

    Dividing by max(norm, eps) instead would send gradients of size 1/eps into pairs of equal images.
    """
    norm = torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True)
    has_direction = norm > eps
    safe = torch.where(has_direction, x, torch.ones_like(x))
    unit = safe / torch.linalg.vector_norm(safe, dim=1, keepdim=True)
    return torch.where(has_direction, unit, torch.zeros_like(x))


def _count_equal(labels: torch.Tensor, all_labels: torch.Tensor) -> torch.Tensor:
    """How many of all_labels (N,) equal each label, (n,); by sorting, so that nothing has n·N elements."""
    ordered, wanted = all_labels.sort().values, labels.contiguous()
    return torch.searchsorted(ordered, wanted, right=True) - torch.searchsorted(ordered, wanted)


def _all_at_once(
    local: torch.Tensor,
    everyone: torch.Tensor,
    labels: torch.Tensor,
    all_labels: torch.Tensor,
    first: int,
    temperature: float,
) -> torch.Tensor:
    """Σ l_i over the anchors, directions `local` (n, D), that have a positive in `everyone` (N, D).

    Row first + i of `everyone` is anchor i; their labels are (n,) and (N,).
    """
    n, total = len(local), len(everyone)
    own = torch.arange(first, first + n, device=local.device)[:, None] == torch.arange(total, device=local.device)
    positive = (labels[:, None] == all_labels[None, :]) & ~own  # (n, N)
    num_positives = positive.sum(1)  # (n,)

    scores = local @ everyone.T / temperature  # (n, N)
    # The smallest finite number instead of -inf: alone in a row, -inf would make the gradient NaN.
    log_denominator = scores.masked_fill(own, torch.finfo(scores.dtype).min).logsumexp(1)  # (n,)
    mean_positive = (scores * positive).sum(1) / num_positives.clamp(min=1)  # (n,)
    has_positive = num_positives > 0
    return torch.where(has_positive, log_denominator - mean_positive, 0.0).sum()


class _InChunks(torch.autograd.Function):
    """`_all_at_once`, holding `chunk` rows of the (n, N) similarities at a time.

    With p_ij the softmax of s_i over j ≠ i, and q_ij = 1/|P(i)| for j ∈ P(i), else 0,

        l_i = -Σ_j q_ij log p_ij,    ∂l_i/∂s_ij = p_ij - q_ij,    s_ij = local_i · everyone_j / τ

    so the gradient of a chunk is two more matrix products with what is there anyway. It is taken at once and kept,
    (n, D) and (N, D), where it is needed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        local: torch.Tensor,
        everyone: torch.Tensor,
        labels: torch.Tensor,
        all_labels: torch.Tensor,
        first: int,
        temperature: float,
        chunk: int,
    ) -> torch.Tensor:
        num_positives = _count_equal(labels, all_labels) - 1  # (n,)
        has_positive = num_positives > 0
        loss = local.new_zeros(())
        with_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        if with_gradient:
            local_gradient, gradient = torch.zeros_like(local), torch.zeros_like(everyone)  # (n, D), (N, D)
        for start in range(0, len(local), chunk):
            rows = slice(start, start + chunk)
            scores = (local[rows] / temperature) @ everyone.T  # (c, N)
            scores.diagonal(first + start).fill_(torch.finfo(scores.dtype).min)  # an anchor is not compared with itself
            log_p = scores.log_softmax(1)  # (c, N)
            positive = labels[rows, None] == all_labels
            positive.diagonal(first + start).fill_(False)
            q = positive / num_positives[rows, None].clamp(min=1).to(scores.dtype)  # (c, N)
            counts = has_positive[rows]  # (c,)
            loss -= torch.where(counts, (log_p * q).sum(1), 0.0).sum()
            if with_gradient:
                difference = log_p.exp_().sub_(q)  # (c, N)
                weights = counts[:, None].to(scores.dtype) / temperature  # (c, 1)
                local_gradient[rows] = (difference @ everyone) * weights
                gradient.addmm_(difference.T, local[rows] * weights)
        if with_gradient:
            ctx.save_for_backward(local_gradient, gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # As far as autograd knows the kept gradients are constants: it would give a wrong second derivative.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "supervised_contrastive_loss: in chunks the gradient has no gradient; for create_graph=True pass "
                f"chunk={len(ctx.saved_tensors[0])}."
            )
        local_gradient, gradient = ctx.saved_tensors
        return outer * local_gradient, outer * gradient, None, None, None, None, None
