"""Builders of tiny random vision backbones (width 32, two layers) of every family, from configuration, offline."""

from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from modeling_cde import CDEForActionClassification

IMAGE = 32  # pixels
PATCH = 8  # pixels, so 4x4 patches

_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": IMAGE,
    "patch_size": PATCH,
}
_DINO: dict[str, Any] = {key: value for key, value in _VIT.items() if key != "intermediate_size"} | {"mlp_ratio": 2}
_TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 64,
}
_CONV: dict[str, Any] = {"hidden_sizes": [8, 32], "depths": [1, 2]}

OPTIONS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "vit_mae": _VIT | {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2},
    "clip_vision_model": _VIT,
    "clip": {"vision_config": _VIT, "text_config": _TEXT, "projection_dim": 16},
    "dinov2": _DINO,
    "dinov2_with_registers": _DINO | {"num_register_tokens": 3},
    "dinov3_vit": _VIT | {"num_register_tokens": 2},
    "siglip_vision_model": _VIT,
    "siglip": {"vision_config": _VIT, "text_config": _TEXT},
    "deit": _VIT,
    "beit": _VIT | {"use_relative_position_bias": True},
    "resnet": _CONV | {"embedding_size": 8, "layer_type": "basic"},
    "convnext": _CONV | {"num_stages": 2, "patch_size": 4},
    "convnextv2": _CONV | {"num_stages": 2, "patch_size": 4},
    "dinov3_convnext": {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1]},
}
FAMILY_NAMES = tuple(OPTIONS)

# Patch grid (rows, columns) that a 32x32 image gives.
GRIDS = {name: (4, 4) for name in OPTIONS} | {"dinov3_convnext": (1, 1)}


def backbone_config(family: str, **overrides: Any) -> PreTrainedConfig:
    """Configuration of a tiny backbone, also of the two-tower families."""
    options = dict(OPTIONS[family])
    if "vision_config" in options:
        options["vision_config"] = options["vision_config"] | overrides
        overrides = {}
    return AutoConfig.for_model(family, **(options | overrides))


def tiny_cde(family: str = "vit", seed: int = 0, **options: Any) -> CDEForActionClassification:
    """A tiny random model with three actions, in evaluation mode."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"delta_dim": 16, "top_k_patches": 1 if GRIDS[family] == (1, 1) else 4}
    settings["id2label"] = {0: "open", 1: "close", 2: "break"}
    model = CDEForActionClassification.from_backbone(backbone_config(family), **(settings | options))
    excite(model)
    return model.eval()


def excite(model: torch.nn.Module, scale: float = 0.3) -> None:
    """Moves every parameter away from its initial value (zero layer scales and biases would hide errors)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "position_embeddings" not in name or parameter.requires_grad:
                parameter.add_(
                    scale * torch.randn(parameter.shape, generator=generator) / max(1, parameter.numel()) ** 0.25
                )


def clips(batch: int = 2, frames: int = 2, height: int = IMAGE, width: int = IMAGE, seed: int = 0) -> torch.Tensor:
    """Random clips (B, T, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, 3, height, width, generator=generator)
