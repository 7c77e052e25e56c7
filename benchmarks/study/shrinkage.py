"""Why a large L1 term breaks a head: what it does to the length of deltas, and what it leaves of their directions.

    python -m benchmarks.study.shrinkage [--data data/rooms] [--seeds 3]

For each weight of the term: the mean length of δ on training pairs, and the accuracy on new rooms of the classifier and
of the nearest mean direction, which does not depend on lengths. Nothing is kept; a head takes seconds. The seeds are
those from 100 on, by which choices are made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import mean
from typing import Any

from modeling_cde.whole_files import in_one_sentence

FIRST_SEED = 100
WEIGHTS = ((2.0, 0.0), (2.0, 0.01), (2.0, 0.1), (2.0, 0.3), (2.0, 1.0), (0.0, 0.1))


def nearest_direction(train: Any, train_labels: Any, deltas: Any) -> Any:
    """The class whose mean direction has the largest cosine to each delta.

    Args:
        train, deltas: Of shape (n, D) and (m, D).
        train_labels: Classes of `train`, (n,), each at least once.

    Returns:
        Classes, (m,).
    """
    import torch
    from torch.nn.functional import normalize

    directions = normalize(train, dim=1)
    means = torch.stack([directions[train_labels == label].mean(0) for label in range(int(train_labels.max()) + 1)])
    return (normalize(deltas, dim=1) @ normalize(means, dim=1).T).argmax(1)


def measure(pairs: Any, seed: int, contrastive: float, sparsity: float) -> tuple[float, float, float]:
    """Mean length of δ, accuracy of the classifier, and accuracy of the nearest direction, of one head."""
    import torch

    from benchmarks.study import heads

    parts = pairs.split(seed)
    weights = {"contrastive_weight": contrastive, "sparsity_weight": sparsity}
    model = heads.fit(pairs, "change", parts["train"], "cde", seed, **weights).eval()
    actions = sorted(set(pairs.action))
    labels, deltas = {}, {}
    for name in ("train", "validation"):
        labels[name] = torch.tensor([actions.index(pairs.action[row]) for row in parts[name]])
        features = torch.stack(pairs.rows["change"].select(parts[name])[:]["features"])
        with torch.no_grad():
            deltas[name] = model(features=features).delta[:, 0]
    found = nearest_direction(deltas["train"], labels["train"], deltas["validation"])
    right = float((found == labels["validation"]).float().mean())
    length = float(deltas["train"].norm(dim=1).mean())
    return length, heads.accuracy(model, pairs, "change", parts["validation"]), right


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study.shrinkage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="data/rooms", help="folder of a built data set (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (%(default)s)")
    options = parser.parse_args(arguments)
    from benchmarks.study.pairs import open_pairs

    pairs = open_pairs(options.data, readings=["change"])
    print("| contrastive | sparsity | mean length of δ | classifier, % | nearest direction, % |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for contrastive, sparsity in WEIGHTS:
        seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
        length, said, near = map(mean, zip(*(measure(pairs, s, contrastive, sparsity) for s in seeds), strict=True))
        print(f"| {contrastive:g} | {sparsity:g} | {length:.3f} | {100 * said:.1f} | {100 * near:.1f} |", flush=True)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.study.shrinkage"):
        main()
