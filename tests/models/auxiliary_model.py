"""A tiny model with a loss term of its own and an input beside the pictures, as some methods have them."""

from dataclasses import dataclass
from typing import Any

import torch

from modeling_cde import CDEActionClassifierOutput, CDEForActionClassification
from tests.tiny_models import backbone_config, excite


@dataclass
class AuxiliaryOutput(CDEActionClassifierOutput):
    """With the term that is part of `loss`."""

    auxiliary_loss: torch.Tensor | None = None


class WithAuxiliary(CDEForActionClassification):
    """CDE with a term that weighs each pair's state by its object: 0.5 · mean_i (object_i + 1) · mean_d z_id²."""

    extra_inputs = ("objects",)

    def forward(
        self, pixel_values: torch.Tensor, labels: Any = None, objects: torch.Tensor | None = None, **options: Any
    ) -> AuxiliaryOutput:
        outputs = super().forward(pixel_values, labels, **options)
        auxiliary = None
        if objects is not None:
            auxiliary = 0.5 * ((objects + 1) * outputs.states[:, 0].pow(2).mean(-1)).mean()
        parts = dict(outputs)
        if labels is not None and auxiliary is not None:
            parts["loss"] = parts["loss"] + auxiliary
        return AuxiliaryOutput(**parts, auxiliary_loss=auxiliary)


def tiny_auxiliary(**options: Any) -> WithAuxiliary:
    """A tiny random model with three actions, in evaluation mode."""
    torch.manual_seed(0)
    model = WithAuxiliary.from_backbone(
        backbone_config("vit"),
        **({"delta_dim": 16, "top_k_patches": 4, "id2label": {0: "open", 1: "close", 2: "break"}} | options),
    )
    excite(model)
    return model.eval()
