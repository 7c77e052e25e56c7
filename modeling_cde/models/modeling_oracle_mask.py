"""The oracle mask: a plain classifier of two states, each pooled under the target's true mask.

It reads the features of all patches of any backbone, including the map of a ResNet; `pooling` is not read.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import number
from .modeling_baseline import BaselineOutput, nearest_grid
from .modeling_concatenation import ConcatenationConfig, ConcatenationForActionClassification
from .projector_cde import full_precision


class OracleMaskConfig(ConcatenationConfig):
    """Configuration of the oracle mask: that of concatenation, and how strictly the mask is followed.

    Args:
        mask_floor: Least weight of a patch, in [0, 1]: 0 pools under the mask alone, 1 pools the whole image whatever
            the mask. Our default; the public code of the benchmark sweeps 0.005 to 0.5.
    """

    model_type = "cde-oracle-mask"
    mask_floor: Annotated[float, number("in [0, 1]", lambda value: 0 <= value <= 1)] = 0.0

    @property
    def reads_patches(self) -> bool:
        return True


class OracleMaskForActionClassification(ConcatenationForActionClassification):
    """A plain classifier that knows where the target is: an upper bound for methods that have to find it.

    A frame's feature is the mean of its patch features, each weighted by the share of its area that the target's mask
    covers (at least `mask_floor`). Then projector and head as in concatenation. The benchmark's public code pools the
    same way, but with the weight 1 for every cell that the mask touches.
    """

    config: OracleMaskConfig
    extra_inputs = ("masks",)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        masks: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies as `BaselinePreTrainedModel.forward` says.

        Args:
            masks: The target's pixels, 1 on it and 0 elsewhere, (B, T, H, W), floating. If a frame's mask is empty, the
                union of the clip's other masks replaces it; if all are empty, whole frames are pooled.

        Raises:
            ValueError: The masks are missing or have another shape.
        """
        if masks is None:
            raise ValueError("The oracle mask model needs `masks`, the target's pixels of each frame, (B, T, H, W).")
        patches, encoder = self._encode(pixel_values, features, **kwargs)  # (B, T, N, D_b)
        frames = masks if pixel_values is None else pixel_values  # features do not say what size the pictures had
        expected = (*patches.shape[:2], *frames.shape[-2:])
        if tuple(masks.shape) != expected:
            raise ValueError(f"masks must have the shape {expected}, that of the frames, not {tuple(masks.shape)}.")
        shares = patch_shares(usable_masks(masks), patches.shape[2])  # (B, T, N)
        pooled = pool(patches, shares.clamp(min=self.config.mask_floor))  # (B, T, D_b)
        states = full_precision(self.cde.projector, pooled)  # (B, T, D)
        return self._output(self.classify(self.embed_action(states)), states, labels, encoder=encoder)


def usable_masks(masks: torch.Tensor) -> torch.Tensor:
    """Masks (B, T, H, W) without an empty one.

    The union of a clip's other masks replaces an empty one; if all are empty, ones do.
    """
    together = masks.amax(dim=1, keepdim=True)  # (B, 1, H, W)
    together = torch.where(together.amax(dim=(2, 3), keepdim=True) > 0, together, torch.ones_like(together))
    return torch.where(masks.amax(dim=(2, 3), keepdim=True) > 0, masks, together)


def patch_shares(masks: torch.Tensor, num_patches: int) -> torch.Tensor:
    """Returns the share of each patch that a mask covers: (B, T, H, W) -> (B, T, N), float32, in the patches' order."""
    rows, columns = nearest_grid(num_patches, masks)
    return F.adaptive_avg_pool2d(masks.float(), (rows, columns)).flatten(2)


def pool(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns the weighted mean over patches, (..., N, D_b) and (..., N) -> (..., D_b), float32.

    At least one weight of each image must be above 0.
    """
    shares = weights / weights.sum(dim=-1, keepdim=True)
    return (features.float() * shares.unsqueeze(-1)).sum(dim=-2)
