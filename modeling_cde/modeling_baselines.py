"""The methods that CDE is compared with: same inputs, outputs, backbone and projector."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_cde import CDEConfig
from .modeling_cde import CDEActionClassifierOutput, CDEModel, CDEPreTrainedModel, action_loss, full_precision


class ConcatenationConfig(CDEConfig):
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

    @classmethod
    def option_names(cls) -> set[str]:
        return super().option_names() | CDEConfig.option_names()

    @classmethod
    def _auto_map(cls) -> dict[str, str]:
        return {
            "AutoConfig": "modeling_baselines.ConcatenationConfig",
            "AutoModel": "modeling_baselines.ConcatenationForActionClassification",
        }

    def check(self) -> None:
        super().check()
        if self.head_inputs not in ("delta", "z_after"):
            raise ValueError(f"ConcatenationConfig.head_inputs must be 'delta' or 'z_after', not {self.head_inputs!r}.")
        if self.delta_mode != "global":
            raise ValueError('ConcatenationConfig.delta_mode must be "global": the baseline has no patch-wise form.')


class ConcatenationForActionClassification(CDEPreTrainedModel):
    """A plain classifier of the two states side by side: what CDE is without reading the delta alone.

    Unlike CDE, its head may learn what a scene looks like (state z) and not only what changed.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    config: ConcatenationConfig
    config_class = ConcatenationConfig
    _auto_class = "AutoModel"

    def __init__(self, config: ConcatenationConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.cde = CDEModel(config, backbone=backbone)
        self.num_labels = config.num_labels
        hidden = config.head_hidden_dim or config.delta_dim
        self.head = nn.Sequential(
            nn.Linear(2 * config.delta_dim, hidden), nn.GELU(), nn.Linear(hidden, config.num_labels)
        )
        self.supports_gradient_checkpointing = self.cde.supports_gradient_checkpointing
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> CDEActionClassifierOutput | tuple[Any, ...]:
        """Classifies what happened between the frames of clips; arguments as in `CDEForActionClassification`.

        Args:
            pixel_values: Clips, (B, T, C, H, W).
            labels: Actions, (B,) for T = 2, else (B, T-1).
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too.
            return_dict: `False`: a tuple in place of the output class.

        Returns:
            `CDEActionClassifierOutput`; `delta` is z_after - z, (B, T-1, D).
        """
        outputs = self.cde(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        before, after = outputs.states[:, :-1], outputs.states[:, 1:]  # (B, T-1, D) each
        second = outputs.delta if self.config.head_inputs == "delta" else after
        logits = full_precision(self.head, torch.cat([before, second], dim=-1))  # (B, T-1, A)
        frames = pixel_values.shape[1]
        output = CDEActionClassifierOutput(
            loss=None if labels is None else action_loss(logits, labels, frames=frames),
            logits=logits.squeeze(1) if frames == 2 else logits,
            delta=outputs.delta,
            states=outputs.states,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()
