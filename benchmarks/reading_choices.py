"""What to read of a frozen backbone, and how to train the head on it: the choices behind configs/quickstart.yaml.

    python -m benchmarks.reading_choices [--data data/rooms] [--seeds 10] [--variants "CLS, CDE" ...]

Each seed holds out ten of the kinds of objects and a quarter of the scenes. Heads train on the other pairs and are
scored on five of the kinds, which are validation objects; the other five are never looked at. The seeds start at
`FIRST_SEED`, so that reported results of other seeds have other held-out objects. The heads are the models of the
methods on kept features, with the losses and the schedule of `CDETrainer`, all in one process.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from dataclasses import dataclass
from typing import Any

import torch

FIRST_SEED = 100
CHANGED = {"pooling": "change", "feature_layers": [6, 8, 10, 12]}


@dataclass(frozen=True)
class Variant:
    """One way to read features and to train on them."""

    name: str
    reading: str = "cls"
    method: str = "cde"
    steps: int = 195
    batch: int = 128
    sparsity: float = 0.01
    input_norm: bool | None = None
    kinds: int = 24
    swap: bool = False


VARIANTS = (
    Variant("CLS, concatenation", method="concatenation"),
    Variant("CLS, CDE"),
    Variant("CLS, CDE, no input norm", input_norm=False),
    Variant("CLS, CDE, no input norm, 810 steps of 64 pairs", input_norm=False, steps=810, batch=64),
    Variant("CLS, CDE, 810 steps of 64 pairs", steps=810, batch=64),
    Variant("CLS, CDE, published sparsity weight 1", sparsity=1.0),
    Variant("CLS, CDE, 16 kinds in training", kinds=16),
    Variant("changed patches, concatenation", "change", method="concatenation"),
    Variant("changed patches, CDE", "change"),
    Variant("changed patches, CDE, input norm", "change", input_norm=True),
    Variant("changed patches, CDE, 390 steps", "change", steps=390),
    Variant("changed patches, CDE, swapped pairs", "change", swap=True),
)


def kept(data: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The features (n, 2, D_b) of each reading of all pairs of a data set, and the columns of these pairs."""
    import datasets

    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEForActionClassification, CDEImageProcessor
    from modeling_cde.data import PairTransform
    from modeling_cde.data.load_splits import load_shifts
    from modeling_cde.features.encoder import native_bf16
    from modeling_cde.features.keep import keep_features
    from modeling_cde.features.store import FeatureStore

    rows = datasets.concatenate_datasets(list(load_shifts(data).values()))
    backbone = str(reachable_backbone(HUB_MODEL))
    transform = PairTransform.from_processor(CDEImageProcessor.from_backbone(backbone, size=126))
    readings: dict[str, dict[str, Any]] = {"cls": {"pooling": "cls"}, "change": CHANGED}
    models = {name: CDEForActionClassification.from_backbone(backbone, **options) for name, options in readings.items()}
    found = {}
    for name, model in models.items():
        also = [other for key, other in models.items() if key != name]
        precision: Any = "bf16" if native_bf16() else "float32"
        part = keep_features(model, {"all": rows}, transform, FeatureStore(), precision=precision, also=also)["all"]
        found[name] = torch.stack(part[:]["features"])
    columns = {name: rows[name][:] for name in ("action", "object", "scene")}
    return found, columns | {"actions": rows.features["action"].names, "objects": rows.features["object"].names}


