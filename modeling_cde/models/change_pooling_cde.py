"""Pooling of patches where the picture changed."""

from collections.abc import Sequence

import torch

_SHARPNESS = 2.0  # β below


def pool_changed(features: torch.Tensor, widths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pools the patches of clips by weights that are larger where the clip changed more.

    For the patch features f_{t,n} of one layer, with the change m_n = Σ_t ‖f_{t+1,n} − f_{t,n}‖ of patch n:

        w = softmax_n(β m_n / mean(m)),   β = 2          state_t = Σ_n w_n f_{t,n}

    All frames of a clip share w, so the difference of two states is a weighted mean of patch differences: it is zero
    for equal frames, changes its sign where a pair is swapped, and adds up along the clip. Where nothing changes, w is
    uniform. Like the choice of the top k patches, w has no gradient.

    Args:
        features: (B, T, N, D), the layers side by side in the last dimension.
        widths: The width of each layer; their sum is D. Each layer has its own w.

    Returns:
        States (B, T, D) and, for display, the mean of w over the layers, (B, N), which sums to 1. Both have at least
        the precision of float32.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    states, maps = [], []
    for layer in torch.split(features, list(widths), dim=-1):
        weights = change_weights(layer)
        states.append((weights[:, None, :, None] * layer).sum(dim=2))  # (B, T, D_layer)
        maps.append(weights)
    return torch.cat(states, dim=-1), torch.stack(maps).mean(dim=0)


@torch.no_grad()
def change_weights(layer: torch.Tensor) -> torch.Tensor:
    """The weights w of one layer, see `pool_changed`: (B, T, N, D) -> (B, N)."""
    return _weights((layer[:, 1:] - layer[:, :-1]).norm(dim=-1).sum(dim=1))  # of (B, N)


@torch.no_grad()
def pool_changed_pairs(features: torch.Tensor, widths: Sequence[int]) -> torch.Tensor:
    """What `pool_changed` gives for each pair of the frames of one clip.

    Args:
        features: (T, N, D), as there.
        widths: As there.

    Returns:
        (T, T, D): [i, j] is the state of frame i in the pair of frames i and j.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    states = []
    for layer in torch.split(features, list(widths), dim=-1):
        patches = layer.transpose(0, 1)  # (N, T, D_layer)
        # Not by products: what does not change must have no distance.
        change = torch.cdist(patches, patches, compute_mode="donot_use_mm_for_euclid_dist")  # (N, T, T)
        states.append(_weights(change.permute(1, 2, 0)) @ layer)  # (T, T, N) @ (T, N, D_layer)
    return torch.cat(states, dim=-1)


def _weights(change: torch.Tensor) -> torch.Tensor:
    """w of changes m, (..., N)."""
    mean = change.mean(dim=-1, keepdim=True)
    relative = torch.where(mean > 0, change / mean, torch.ones_like(change))  # 0/0 where nothing changed
    return (_SHARPNESS * relative).softmax(dim=-1)
