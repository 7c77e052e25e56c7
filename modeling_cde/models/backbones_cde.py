"""What differs between the vision backbones of Transformers, in one table, and how features are read from them.

Notable:
- All frames of a batch go through one call, so that augmentation inside a backbone (DINOv3 jitters its rotary
  positions in training) is the same for the images of a pair.
- A feature is what the family itself would classify from: if the backbone leaves its last norm to a head or a pooler
  (CLIP, BEiT, ConvNeXt), that norm is applied here, to the global feature and to each patch.
- With `layers`, features are hidden states instead of the backbone's output: each is layer-normed (without learned
  weights, so that none outweighs the others), and they stand side by side.
- Parameters that the chosen feature never reads are not built or not trained, so that every trainable parameter gets
  a gradient (otherwise DistributedDataParallel stops).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from .layers_cde import freeze_unread, is_convolutional, layer_widths, on_one_grid, resolve_layers


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        prefix_tokens: Tokens before the patches, or a function of the configuration.
        pooling: What `pooling="auto"` means, or a function of the configuration.
        final_norm: Path of the backbone's module that norms a pooled feature, if its output is not normed.
        interpolates: Who fits the positions to another image size: `"on request"` needs the forward argument
            `interpolate_pos_encoding`, `"itself"` needs nothing.
        pooling_layer: Whether the class takes `add_pooling_layer`.
        unused: Names of parameters that no feature reads.
        known: False for the row that stands for a family outside the table.
    """

    prefix_tokens: int | Callable[[PreTrainedConfig], int] = 1
    pooling: str | Callable[[PreTrainedConfig], str] = "cls"
    final_norm: str | None = None
    interpolates: str = "on request"
    pooling_layer: bool = False
    unused: tuple[str, ...] = ()
    known: bool = True


def _cls_and_registers(config: PreTrainedConfig) -> int:
    return 1 + int(config.num_register_tokens)


def _beit_feature(config: PreTrainedConfig) -> str:
    return "mean" if config.use_mean_pooling else "cls"


_MASK_TOKEN = ("embeddings.mask_token",)
_CONVNEXT = Family(0, "mean", final_norm="layernorm", interpolates="itself")

FAMILIES: dict[str, Family] = {
    "vit": Family(pooling_layer=True),  # DINO v1 is this
    "vit_mae": Family(unused=("embeddings.position_embeddings",)),  # fixed sines, as in its pretraining
    "clip_vision_model": Family(final_norm="post_layernorm"),
    "dinov2": Family(interpolates="itself", unused=_MASK_TOKEN),
    "dinov2_with_registers": Family(_cls_and_registers, interpolates="itself", unused=_MASK_TOKEN),
    "dinov3_vit": Family(_cls_and_registers, interpolates="itself", unused=_MASK_TOKEN),
    "siglip_vision_model": Family(0, "pooler"),
    "deit": Family(2, pooling_layer=True),
    "beit": Family(1, _beit_feature, final_norm="pooler.layernorm", interpolates="itself", unused=_MASK_TOKEN),
    "resnet": Family(0, "mean", interpolates="itself"),
    "convnext": _CONVNEXT,
    "convnextv2": _CONVNEXT,
    "dinov3_convnext": Family(interpolates="itself"),  # its first token is the pooled map
}


def family_of(config: PreTrainedConfig, num_prefix_tokens: int | None = None) -> Family:
    """Returns the table's row for a backbone, or a row made of the user's `num_prefix_tokens` if it has none.

    Raises:
        ValueError: The family is not in the table and `num_prefix_tokens` is `None`.
    """
    family = FAMILIES.get(config.model_type)
    if family is not None:
        return family
    if num_prefix_tokens is None:
        raise ValueError(
            f"The backbone family {config.model_type!r} is not in the table of backbones_cde.py: state how many "
            "tokens come before its patches, for example CDEConfig(..., num_prefix_tokens=1) for one CLS token; "
            f"known families are {', '.join(sorted(FAMILIES))}."
        )
    feature = "cls" if num_prefix_tokens else "mean"
    return Family(num_prefix_tokens, feature, interpolates="itself", known=False)


