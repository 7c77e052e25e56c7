"""k-nearest-neighbour classification on the features of a frozen backbone: what they show before any learning."""

import math
from typing import Annotated, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import number, one_of, whole
from .modeling_baseline import BaselineConfig, BaselineOutput, BaselinePreTrainedModel

_SMOOTHING = 1e-3  # of the votes; keeps the logarithm of an action without votes finite


class NeighboursConfig(BaselineConfig):
    """Configuration of k-nearest neighbours.

    The projector's fields and `delta_dim` of `CDEConfig` are not read: there is no projector.

    Args:
        features: What is compared: `"delta"`, the difference of the two features, or `"concatenation"`, [feature
            before, difference]. Our default.
        num_neighbours: k, at least 1. 20 is common for frozen features (Caron et al., 2021).
        bank_size: Capacity of the bank of deltas; new ones replace the oldest when it is full. Our default.
        vote_temperature: Start value of the temperature τ > 0; 0.07 as in Wu et al. (2018).
    """

    model_type = "cde-neighbours"
    features: Annotated[str, one_of("delta", "concatenation")] = "delta"
    num_neighbours: Annotated[int, whole(1)] = 20
    bank_size: Annotated[int, whole(1)] = 10_000
    vote_temperature: Annotated[float, number("a finite number above 0", lambda value: value > 0)] = 0.07


class NeighboursForActionClassification(BaselinePreTrainedModel):
    """Votes of the k most similar training pairs, by the features of a frozen backbone.

    For a pair with key q and the keys b_j of the bank, with actions y_j, the k largest s_j = cos(q, b_j) vote

        p_a = Σ_{j: y_j = a} exp(s_j / τ) / Σ_j exp(s_j / τ)        logits_a = log((p_a + ε) / (1 + A ε))

    (Wu et al., 2018), ε = 0.001 (ours) so that the cross-entropy stays finite. Without any neighbour p_a = 0.

    "Training" is one pass over the training pairs with any trainer: a forward in training mode with labels first
    classifies the batch by the bank as it is, then adds the batch to it. τ is the only learned parameter; the backbone
    is frozen and in evaluation mode. Train for one epoch: from the second on, the bank contains the pairs themselves,
    and their own copies vote. For the same reason the accuracy on the training pairs is meaningless, even after one
    epoch. The first batches are classified by few neighbours, so the training loss says little. With several processes
    the bank contains the rows of all of them.

    `states` are the features (B, T, D_b) and `delta` their differences: D is the backbone's width here.
    """

    config: NeighboursConfig
    bank: torch.Tensor
    bank_labels: torch.Tensor
    bank_count: torch.Tensor

    def __init__(self, config: NeighboursConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        del self.cde.projector
        width = self.cde.reader.feature_dim * (2 if config.features == "concatenation" else 1)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.vote_temperature)))
        self.register_buffer("bank", torch.zeros(config.bank_size, width))  # rows of length 1; empty ones are 0
        self.register_buffer("bank_labels", torch.full((config.bank_size,), -1))  # -1 for empty rows
        self.register_buffer("bank_count", torch.tensor(0))  # rows ever added
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads a saved model with its bank; see `CDEPreTrainedModel.from_pretrained`."""
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).freeze_backbone()  # loading makes all trainable
        return loaded

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies as `BaselinePreTrainedModel.forward` says; in training mode with labels fills the bank too.

        `logits` are the logarithms of the smoothed votes.
        """
        with torch.no_grad():
            encoded, encoder = self._encode(pixel_values, features, **kwargs)
        states = encoded.float()  # (B, T, D_b)
        delta = states[:, 1:] - states[:, :-1]  # (B, T-1, D_b)
        keys = delta if self.config.features == "delta" else torch.cat([states[:, :-1], delta], dim=-1)
        keys = F.normalize(keys.flatten(0, 1), dim=-1)  # (B*(T-1), width)
        logits = self._votes(keys).reshape(*delta.shape[:2], -1)  # (B, T-1, A)
        output = self._output(logits, states, labels, delta=delta, encoder=encoder)
        if self.training and labels is not None:
            self.add_to_bank(keys, labels.reshape(-1))
        return output

    def _votes(self, keys: torch.Tensor) -> torch.Tensor:
        """Logits of keys of length 1: (n, width) -> (n, A), float32; only the temperature gets a gradient."""
        with torch.autocast(device_type=keys.device.type, enabled=False):
            similarity = keys @ self.bank.float().T  # (n, bank_size)
            similarity = similarity.masked_fill(self.bank_labels < 0, -2.0)  # under every cosine
            nearest, places = similarity.topk(min(self.config.num_neighbours, self.config.bank_size), dim=1)  # (n, k)
            found = nearest > -1.5
            weights = (nearest / self.log_temperature.float().exp()).softmax(dim=1) * found  # unfound ones weigh e^-14
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
            actions = F.one_hot(self.bank_labels[places].clamp(min=0), self.num_labels).float()  # (n, k, A)
            votes = (weights.unsqueeze(-1) * actions).sum(dim=1)  # (n, A)
            smoothed: torch.Tensor = (votes + _SMOOTHING) / (1 + self.num_labels * _SMOOTHING)
            return smoothed.log()

    @torch.no_grad()
    def add_to_bank(self, keys: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds the rows of all processes; they replace the oldest ones when the bank is full.

        Keys (n, width) are of length 1, labels (n,) int64, and n is the same on all processes.
        """
        if dist.is_available() and dist.is_initialized():
            keys, labels = _of_all_processes(keys), _of_all_processes(labels)
        keys, labels = keys[-self.config.bank_size :], labels[-self.config.bank_size :]
        places = (self.bank_count + torch.arange(len(keys), device=keys.device)) % self.config.bank_size
        self.bank[places] = keys.to(self.bank.dtype)
        self.bank_labels[places] = labels
        self.bank_count += len(keys)


def _of_all_processes(rows: torch.Tensor) -> torch.Tensor:
    gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)
