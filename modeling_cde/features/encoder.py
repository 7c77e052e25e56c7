"""Runs a backbone whose weights are fixed, for one or several readings of its features."""

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import str_to_bool
from torch import nn

Precision = Literal["float32", "bf16"]

# The code that makes features.
_FILES = (
    *("models/modeling_cde", "models/backbones_cde", "models/layers_cde", "models/change_pooling_cde"),
    *("models/pictures_cde", "models/preprocessing_cde", "models/regions_cde", "data/crops", "data/transforms"),
    "features/encoder",
)
# On a CPU in bf16, attention of so few patches is twice as fast by two plain products.
_FEW_PATCHES = 256
# What a configuration says of its file and not of the model: the same weights from elsewhere are the same weights.
_NOT_THE_MODEL = {"_name_or_path", "architectures"}


def native_bf16(use_cpu: bool = False) -> bool:
    """Whether the device that will be used computes in bf16 natively; emulation is many times slower.

    `CDE_NATIVE_BF16=0` or `=1` in the environment answers in place of the hardware.
    """
    if answer := os.environ.get("CDE_NATIVE_BF16"):
        return bool(str_to_bool(answer))
    use_cpu = use_cpu or str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")) == 1
    if torch.cuda.is_available() and not use_cpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.accelerator.is_available() and not use_cpu:
        return False  # nothing is known here about other accelerators
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class Encoder:
    """Encodes clips by one pass of the backbone for all readings.

    Args:
        models: `CDEModel`s whose backbones have equal weights; they may read other layers, or pool otherwise.
        precision: `"bf16"` rounds weights and activations of the backbone; what is read from it is float32 again.
        device: Where the backbone runs, in evaluation mode.
    """

    def __init__(self, models: Sequence[Any], precision: Precision, device: torch.device) -> None:
        self.models, self.precision = list(models), precision
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        own = self.models[0].backbone
        fits = next(own.parameters()).dtype == self.dtype
        self.backbone = (own if fits else copy.deepcopy(own)).to(device, self.dtype).eval()
        self.device = device
        if not fits and device.type == "cpu" and PackedLinear.works_here():
            PackedLinear.replace_in(self.backbone)

    @torch.no_grad()
    def __call__(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """Clips (B, T, C, H, W) -> for each model features (B, T, D_b), or (B, T, N, D_b) if it reads patches."""
        frames = pixel_values.flatten(0, 1).to(self.device, self.dtype)
        self._choose_attention(*frames.shape[-2:])
        options = {"output_hidden_states": True} if any(model.reader.layers for model in self.models) else {}
        with torch.autocast(self.device.type, enabled=False):
            outputs = self.models[0].reader.run(self.backbone, frames, **options)
        found = []
        for model in self.models:
            features = model.reader.read(self.backbone, outputs, *frames.shape[-2:])
            features = model.pool(features, *pixel_values.shape[:2])[0]
            found.append(features.float().reshape(*pixel_values.shape[:2], *features.shape[1:]).cpu())
        return found

    def _choose_attention(self, height: int, width: int) -> None:
        copied = self.backbone is not self.models[0].backbone  # the model's own stays as it is
        rows, columns = self.models[0].reader.patch_size()
        few = (height // rows) * (width // columns) <= _FEW_PATCHES
        if copied and few and self.device.type == "cpu" and self.backbone.config._attn_implementation == "sdpa":
            self.backbone.set_attn_implementation("eager")


class PackedLinear(nn.Module):
    """`nn.Linear` on a CPU in bf16, with its weights in the processor's own order; for inference alone.

    A plain Linear copies its bias for each product, and has its weights reordered each time.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., features in) -> (..., features out)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    def works_here() -> bool:
        """Whether this build of PyTorch has the operation, and this processor can do it in bf16."""
        names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
        operations = torch.ops.mkldnn
        return all(hasattr(operations, name) for name in names) and bool(operations._is_mkldnn_bf16_supported())

    @classmethod
    def replace_in(cls, model: nn.Module) -> None:
        """Replace every `nn.Linear` of a model in bf16; subclasses compute something else, and stay."""
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.Linear and child.weight.dtype == torch.bfloat16:
                    setattr(parent, name, cls(child))


def description(model: Any, transform: Any, precision: Precision, device: str) -> dict[str, Any]:
    """Everything but the pictures that the features of a `CDEModel` depend on, as plain values."""
    import PIL
    import transformers

    code = hashlib.sha256(b"".join((Path(__file__).parents[1] / f"{name}.py").read_bytes() for name in _FILES))
    weights = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    config = {name: value for name, value in model.backbone.config.to_dict().items() if name not in _NOT_THE_MODEL}
    settings = {name: getattr(transform, name) for name in ("crop", "crop_margin")} | {
        "preprocessing": asdict(transform.preprocessing)
    }
    return {
        "weights": weights.hexdigest(),
        "backbone": config,
        "attention": model.backbone.config._attn_implementation,
        "feature": model.reader.feature,
        "layers": list(model.reader.layers),
        "num_prefix_tokens": model.reader.num_prefix_tokens,
        "transform": settings,
        "precision": precision,
        "device": device,
        "code": code.hexdigest(),
        "versions": {library.__name__: library.__version__ for library in (torch, transformers, PIL)},
    }
