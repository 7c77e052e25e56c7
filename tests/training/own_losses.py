"""Losses of one's own, whose values are means over samples whatever the batches: an override and a module."""

from typing import Any

import torch
from torch import nn

from modeling_cde.training.trainer import CDETrainer


class OwnTrainer(CDETrainer):
    """Overrides `compute_loss`, and knows nothing of the terms."""

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(**inputs)
        loss = outputs.loss + outputs.delta.square().mean()
        return (loss, outputs) if return_outputs else loss


class Scaled(nn.Module):
    """Logits divided by a temperature that is learned, and a count of the batches seen in training."""

    def __init__(self, log_temperature: float = 0.0) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(log_temperature))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, outputs: Any, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.batches += 1
        return {"scaled": nn.functional.cross_entropy(outputs.logits / self.log_temperature.exp(), labels)}
