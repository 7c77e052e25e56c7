"""How many deltas are compared in a batch, and when a cross-entropy is learned, from the arguments of a training."""

import math

import pytest

from modeling_cde.analysis.doctor.findings import Finding, Settings

PATCHES = {"delta_mode": "patch", "patch_loss": "per_patch", "per_device_train_batch_size": 8}


@pytest.mark.parametrize(
    ("arguments", "processes", "samples"),
    [
        ({}, 1, None),
        ({"per_device_train_batch_size": 8}, 3, 24),
        (PATCHES, 1, 8),
        (PATCHES | {"top_k_patches": 5}, 2, 80),
        (PATCHES | {"top_k_patches": 5, "patch_loss": "aggregated"}, 1, 8),
        (PATCHES | {"top_k_patches": 5, "delta_mode": "global"}, 1, 8),
    ],
)
def test_the_deltas_of_a_batch_are_counted(arguments, processes, samples):
    assert Settings.of(arguments, {}, processes).contrastive_samples == samples


def test_half_the_cross_entropy_of_guessing_is_not_learned_yet():
    settings = Settings(num_actions=4)
    assert not settings.is_learned(0.5 * math.log(4)) and settings.is_learned(0.499 * math.log(4))


@pytest.mark.parametrize(
    ("now", "then", "again"), [(1.5, 1.25, False), (2.0, 1.5, True), (1.5, 1.0, True), (1.4, 1.0, False)]
)
def test_a_number_is_reported_again_from_half_the_threshold_on(now, then, again):
    found = [Finding("x", "warning", "", value, 1.0, "") for value in (now, then)]
    assert found[0].much_worse_than(found[1]) == again


def test_what_the_arguments_say_is_kept():
    given = {"sparsity_warmup_ratio": 0.3, "learning_rate": 0.01, "class_aware_sampling": True, "fp16": True}
    found = Settings.of(given, {}, num_actions=3)
    assert (found.sparsity_warmup_ratio, found.learning_rate, found.class_aware) == (0.3, 0.01, True)
    assert found.half_precision is True and found.num_actions == 3
    assert Settings.of({}, {}) == Settings(weights=Settings.of({}, {}).weights)
