"""What the models return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class CDEModelOutput(ModelOutput):  # type: ignore[misc]
    """States and deltas of a batch of clips.

    Attributes:
        delta: What happened from each frame to the next, (B, T-1, D). Patch mode: mean of `patch_delta` over k.
        states: The projected frames, (B, T, D). Patch mode: mean over all patches.
        patch_delta: Patch mode: the k patch deltas of largest norm, in falling order, (B, T-1, k, D).
        patch_indices: Patch mode: their places in the row-major patch grid, (B, T-1, k), int64.
        patch_weights: `pooling="change"`: the weight of each patch, (B, N), which sums to 1; a mean over the layers.
        hidden_states: On request: the backbone's hidden states, each of B*T images.
        attentions: On request: the backbone's attention maps, each (B*T, heads, tokens, tokens).
    """

    delta: torch.Tensor | None = None
    states: torch.Tensor | None = None
    patch_delta: torch.Tensor | None = None
    patch_indices: torch.Tensor | None = None
    patch_weights: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class CDEActionClassifierOutput(ModelOutput):  # type: ignore[misc]
    """Actions, states and deltas of a batch of clips; for the other attributes see `CDEModelOutput`.

    Attributes:
        loss: Cross-entropy, a float32 scalar; only with `labels`.
        logits: Action scores, (B, A) for pairs (T = 2), else (B, T-1, A).
        patch_logits: Patch mode: the action scores of every kept patch, (B, T-1, k, A).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    delta: torch.Tensor | None = None
    states: torch.Tensor | None = None
    patch_delta: torch.Tensor | None = None
    patch_indices: torch.Tensor | None = None
    patch_weights: torch.Tensor | None = None
    patch_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
