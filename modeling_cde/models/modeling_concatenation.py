"""Concatenation, the plainest method that CDE is compared with."""

from typing import Annotated

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import one_of, or_none, whole
from .modeling_baseline import BaselineConfig, BaselineOutput, BaselinePreTrainedModel
from .projector_cde import full_precision


class ConcatenationConfig(BaselineConfig):
    """Configuration of the concatenation baseline: that of CDE, in global mode, and its head.

    Args:
        head_inputs: `"delta"`: the head reads [z, z_after - z]; `"z_after"`: it reads [z, z_after].
        head_hidden_dim: Width of the head's hidden layer; `None`: `delta_dim`.
    """

    model_type = "cde-concatenation"
    head_inputs: Annotated[str, one_of("delta", "z_after")] = "delta"
    head_hidden_dim: Annotated[int | None, or_none(whole(1))] = None


class ConcatenationForActionClassification(BaselinePreTrainedModel):
    """A plain classifier of the two states side by side: what CDE is without reading the delta alone.

    Unlike CDE, its head may learn what a scene looks like (state z) and not only what changed.
    """

    config: ConcatenationConfig

    def __init__(self, config: ConcatenationConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        hidden = config.head_hidden_dim or config.delta_dim
        self.head = nn.Sequential(
            nn.Linear(2 * config.delta_dim, hidden), nn.GELU(), nn.Linear(hidden, config.num_labels)
        )
        self.post_init()

    def embed_action(self, states: torch.Tensor) -> torch.Tensor:
        """The head's hidden layer, from which the action is classified: (B, T, D) -> (B, T-1, head_hidden_dim)."""
        before, after = states[:, :-1], states[:, 1:]  # (B, T-1, D) each
        second = after - before if self.config.head_inputs == "delta" else after
        return full_precision(self.head[:2], torch.cat([before, second], dim=-1))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """The head's last layer: (B, T-1, head_hidden_dim) -> (B, T-1, A)."""
        return full_precision(self.head[2], embedding)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        encoded = self.cde(pixel_values, features=features, return_dict=True, **kwargs)
        return self._output(
            self.classify(self.embed_action(encoded.states)),
            encoded.states,
            labels,
            delta=encoded.delta,
            auxiliary_loss=None if labels is None else self._auxiliary_loss(encoded.delta, labels),
            encoder=encoded,
        )

    def _auxiliary_loss(self, delta: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | None:
        """What a method adds to the cross-entropy, for deltas (B, T-1, D): here nothing."""
        return None
