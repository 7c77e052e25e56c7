"""Pairs of pictures before and after an action: schema, splits, building, loading, transforms, batches."""

from .augmentation import Augmentation
from .build import assemble, write_shard
from .card import DatasetCard
from .collator import PairCollator
from .loading import load_pairs, transform_pairs
from .publishing import push_to_hub
from .schema import CONFIGS, OPPOSITES, SPLITS, pair_features
from .splits import (
    CausalTripletOptions,
    CleanOptions,
    SplitManifest,
    causal_triplet_split,
    clean_split,
    joint_split,
)
from .transforms import PairTransform

__all__ = [
    "CONFIGS",
    "OPPOSITES",
    "SPLITS",
    "Augmentation",
    "CausalTripletOptions",
    "CleanOptions",
    "DatasetCard",
    "PairCollator",
    "PairTransform",
    "SplitManifest",
    "assemble",
    "causal_triplet_split",
    "clean_split",
    "joint_split",
    "load_pairs",
    "pair_features",
    "push_to_hub",
    "transform_pairs",
    "write_shard",
]