def score(variant: Variant, features: torch.Tensor, pairs: dict[str, Any], seed: int) -> tuple[float, float]:
    """Accuracy of a head on new scenes of the kinds that it was trained on, and on five validation kinds."""
    from transformers import Dinov2Config, set_seed

    from modeling_cde.data.splits import OPPOSITES
    from modeling_cde.models.methods import METHODS
    from modeling_cde.training.losses import CDELoss, named_terms, weighted_sum

    names, draw = pairs["actions"], random.Random(seed)
    kinds, scenes = list(range(len(pairs["objects"]))), sorted(set(pairs["scene"]))
    draw.shuffle(kinds)
    draw.shuffle(scenes)
    # Of the kinds, the first five are validation objects; the next five are not looked at.
    trained, familiar = set(kinds[10 : 10 + variant.kinds]), set(scenes[: 3 * len(scenes) // 4])
    where = list(zip(pairs["object"], pairs["scene"], strict=True))
    train = [i for i, (thing, scene) in enumerate(where) if thing in trained and scene in familiar]
    parts = [
        [i for i, (thing, scene) in enumerate(where) if thing in trained and scene not in familiar],
        [i for i, (thing, _) in enumerate(where) if thing in kinds[:5]],
    ]
    labels = torch.tensor(pairs["action"])
    inputs, targets = features[train], labels[train]
    if variant.swap:
        other = torch.tensor([names.index(OPPOSITES[n]) if OPPOSITES.get(n) in names else -1 for n in names])[targets]
        inputs = torch.cat([inputs, inputs[other >= 0].flip(1)])
        targets = torch.cat([targets, other[other >= 0]])
    set_seed(seed)
    options: dict[str, Any] = CHANGED if variant.reading == "change" else {"pooling": "cls"}
    options = options | {"projector_hidden_dim": 384, "projector_input_norm": variant.input_norm}
    kind: Any = METHODS[variant.method].model_class
    shape = Dinov2Config(hidden_size=384, num_attention_heads=6, mlp_ratio=1)  # the backbone is not run
    model = kind.from_backbone(shape, id2label=dict(enumerate(names)), **options)
    model.freeze_backbone()
    loss = CDELoss(contrastive_weight=2.0, sparsity_weight=variant.sparsity, temperature=0.1)
    weights = [p for p in model.parameters() if p.requires_grad]
    matrices = {"params": [p for p in weights if p.ndim > 1], "weight_decay": 0.05}
    others = {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([matrices, others], lr=1e-3)
    warm = max(1, variant.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, step / warm) * 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / (variant.steps - warm)))
        ),
    )
    model.train()
    batches: list[torch.Tensor] = []
    for _ in range(variant.steps):
        if not batches:  # the last of an epoch is left out if it is smaller
            shuffled = torch.randperm(len(targets))
            batches = list(torch.split(shuffled, variant.batch))[: len(targets) // variant.batch]
        chosen = batches.pop()
        outputs = model(features=inputs[chosen], labels=targets[chosen])
        value = outputs.loss
        if variant.method == "cde":
            value = weighted_sum(named_terms(loss(outputs, targets[chosen])), loss.weights)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        hits = [(model(features=features[part]).logits.argmax(-1) == labels[part]).float().mean() for part in parts]
    return float(hits[0]), float(hits[1])


def main(arguments: list[str] | None = None) -> None:
    """Print a table: a row for each variant."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reading_choices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="data/rooms", help="folder of the pairs (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="how many (%(default)s)")
    parser.add_argument("--variants", nargs="+", choices=[v.name for v in VARIANTS], help="only these; default: all")
    options = parser.parse_args(arguments)
    features, pairs = kept(options.data)
    print("| variant | new scenes | validation objects | to the first row, paired |\n|---|---:|---:|---:|")
    first: list[float] = []
    for variant in VARIANTS:
        if options.variants and variant.name not in options.variants:
            continue
        seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
        scores = [score(variant, features[variant.reading], pairs, seed) for seed in seeds]
        objects = [100 * one[1] for one in scores]
        first = first or objects
        spread = statistics.stdev(objects) if len(objects) > 1 else 0.0
        gain = statistics.mean(a - b for a, b in zip(objects, first, strict=True))
        scenes = 100 * statistics.mean(one[0] for one in scores)
        print(
            f"| {variant.name} | {scenes:.1f} | {statistics.mean(objects):.1f} ± {spread:.1f} | {gain:+.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
