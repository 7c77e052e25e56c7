"""Gives a model its thresholds for "nothing changed" and "something else", and measures how often it answers so."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import torch

from ..data.chosen_rows import evenly_spaced
from ..data.transforms import PairTransform
from ..models.rejection_cde import KEPT, action_directions, calibrate, delta_length, familiarity, rejected
from ..models.rejection_cde import set_thresholds as give_thresholds
from .predictions import Precision, Predictions, computing_in

_MOST_SHIFT, _MOST_LIGHT = 0.02, 0.1  # of the picture's side, and of its brightness
_STILL_PAIRS = 100


def can_reject(model: Any) -> bool:
    """Whether it is a model of differences; the delta of a baseline need not be one, nor 0 where nothing changed."""
    return getattr(getattr(model, "config", None), "model_type", None) == "cde" and hasattr(model, "classifier")


def has_thresholds(model: Any) -> bool:
    """Whether it rejects more than equal pictures."""
    return can_reject(model) and model.config.else_below is not None


def calibrate_model(model: Any, train: Predictions, validation: Mapping[str, Predictions]) -> dict[str, Any]:
    """Sets the thresholds of a CDE model, and the directions of its actions.

    Args:
        model: The model.
        train: What it says of its training pairs.
        validation: Name -> what it says of a validation part. Objects and combinations that training does not have are
            what thresholds must keep, so they come from these parts alone where there are such.

    Returns:
        For `metrics.json`: see `set_thresholds`, and `calibrated_on`, the names of the parts.
    """
    parts = [name for name in sorted(validation) if name != "validation"] or sorted(validation)
    delta = torch.cat([validation[name].delta for name in parts])
    directions = action_directions(train.delta, train.labels, model.config.num_labels)
    return {
        **set_thresholds(model, directions, delta_length(delta), familiarity(delta, directions)),
        "calibrated_on": parts,
    }


def set_thresholds(
    model: Any, directions: torch.Tensor, lengths: torch.Tensor, familiarities: torch.Tensor
) -> dict[str, Any]:
    """Sets thresholds from the scores of pairs, (n,) each, that the model was not fitted to.

    Returns:
        `nothing_below`, `else_below`, `kept` (the share of these pairs that they keep at least) and `pairs`.
    """
    nothing_below, else_below = calibrate(lengths, familiarities)
    give_thresholds(model, directions, nothing_below, else_below)
    return {"nothing_below": nothing_below, "else_below": else_below, "kept": KEPT, "pairs": len(lengths)}


def answer_shares(model: Any, delta: torch.Tensor) -> dict[str, Any]:
    """How many `pairs` with deltas (n, D) there are, and the shares answered `nothing`, `else` and by an `action`."""
    nothing, other = rejected(model, delta)
    shares = {"nothing": nothing, "else": other, "action": ~(nothing | other)}
    return {"pairs": len(delta)} | {name: share.double().mean().item() for name, share in shares.items()}


def measure_rejections(
    model: Any,
    known: Mapping[str, Predictions],
    unknown: Mapping[str, Mapping[str, torch.Tensor]],
    still: torch.Tensor,
    precision: Precision = "float32",
) -> dict[str, Any]:
    """What a model with thresholds answers.

    Args:
        model: The model.
        known: Split -> what it says of pairs whose actions it knows.
        unknown: Split -> action that it does not know -> deltas of pairs (n, D).
        still: `pairs_of_one_picture`.
        precision: See `predict`.

    Returns:
        `splits`: split -> `answer_shares`, for known actions; `unknown`: split -> action -> the same; and `still`, the
        same for pairs in which nothing happened.
    """
    return {
        "splits": {name: answer_shares(model, found.delta) for name, found in known.items()},
        "unknown": {
            name: {action: answer_shares(model, delta) for action, delta in found.items()}
            for name, found in unknown.items()
        },
        "still": answer_still(model, still, precision),
    }


def answer_still(model: Any, pairs: torch.Tensor, precision: Precision = "float32") -> dict[str, Any]:
    """`answer_shares` of pairs of pictures (n, 2, 3, H, W) in which nothing happened."""
    return answer_shares(model, _deltas(model, pairs, precision))


def pairs_of_one_picture(rows: datasets.Dataset, transform: PairTransform, number: int = _STILL_PAIRS) -> torch.Tensor:
    """`still_pairs` of the pictures before of at most `number` rows, evenly spaced."""
    chosen = rows.select(evenly_spaced(len(rows), number)).with_transform(transform)
    pictures = torch.stack([pair[0] for pair in chosen[:]["pixel_values"]])
    return still_pairs(pictures, transform.mean, transform.std)


def still_pairs(pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float], seed: int = 0) -> torch.Tensor:
    """Pairs in which nothing happened: each picture, and the same from a camera that moved a little, in other light.

    The second picture is shifted by 1 pixel to 2 % of its side in each direction, with its edge repeated, and up to
    10 % brighter or darker.

    Args:
        pictures: (n, 3, H, W), standardised by `mean` and `std`.
        seed: Of the shifts and the light.

    Returns:
        (n, 2, 3, H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    centre, scale = (torch.tensor(list(map(float, values))).reshape(3, 1, 1) for values in (mean, std))
    seconds = []
    for picture in pictures:
        down, right, light = (2 * torch.rand(3, generator=generator) - 1).tolist()
        moved = picture
        for dim, share in ((1, down), (2, right)):
            side = picture.shape[dim]
            step = max(1, round(abs(share) * _MOST_SHIFT * side)) * (1 if share > 0 else -1)
            moved = moved.index_select(dim, (torch.arange(side) + step).clamp(0, side - 1))
        seconds.append((((moved * scale + centre) * (1 + light * _MOST_LIGHT)).clamp(0, 1) - centre) / scale)
    return torch.stack([pictures, torch.stack(seconds)], dim=1)


@torch.no_grad()
def _deltas(model: Any, pixel_values: torch.Tensor, precision: Precision) -> torch.Tensor:
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    with computing_in(precision, model, device.type):
        found = [
            model(pixel_values=part.to(device, model.dtype), return_dict=True).delta[:, 0].float().cpu()
            for part in torch.split(pixel_values, 16)
        ]
    model.train(was_training)
    return torch.cat(found)
