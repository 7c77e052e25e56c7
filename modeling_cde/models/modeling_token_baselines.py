"""The methods that CDE is compared with which read patches instead of one feature of each image.

    oracle mask      a plain classifier of two states, each pooled under the target's true mask
    token matching   each patch is matched with its most similar patch of the other image; the pairs are pooled

They, and the joint encoder of modeling_joint.py, read the features of all patches of any backbone, the map of a ResNet
included. `global_feature` is not read.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from .modeling_cde import full_precision
from .modeling_concatenation import (
    BaselineConfig,
    BaselineOutput,
    BaselinePreTrainedModel,
    ConcatenationConfig,
    ConcatenationForActionClassification,
)
from .modeling_joint import JointEncoderConfig, JointEncoderForActionClassification, patch_grid

__all__ = [
    "JointEncoderConfig",
    "JointEncoderForActionClassification",
    "OracleMaskConfig",
    "OracleMaskForActionClassification",
    "TokenMatchingConfig",
    "TokenMatchingForActionClassification",
]


class OracleMaskConfig(ConcatenationConfig):
    """Configuration of the oracle mask: that of concatenation, and how strictly the mask is followed.

    Args:
        backbone_config: See `CDEConfig`.
        mask_floor: Least weight of a patch, in [0, 1]: 0 pools under the mask alone, 1 pools the whole image whatever
            the mask. Our default; the public code of the benchmark sweeps 0.005 to 0.5.
        **kwargs: See `ConcatenationConfig`.

    Raises:
        ValueError: A value is out of range.
    """

    model_type = "cde-oracle-mask"

    def __init__(self, backbone_config: Any = None, *, mask_floor: float = 0.0, **kwargs: Any) -> None:
        self.mask_floor = mask_floor
        super().__init__(backbone_config, **kwargs)

    @property
    def reads_patches(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        self.check_weight("mask_floor")
        if self.mask_floor > 1:
            raise ValueError(f"OracleMaskConfig.mask_floor must be in [0, 1], not {self.mask_floor!r}.")


class OracleMaskForActionClassification(ConcatenationForActionClassification):
    """A plain classifier that is told where the target is: an upper bound for methods that have to find it.

    A frame's feature is the mean of its patch features, each weighted by the share of its area that the target's mask
    covers (at least `mask_floor`). Then projector and head as in concatenation. The benchmark's public code pools the
    same way, but with the weight 1 for every cell that the mask touches.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    config: OracleMaskConfig
    config_class = OracleMaskConfig
    extra_inputs = ("masks",)

    def forward(  # type: ignore[override]  # masked pictures cannot be replaced by features of whole ones
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        masks: torch.Tensor | None = None,
    ) -> BaselineOutput | tuple[Any, ...]:
        """Classifies what happened between the frames of clips.

        Args:
            pixel_values: Clips, (B, T, C, H, W).
            labels: Actions, (B,) for T = 2, else (B, T-1).
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too.
            return_dict: `False`: a tuple in place of the output class.
            masks: The target's pixels, 1 on it and 0 elsewhere, (B, T, H, W), floating. A frame without any takes
                those of the clip's other frames together; a clip without any is pooled as a whole.

        Returns:
            `BaselineOutput`.

        Raises:
            ValueError: There are no masks, or not of this shape.
        """
        if masks is None:
            raise ValueError("The oracle mask model needs `masks`, the target's pixels of each frame, (B, T, H, W).")
        expected = (*pixel_values.shape[:2], *pixel_values.shape[-2:])
        if tuple(masks.shape) != expected:
            raise ValueError(f"masks must have the shape {expected}, that of the frames, not {tuple(masks.shape)}.")
        features, encoder = self.cde.encode(pixel_values, output_hidden_states, output_attentions)  # (B*T, N, D_b)
        features = features.reshape(*pixel_values.shape[:2], *features.shape[1:])  # (B, T, N, D_b)
        shares = patch_shares(usable_masks(masks), features.shape[2])  # (B, T, N)
        pooled = pool(features, shares.clamp(min=self.config.mask_floor))  # (B, T, D_b)
        states = full_precision(self.cde.projector, pooled)  # (B, T, D)
        return self._output(
            self.classify(self.embed_action(states)),
            states,
            labels,
            encoder=encoder,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=return_dict,
        )


