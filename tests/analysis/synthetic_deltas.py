"""Deltas made by hand, so that what a metric has to say of them is known beforehand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from modeling_cde.analysis.delta_set import DeltaSet

ACTIONS = ["open", "close", "dirty", "clean"]
OPPOSITES = {"open": "close", "close": "open", "dirty": "clean", "clean": "dirty"}


def make_set(delta: Any, labels: Any, objects: Any | None = None, **fields: Any) -> DeltaSet:
    """A split with these deltas; states, logits and names are filled in where they are not given."""
    delta = np.asarray(delta, dtype=np.float32)
    labels = np.asarray(labels, dtype=np.int64)
    n = len(labels)
    objects = np.zeros(n, dtype=np.int64) if objects is None else np.asarray(objects, dtype=np.int64)
    num_actions = len(fields.get("actions", ())) or max(len(ACTIONS), int(labels.max(initial=0)) + 1)
    actions = [*ACTIONS, *(f"action {i}" for i in range(len(ACTIONS), num_actions))][:num_actions]
    states = np.stack([np.zeros_like(delta), delta], axis=1)
    values: dict[str, Any] = {
        "split": "test",
        "delta": delta,
        "states": states,
        "logits": np.eye(num_actions, dtype=np.float32)[labels],
        "labels": labels,
        "objects": objects,
        "actions": actions,
        "object_names": [f"object {i}" for i in range(int(objects.max(initial=0)) + 1)],
        "opposites": OPPOSITES,
        "pair_ids": [f"pair {i}" for i in range(n)],
        "scenes": [f"scene {i % 3}" for i in range(n)],
    }
    return DeltaSet(**(values | fields))


def save_sets(folder: Path, *sets: DeltaSet, header: dict[str, Any] | None = None, **tensors: Any) -> Path:
    """Write `deltas.safetensors` as the evaluation does; `header` replaces entries, None leaves one out."""
    arrays: dict[str, Any] = dict(tensors)
    for part in sets:
        for name in ("delta", "states", "logits", "labels", "objects"):
            arrays[f"{part.split}/{name}"] = getattr(part, name)
        for name in ("patch_delta", "patch_indices", "box_coverage", "mask_coverage"):
            if getattr(part, name) is not None:
                arrays[f"{part.split}/{name}"] = getattr(part, name)
    entries: dict[str, Any] = {
        "actions": sets[0].actions,
        "objects": sets[0].object_names,
        "opposites": sets[0].opposites,
        "rows": {
            part.split: {"pair_id": part.pair_ids, "scene": part.scenes}
            | ({} if part.mechanisms is None else {"mechanism": part.mechanisms})
            for part in sets
        },
        "patch_grid": sets[0].patch_grid,
    } | (header or {})
    metadata = {name: json.dumps(value) for name, value in entries.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / "deltas.safetensors", metadata
    )
    return folder
