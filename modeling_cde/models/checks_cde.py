"""Wrong inputs of a model, answered with the right call before a backbone or a loss fails on them; wrong outputs."""

import json
from collections.abc import Mapping
from typing import Any

import torch


def check_clips(pixel_values: Any, channels: int) -> None:
    """Checks that `pixel_values` are floating clips of T >= 2 frames, (B, T, `channels`, H, W).

    Raises:
        TypeError: It is not a tensor.
        ValueError: Its shape or dtype is wrong; the message has the call that makes it right.
    """
    if not isinstance(pixel_values, torch.Tensor):
        raise TypeError(
            "pixel_values must be a tensor (batch, frames, channels, height, width), not "
            f"{type(pixel_values).__name__}: call model(**processor(before, after))."
        )
    shape = tuple(pixel_values.shape)
    hint = "stack a pair by torch.stack([before, after], dim=1)"
    if len(shape) == 4 and shape[0] == 2:
        hint = "add the batch to one pair by pixel_values.unsqueeze(0), or " + hint
    elif len(shape) == 5 and shape[1] == 1:
        hint = "one image does not show what happened; " + hint
    elif len(shape) == 5 and shape[2] != channels and channels in (shape[1], shape[4]):
        order = "transpose(1, 2)" if shape[1] == channels else "permute(0, 1, 4, 2, 3)"
        hint = f"move the {channels} channels to the third place by pixel_values.{order}"
    elif len(shape) == 5 and shape[2] != channels:
        hint = f"the backbone reads {channels} channels"
    elif len(shape) == 5:
        if pixel_values.is_floating_point():
            return
        raise ValueError(
            f"pixel_values must be normalised floats, not {pixel_values.dtype}: call model(**processor(before, after))."
        )
    raise ValueError(f"pixel_values must be clips (batch, frames >= 2, channels, height, width), not {shape}: {hint}.")


def check_features(features: Any, dimensions: int, patches: bool) -> None:
    """Raises ValueError unless `features`, given instead of pictures, are a floating tensor of the right shape.

    That is (B, T >= 2, dimensions), or (B, T, N, dimensions) if the model reads `patches`.
    """
    expected = f"(batch, frames >= 2, {'patches, ' if patches else ''}{dimensions})"
    shape = tuple(getattr(features, "shape", ()))
    if not isinstance(features, torch.Tensor) or not features.is_floating_point():
        found = features.dtype if isinstance(features, torch.Tensor) else type(features).__name__
        raise ValueError(f"features must be a tensor {expected} of floats, not {found}.")
    if len(shape) != 3 + patches or shape[1] < 2 or shape[-1] != dimensions:
        raise ValueError(f"features must be {expected}, as this model's backbone gives them, not {shape}.")


def check_labels(labels: torch.Tensor, actions: int) -> None:
    """Raises ValueError unless labels are whole numbers and (checked on the CPU only) in [0, actions).

    They have any shape; -100 is ignored, as in PyTorch's cross-entropy.
    """
    if labels.is_floating_point():
        raise ValueError(f"labels must be whole numbers in [0, {actions}), not {labels.dtype}: use labels.long().")
    if labels.device.type != "cpu" or torch.compiler.is_compiling() or not labels.numel():
        return  # reading the values would make another device wait
    wrong = labels[((labels < 0) & (labels != -100)) | (labels >= actions)]
    if wrong.numel():
        raise ValueError(
            f"labels must be in [0, {actions}), the ids of config.id2label, not {int(wrong[0])}: give from_backbone "
            "the id2label of the data set that the labels come from."
        )


def check_outputs(model: Any, outputs: Mapping[str, torch.Tensor | None], place: str) -> None:
    """Raises ValueError if numbers that a model gave, by name, are NaN or infinite; `place` is where it gave them.

    It waits for the device, so it is for answers and not for training.
    """
    for name, values in outputs.items():
        if values is not None and values.is_floating_point() and not bool(torch.isfinite(values).all()):
            called = getattr(model, "name_or_path", "") or type(model).__name__
            raise ValueError(
                f"{called} gives NaN or infinite {name} {place}: load it in float32 if it was in half precision, else "
                "use another checkpoint, from before its training diverged."
            )


def parse_json(text: str, name: str) -> Any:
    """Parses JSON that a person wrote; errors call it `name`.

    Raises:
        ValueError: It is not JSON, has a key twice, contains NaN or infinity, or is nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"{name} has the key {key!r} twice; write it once.")
            found[key] = value
        return found

    def not_finite(word: str) -> Any:
        raise ValueError(f"{name} contains {word}, which is not a JSON number; give a finite one.")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=not_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is not JSON ({error.msg} at character {error.pos}).") from error
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply to be read.") from None
