"""The two methods of Causal Triplet: a plain classifier of two states, and one term more against spurious correlations.

    ICM   an adversary must not be able to read the object from what the action is classified from
    SMS   each action may move its own block of the state only

Both from Liu et al., "Causal Triplet", CLeaR 2023. Its public code sweeps the weight of either term over orders of
magnitude and names no best one, so the defaults here are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import NOT_NEGATIVE, Rule, one_of, or_none, whole
from .modeling_baseline import BaselineOutput
from .modeling_cde import full_precision
from .modeling_concatenation import ConcatenationConfig, ConcatenationForActionClassification


class ICMConfig(ConcatenationConfig):
    """Configuration of ICM: that of concatenation, and its critic.

    Args:
        backbone_config: See `CDEConfig`.
        num_objects: Number of object classes of the data set. Has to be given for a model.
        critic_weight: Factor λ on the critic's reversed gradient, >= 0. Our default; the public code of the
            benchmark sweeps 0.01 to 0.5.
        critic_hidden_dim: Width of the critic's hidden layer; `None`: that of its input, as in the benchmark's code.
        critic_inputs: What must not tell the object: `"action"`, the hidden layer that the action is classified
            from (as in the benchmark's scripts); `"delta"`; or `"states"`, each state by itself.
        **kwargs: See `ConcatenationConfig`.

    Raises:
        ValueError: A value is out of range.
    """

    model_type = "cde-icm"
    _rules: ClassVar[dict[str, Rule]] = {
        **ConcatenationConfig._rules,
        "num_objects": or_none(whole(1)),
        "critic_hidden_dim": or_none(whole(1)),
        "critic_weight": NOT_NEGATIVE,
        "critic_inputs": one_of("action", "delta", "states"),
    }

    def __init__(
        self,
        backbone_config: Any = None,
        *,
        num_objects: int | None = None,
        critic_weight: float = 0.1,
        critic_hidden_dim: int | None = None,
        critic_inputs: str = "action",
        **kwargs: Any,
    ) -> None:
        self.num_objects = num_objects
        self.critic_weight = critic_weight
        self.critic_hidden_dim = critic_hidden_dim
        self.critic_inputs = critic_inputs
        super().__init__(backbone_config, **kwargs)


class ICMForActionClassification(ConcatenationForActionClassification):
    """Independent causal mechanisms: what an action is, is to tell nothing of the object that it is done to.

    A critic classifies the object; its gradient reaches the model with the sign changed (Ganin et al., 2016):

        critic:  minimises  C = cross-entropy(critic(e), object)
        model:   minimises  cross-entropy(action) - λ · C

    Both in one backward pass, where the benchmark's code takes a step of each in turn with two optimizers. `loss` is
    cross-entropy + C, so its value holds C with the weight 1: λ weighs the gradient, and the critic, which has to
    keep up with the model, learns at full speed whatever λ is. A critic that reads nothing has a C equal to the entropy
    of the training pairs' objects (the logarithm of their number where all are equally frequent); above it the model
    misleads the critic, which can go on without a bound. λ is constant, as in the benchmark's code.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.

    Raises:
        ValueError: `config.num_objects` is not given.
    """

    config: ICMConfig
    config_class = ICMConfig
    extra_inputs = ("objects",)

    def __init__(self, config: ICMConfig, backbone: PreTrainedModel | None = None) -> None:
        if config.num_objects is None:
            raise ValueError("ICMConfig.num_objects is not given: say how many object classes the data set has.")
        super().__init__(config, backbone)
        width = (config.head_hidden_dim or config.delta_dim) if config.critic_inputs == "action" else config.delta_dim
        hidden = config.critic_hidden_dim or width
        self.critic = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, config.num_objects))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        objects: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies as `BaselinePreTrainedModel.forward` says; `auxiliary_loss` is the critic's cross-entropy C.

        Args:
            objects: Object class of each clip, int64 in [0, num_objects), (B,). Only the critic reads it: without it
                there is no critic term, and the logits are the same.

        Raises:
            ValueError: The number of objects differs from the number of clips.
        """
        encoded = self.cde(pixel_values, features=features, return_dict=True, **kwargs)
        embedding = self.embed_action(encoded.states)  # (B, T-1, head_hidden_dim)
        critic_loss = None
        if objects is not None and labels is not None:
            critic_loss = self._critic_loss(embedding, encoded.states, objects)
        return self._output(
            self.classify(embedding),
            encoded.states,
            labels,
            delta=encoded.delta,
            auxiliary_loss=critic_loss,
            encoder=encoded,
        )

    def _critic_loss(self, embedding: torch.Tensor, states: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """The critic's mean cross-entropy in float32, with the gradient of what it reads reversed."""
        if objects.shape != states.shape[:1]:
            raise ValueError(
                f"objects must have the shape {tuple(states.shape[:1])}, one object class for each clip, not "
                f"{tuple(objects.shape)}."
            )
        read = {"action": embedding, "delta": states[:, 1:] - states[:, :-1], "states": states}
        inputs = reverse_gradient(read[self.config.critic_inputs], self.config.critic_weight)  # (B, S, width)
        scores = full_precision(self.critic, inputs)  # (B, S, num_objects)
        targets = objects.unsqueeze(1).expand(scores.shape[:2])  # (B, S)
        return F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten())


class SMSConfig(ConcatenationConfig):
    """Configuration of SMS: that of concatenation, and the blocks of the state.

    Args:
        backbone_config: See `CDEConfig`.
        action_blocks: Block of each action id, whole numbers 0, 1, ... K-1 of which each is used; actions that undo
            each other share one. Has to be given for a model.
        block_weight: Weight of the block term, >= 0. Our default; the public code of the benchmark sweeps 0.001 to 1.
        **kwargs: See `ConcatenationConfig`.

    Raises:
        ValueError: A value is out of range, or the blocks do not fit the actions or `delta_dim`.
    """

    model_type = "cde-sms"
    _rules: ClassVar[dict[str, Rule]] = {**ConcatenationConfig._rules, "block_weight": NOT_NEGATIVE}

    def __init__(
        self,
        backbone_config: Any = None,
        *,
        action_blocks: Sequence[int] | None = None,
        block_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.action_blocks = list(action_blocks) if isinstance(action_blocks, Sequence) else action_blocks
        self.block_weight = block_weight
        super().__init__(backbone_config, **kwargs)

    def check(self) -> None:
        super().check()
        blocks = self.action_blocks
        if blocks is None:
            return
        if not isinstance(blocks, list) or any(type(block) is not int for block in blocks):
            raise ValueError(f"SMSConfig.action_blocks must be whole numbers, one for each action, not {blocks!r}.")
        if len(blocks) != self.num_labels:
            raise ValueError(
                f"SMSConfig.action_blocks has {len(blocks)} blocks for {self.num_labels} actions: give one for each."
            )
        if sorted(set(blocks)) != list(range(len(set(blocks)))):
            raise ValueError(f"SMSConfig.action_blocks must use each of 0, 1, ... without a gap, not {blocks!r}.")
        if len(set(blocks)) > self.delta_dim:
            raise ValueError(
                f"SMSConfig.action_blocks names {len(set(blocks))} blocks, more than delta_dim={self.delta_dim}."
            )


class SMSForActionClassification(ConcatenationForActionClassification):
    """Sparse mechanism shifts: an action is to move its own block of the state and leave the others as they are.

    The D dimensions are divided into K blocks of D // K dimensions, the last with the rest too. With m_a the 0/1 mask
    of the block of action a

        auxiliary loss = weight · mean over samples and dimensions of ((1 - m_a) · (z_after - z))²

    as in the benchmark's public code; the D dimensions of the mean include those of the own block, which count as 0.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.

    Raises:
        ValueError: `config.action_blocks` is not given.
    """

    config: SMSConfig
    config_class = SMSConfig

    def __init__(self, config: SMSConfig, backbone: PreTrainedModel | None = None) -> None:
        if config.action_blocks is None:
            raise ValueError("SMSConfig.action_blocks is not given: say which block each action moves.")
        super().__init__(config, backbone)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies as `BaselinePreTrainedModel.forward` says; `auxiliary_loss` is the weighted block term."""
        encoded = self.cde(pixel_values, features=features, return_dict=True, **kwargs)
        return self._output(
            self.classify(self.embed_action(encoded.states)),
            encoded.states,
            labels,
            delta=encoded.delta,
            auxiliary_loss=None if labels is None else self._block_loss(encoded.delta, labels),
            encoder=encoded,
        )

    def _block_loss(self, delta: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The weighted block term of deltas (B, T-1, D), a scalar of at least float32."""
        if labels.numel() != delta.shape[0] * delta.shape[1]:
            raise ValueError(
                f"labels must be one action for each delta, not {tuple(labels.shape)} for {tuple(delta.shape)}."
            )
        actions = torch.tensor(self.config.action_blocks, device=delta.device)  # (A,)
        own = block_of_dimensions(delta.shape[-1], int(actions.max()) + 1).to(delta.device)  # (D,)
        others = actions[labels].reshape(*delta.shape[:2], 1) != own  # (B, T-1, D)
        wide = delta.to(torch.promote_types(delta.dtype, torch.float32))
        term: torch.Tensor = self.config.block_weight * (wide * others).square().mean()
        return term


def block_of_dimensions(dimensions: int, blocks: int) -> torch.Tensor:
    """The block of each dimension, (D,) int64: D // K dimensions each, the last block with the rest too."""
    return (torch.arange(dimensions) // (dimensions // blocks)).clamp(max=blocks - 1)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: float) -> torch.Tensor:
        ctx.weight = weight
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None]:
        return -ctx.weight * gradients[0], None


def reverse_gradient(inputs: torch.Tensor, weight: float) -> torch.Tensor:
    """The inputs as they are; the gradient through them times -weight (Ganin et al., 2016)."""
    reversed_inputs: torch.Tensor = _ReverseGradient.apply(inputs, weight)  # type: ignore[no-untyped-call]
    return reversed_inputs
