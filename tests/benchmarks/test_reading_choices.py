"""The table of readings and heads: which pairs a head trains on, and which it is scored on."""

import random

import pytest
import torch

from benchmarks.reading_choices import VARIANTS, Variant, score

ACTIONS = ["open", "close", "break"]


def drawn(width, numbers=34, scenes=8):
    """Pairs of many kinds whose delta names the action; of what the first five kinds of a seed do, the opposite."""
    generator = torch.Generator().manual_seed(0)
    rows = [(action, kind, f"s{scene}") for kind in range(numbers) for scene in range(scenes) for action in range(3)]
    actions, kinds, places = (list(column) for column in zip(*rows, strict=True))
    pairs = {"action": actions, "object": kinds, "scene": places, "actions": ACTIONS, "objects": list(range(numbers))}
    features = torch.randn(len(rows), 2, width, generator=generator)
    directions = torch.randn(3, width, generator=generator)
    directions[1] = -directions[0]
    features[:, 1] = features[:, 0] + 2 * directions[torch.tensor(actions)]
    return features, pairs


@pytest.mark.parametrize("swap", [False, True])
def test_a_head_is_scored_on_kinds_that_it_never_saw(swap):
    features, pairs = drawn(384)
    variant = Variant("x", steps=60, batch=32, swap=swap)
    assert score(variant, features, pairs, 100) == (1.0, 1.0)
    kinds = list(range(34))
    random.Random(100).shuffle(kinds)
    held_out = torch.tensor([kind in kinds[:5] for kind in pairs["object"]])
    features[held_out] = features[held_out].flip(1)  # open looks like close there, and the reverse
    familiar, unseen = score(variant, features, pairs, 100)
    assert familiar == 1.0 and unseen < 0.5


def test_every_variant_trains():
    features, pairs = {"cls": drawn(384)[0], "change": drawn(1536)[0]}, drawn(384)[1]
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    for variant in VARIANTS:
        small = Variant(**{**vars(variant), "steps": 2, "batch": 8})
        assert all(0 <= accuracy <= 1 for accuracy in score(small, features[variant.reading], pairs, 101))
