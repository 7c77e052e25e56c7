"""Which layers of a backbone are read: blocks of a transformer, stages of a convolutional network.

Layers are numbered as Transformers' `hidden_states`: layer i is what block or stage i gives. Layer 0 is the patch
embedding of a transformer; the 0 of a convolutional network, its stem or the picture itself, is not read.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedConfig


def is_convolutional(config: PreTrainedConfig) -> bool:
    """Whether the layers of this backbone are stages."""
    return bool(getattr(config, "hidden_sizes", None))


def layer_widths(config: PreTrainedConfig) -> list[int]:
    """Dimensions of the layers 1, 2, ... of a backbone."""
    if is_convolutional(config):
        return [int(size) for size in config.hidden_sizes]
    return [int(config.hidden_size)] * int(getattr(config, "num_hidden_layers", 0))


def resolve_layers(config: PreTrainedConfig, layers: Sequence[int]) -> tuple[int, ...]:
    """The same layers, with negative numbers counted from the end: -1 is the last.

    Raises:
        ValueError: The backbone does not have one of them, or one is named twice.
    """
    last = len(layer_widths(config))
    first, what = (1, "stages") if is_convolutional(config) else (0, "layers")
    for layer in layers:
        if not (first <= layer <= last or first - last - 1 <= layer <= -1):
            raise ValueError(
                f"feature_layers names {layer}, but {config.model_type!r} has the {what} {first} to {last}, which are "
                f"also {first - last - 1} to -1."
            )
    found = tuple(layer if layer >= 0 else last + 1 + layer for layer in layers)
    if twice := [layer for place, layer in enumerate(found) if layer in found[:place]]:
        raise ValueError(f"feature_layers={list(layers)} names layer {twice[0]} twice: name it once.")
    return found


def on_one_grid(hidden_states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tokens (n, tokens, D) of layers as they are; maps (n, D, h, w) averaged to the coarsest grid of them."""
    if hidden_states[0].ndim == 3:
        return list(hidden_states)
    rows, columns = (min([int(state.shape[axis]) for state in hidden_states]) for axis in (2, 3))
    return [F.adaptive_avg_pool2d(state, (rows, columns)) for state in hidden_states]


def freeze_unread(backbone: nn.Module, layers: Sequence[int]) -> None:
    """Freezes the parameters of the blocks after the last layer that is read, and of what follows the blocks."""
    path, blocks = next((name, m) for name, m in backbone.named_modules() if isinstance(m, nn.ModuleList))
    unread = list(blocks[max(layers) :])
    module = backbone
    for name in path.split("."):  # children are registered in the order in which they run
        children = dict(module.named_children())
        unread += list(children.values())[list(children).index(name) + 1 :]
        module = children[name]
    for child in unread:
        child.requires_grad_(False)
