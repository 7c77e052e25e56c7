"""The folder in which a reader of the guides stands: the checkout's files, drawn pairs, a small checkpoint."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from datasets import Features

from tests.docs.blocks import ROOT
from tests.drawn_pairs import draw_data_set

#: What the commands of the guides name of the checkout; copied where a command writes into it.
_LINKED = ("train.py", "configs", "constraints.txt", "model_cards", "metric", "space", "tests")


def make_folder(folder: Path) -> Path:
    """Lay out the files: data/rooms, pairs.csv with its pictures, before.png and after.png, kept benchmark results."""
    draw_data_set(folder / "data" / "rooms", pairs_of_each=8)
    shard = pq.read_table(next((folder / "data" / "rooms" / "shards").rglob("*.parquet")))
    rows, features = shard.to_pylist(), Features.from_arrow_schema(shard.schema)
    (folder / "pictures").mkdir()
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["before", "after", "action", "object", "group"])
        for row in rows:
            paths = [f"pictures/{row['pair_id']}_{frame}.png" for frame in ("before", "after")]
            for path, frame in zip(paths, ("before", "after"), strict=True):
                (folder / path).write_bytes(row[frame]["bytes"])
            classes = [features[name].int2str(row[name]) for name in ("action", "object")]
            table.writerow([*paths, *classes, row["scene"]])
    for frame in ("before", "after"):
        (folder / f"{frame}.png").write_bytes(rows[0][frame]["bytes"])
    for name in _LINKED:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "benchmarks" / "results", folder / "benchmarks" / "results")
    return folder



def save_checkpoints() -> None:
    """Save runs/patch, a patch-wise model of random weights, and hub/, a pretrained backbone that repositories hold."""
    from transformers import AutoModel

    from modeling_cde import CDEImageProcessor
    from tests.tiny_models import backbone_config, tiny_cde

    processor = CDEImageProcessor(size=32)
    for part in (tiny_cde(delta_mode="patch"), processor):
        part.save_pretrained("runs/patch")
    AutoModel.from_config(backbone_config("vit")).save_pretrained("hub/backbone")
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2}
    settings |= {"image_mean": processor.image_mean, "image_std": processor.image_std}
    Path("hub/backbone/preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
