"""Training steps to be measured: a whole step of CDE, and the bare backbone's own on the same images.

The whole step is what `CDETrainer` does with a batch: forward, the three terms, backward, clipping, AdamW, and adding
the terms up for the log. The bare step is the least that a training of that backbone costs: forward on the same images,
the mean of its features as loss, backward, AdamW. Both run in the same precision, with the same kind of optimizer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from modeling_cde import CDEForActionClassification
from modeling_cde.features.encoder import native_bf16
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.losses import CDELoss, TermMeans, weighted_sum
from modeling_cde.training.recipe import parse_recipe
from modeling_cde.training.training_args import CDETrainingArguments

ROOT = Path(__file__).parents[2]
FROM_SCRATCH = ROOT / "configs" / "from_scratch.yaml"
ACTIONS = 10
VIT_S16: dict[str, Any] = {
    "model_type": "vit", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
    "intermediate_size": 1536, "patch_size": 16, "image_size": 224,
}  # fmt: skip
TINY: dict[str, Any] = {
    "model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "patch_size": 8, "image_size": 32,
}  # fmt: skip
RESNET: dict[str, Any] = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 32], "depths": [1, 1], "layer_type": "basic",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        name: How tables call it.
        backbone: Configuration of the backbone, with `model_type`.
        image_size: Height and width of the pictures in pixels.
        pairs: Pairs B of a batch; the backbone sees 2B images.
        options: Fields of the CDE configuration, such as `delta_mode`.
    """

    name: str
    backbone: dict[str, Any]
    image_size: int
    pairs: int
    options: dict[str, Any] = field(default_factory=dict)

    def model(self, device: torch.device | str = "cpu") -> CDEForActionClassification:
        """A new model with random weights, in training mode."""
        torch.manual_seed(0)
        names = {i: f"action{i}" for i in range(ACTIONS)}
        config = AutoConfig.for_model(**self.backbone)
        model = CDEForActionClassification.from_backbone(config, id2label=names, **self.options)
        return model.to(device).train()  # type: ignore[no-any-return]

    def bare_backbone(self, device: torch.device | str = "cpu") -> torch.nn.Module:
        """The backbone by itself, without a pooler, in training mode."""
        torch.manual_seed(0)
        options = {"add_pooling_layer": False} if self.backbone["model_type"] == "vit" else {}
        backbone: torch.nn.Module = AutoModel.from_config(AutoConfig.for_model(**self.backbone), **options)
        return backbone.to(device).train()

    def batch(self, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Random `pixel_values` (B, 2, 3, H, W) and `labels` (B,), each action as often as any other."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(self.pairs, 2, 3, self.image_size, self.image_size, generator=generator)
        return {"pixel_values": pixels.to(device), "labels": (torch.arange(self.pairs) % ACTIONS).to(device)}


def recipe_case(recipe: Path, name: str, pairs: int | None = None) -> Case:
    """The model of a recipe in configs/; with the recipe's batch size where `pairs` is not given."""
    model, data, training = parse_recipe(
        (ModelArguments, DataArguments, CDETrainingArguments), ["--config", str(recipe), "--output_dir", os.devnull]
    )
    options = {"delta_mode": model.delta_mode, "delta_dim": model.delta_dim}
    if model.delta_mode == "patch":
        options["top_k_patches"] = model.top_k_patches
    backbone = model.parsed_backbone_config()
    return Case(name, backbone, data.image_size, pairs or training.per_device_train_batch_size, options)


def training_arguments(folder: str = os.devnull, **options: Any) -> CDETrainingArguments:
    """The defaults, for a training that saves nothing and shows no bar."""
    settings: dict[str, Any] = {"save_strategy": "no", "disable_tqdm": True, "report_to": "none"}
    return CDETrainingArguments(folder, **(settings | options))


def training_loss(
    model: Any, batch: dict[str, torch.Tensor], bf16: bool, loss: CDELoss | None = None
) -> dict[str, torch.Tensor]:
    """Forward and all terms of a batch, as `CDETrainer` takes them; "loss" is what goes backward.

    Args:
        model: A classifier in training mode.
        batch: What it takes, on its device.
        bf16: Whether the forward runs under bf16 autocast.
        loss: The terms' weights; by default those of the paper.
    """
    loss = loss or CDELoss(patch_loss=model.config.patch_loss)
    with torch.autocast(batch["pixel_values"].device.type, torch.bfloat16, enabled=bf16):
        terms: dict[str, torch.Tensor] = loss(model(**batch), batch["labels"])
    return {**terms, "loss": weighted_sum(terms, loss.weights)}


def full_step(model: Any, batch: dict[str, torch.Tensor]) -> Callable[[], None]:
    """A function that makes a whole training step, in bf16 where the hardware has units for it.

    Args:
        model: A classifier in training mode.
        batch: What it takes, on its device.
    """
    args = training_arguments()
    low, device = native_bf16(), batch["pixel_values"].device
    optimizer = torch.optim.AdamW(args.parameter_groups(model), fused=True)
    loss = CDELoss.from_args(args, model.config)
    means = TermMeans()

    def step() -> None:
        terms = training_loss(model, batch, low, loss)
        total = terms.pop("loss")
        means.add(terms, 1.0)
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)

    return step


def bare_step(
    backbone: torch.nn.Module, batch: dict[str, torch.Tensor], bf16: bool | None = None
) -> Callable[[], None]:
    """As `full_step` for the backbone alone on the same images; `bf16` says whether it runs under bf16 autocast."""
    args = training_arguments()
    low, images = native_bf16() if bf16 is None else bf16, batch["pixel_values"].flatten(0, 1)  # (2B, 3, H, W)
    optimizer = torch.optim.AdamW(backbone.parameters(), args.learning_rate, weight_decay=args.weight_decay, fused=True)

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            loss = backbone(images).last_hidden_state.float().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(images.device)

    return step


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given; on the CPU there is nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
