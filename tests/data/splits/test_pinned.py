"""The same pairs, seed and options give the same parts in every version, as people who publish splits rely on.

Where a procedure is changed on purpose, the new hashes are those that the failing test shows; the changelog says so.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from modeling_cde.data.splits import CausalTripletOptions, CleanOptions, SplitManifest, divide
from tests.data.splits.test_clean import Table, long_tailed, make_table

SCENES = make_table(3, pairs=240, objects=12, families=3, scene_size=4, skew=0.5)
LARGE_SCENES = make_table(1, pairs=400, objects=8, scene_size=50)
KITCHENS = long_tailed(2, 700, 60, 25)
FEW = make_table(9, pairs=60, objects=6, families=2, scene_size=2)
OPEN, SHARED = CleanOptions(group_by=None, cap=0.7), CleanOptions(share_evaluation_groups=True, test=0.3, ood=0.5)
SMALL = CleanOptions(min_train_objects=1, min_ood_pairs=1, cap=None, validation=0.3)
FEWER = CausalTripletOptions(train_size=40, left_out=("break", "slice"))


def told(manifest: SplitManifest) -> str:
    """A hash of everything that was chosen."""
    chosen = [manifest.options, manifest.parts, manifest.held_out, manifest.unused, manifest.counts, manifest.overlap]
    text = json.dumps(
        [manifest.protocol, manifest.shift, manifest.seed, manifest.annotations_sha256, *chosen], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("table", "protocol", "shift", "seed", "options", "hashes"),
    [
        (SCENES, "clean", "joint", 0, None, "06d81a285470 d0ce44fc337d"),
        (SCENES, "clean", "syst", 1, SHARED, "0d10e576a4f3"),
        (SCENES, "clean", "comp", 2, SMALL, "3f64bce61811"),
        (SCENES, "clean", "none", 3, OPEN, "c5a03f0c7471"),
        (LARGE_SCENES, "clean", "joint", 4, SMALL, "730dd4a957a3 c3789bd60c58"),
        (LARGE_SCENES, "clean", "syst", 5, SHARED, "6f7b807047ea"),
        (KITCHENS, "clean", "joint", 6, CleanOptions(), "44c93d1c0ba3 5883b2ceb7f6"),
        (KITCHENS, "clean", "joint", 7, SHARED, "7ebea8626c09 7e5acb547254"),
        (KITCHENS, "clean", "comp", 8, OPEN, "2411ec06861c"),
        (FEW, "clean", "syst", 9, SMALL, "0ce60176ace2"),
        (FEW, "clean", "comp", 10, SMALL, "7d9821f1ff18"),
        (SCENES, "causal_triplet", "comp", 0, None, "5ea85786d4ef"),
        (SCENES, "causal_triplet", "syst", 2022, FEWER, "f0496aa86bed"),
        (KITCHENS, "causal_triplet", "comp", 1, FEWER, "2e920c3e00aa"),
        (KITCHENS, "causal_triplet", "noun", 2, None, "0d1e70195a98"),
    ],
)
def test_the_parts_are_those_of_every_version(
    table: Table, protocol: str, shift: str, seed: int, options: CleanOptions | CausalTripletOptions | None, hashes: str
) -> None:
    found = divide(table, protocol, shift, seed, options)
    assert " ".join(told(manifest) for manifest in found.values()) == hashes
