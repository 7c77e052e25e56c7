"""A run's folder, made by hand: ten actions whose opposites have opposite deltas, objects, drawn pictures, a log."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from modeling_cde.analysis.delta_set import DeltaSet
from tests.analysis.synthetic_deltas import save_sets

PAIRS = [("close", "open"), ("clean", "dirty"), ("empty", "fill"), ("turnoff", "turnon")]
ACTIONS = ["break", "clean", "close", "dirty", "empty", "fill", "open", "slice", "turnoff", "turnon"]
OPPOSITES = {a: b for a, b in PAIRS} | {b: a for a, b in PAIRS}
OBJECTS = [f"Object{i:02d}" for i in range(16)]
GRID = (4, 4)


def drawn_set(split: str, n: int = 80, dimensions: int = 24, patches: bool = True, seed: int = 0) -> DeltaSet:
    """Deltas around one direction an action; about one in eight pairs is taken for another action."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % len(ACTIONS)
    objects = np.arange(n) * 7 % len(OBJECTS)
    directions = np.zeros((len(ACTIONS), dimensions))
    for i, (first, second) in enumerate(PAIRS):
        directions[ACTIONS.index(first), 3 * i : 3 * i + 3] = [1.5, 1.0, 0.5]
        directions[ACTIONS.index(second)] = -directions[ACTIONS.index(first)]
    directions[ACTIONS.index("break"), 13:16] = 1.0
    directions[ACTIONS.index("slice"), 14:18] = 1.0
    delta = directions[labels] + generator.normal(0, 0.15, (n, dimensions))
    taken_for = np.where(np.arange(n) % 8 == 3, (labels + 1 + np.arange(n) // 8) % len(ACTIONS), labels)
    fields: dict[str, Any] = {}
    if patches:
        cells, k = GRID[0] * GRID[1], 3
        kept = np.stack([generator.choice(cells, k, replace=False) for _ in range(n)])
        coverage = np.zeros((n, cells), dtype=np.float32)
        coverage[:, [5, 6]] = 1.0
        kept[:, 0] = np.where(kept[:, 1:] == 5, 6, 5).max(axis=1)
        fields = {
            "patch_indices": kept.astype(np.int64),
            "patch_delta": np.repeat(delta[:, None], k, axis=1).astype(np.float32),
            "box_coverage": coverage,
            "mask_coverage": coverage / 2,
            "patch_grid": GRID,
        }
    return DeltaSet(
        split=split,
        delta=delta.astype(np.float32),
        states=np.stack([np.zeros_like(delta), delta], axis=1).astype(np.float32),
        logits=(4 * np.eye(len(ACTIONS))[taken_for] + generator.normal(0, 0.3, (n, len(ACTIONS)))).astype(np.float32),
        labels=labels.astype(np.int64),
        objects=objects.astype(np.int64),
        actions=ACTIONS,
        object_names=OBJECTS,
        opposites=OPPOSITES,
        pair_ids=[f"{split}-{i}" for i in range(n)],
        scenes=[f"scene {i // 3 % 5}" for i in range(n)],
        **fields,
    )


def drawn_examples(sets: list[DeltaSet], each: int = 4, size: int = 48) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pictures of a grey room with a square that changes its brightness, and what `deltas.safetensors` says of them."""
    pictures, rows = [], []
    for part in sets:
        for row in range(each):
            pair = np.full((2, size, size, 3), 200, dtype=np.uint8)
            pair[:, :, : size // 8] = (150, 160, 200)
            pair[0, size // 4 : size // 2, size // 4 : 3 * size // 4] = (90, 60, 30)
            pair[1, size // 4 : size // 2, size // 4 : 3 * size // 4] = (220, 140, 60)
            pictures.append(pair)
            names = {"action": part.action_labels()[row], "object": part.object_labels()[row]}
            rows.append({"split": part.split, "row": row, "pair_id": part.pair_ids[row], **names})
    return np.stack(pictures), rows


def split_metrics(part: DeltaSet) -> dict[str, Any]:
    """What `metrics.json` holds of a split."""
    right = part.predictions == part.labels
    by_action = {a: float(right[part.labels == i].mean()) for i, a in enumerate(part.actions)}
    objects = np.array(part.object_labels())
    return {
        "n": len(part),
        "accuracy": float(right.mean()),
        "macro_accuracy": float(np.mean(list(by_action.values()))),
        "accuracy_by_action": by_action,
        "accuracy_by_object": {name: float(right[objects == name].mean()) for name in sorted(set(objects))},
        "opposite_error_share": 0.1,
        "cross_entropy": 0.5,
        "never_predicted": [],
    }


def training_log(epochs: int = 4) -> list[dict[str, Any]]:
    """A log of a training that goes well."""
    log: list[dict[str, Any]] = []
    for step in range(1, 10 * epochs + 1):
        fall = float(np.exp(-step / 12))
        terms = {"cross_entropy": 0.1 + 2.2 * fall, "contrastive": 0.5 + 2 * fall, "sparsity": 6 + 4 * fall}
        log.append({"step": step, "epoch": step / 10, "loss": sum(terms.values()), "delta_norm": 2.0 + fall, **terms})
        if step % 10 == 0:
            scores = {f"eval_{name}_accuracy": 0.95 - 0.6 * fall for name in ("validation", "validation_comp")}
            log.append({"step": step, "epoch": step / 10, **scores})
    return log


def drawn_run(
    folder: Path,
    splits: tuple[str, ...] = ("train", "test", "test_comp"),
    n: int = 80,
    weights: bool = False,
    **fields: Any,
) -> Path:
    """Write `deltas.safetensors`, `metrics.json` and `trainer_state.json` as a finished training leaves them.

    With `weights`, as of a model that weighs patches by their change: a quarter of the weight is on the target.
    """
    sets = [drawn_set(split, n=n, seed=i, **fields) for i, split in enumerate(splits)]
    tests = [part for part in sets if part.split.startswith("test")]
    pictures, rows = drawn_examples(tests)
    tensors = {"examples/pictures": pictures}
    if weights:
        tensors["examples/patch_weights"] = np.full((len(rows), 16), 0.05, dtype=np.float32)
        tensors["examples/patch_weights"][:, 5] = 0.25
        tensors["examples/mask_coverage"] = np.eye(16, dtype=np.float32)[[5] * len(rows)]
    header: dict[str, Any] = {"examples": rows} | ({"patch_grid": GRID} if weights else {})
    save_sets(folder, *sets, header=header, **tensors)
    metrics = {
        "splits": {part.split: split_metrics(part) for part in tests},
        "gap": {"test_comp": 0.0},
        "environment": {"python": "3.11", "torch": "2.13", "transformers": "5.23", "device": "CPU", "cores": 2},
        "training": {
            "command": "accelerate launch train.py --config configs/from_scratch.yaml",
            "data": "data/rooms",
            "manifests": [],
            "pairs": {part.split: len(part) for part in sets},
            "pairs_used_twice": {},
            "arguments": {"method": "cde", "seed": 0, "contrastive_weight": 2.0, "sparsity_weight": 0.01},
            "minutes": 5.2,
        },
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": training_log()}))
    return folder
