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
    change = (layer[:, 1:] - layer[:, :-1]).norm(dim=-1).sum(dim=1)  # (B, N)
    mean = change.mean(dim=-1, keepdim=True)
    relative = torch.where(mean > 0, change / mean, torch.ones_like(change))  # 0/0 where nothing changed
    return (_SHARPNESS * relative).softmax(dim=-1)
