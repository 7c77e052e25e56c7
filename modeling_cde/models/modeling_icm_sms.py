"""The two methods of Causal Triplet: a plain classifier of two states with a term against spurious correlations.

    ICM   an adversary must not be able to read the object from what the action is classified from
    SMS   each action may only move its own block of the state

Both are from Liu et al., "Causal Triplet", CLeaR 2023. Its public code sweeps the weight of either term over orders of
magnitude without naming a best one, so the defaults here are ours.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import NOT_NEGATIVE, one_of, or_none, whole
from .modeling_baseline import BaselineOutput
from .modeling_concatenation import ConcatenationConfig, ConcatenationForActionClassification
from .projector_cde import full_precision


class ICMConfig(ConcatenationConfig):
    """Configuration of ICM: that of concatenation, and its critic.

    Args:
        num_objects: Number of object classes of the data set. Required for a model.
        critic_weight: Factor λ on the critic's reversed gradient, >= 0. Our default; the public code of the
            benchmark sweeps 0.01 to 0.5.
        critic_hidden_dim: Width of the critic's hidden layer; `None`: that of its input, as in the benchmark's code.
        critic_inputs: What must not reveal the object: `"action"`, the hidden layer that the action is classified from
            (as in the benchmark's scripts); `"delta"`; or `"states"`, each state by itself.
    """

    model_type = "cde-icm"
    num_objects: Annotated[int | None, or_none(whole(1))] = None
    critic_weight: Annotated[float, NOT_NEGATIVE] = 0.1
    critic_hidden_dim: Annotated[int | None, or_none(whole(1))] = None
    critic_inputs: Annotated[str, one_of("action", "delta", "states")] = "action"


class ICMForActionClassification(ConcatenationForActionClassification):
    """Independent causal mechanisms: the representation of an action must not reveal its object.

    A critic classifies the object; its gradient reaches the model with the sign changed (Ganin et al., 2016):

        critic:  minimises  C = cross-entropy(critic(e), object)
        model:   minimises  cross-entropy(action) - λ · C

    Both happen in one backward pass; the benchmark's code alternates steps of two optimizers. `loss` is
    cross-entropy + C, with the weight 1 for C: λ weighs the gradient, and the critic, which has to keep up with the
    model, learns at full speed whatever λ is. A critic that can read nothing has a C equal to the entropy of the
    training pairs' objects (the logarithm of their number if all are equally frequent); above that value the model
    misleads the critic, which has no bound. λ is constant, as in the benchmark's code.

    Raises:
        ValueError: `config.num_objects` is missing.
    """

    config: ICMConfig
    extra_inputs = ("objects",)

    def __init__(self, config: ICMConfig, backbone: PreTrainedModel | None = None) -> None:
        if config.num_objects is None:
            raise ValueError("ICMConfig.num_objects is missing: give the number of object classes of the data set.")
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
        """Returns the critic's mean cross-entropy in float32; the gradient of its inputs is reversed."""
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
        action_blocks: Block of each action id, whole numbers 0, 1, ... K-1 that are all used; actions that undo each
            other share a block. Required for a model.
        block_weight: Weight of the block term, >= 0. Our default; the public code of the benchmark sweeps 0.001 to 1.

    Raises:
        ValueError: A value is out of range, or the blocks do not fit the actions or `delta_dim`.
    """

    model_type = "cde-sms"
    action_blocks: Sequence[int] | None = None
    block_weight: Annotated[float, NOT_NEGATIVE] = 0.1

    def check(self) -> None:
        super().check()
        if self.action_blocks is None:
            return
        if isinstance(self.action_blocks, Sequence):
            self.action_blocks = list(self.action_blocks)
        blocks = self.action_blocks
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
    """Sparse mechanism shifts: an action should move its own block of the state and leave the others unchanged.

    The D dimensions are divided into K blocks of D // K dimensions; the last one also takes the rest. With m_a the 0/1
    mask of the block of action a

        auxiliary loss = weight · mean over samples and dimensions of ((1 - m_a) · (z_after - z))²

    as in the benchmark's public code; the D dimensions of the mean include those of the own block, which count as 0.

    Raises:
        ValueError: `config.action_blocks` is missing.
    """

    config: SMSConfig

    def __init__(self, config: SMSConfig, backbone: PreTrainedModel | None = None) -> None:
        if config.action_blocks is None:
            raise ValueError("SMSConfig.action_blocks is missing: give the block that each action moves.")
        super().__init__(config, backbone)

    def _auxiliary_loss(self, delta: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The weighted block term of deltas (B, T-1, D), a scalar of at least float32."""
        if labels.numel() != delta.shape[0] * delta.shape[1]:
            raise ValueError(
                f"labels must have one action for each delta, not {tuple(labels.shape)} for {tuple(delta.shape)}."
            )
        actions = torch.tensor(self.config.action_blocks, device=delta.device)  # (A,)
        own = block_of_dimensions(delta.shape[-1], int(actions.max()) + 1).to(delta.device)  # (D,)
        others = actions[labels].reshape(*delta.shape[:2], 1) != own  # (B, T-1, D)
        wide = delta.to(torch.promote_types(delta.dtype, torch.float32))
        term: torch.Tensor = self.config.block_weight * (wide * others).square().mean()
        return term


def block_of_dimensions(dimensions: int, blocks: int) -> torch.Tensor:
    """Returns the block of each dimension, (D,) int64: D // K dimensions each; the last block also has the rest."""
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
    """Returns the inputs unchanged; multiplies the gradient through them by -weight (Ganin et al., 2016)."""
    reversed_inputs: torch.Tensor = _ReverseGradient.apply(inputs, weight)  # type: ignore[no-untyped-call]
    return reversed_inputs
