"""Signs in a log: healthy and troubled logs, what is read from which entry, and logs of any content."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.doctor import findings
from modeling_cde.analysis.doctor.findings import Settings
from modeling_cde.analysis.doctor.training_log import TrainingLog, examine_log
from modeling_cde.analysis.loss_terms import loss_weights


def weights(contrastive, sparsity):
    """Of the default loss."""
    return loss_weights({}, {"contrastive_weight": contrastive, "sparsity_weight": sparsity})


SETTINGS = Settings(weights=weights(2.0, 0.01), num_actions=10, max_steps=100, contrastive_samples=64)


def training(step, cross_entropy, contrastive=4.0, sparsity=100.0, lonely=0.0, **more):
    loss = cross_entropy + 2 * contrastive + 0.01 * sparsity
    terms = {"cross_entropy": cross_entropy, "contrastive": contrastive, "sparsity": sparsity, "loss": loss}
    return {"step": step, **terms, "anchors_without_positive": lonely, "grad_norm": 1.0, **more}


def evaluation(step, split, accuracy, never=0):
    names = {"accuracy": accuracy, "macro_accuracy": 0.0, "never_predicted": never, "loss": 3.0, "runtime": 1.0}
    return {"step": step} | {f"eval_{split}_{name}": value for name, value in names.items()}


def healthy(steps=range(10, 101, 10)):
    """Falls as the log of the quickstart recipe does."""
    return [training(s, 2.3 * math.exp(-s / 30), 2 + 2 * math.exp(-s / 40), 70 + 60 * math.exp(-s / 40)) for s in steps]


def signs_of(history, settings=SETTINGS):
    return [finding.sign for finding in examine_log(history, settings)]


def test_a_healthy_log_is_silent_at_every_step():
    history = healthy() + [evaluation(100, "validation", 0.95), evaluation(100, "validation_syst", 0.75)]
    for end in range(len(history) + 1):
        assert signs_of(history[:end]) == []


def test_a_short_log_says_nothing():
    assert signs_of([training(60, 2.3), training(80, 2.3)]) == []
    assert not TrainingLog([training(60, 2.3), training(80, 2.3)]).is_long_enough


def test_collapse_is_seen_in_the_length_and_where_it_was_not_logged_in_the_l1_norm():
    lengths = [6.0, 3.0, 0.2]
    history = [training(10 * i, 2.3, sparsity=12.0, delta_norm=length) for i, length in enumerate(lengths, 1)]
    finding = examine_log(history, SETTINGS)[0]
    assert finding.sign == findings.COLLAPSED and finding.value == pytest.approx(0.2 / 6) and finding.step == 30
    old = [training(10 * i, 2.3, sparsity=20 * length) for i, length in enumerate(lengths, 1)]
    assert examine_log(old, SETTINGS)[0].value == pytest.approx(0.2 / 6)
    late = Settings(**{**vars(SETTINGS), "max_steps": 1000})
    assert signs_of(history, late) == []  # the first tenth of a training is no time to judge


def test_nothing_learned_counts_from_half_of_the_training_and_is_not_said_beside_a_collapse():
    flat = [training(step, 2.31) for step in (20, 30, 40)]
    assert signs_of(flat) == []
    assert signs_of(flat + [training(50, 2.31)]) == [findings.NOT_LEARNING]
    collapse = [training(step, 2.31, delta_norm=5.0 / step**2) for step in (1, 40, 50, 60)]
    assert signs_of(collapse) == [findings.COLLAPSED]


def test_samples_without_positives_are_averaged_over_the_training():
    history = [training(10 * i, 2.3 / i, 4.0 / i, lonely=lonely) for i, lonely in enumerate([0.1, 0.5, 0.3], 1)]
    finding = examine_log(history, SETTINGS)[0]
    assert finding.sign == findings.NO_POSITIVES and finding.value == pytest.approx(0.3)


def test_shares_of_the_loss_are_weighted_and_follow_the_warm_up():
    history = [training(step, 2.3, 4.0, 100.0) for step in (10, 20, 30)]
    heavy = Settings(weights=weights(2.0, 2.0), num_actions=10, max_steps=100)
    finding = examine_log(history, heavy)[0]
    assert finding.sign == findings.DOMINANT and finding.subject == "sparsity"
    assert finding.value == pytest.approx(600 / (3 * 2.3 + 3 * 8 + 600))
    warmed = Settings(**{**vars(heavy), "sparsity_warmup_ratio": 1.0, "weights": weights(2.0, 20.0)})
    finding = examine_log(history, warmed)[0]
    assert finding.value == pytest.approx(20 * 100 * 0.6 / (3 * 2.3 + 3 * 8 + 20 * 100 * 0.6))
    assert signs_of(history, Settings(num_actions=10, max_steps=100)) == []  # weights that are not known


def test_an_idle_contrastive_term_is_seen_late_in_the_training():
    history = [training(10 * i, 2.3 / i**2, 4.1) for i in range(1, 8)]
    assert findings.IDLE_CONTRASTIVE not in signs_of(history[:4])
    finding = next(f for f in examine_log(history, SETTINGS) if f.sign == findings.IDLE_CONTRASTIVE)
    assert finding.value == pytest.approx(4.1 / math.log(63)) and finding.step == 70


def test_divergence_is_between_splits_of_one_step_and_remembers_the_best():
    history = healthy() + [
        evaluation(40, "validation", 0.95),
        evaluation(40, "validation_syst", 0.2),  # early: what is learned first is learned in distribution
        evaluation(60, "validation", 0.9),
        evaluation(60, "validation_syst", 0.6),
        evaluation(100, "validation", 0.95),
    ]
    assert signs_of(history) == []  # the shifted split was not evaluated at step 100 yet
    finding = examine_log(history + [evaluation(100, "validation_syst", 0.3)], SETTINGS)[0]
    assert finding.sign == findings.DIVERGENCE and finding.value == pytest.approx(0.65) and finding.step == 100
    assert "validation systematic was at 0.60 before" in finding.sentence
    single = healthy() + [{"step": 100, "eval_accuracy": 0.9}, {"step": 100, "eval_loss": 0.2}]
    assert signs_of(single) == []


def test_dead_classes_count_late_and_in_distribution():
    early, late = evaluation(40, "validation", 0.9, never=2), evaluation(60, "validation", 0.9, never=2)
    assert signs_of(healthy(range(10, 41, 10)) + [early]) == []
    assert signs_of(healthy(range(10, 61, 10)) + [early]) == []  # a later log does not make it late
    finding = examine_log(healthy(range(10, 61, 10)) + [late], SETTINGS)[0]
    assert finding.sentence == "In validation 2 of 10 actions are never predicted."
    assert signs_of(healthy(range(10, 61, 10)) + [evaluation(60, "validation_syst", 0.9, never=2)]) == []
    assert signs_of(healthy(range(10, 61, 10)) + [{"step": 60, "eval_never_predicted": 1}]) == [findings.DEAD_CLASSES]


def test_the_first_number_that_is_not_finite_is_found_with_what_came_before_it():
    history = healthy(range(10, 51, 10)) + [training(60, math.nan, grad_norm=math.inf), training(70, math.nan)]
    finding, *rest = examine_log(history, SETTINGS)
    assert (finding.sign, finding.step, rest) == (findings.NOT_FINITE, 60, [])
    assert finding.sentence == "NaN or infinity in the log: loss, cross_entropy, grad_norm."
    assert signs_of(healthy() + [{"step": 100, "eval_validation_loss": math.inf}]) == [findings.NOT_FINITE]


def test_an_infinite_gradient_counts_unless_it_is_scaled_or_did_no_harm():
    last = [*healthy(range(10, 51, 10)), training(60, 0.3, 2.4, grad_norm=math.inf)]
    assert signs_of(last) == [findings.NOT_FINITE]
    assert signs_of(last, Settings(**{**vars(SETTINGS), "half_precision": True})) == []
    assert signs_of([*last, training(70, 0.2, 2.3)]) == []


def test_a_loss_of_ones_own_is_judged_by_its_terms_and_weights():
    own = Settings(weights={"cross_entropy": 1.0, "margin": 50.0}, num_actions=10, max_steps=100)
    history = [{"step": step, "loss": 9.0, "cross_entropy": 2.3, "margin": 1.0} for step in (10, 20, 30)]
    finding = examine_log(history, own)[0]
    assert finding.sign == findings.DOMINANT and finding.subject == "margin"
    assert finding.sentence == (
        "The margin term makes up 96% of the loss while the cross-entropy is at 2.30 (guessing: 2.30)."
    )
    assert finding.advice == "a lower weight of margin."
    broken = [*history, {"step": 40, "loss": 1.0, "cross_entropy": 2.3, "margin": math.nan}]
    assert examine_log(broken, own)[0].sentence == "NaN or infinity in the log: margin."
    assert signs_of([*history, {"step": 30, "eval_validation_margin": math.inf}], own)[0] == findings.NOT_FINITE


def test_signs_of_the_default_losss_terms_need_these_terms():
    """Terms of the same names in another loss, which shrink and stay as they like."""
    own = Settings(weights={"contrastive": 1.0, "sparsity": 1.0}, num_actions=10, max_steps=30, contrastive_samples=4)
    history = [{"step": 10 * i, "loss": 3.0, "contrastive": 9.0, "sparsity": 9.0 / 100**i} for i in (1, 2, 3)]
    found = examine_log(history, own)
    assert [finding.sign for finding in found] == [findings.DOMINANT]  # no cross-entropy that could be learned or not
    assert found[0].sentence.endswith("of the loss; sparsity hardly counts.")


NUMBERS = st.floats(-5, 200) | st.sampled_from([math.nan, math.inf, 0.0])
KEYS = ["loss", "cross_entropy", "contrastive", "sparsity", "auxiliary", "delta_norm", "grad_norm", "eval_loss"]
KEYS += ["anchors_without_positive", "eval_validation_accuracy", "eval_validation_ood_accuracy", "train_loss", "epoch"]
LOGS = st.lists(st.dictionaries(st.sampled_from(KEYS), NUMBERS), max_size=8)


@given(LOGS, st.booleans())
def test_any_log_is_examined_and_what_is_not_finite_is_found_in_it(entries, known):
    history = [{"step": 10 * i, **entry} for i, entry in enumerate(entries)]
    found = signs_of(history, SETTINGS if known else Settings())
    losses = ("loss", "cross_entropy", "contrastive", "sparsity", "auxiliary", "delta_norm", "eval_loss")
    logs = [entry for entry in entries if "loss" in entry or any(key.startswith("eval_") for key in entry)]
    ruined = any(key in losses and not math.isfinite(value) for entry in logs for key, value in entry.items())
    assert findings.NOT_FINITE in found or not ruined
    finite = all(math.isfinite(value) for entry in entries for value in entry.values())
    assert not (finite and findings.NOT_FINITE in found)


def test_a_long_log_is_examined_in_milliseconds():
    history = healthy(range(1, 10001))
    started = time.perf_counter()
    examine_log(history, SETTINGS)
    assert time.perf_counter() - started < 1.0  # measured: some 40 ms