class TokenMatchingConfig(BaselineConfig):
    """Configuration of token matching. All defaults are ours.

    Args:
        backbone_config: See `CDEConfig`.
        pooling: What the classifier reads of the matched pairs: their `"mean"`, their `"max"`, or `"mean_max"`, both.
        match_back: Whether the patches of the later image are matched with those of the earlier one too. Without it
            what only appears in the later image may be matched by nothing, and then is not seen.
        position_weight: What a match at the distance of one image side costs, in cosine similarity, >= 0; smaller
            distances in proportion. 0: only similarity counts. Large: a patch is matched with the one at its place.
        head_hidden_dim: Width of the embedding of a matched pair; `None`: `delta_dim`.
        **kwargs: See `CDEConfig`.

    Raises:
        ValueError: A value is out of range.
    """

    model_type = "cde-token-matching"

    def __init__(
        self,
        backbone_config: Any = None,
        *,
        pooling: str = "mean_max",
        match_back: bool = True,
        position_weight: float = 0.0,
        head_hidden_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.pooling = pooling
        self.match_back = match_back
        self.position_weight = position_weight
        self.head_hidden_dim = head_hidden_dim
        super().__init__(backbone_config, **kwargs)

    @property
    def reads_patches(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        if self.pooling not in ("mean", "max", "mean_max"):
            raise ValueError(f"TokenMatchingConfig.pooling must be 'mean', 'max' or 'mean_max', not {self.pooling!r}.")
        self.check_weight("position_weight")
        if self.head_hidden_dim is not None:
            self.check_whole("head_hidden_dim", 1)


class TokenMatchingForActionClassification(BaselinePreTrainedModel):
    """Differences of matched patches, so that what moved within the picture is compared with itself.

    With patch features f_n, f̃_m of the two images (as the backbone gives them), their projections p_n, p̃_m and their
    distance d(n, m) in image sides

        m(n) = argmax_m cos(f_n, f̃_m) - position_weight · d(n, m)
        e_n  = GELU(W [p_n, p̃_m(n) - p_n] + b)

    and, with `match_back`, the pairs [p_n(m), p̃_m - p_n(m)] of the match in the other direction too. A linear
    classifier reads mean and maximum of all e over the pairs. `delta` is the mean of the matched differences: zero for
    equal images, and, with `match_back`, of the opposite sign where the images are exchanged.

    The benchmark's public code pools tokens of the same index (of GroupViT and slot attention) in this way, by mean
    or by maximum; a backbone's patches have no such index, so they are matched here. Which patch is matched has no
    gradient.

    Args:
        config: Configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    config: TokenMatchingConfig
    config_class = TokenMatchingConfig

    def __init__(self, config: TokenMatchingConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        hidden = config.head_hidden_dim or config.delta_dim
        self.pair_layer = nn.Sequential(nn.Linear(2 * config.delta_dim, hidden), nn.GELU())
        self.classifier = nn.Linear(hidden * (2 if config.pooling == "mean_max" else 1), config.num_labels)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaselineOutput | tuple[Any, ...]:
        """Classifies what happened between the frames of clips.

        Args:
            pixel_values: Clips, (B, T, C, H, W); each frame is matched with the next.
            labels: Actions, (B,) for T = 2, else (B, T-1).
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too.
            return_dict: `False`: a tuple in place of the output class.

        Returns:
            `BaselineOutput`; `delta` is the mean of the matched differences, `states` the mean of a frame's patches.
        """
        features, encoder = self.cde.encode(pixel_values, output_hidden_states, output_attentions)  # (B*T, N, D_b)
        features = features.reshape(*pixel_values.shape[:2], *features.shape[1:])  # (B, T, N, D_b)
        tokens = full_precision(self.cde.projector, features)  # (B, T, N, D)
        similarity = self._similarity(features, pixel_values.shape[-2], pixel_values.shape[-1])  # (B, T-1, N, N)
        earlier, later = tokens[:, :-1], tokens[:, 1:]  # (B, T-1, N, D)
        first, difference = earlier, take(later, similarity.argmax(dim=3)) - earlier
        if self.config.match_back:
            origin = take(earlier, similarity.argmax(dim=2))
            first = torch.cat([first, origin], dim=2)  # (B, T-1, 2N, D)
            difference = torch.cat([difference, later - origin], dim=2)
        pairs = full_precision(self.pair_layer, torch.cat([first, difference], dim=-1))  # (B, T-1, pairs, hidden)
        pooled = {"mean": [pairs.mean(dim=2)], "max": [pairs.amax(dim=2)]}
        read = pooled["mean"] + pooled["max"] if self.config.pooling == "mean_max" else pooled[self.config.pooling]
        return self._output(
            full_precision(self.classifier, torch.cat(read, dim=-1)),
            tokens.mean(dim=2),
            labels,
            delta=difference.mean(dim=2),
            encoder=encoder,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=return_dict,
        )

    @torch.no_grad()
    def _similarity(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """What the match maximises, of each patch (dim 2) with each of the next frame (dim 3), float32."""
        with torch.autocast(device_type=features.device.type, enabled=False):
            unit = F.normalize(features.float(), dim=-1)  # (B, T, N, D_b)
            similarity = unit[:, :-1] @ unit[:, 1:].transpose(2, 3)  # (B, T-1, N, N)
            if self.config.position_weight > 0:
                rows, columns = patch_grid(features.shape[2], height, width)
                y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
                places = torch.stack([y.flatten(), x.flatten()], dim=1).to(unit)  # (N, 2), in image sides
                similarity = similarity - self.config.position_weight * torch.cdist(places, places)
        return similarity


def usable_masks(masks: torch.Tensor) -> torch.Tensor:
    """Masks (B, T, H, W) in which none is empty.

    An empty one is replaced by the union of its clip's others, and where all of them are empty by ones.
    """
    together = masks.amax(dim=1, keepdim=True)  # (B, 1, H, W)
    together = torch.where(together.amax(dim=(2, 3), keepdim=True) > 0, together, torch.ones_like(together))
    return torch.where(masks.amax(dim=(2, 3), keepdim=True) > 0, masks, together)


def patch_shares(masks: torch.Tensor, num_patches: int) -> torch.Tensor:
    """The share of each patch that a mask covers: (B, T, H, W) -> (B, T, N), float32, row-major as the patches."""
    rows, columns = patch_grid(num_patches, masks.shape[2], masks.shape[3])
    return F.adaptive_avg_pool2d(masks.float(), (rows, columns)).flatten(2)


def pool(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted mean over patches, (..., N, D_b) and (..., N) -> (..., D_b), float32; no weights may all be 0."""
    shares = weights / weights.sum(dim=-1, keepdim=True)
    return (features.float() * shares.unsqueeze(-1)).sum(dim=-2)


def take(tokens: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The tokens of the given places: (B, S, N, D) and (B, S, M) -> (B, S, M, D)."""
    return tokens.gather(2, indices.unsqueeze(-1).expand(-1, -1, -1, tokens.shape[-1]))
