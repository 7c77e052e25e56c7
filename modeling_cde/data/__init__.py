"""Pairs of pictures before and after an action: schema, splits, building, loading, transforms, batches."""

from .augmentation import Augmentation
from .building.build import assemble, write_shard
from .building.card import DatasetCard
from .building.publishing import push_to_hub
from .collator import PairCollator
from .loading import load_pairs, transform_pairs
from .schema import CONFIGS, OPPOSITES, SPLITS, pair_features
from .splits import CausalTripletOptions, CleanOptions, SplitManifest, causal_triplet_split, clean_split, joint_split
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
