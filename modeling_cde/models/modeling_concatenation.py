"""Concatenation, the plainest method that CDE is compared with, and what it shares with all the others."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_cde import CDEConfig
from .modeling_cde import CDEActionClassifierOutput, CDEModel, CDEPreTrainedModel, action_loss, full_precision


@dataclass
class BaselineOutput(CDEActionClassifierOutput):
    """Actions, states and deltas of a batch of clips; see `CDEActionClassifierOutput`.

    Attributes:
        loss: Cross-entropy plus `auxiliary_loss`, a float32 scalar; only with `labels`.
        auxiliary_loss: What a method adds to the cross-entropy, already weighted, a float32 scalar; `None` for a
            method that adds nothing.
    """

    auxiliary_loss: torch.Tensor | None = None


class BaselineConfig(CDEConfig):
    """What the configurations of all baselines share: the fields of `CDEConfig`, and no patch mode.

    Raises:
        ValueError: `delta_mode` is `"patch"`, or a value is out of range.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = [*CDEConfig.keys_to_ignore_at_inference, "auxiliary_loss"]

    def __init__(self, backbone_config: Any = None, **kwargs: Any) -> None:
        super().__init__(backbone_config, **kwargs)

    @classmethod
    def option_names(cls) -> set[str]:
        parent = cls.__mro__[1]
        inherited = parent.option_names() if issubclass(parent, CDEConfig) else set()
        return super().option_names() | inherited

    @classmethod
    def _auto_map(cls) -> dict[str, str]:
        """`ICMConfig` of a file goes with `ICMForActionClassification` of the same file."""
        file, model = cls.__module__.rpartition(".")[2], cls.__name__.removesuffix("Config")
        return {"AutoConfig": f"{file}.{cls.__name__}", "AutoModel": f"{file}.{model}ForActionClassification"}

    def check(self) -> None:
        super().check()
        if self.delta_mode != "global":
            name = type(self).__name__
            raise ValueError(f'{name}.delta_mode must be "global": the baseline has no patch-wise form.')

    def check_whole(self, field: str, least: int) -> None:
        """Raises ValueError if a field is no whole number of at least `least`."""
        value = getattr(self, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            name = type(self).__name__
            raise ValueError(f"{name}.{field} must be a whole number of at least {least}, not {value!r}.")

    def check_weight(self, field: str) -> None:
        """Raises ValueError if a field is no finite number of at least 0."""
        value = getattr(self, field)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise ValueError(f"{type(self).__name__}.{field} must be a finite number of at least 0, not {value!r}.")


class BaselinePreTrainedModel(CDEPreTrainedModel):
    """What all baselines share: the encoder of CDE, and how the parts of the output are put together.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    config: BaselineConfig
    config_class = BaselineConfig
    _auto_class = "AutoModel"

    def __init__(self, config: BaselineConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.cde = CDEModel(config, backbone=backbone)
        self.num_labels = config.num_labels
        self.supports_gradient_checkpointing = self.cde.supports_gradient_checkpointing

    def _output(
        self,
        logits: torch.Tensor,
        states: torch.Tensor,
        labels: torch.Tensor | None,
        *,
        delta: torch.Tensor | None = None,
        auxiliary_loss: torch.Tensor | None = None,
        encoder: Any,
        output_hidden_states: bool | None,
        output_attentions: bool | None,
        return_dict: bool | None,
    ) -> BaselineOutput | tuple[Any, ...]:
        """Puts the output together.

        Args:
            logits: (B, T-1, A).
            states: (B, T, D).
            labels: (B,) for T = 2, else (B, T-1); or None.
            delta: (B, T-1, D); default: the difference of neighbouring states.
            auxiliary_loss: Weighted, a scalar; counted only with labels.
            encoder: The output of the encoder or of its backbone, with `hidden_states` and `attentions`.
            output_hidden_states, output_attentions, return_dict: As in `forward`.
        """
        frames = states.shape[1]
        loss = None if labels is None else action_loss(logits, labels, frames=frames)
        if loss is not None and auxiliary_loss is not None:
            loss = loss + auxiliary_loss
        output = BaselineOutput(
            loss=loss,
            logits=logits.squeeze(1) if frames == 2 else logits,
            delta=states[:, 1:] - states[:, :-1] if delta is None else delta,
            states=states,
            hidden_states=encoder.hidden_states if output_hidden_states else None,
            attentions=encoder.attentions if output_attentions else None,
            auxiliary_loss=None if labels is None else auxiliary_loss,
        )
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


class ConcatenationConfig(BaselineConfig):
    """Configuration of the concatenation baseline: that of CDE, in global mode, and its head.

    Args:
        backbone_config: See `CDEConfig`.
        head_inputs: `"delta"`: the head reads [z, z_after - z]; `"z_after"`: it reads [z, z_after].
        head_hidden_dim: Width of the head's hidden layer; `None`: `delta_dim`.
        **kwargs: See `CDEConfig`.

    Raises:
        ValueError: `delta_mode` is `"patch"`, or a value is out of range.
    """

    model_type = "cde-concatenation"

    def __init__(
        self,
        backbone_config: Any = None,
        *,
        head_inputs: str = "delta",
        head_hidden_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.head_inputs = head_inputs
        self.head_hidden_dim = head_hidden_dim
        super().__init__(backbone_config, **kwargs)

    def check(self) -> None:
        super().check()
        if self.head_inputs not in ("delta", "z_after"):
            name = type(self).__name__
            raise ValueError(f"{name}.head_inputs must be 'delta' or 'z_after', not {self.head_inputs!r}.")
        if self.head_hidden_dim is not None:
            self.check_whole("head_hidden_dim", 1)


class ConcatenationForActionClassification(BaselinePreTrainedModel):
    """A plain classifier of the two states side by side: what CDE is without reading the delta alone.

    Unlike CDE, its head may learn what a scene looks like (state z) and not only what changed.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    config: ConcatenationConfig
    config_class = ConcatenationConfig

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

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        *,
        features: torch.Tensor | None = None,
    ) -> BaselineOutput | tuple[Any, ...]:
        """Classifies what happened between the frames of clips; arguments as in `CDEForActionClassification`.

        Args:
            pixel_values: Clips, (B, T, C, H, W).
            labels: Actions, (B,) for T = 2, else (B, T-1).
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too.
            return_dict: `False`: a tuple in place of the output class.
            features: In place of `pixel_values`; see `CDEModel.forward`.

        Returns:
            `BaselineOutput`; `delta` is z_after - z, (B, T-1, D).
        """
        encoded = self.cde(pixel_values, output_hidden_states, output_attentions, return_dict=True, features=features)
        return self._output(
            self.classify(self.embed_action(encoded.states)),
            encoded.states,
            labels,
            delta=encoded.delta,
            encoder=encoded,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=return_dict,
        )
