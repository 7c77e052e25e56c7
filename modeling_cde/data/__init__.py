"""Pairs and sequences of pictures of actions: schema, splits, building, loading, transforms, batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # isort: off
    from .augmentation import Augmentation as Augmentation
    from .building.build import assemble as assemble, write_shard as write_shard
    from .building.card import DatasetCard as DatasetCard
    from .building.publishing import push_to_hub as push_to_hub
    from .collator import PairCollator as PairCollator
    from .loading import load_pairs as load_pairs, transform_pairs as transform_pairs
    from .schema import CONFIGS as CONFIGS, OPPOSITES as OPPOSITES, SPLITS as SPLITS, pair_features as pair_features
    from .sequence_schema import sequence_features as sequence_features
    from .sequences import (
        SequenceCollator as SequenceCollator,
        SequenceTransform as SequenceTransform,
        load_sequences as load_sequences,
    )
    from .splits import (
        CausalTripletOptions as CausalTripletOptions,
        CleanOptions as CleanOptions,
        SplitManifest as SplitManifest,
        causal_triplet_split as causal_triplet_split,
        clean_split as clean_split,
        joint_split as joint_split,
    )
    from .transforms import PairTransform as PairTransform

#: Public names, by the module that is loaded when one of them is first used.
_NAMES = {
    "augmentation": ["Augmentation"],
    "building.build": ["assemble", "write_shard"],
    "building.card": ["DatasetCard"],
    "building.publishing": ["push_to_hub"],
    "collator": ["PairCollator"],
    "loading": ["load_pairs", "transform_pairs"],
    "schema": ["CONFIGS", "OPPOSITES", "SPLITS", "pair_features"],
    "sequence_schema": ["sequence_features"],
    "sequences": ["SequenceCollator", "SequenceTransform", "load_sequences"],
    "splits": [
        "CausalTripletOptions",
        "CleanOptions",
        "SplitManifest",
        "causal_triplet_split",
        "clean_split",
        "joint_split",
    ],
    "transforms": ["PairTransform"],
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
