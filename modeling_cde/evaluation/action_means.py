"""Gives a trained checkpoint its action means, which `compose`, `decode_actions` and `retrieve` need.

    python -m modeling_cde.evaluation.action_means runs/quickstart

reads `deltas.safetensors` of the folder: means come from the training pairs. The stopping rule of `decode_actions`
comes from the validation pairs, in each of which one action was done, and from sums of two of them of different
actions: it is the share that answers most of both with as many actions as there were.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..models.composition_cde import action_means, pursue, set_action_means
from ..whole_files import in_one_sentence, write_files_whole


def choose_stop(delta: torch.Tensor, labels: torch.Tensor, means: torch.Tensor, seed: int = 0) -> float:
    """The stopping rule from deltas (n, D) of single actions with labels (n,), and means (A, D).

    As many pairs of deltas of different actions are drawn as there are deltas, and summed.

    Raises:
        ValueError: There are no two actions.
    """
    if len(set(labels.tolist())) < 2:
        raise ValueError("The stopping rule needs pairs of at least two actions.")
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(len(delta), (2, 8 * len(delta)), generator=generator)
    other = (labels[first] != labels[second]).nonzero()[:, 0][: len(delta)]
    twice = delta[first[other]] + delta[second[other]]
    one, two = (pursue(values, means, 2)[1][:, 1] for values in (delta, twice))
    return threshold_between(one, two)


def threshold_between(low: torch.Tensor, high: torch.Tensor) -> float:
    """The threshold t for which the shares of `low` below t and of `high` at or above t have the largest sum.

    It lies in the middle between two neighbouring values; of several the lowest is given.
    """
    values = torch.tensor(sorted({*low.tolist(), *high.tolist()}), dtype=low.dtype)
    bounds = torch.cat([values[:1], (values[1:] + values[:-1]) / 2])
    below = torch.searchsorted(low.sort().values, bounds) / len(low)
    above = 1 - torch.searchsorted(high.sort().values, bounds) / len(high)
    return float(bounds[(below + above).argmax()])


def give_action_means(folder: str | Path) -> float:
    """Write the means and the stopping rule into the checkpoint in a folder, from its `deltas.safetensors`.

    Returns:
        The stopping rule.

    Raises:
        FileNotFoundError: The folder has no `deltas.safetensors`.
        ValueError: It has no training or validation pairs, or the checkpoint is of another method.
    """
    from safetensors.torch import load_file

    from ..models.modeling_cde import CDEForActionClassification

    path = Path(folder, "deltas.safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no deltas.safetensors: train there, or evaluate with --output {folder}.")
    found = load_file(path)
    parts = [name for name in ("validation", "validation_comp", "validation_syst") if f"{name}/delta" in found]
    if "train/delta" not in found or not parts:
        raise ValueError(f"{path} has no training or no validation pairs: evaluate all splits, with a bank.")
    model: Any = CDEForActionClassification.from_pretrained(folder)
    means = action_means(found["train/delta"], found["train/labels"], model.config.num_labels)
    delta, labels = (torch.cat([found[f"{name}/{what}"] for name in parts]) for what in ("delta", "labels"))
    stop = choose_stop(delta, labels, means)
    set_action_means(model, means, stop)
    with write_files_whole(folder, last="model.safetensors") as temporary:
        model.save_pretrained(temporary)
    return stop


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m modeling_cde.evaluation.action_means", description=__doc__)
    parser.add_argument("folder", help="of a trained checkpoint, with deltas.safetensors")
    folder = parser.parse_args(arguments).folder
    stop = give_action_means(folder)
    print(f"{folder} now has its action means; a further action must explain {stop:.3f} of the squared length.")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.evaluation.action_means"):
        main()