class BackboneReader:
    """Reads the features of one backbone as the table and the CDE configuration say.

    Args:
        config: Configuration of the backbone.
        patches: Whether features are read per patch; else one per image.
        pooling: `"auto"`, `"cls"`, `"mean"`, `"pooler"` or `"change"`; not read when `patches`.
        num_prefix_tokens: Tokens before the patches; overrides the table.
        layers: Which hidden states are read; `None`: the backbone's output.

    Attributes:
        feature: `"patches"`, `"cls"`, `"mean"`, `"pooler"` or `"change"`. For `"change"` the reader gives patches,
            which are pooled over a clip: see `pool_changed`.
        layers: The same, without negative numbers; empty for the backbone's output.

    Raises:
        ValueError: The family is unknown and `num_prefix_tokens` is missing, the CLS feature is asked of a family
            without a CLS token, there is no such layer, or the pooler is asked of a layer.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        patches: bool,
        pooling: str = "auto",
        num_prefix_tokens: int | None = None,
        layers: Sequence[int] | None = None,
    ) -> None:
        self.config = config
        self.family = family_of(config, num_prefix_tokens)
        prefix = self.family.prefix_tokens if num_prefix_tokens is None else num_prefix_tokens
        self.num_prefix_tokens = prefix(config) if callable(prefix) else prefix
        self.layers = resolve_layers(config, layers or ())
        has_cls = self.num_prefix_tokens > 0 and not (self.layers and is_convolutional(config))
        if pooling == "auto" and self.layers:
            pooling = "cls" if has_cls else "mean"
        elif pooling == "auto":
            own = self.family.pooling
            pooling = own(config) if callable(own) else own
        self.feature = "patches" if patches else pooling
        if self.feature == "cls" and not has_cls:
            raise ValueError(f'pooling="cls" needs a CLS token, which {config.model_type!r} does not have: use "mean".')
        if self.feature == "pooler" and self.layers:
            raise ValueError(
                'pooling="pooler" reads the output of the backbone and not its layers: leave out feature_layers, or '
                'use "cls", "mean" or "change".'
            )

    @property
    def layer_widths(self) -> list[int]:
        """Dimensions of each layer that is read, in order; their sum is `feature_dim`."""
        if not self.layers:
            return [self.feature_dim]
        widths = layer_widths(self.config)
        return [widths[max(layer - 1, 0)] for layer in self.layers]

    @property
    def feature_dim(self) -> int:
        """Dimensions D_b of a feature."""
        if self.layers:
            return sum(self.layer_widths)
        if self.feature == "pooler" and getattr(self.config, "pooler_output_size", None):
            return int(self.config.pooler_output_size)
        sizes = getattr(self.config, "hidden_sizes", None)
        return int(sizes[-1] if sizes else self.config.hidden_size)

    def build_options(self) -> dict[str, Any]:
        """Returns the keyword arguments to build the backbone with; also drops a head that would not be read."""
        if hasattr(self.config, "vision_use_head"):
            self.config.vision_use_head = self.feature == "pooler"
        return {"add_pooling_layer": self.feature == "pooler"} if self.family.pooling_layer else {}

    def build(self) -> PreTrainedModel:
        """Builds the backbone with the family's own random initialisation.

        Raises:
            ValueError: The configuration does not describe a model; each family finds that out in its own way.
        """
        try:
            return AutoModel.from_config(self.config, trust_remote_code=False, **self.build_options())
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0].strip(".")
            raise ValueError(
                f"backbone_config does not build a {self.config.model_type!r} model ({type(error).__name__}: {said}): "
                "check its sizes and names."
            ) from error

    def freeze_unused(self, backbone: nn.Module) -> None:
        """Freezes the parameters that no feature reads."""
        for name, parameter in backbone.named_parameters():
            if name in self.family.unused:
                parameter.requires_grad_(False)
        if self.layers:
            freeze_unread(backbone, self.layers)

    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels; (1, 1) for a backbone without patches."""
        size = getattr(self.config, "patch_size", None) or 1
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    def check_image(self, height: int, width: int) -> dict[str, Any]:
        """Returns the forward arguments that an image of this size, in pixels, needs.

        Raises:
            ValueError: A side is not a multiple of the patch size, or the positions cannot be fitted to this size.
        """
        rows, columns = self.patch_size()
        if height % rows or width % columns:
            raise ValueError(
                f"The image has {height}x{width} pixels, which patches of {rows}x{columns} do not fill: resize it to "
                f"multiples of the patch size, for example {max(1, round(height / rows)) * rows}x"
                f"{max(1, round(width / columns)) * columns}."
            )
        native = getattr(self.config, "image_size", None)
        if self.family.interpolates == "itself" or native is None:
            return {}
        native_size = (native, native) if isinstance(native, int) else (int(native[0]), int(native[1]))
        if native_size == (height, width):
            return {}
        if native_size[0] != native_size[1] or rows != columns:
            raise ValueError(
                f"{self.config.model_type!r} was built for {native_size[0]}x{native_size[1]} pixels in patches of "
                f"{rows}x{columns} and can fit its positions to another size only from a square grid: resize the "
                f"images from {height}x{width} to {native_size[0]}x{native_size[1]}."
            )
        return {"interpolate_pos_encoding": True}

    def __call__(
        self, backbone: PreTrainedModel, pixel_values: torch.Tensor, **options: Any
    ) -> tuple[torch.Tensor, Any]:
        """Encodes images (n, C, H, W) in one call of the backbone, to which the options are passed.

        Returns:
            Features (n, D_b), or (n, N, D_b) in the row-major order of the patches, and the backbone's own output.

        Raises:
            ValueError: The image size does not fit (see `check_image`), or the number of tokens does not.
        """
        if self.layers:
            options["output_hidden_states"] = True
        outputs = self.run(backbone, pixel_values, **options)
        return self.read(backbone, outputs, *pixel_values.shape[-2:]), outputs

    def run(self, backbone: PreTrainedModel, pixel_values: torch.Tensor, **options: Any) -> Any:
        """Returns the backbone's own output for images (n, C, H, W), with the options passed to it."""
        height, width = pixel_values.shape[-2:]
        options.update(self.check_image(height, width))
        if self.config.model_type == "vit_mae":
            # MAE shuffles patches by random noise even when it masks none: rising noise keeps the true order.
            rows, columns = self.patch_size()
            order = torch.arange((height // rows) * (width // columns), device=pixel_values.device)
            options["noise"] = order.float().expand(pixel_values.shape[0], -1)  # (n, N)
        return self._call(backbone, pixel_values, options)

    def read(self, backbone: PreTrainedModel, outputs: Any, height: int, width: int) -> torch.Tensor:
        """Reads the features of images of this size, in pixels, from the backbone's output."""
        if self.feature == "pooler":
            pooled = getattr(outputs, "pooler_output", None)
            if pooled is None:
                raise ValueError(
                    f'pooling="pooler" needs a pooled output, which {self.config.model_type!r} does not '
                    'have: use "cls" or "mean".'
                )
            return pooled.flatten(1)  # type: ignore[no-any-return]  # (n, D_b)
        read = [outputs.hidden_states[i] for i in self.layers] if self.layers else [outputs.last_hidden_state]
        features = torch.cat([self._select(tokens, height, width) for tokens in on_one_grid(read)], dim=-1)
        if self.feature == "mean":
            features = features.mean(dim=1)  # (n, D_b)
        norm = None if self.layers else self._final_norm(backbone)
        return features if norm is None else norm(features)

    def _select(self, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The CLS token (n, D) or the patches (n, N, D) of tokens (n, P + N, D) or of a map (n, D, h, w)."""
        prefix = self.num_prefix_tokens
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)  # (n, h * w, D)
            prefix = prefix if not self.layers else 0  # dinov3_convnext puts a token before its output only
        if not self.family.known:
            self._check_grid(tokens.shape[1], height, width)
        features = tokens[:, 0] if self.feature == "cls" else tokens[:, prefix:]
        return F.layer_norm(features.float(), features.shape[-1:]) if self.layers else features

    @torch.no_grad()
    def patch_grid(self, backbone: PreTrainedModel, height: int, width: int) -> tuple[int, int] | None:
        """Finds out how patches divide an image, by running the backbone on a black one; raises as `__call__` does.

        Returns:
            Rows and columns, or `None` if features are not read per patch or the tokens do not form a grid.
        """
        if self.feature not in ("patches", "change"):
            return None
        weights = next(backbone.parameters())
        modes = {module: module.training for module in backbone.modules()}  # part of it may be frozen
        backbone.eval()  # the black image must not enter the statistics of a batch norm
        features, outputs = self(backbone, weights.new_zeros(1, getattr(self.config, "num_channels", 3), height, width))
        for module, training in modes.items():
            module.training = training
        tokens = outputs.last_hidden_state
        if tokens.ndim == 4 and not self.layers:  # a map (1, D_b, rows, columns)
            return int(tokens.shape[2]), int(tokens.shape[3])
        number = int(features.shape[1])  # patches are as wide as they are high, or the image is as wide as it is high
        rows = max(1, round((number * height / width) ** 0.5))
        return (rows, number // rows) if number % rows == 0 else None

    def _call(self, backbone: PreTrainedModel, pixel_values: torch.Tensor, options: dict[str, Any]) -> Any:
        if self.family.known:
            return backbone(pixel_values, **options)
        if "interpolate_pos_encoding" in inspect.signature(backbone.forward).parameters:
            options["interpolate_pos_encoding"] = True
        try:
            return backbone(pixel_values, **options)
        except (RuntimeError, ValueError) as error:
            height, width = pixel_values.shape[-2:]
            raise ValueError(
                f"The backbone {self.config.model_type!r} does not take images of {height}x{width} pixels: {error}"
            ) from error

    def _final_norm(self, backbone: nn.Module) -> nn.Module | None:
        """Returns the backbone's own last norm, if its output is not normed."""
        if self.family.final_norm is None:
            return None
        module: nn.Module | None = backbone
        for name in self.family.final_norm.split("."):
            module = getattr(module, name, None)  # BEiT's pooler has a norm only where it takes the mean
        return module

    def _check_grid(self, num_tokens: int, height: int, width: int) -> None:
        """Raises ValueError if the tokens after the stated prefix do not form a grid over the image."""
        rows, columns = self.patch_size()
        grids = [(height // (rows << s)) * (width // (columns << s)) for s in range(6)]  # also of pyramids
        if rows > 1 and num_tokens - self.num_prefix_tokens not in grids:
            raise ValueError(
                f"num_prefix_tokens={self.num_prefix_tokens} leaves {num_tokens - self.num_prefix_tokens} of the "
                f"{num_tokens} tokens that {self.config.model_type!r} gives for {height}x{width} pixels, but patches "
                f"of {rows}x{columns} make {grids[0]}: correct num_prefix_tokens in the CDE configuration."
            )
