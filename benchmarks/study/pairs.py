"""All pairs of a built data set, as what a frozen backbone says of them, and their splits by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeling_cde.data.splits import CleanOptions

# Flags of train.py by the name of a reading: what a head is given of the backbone.
READINGS: dict[str, dict[str, Any]] = {
    "cls": {"pooling": "cls"},
    "change": {"pooling": "change", "feature_layers": [6, 8, 10, 12]},
    "cls4": {"pooling": "cls", "feature_layers": [6, 8, 10, 12]},
    "mean4": {"pooling": "mean", "feature_layers": [6, 8, 10, 12]},
    **{f"layer{n}": {"pooling": "change", "feature_layers": [n]} for n in range(1, 13)},
}


@dataclass(frozen=True)
class Pairs:
    """The pairs of a data set, in the order of its shards.

    Attributes:
        rows: Reading -> rows with kept features; after all pairs come swapped copies of those that can have one.
        objects: The same, whose batches say the object, too, for methods that ask for it.
        copies: Number of a pair -> number of its copy.
        action, object, scene, pair_id: Columns of the pairs, with names.
        mechanism: How the action shows, or None where the data set does not say.
        options: With which the data set was split.
    """

    rows: Mapping[str, Any]
    objects: Mapping[str, Any]
    copies: Mapping[int, int]
    action: Sequence[str]
    object: Sequence[str]
    scene: Sequence[str]
    pair_id: Sequence[str]
    mechanism: Sequence[str] | None
    options: CleanOptions

    def __len__(self) -> int:
        return len(self.pair_id)

    @property
    def kinds(self) -> list[str]:
        """The kinds of objects."""
        return sorted(set(self.object))

    def of_kinds(self, kinds: Sequence[str]) -> list[int]:
        """The pairs of these kinds."""
        return [i for i, kind in enumerate(self.object) if kind in kinds]

    def split(self, seed: int) -> dict[str, list[int]]:
        """The parts of the data set's own protocol with both shifts: name, as `load_shifts` has it -> pairs."""
        from modeling_cde.data.splits import joint_split

        columns = {name: list(getattr(self, name)) for name in ("pair_id", "action", "object", "scene")}
        places = {pair_id: i for i, pair_id in enumerate(self.pair_id)}
        parts: dict[str, list[int]] = {}
        for shift, manifest in joint_split(columns, seed, self.options).items():
            for name, ids in manifest.parts.items():
                # In the order of the shards, as the files of a split have them: batches depend on it.
                parts[name.replace("ood", shift)] = sorted(places[pair_id] for pair_id in ids)
        return parts


def open_pairs(
    folder: str, view: str = "single", readings: Sequence[str] = ("cls", "change"), size: int = 126
) -> Pairs:
    """Open a data set with its features, which are encoded where they are absent, all readings in one pass.

    Args:
        folder: Of a built data set with its shards.
        view: "single" or "multi".
        readings: Names in `READINGS`.
        size: Side of the pictures that the backbone sees, in pixels.

    Raises:
        ValueError, OSError: The folder has no shards, or the backbone cannot be had; the message says which.
    """
    import datasets

    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEForActionClassification, CDEImageProcessor
    from modeling_cde.data import PairTransform
    from modeling_cde.data.splits import OPPOSITES, CleanOptions, SplitManifest
    from modeling_cde.data.swapped_pairs import with_swapped
    from modeling_cde.features.encoder import native_bf16
    from modeling_cde.features.keep import keep_features
    from modeling_cde.features.store import FeatureStore

    shards = sorted(map(str, Path(folder, "shards", view).glob("*.parquet")))
    if not shards:
        raise FileNotFoundError(f"{folder} has no shards of view {view}: build the data set first (docs/data.md).")
    features = datasets.Features.from_arrow_schema(_schema(shards[0]))
    stored = datasets.Dataset.from_parquet(shards, features=features)
    columns = {name: stored[name][:] for name in ("action", "object", "scene", "pair_id")}
    names = {name: stored.features[name].names for name in ("action", "object")}
    mechanism = stored["mechanism"][:] if "mechanism" in stored.features else None
    twice = with_swapped(stored, OPPOSITES)
    opposite = {i for i, name in enumerate(names["action"]) if OPPOSITES.get(name) in names["action"]}
    copied = [i for i, action in enumerate(columns["action"]) if action in opposite]

    backbone = str(reachable_backbone(HUB_MODEL))
    processor = CDEImageProcessor.from_backbone(backbone, size=size)
    crop: Any = "box" if view == "single" else "none"
    transform = PairTransform.from_processor(processor, crop=crop)
    with_objects = PairTransform.from_processor(processor, crop=crop, extras=("objects",))
    models = {name: CDEForActionClassification.from_backbone(backbone, **READINGS[name]) for name in readings}
    precision: Any = "bf16" if native_bf16() else "float32"
    rows: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    for name, model in models.items():
        also = [other for key, other in models.items() if key != name and not rows]
        store = FeatureStore()
        kept = keep_features(model, {"all": twice}, transform, store, precision=precision, also=also)
        rows[name] = kept["all"]
        objects[name] = keep_features(model, {"all": twice}, with_objects, store, precision=precision)["all"]
    made = SplitManifest.load(Path(folder, "manifests", f"{view}_syst.json")).options
    options = {name: value for name, value in made.items() if name != "shifts"}
    return Pairs(
        rows,
        objects,
        {pair: len(stored) + place for place, pair in enumerate(copied)},
        [names["action"][i] for i in columns["action"]],
        [names["object"][i] for i in columns["object"]],
        columns["scene"],
        columns["pair_id"],
        mechanism,
        CleanOptions(**options),
    )


def _schema(shard: str) -> Any:
    import pyarrow.parquet as parquet

    return parquet.read_schema(shard)
