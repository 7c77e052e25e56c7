"""The causal projector, from features to states, and the deltas of the patches that moved most."""

import torch
from torch import nn

from .configuration_cde import CDEConfig


class CDEProjector(nn.Sequential):
    """The causal projector: [LayerNorm] then linear layers with GELU between them, (..., D_b) -> (..., D)."""

    def __init__(self, config: CDEConfig, feature_dim: int) -> None:
        hidden = config.projector_hidden_dim or feature_dim
        layers: list[nn.Module] = [nn.LayerNorm(feature_dim)] if config.projector_input_norm else []
        width = feature_dim
        for _ in range(config.projector_num_layers - 1):
            layers += [nn.Linear(width, hidden), nn.GELU()]
            if config.projector_dropout > 0:
                layers.append(nn.Dropout(config.projector_dropout))
            width = hidden
        # No bias: it would cancel in every delta, and the optimizer would only drift it along rounding noise.
        layers.append(nn.Linear(width, config.delta_dim, bias=False))
        super().__init__(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """States of features; under autocast all but the last layer runs in its precision."""
        *hidden, last = self
        features = features.to(next(self.parameters()).dtype)
        for layer in hidden:
            features = layer(features)
        return full_precision(last, features)

    def kept_deltas(self, features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """The deltas of kept patches alone: (B, T, N, D_b) and their places (B, T-1, k) -> (B, T-1, k, D)."""
        before, after = self(torch.stack([take(features[:, :-1], indices), take(features[:, 1:], indices)]))
        delta: torch.Tensor = after - before
        return delta


def full_precision(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Calls a module in the dtype of its weights, also under autocast."""
    dtype = next(module.parameters()).dtype
    with torch.autocast(device_type=inputs.device.type, enabled=False):
        outputs: torch.Tensor = module(inputs.to(dtype))
    return outputs


def largest_deltas(delta: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keeps the k patches that moved most, of deltas (B, S, N, D).

    Returns:
        The kept deltas (B, S, k, D), largest Euclidean norm (in float32) first, and their patches (B, S, k).

    Raises:
        ValueError: k is larger than the number of patches.
    """
    num_patches = delta.shape[2]
    if k > num_patches:
        raise ValueError(
            f"top_k_patches={k}, but an image of this size has only {num_patches} patches: lower top_k_patches or "
            "use larger images."
        )
    norms = delta.detach().float().norm(dim=-1)  # (B, S, N)
    indices = norms.topk(k, dim=-1).indices  # (B, S, k)
    return take(delta, indices), indices


def take(tokens: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Returns the tokens at the given places: (B, S, N, D) and (B, S, M) -> (B, S, M, D)."""
    return tokens.gather(2, indices.unsqueeze(-1).expand(-1, -1, -1, tokens.shape[-1]))
