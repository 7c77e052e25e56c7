"""A joint encoder of two frames: the patches of both go through one transformer, as in a video model."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import whole
from .modeling_baseline import BaselineConfig, BaselineOutput, BaselinePreTrainedModel, nearest_grid
from .projector_cde import full_precision


class JointEncoderConfig(BaselineConfig):
    """Configuration of the joint encoder. All defaults are ours.

    Args:
        joint_num_layers: Transformer layers that see both images, >= 1.
        joint_num_heads: Attention heads; must divide `delta_dim`, which is the width of these layers.
        delta_dim: As in `CDEConfig`; a multiple of 4, for the positions.
    """

    model_type = "cde-joint"
    joint_num_layers: Annotated[int, whole(1)] = 2
    joint_num_heads: Annotated[int, whole(1)] = 4

    @property
    def reads_patches(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        for field, divisor in (("joint_num_heads", self.joint_num_heads), ("4, for the positions,", 4)):
            if self.delta_dim % divisor:
                raise ValueError(
                    f"JointEncoderConfig.delta_dim={self.delta_dim} must be a multiple of {field} ({divisor})."
                )


class JointLayer(nn.Module):
    """A pre-norm transformer layer, (n, tokens, width) -> the same; the heads divide the width."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mixed = self.query_key_value(self.attention_norm(tokens))  # (n, tokens, 3 * width)
        query, key, value = (
            part.reshape(*part.shape[:2], self.num_heads, -1).transpose(1, 2) for part in mixed.chunk(3, dim=-1)
        )  # (n, heads, tokens, width / heads) each
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.attention_output(attended)
        result: torch.Tensor = tokens + self.mlp(tokens)
        return result


class JointEncoderForActionClassification(BaselinePreTrainedModel):
    """One transformer over the patches of both images, and a linear classifier of its class token.

    A token is a projected patch, layer-normed, plus its position in the image (fixed sines of row and column) plus a
    learned embedding of its frame, first or second. Clips of T > 2 frames are read as T-1 pairs.

    Nothing is subtracted: `delta` is the class token that the classifier reads, and NOT a difference of `states`. It
    is not zero for equal images, and does not change its sign if they are exchanged. `states` are the means of a
    frame's projected patches, before they see the other frame.
    """

    config: JointEncoderConfig

    def __init__(self, config: JointEncoderConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        width = config.delta_dim
        self.input_norm = nn.LayerNorm(width)
        self.kinds = nn.Embedding(3, width)  # class token, first frame, second frame
        self.layers = nn.Sequential(
            *(JointLayer(width, config.joint_num_heads) for _ in range(config.joint_num_layers))
        )
        self.output_norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if module is getattr(self, "kinds", None):
            # As large as the sines (rms 0.7): the order of the frames distinguishes an action from its opposite.
            init.normal_(module.weight, std=0.7)
        else:
            super()._init_weights(module)

    @property
    def reads_places(self) -> bool:
        return True

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies as `BaselinePreTrainedModel.forward` says; `attentions` do not include the joint layers."""
        encoded, encoder = self._encode(pixel_values, features, **kwargs)  # (B, T, N, D_b)
        patches = full_precision(self.cde.projector, encoded)  # (B, T, N, D)
        batch, frames, num_patches, width = patches.shape
        grid = nearest_grid(num_patches, pixel_values)
        tokens = self.input_norm(patches) + sine_positions(*grid, width).to(patches)  # (B, T, N, D)
        kind = self.kinds.weight
        joined = torch.cat([tokens[:, :-1] + kind[1], tokens[:, 1:] + kind[2]], dim=2)  # (B, T-1, 2N, D)
        joined = torch.cat([kind[0].expand(batch, frames - 1, 1, width), joined], dim=2)  # (B, T-1, 1 + 2N, D)
        read = self.layers(joined.flatten(0, 1))[:, 0]  # (B*(T-1), D)
        delta = full_precision(self.output_norm, read).reshape(batch, frames - 1, width)  # (B, T-1, D)
        return self._output(
            full_precision(self.classifier, delta),
            patches.mean(dim=2),
            labels,
            delta=delta,
            encoder=encoder,
        )


def sine_positions(rows: int, columns: int, width: int) -> torch.Tensor:
    """Fixed positions of a grid's cells, (rows * columns, width), row-major.

    A quarter of the dimensions each for sin(row · w_i), cos(row · w_i), sin(column · w_i) and cos(column · w_i) with
    w_i = 10000^(-i / (width / 4)) (Vaswani et al., 2017, in two dimensions).
    """
    frequencies = 10000.0 ** -(torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (y, x)]  # (N, width / 4) each
    return torch.cat([function(angle) for angle in angles for function in (torch.sin, torch.cos)], dim=1)
