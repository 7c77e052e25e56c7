"""CDE with a classifier for actions that look different on different objects: a door turns, a drawer comes out.

Both change nothing but the classifier: states and deltas are those of CDE in global mode.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import number, one_of, whole
from .limits_cde import WIDEST
from .modeling_baseline import BaselineConfig, BaselineOutput, BaselinePreTrainedModel
from .projector_cde import full_precision


class PrototypesConfig(BaselineConfig):
    """Configuration of CDE with several prototypes per action: that of CDE, in global mode, and its classifier.

    Args:
        prototypes_per_action: Number k of prototypes of each action; 1 is CDE.
        prototype_score: How an action's score comes from those of its prototypes: `"logsumexp"`, to which all
            contribute and which gives all a gradient, or `"max"`, the best one alone.
    """

    model_type = "cde-prototypes"
    prototypes_per_action: Annotated[int, whole(1, WIDEST)] = 4
    prototype_score: Annotated[str, one_of("logsumexp", "max")] = "logsumexp"


class PrototypesForActionClassification(BaselinePreTrainedModel):
    """Several learned prototypes per action: score(a) = logsumexp or max over j of ⟨w_aj, δ⟩ + b_aj.

    An action that can come about in several ways may learn one for each, as CDE's only one lies between them.
    """

    config: PrototypesConfig

    def __init__(self, config: PrototypesConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        self.prototypes = nn.Linear(config.delta_dim, config.num_labels * config.prototypes_per_action)
        self.post_init()

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
        scores = full_precision(self.prototypes, encoded.delta)  # (B, T-1, A*k)
        scores = scores.reshape(*scores.shape[:2], self.num_labels, -1)  # (B, T-1, A, k)
        logits = scores.logsumexp(dim=-1) if self.config.prototype_score == "logsumexp" else scores.amax(dim=-1)
        return self._output(logits, encoded.states, labels, delta=encoded.delta, encoder=encoded)


class LowRankConfig(BaselineConfig):
    """Configuration of CDE with deltas that depend on the object: that of CDE, in global mode, and its classifier.

    Args:
        context_rank: Number of dimensions in which an action's mean delta may depend on the state before.
        context_weight: Weight of the penalty on how far the state moves it.
    """

    model_type = "cde-low-rank"
    context_rank: Annotated[int, whole(1, WIDEST)] = 4
    context_weight: Annotated[float, number("at least 0", lambda value: 0 <= value < float("inf"))] = 0.1


class ConditionedMeans(nn.Module):
    """The mean delta of every action, given the state before: μ_a + U_a V c(z), (..., D) -> (..., A, D).

    c is the layer-normed state, so that its length does not matter; V (r, D) is shared by the actions, and U_a (D, r)
    starts at 0: the means depend on nothing until that helps.
    """

    def __init__(self, config: LowRankConfig) -> None:
        super().__init__()
        self.means = nn.Linear(config.delta_dim, config.num_labels, bias=False)  # its rows are the μ_a
        self.read = nn.Linear(config.delta_dim, config.context_rank, bias=False)  # V
        self.moves = nn.Linear(config.context_rank, config.num_labels * config.delta_dim, bias=False)  # all U_a

    def forward(self, before: torch.Tensor) -> torch.Tensor:
        context = self.read(F.layer_norm(before, before.shape[-1:]))  # (..., r)
        means = self.means.weight  # (A, D)
        result: torch.Tensor = self.moves(context).reshape(*context.shape[:-1], *means.shape) + means
        return result


class LowRankForActionClassification(BaselinePreTrainedModel):
    """The action whose mean delta, given the state before, is nearest: score(a) = -½‖δ - μ_a - U_a V c(z)‖².

    Up to -½‖δ‖², which all actions share. The penalty is context_weight times the mean of ‖U_a V c(z)‖² over the pairs
    and actions. Without the dependence it is a CDE whose classifier has its biases tied to its weights.
    """

    config: LowRankConfig

    def __init__(self, config: LowRankConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        self.conditioned = ConditionedMeans(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        conditioned = getattr(self, "conditioned", None)
        if conditioned is not None and module is conditioned.moves:
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)

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
        means = full_precision(self.conditioned, encoded.states[:, :-1])  # (B, T-1, A, D)
        delta = encoded.delta.unsqueeze(-2)  # (B, T-1, 1, D)
        moved = means - self.conditioned.means.weight  # (B, T-1, A, D)
        moved = moved.to(torch.promote_types(moved.dtype, torch.float32)).square().sum(dim=-1)  # (B, T-1, A)
        return self._output(
            (means * (delta - means / 2)).sum(dim=-1),
            encoded.states,
            labels,
            delta=encoded.delta,
            auxiliary_loss=self.config.context_weight * moved.mean(),
            encoder=encoded,
        )
