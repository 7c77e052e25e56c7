"""The folder in which a reader of the guides stands: the checkout's files, drawn pairs, small checkpoints."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

from tests.docs.blocks import ROOT

# What the guides name of the checkout: linked, or copied where they write into it.
_LINKED = ("pyproject.toml", "train.py", "fit.py", "configs", "constraints.txt", "metric", "space")
_COPIED = ("modeling_cde", "model_cards", "benchmarks/results")


def lay_out_checkout(folder: Path) -> None:
    """The checkout's files; the package has to be there before it is imported."""
    for name in _LINKED:
        (folder / name).symlink_to(ROOT / name)
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def draw_files(folder: Path) -> None:
    """The reader's own: data/rooms, pairs.csv with its pictures, before.png and after.png, causal_triplet.zip."""
    import pyarrow.parquet as pq
    from datasets import Features

    from tests.data_scripts.drawn_houses import draw_houses
    from tests.drawn_pairs import draw_data_set

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
    houses = draw_houses(folder / "houses", houses=12, pairs=5, side=32)
    with zipfile.ZipFile(folder / "causal_triplet.zip", "w") as archive:
        for path in sorted(houses.rglob("*")):
            archive.write(path, path.relative_to(houses))


def save_checkpoints() -> None:
    """runs/patch, of random weights; hub/vit and hub/dinov2, pretrained ones for the small Hub."""
    from transformers import AutoModel

    from modeling_cde import CDEImageProcessor
    from tests.tiny_models import backbone_config, tiny_cde

    processor = CDEImageProcessor(size=32)
    for part in (tiny_cde(delta_mode="patch"), processor):
        part.save_pretrained("runs/patch")
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2}
    settings |= {"image_mean": processor.image_mean, "image_std": processor.image_std}
    for family, options in (("vit", {}), ("dinov2", {"hidden_size": 16})):
        AutoModel.from_config(backbone_config(family, **options)).save_pretrained(f"hub/{family}")
        Path(f"hub/{family}/preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
