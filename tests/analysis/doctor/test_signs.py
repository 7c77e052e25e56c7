"""Each sign: the number behind it, silence on the near side of its threshold, and when it is worth saying again."""

import dataclasses
import math
import re
import statistics
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.doctor import findings, signs
from modeling_cde.analysis.doctor.findings import Finding, Settings
from modeling_cde.training.losses import supervised_contrastive_loss

WEIGHTS = {"cross_entropy": 1.0, "contrastive": 2.0, "sparsity": 0.01, "auxiliary": 1.0}
TEN = Settings(weights=WEIGHTS, num_actions=10, max_steps=100, learning_rate=1e-3)
TEN = dataclasses.replace(TEN, contrastive_samples=64)
GUESSING = math.log(10)
SHARES = st.floats(0, 1)


def test_a_finding_is_one_line_with_what_was_seen_and_what_to_try():
    finding = Finding("collapsed deltas", "error", "All are 0.", 0.0, 0.05, "less of it.", step=7)
    assert finding.line() == "error at step 7, collapsed deltas: All are 0. Try: less of it."
    finding = dataclasses.replace(finding, step=None, severity="warning")
    assert finding.line() == "warning, collapsed deltas: All are 0. Try: less of it."


@pytest.mark.parametrize(
    ("said", "now", "threshold", "again"),
    [
        (0.30, 0.32, 0.25, False),  # hardly moved
        (0.30, 0.50, 0.25, True),
        (0.60, 0.75, 0.25, False),  # moved, but not twice as far
        (0.08, 0.02, 0.10, True),  # low is bad here
        (0.08, 0.06, 0.10, False),
        (1.0, 2.0, 0.0, True),  # one dead class more
        (2.0, 3.0, 0.0, False),
        (0.5, 0.3, 0.25, False),  # better
    ],
)
def test_much_worse_is_twice_as_far_from_the_threshold_and_half_of_it_more(said, now, threshold, again):
    before = Finding("x", "warning", "", said, threshold, "")
    assert dataclasses.replace(before, value=now).much_worse_than(before) is again


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_the_same_is_never_much_worse_but_an_error_after_a_warning_is(value, threshold):
    finding = Finding("x", "warning", "", value, threshold, "")
    assert not finding.much_worse_than(finding)
    error = dataclasses.replace(finding, severity="error")
    assert error.much_worse_than(finding) and not finding.much_worse_than(error)


def test_numbers_that_are_not_finite_are_named():
    assert signs.not_finite([], "in the log") is None
    finding = signs.not_finite(["loss", "grad_norm"], "in the log", 3)
    assert finding.sentence == "NaN or infinity in the log: loss, grad_norm."
    assert (finding.severity, finding.value, finding.step) == ("error", 2.0, 3)


def test_every_flag_of_the_advice_is_a_flag_of_train():
    from modeling_cde.training.arguments import DataArguments, ModelArguments
    from modeling_cde.training.training_args import CDETrainingArguments

    known = {field.name for kind in (ModelArguments, DataArguments, CDETrainingArguments) for field in fields(kind)}
    named = set(re.findall(r"--([a-z][a-z0-9_]*)", Path(signs.__file__).read_text(encoding="utf-8")))
    assert len(named) > 10 and named <= known


def test_collapsed_deltas_are_small_and_tell_no_actions_apart():
    finding = signs.collapsed(0.1, 5.0, "start", GUESSING, TEN, 40)
    assert finding.value == pytest.approx(0.02) and finding.threshold == findings.SHRUNKEN
    assert "only 2% of the longest" in finding.sentence and "2.30 (guessing: 2.30)" in finding.sentence
    assert "--sparsity_weight (now 0.01)" in finding.advice
    assert signs.collapsed(0.5, 5.0, "start", GUESSING, TEN) is None  # at the threshold
    assert signs.collapsed(0.1, 5.0, "start", 0.4 * GUESSING, TEN) is None  # small, and they do their work
    unknown = signs.collapsed(0.1, 5.0, "start", GUESSING, Settings())
    assert unknown is not None and "guessing" not in unknown.sentence
    no_weight = dataclasses.replace(TEN, weights={**WEIGHTS, "sparsity": 0.0})
    assert "a higher --learning_rate (now 0.001)" in signs.collapsed(0.1, 5.0, "start", None, no_weight).advice
    for length, reference in ((0.0, 0.0), (0.0, 3.0), (1e-7, 1e-7)):  # nothing left of deltas, or of states too
        assert signs.collapsed(length, reference, "states", GUESSING, TEN, split="test").value == 0.0


def test_a_vanished_action_is_short_beside_the_others_and_not_recognised():
    lengths = {"open": 5.0, "close": 6.0, "dirty": 0.1, "clean": 4.0}
    accuracy = {"open": 1.0, "close": 1.0, "dirty": 0.2, "clean": 1.0}
    pairs = dict.fromkeys(lengths, 20)
    finding = signs.vanished(lengths, accuracy, pairs, "validation", TEN)
    assert finding.value == pytest.approx(0.1 / 5.0) and finding.subject == "validation"
    assert finding.sentence.startswith("In validation the deltas of dirty are 2% as long")
    assert signs.vanished(lengths, accuracy | {"dirty": 0.9}, pairs, "validation", TEN) is None
    assert signs.vanished(lengths | {"dirty": 0.6}, accuracy, pairs, "validation", TEN) is None
    assert signs.vanished(lengths, accuracy, pairs | {"dirty": 4}, "validation", TEN) is None
    no_sparsity = signs.vanished(lengths, accuracy, pairs, "validation", Settings(weights={"cross_entropy": 1.0}))
    assert "--sparsity_weight" in finding.advice and "--sparsity_weight" not in no_sparsity.advice
    both = signs.vanished(lengths | {"clean": 0.2}, accuracy | {"clean": 0.0}, pairs, "validation", TEN)
    assert "dirty (and clean)" in both.sentence


def test_divergence_is_a_large_gap_under_a_high_accuracy():
    names = ("validation", "validation_syst")
    finding = signs.divergence(0.95, 0.40, names, TEN, best_before=0.55, step=9)
    assert finding.value == pytest.approx(0.55) and finding.subject == "validation_syst"
    assert finding.sentence == (
        "Accuracy is 0.95 in validation but 0.40 in validation systematic, a gap of 0.55; "
        "validation systematic was at 0.55 before."
    )
    assert signs.divergence(0.95, 0.74, names, TEN) is None  # the gap that the paper reports for its method
    assert signs.divergence(0.5, 0.1, names, TEN) is None  # the training has trouble of another kind
    assert (
        "it is 0"
        in signs.divergence(0.9, 0.1, names, dataclasses.replace(TEN, weights={**WEIGHTS, "contrastive": 0.0})).advice
    )


def test_no_advice_names_a_term_that_the_loss_does_not_have():
    own = dataclasses.replace(TEN, weights={"cross_entropy": 1.0, "margin": 1.0})
    found = [
        signs.collapsed(0.1, 5.0, "start", GUESSING, own),
        signs.divergence(0.9, 0.1, ("validation", "validation_syst"), own),
        signs.dominant({"cross_entropy": 2.3, "margin": 0.1}, 2.3, own),
    ]
    assert not re.search("sparsity_weight|contrastive", " ".join(finding.advice for finding in found))
    assert found[2].advice == "a higher weight of margin."
    assert signs.no_positives(1.0, own) is signs.idle_contrastive(4.0, 0.2, own) is None


def test_samples_without_positives_count_where_there_is_a_contrastive_term():
    assert signs.no_positives(0.25, TEN) is None
    some, none = signs.no_positives(0.4, TEN), signs.no_positives(1.0, TEN)
    assert (some.severity, none.severity) == ("warning", "error")
    assert some.sentence.startswith("40% of the samples") and "is 0 throughout" in none.sentence
    assert "--class_aware_sampling" in some.advice
    assert "--class_aware" not in signs.no_positives(0.4, dataclasses.replace(TEN, class_aware=True)).advice
    assert signs.no_positives(1.0, dataclasses.replace(TEN, weights={**WEIGHTS, "contrastive": 0.0})) is None


def test_dead_classes_are_counted_and_named():
    assert signs.dead_classes(0, 10, "validation") is None
    assert signs.dead_classes(1, None, "test").sentence == "In IID 1 action is never predicted."
    finding = signs.dead_classes(2, 10, "test", ["fill (20 pairs)", "open (9 pairs)"])
    assert finding.sentence == "In IID 2 of 10 actions are never predicted: fill (20 pairs), open (9 pairs)."


def test_a_dominating_term_leaves_the_cross_entropy_unlearned():
    finding = signs.dominant({"cross_entropy": 2.3, "contrastive": 8.0, "sparsity": 120.0}, 2.3, TEN, 10)
    assert finding.value == pytest.approx(120 / 130.3) and finding.subject == "sparsity"
    assert "--sparsity_weight" in finding.advice
    assert signs.dominant({"cross_entropy": 2.3, "sparsity": 120.0}, 0.4, TEN) is None  # learned all the same
    assert signs.dominant({"cross_entropy": 2.3, "sparsity": 20.0}, 2.3, TEN) is None
    own = signs.dominant({"cross_entropy": 2.3, "auxiliary": -120.0}, 2.3, TEN)  # an adversary's term may be negative
    assert own.subject == "auxiliary" and "--method_options" in own.advice


def test_terms_that_hardly_count_are_said_and_single_terms_are_not():
    finding = signs.dominant({"cross_entropy": 2.0, "contrastive": 0.01, "sparsity": 0.02}, 0.1, TEN)
    assert finding.sentence == "The cross-entropy makes up 99% of the loss; contrastive and sparsity hardly count."
    assert finding.advice == "a higher --contrastive_weight and a higher --sparsity_weight."
    assert signs.dominant({"cross_entropy": 2.0}, 2.0, TEN) is None
    assert signs.dominant({"cross_entropy": 2.0, "contrastive": 0.0, "sparsity": 0.0}, 2.0, TEN) is None
    assert signs.dominant({}, 2.0, TEN) is None


@given(st.dictionaries(st.sampled_from(["cross_entropy", "contrastive", "sparsity", "auxiliary"]), SHARES), SHARES)
def test_the_share_does_not_depend_on_the_scale(sums, cross_entropy):
    one = signs.dominant(sums, cross_entropy, TEN)
    thousand = signs.dominant({name: 1000 * value for name, value in sums.items()}, cross_entropy, TEN)
    if min((value for value in sums.values() if value), default=1.0) > 1e-100:  # smaller ones lose digits
        assert (one is None) == (thousand is None)
        assert one is None or one.value == pytest.approx(thousand.value) and findings.DOMINANT_SHARE < one.value <= 1


def test_an_idle_contrastive_term_is_that_of_random_directions_though_the_rest_is_learned():
    finding = signs.idle_contrastive(4.0, 0.2, TEN, 60)
    assert finding.value == pytest.approx(4.0 / math.log(63)) and "random directions give 4.14" in finding.sentence
    assert signs.idle_contrastive(3.6, 0.2, TEN) is None
    assert signs.idle_contrastive(4.0, 2.0, TEN) is None
    assert signs.idle_contrastive(4.0, 0.2, dataclasses.replace(TEN, weights={**WEIGHTS, "contrastive": 0.0})) is None
    assert signs.idle_contrastive(4.0, 0.2, dataclasses.replace(TEN, contrastive_samples=None)) is None
    # Two perfectly separated actions, the hardest case: of the 63 others 31 are positives.
    assert signs.idle_contrastive(math.log(31), 0.01, dataclasses.replace(TEN, num_actions=2)) is None


@pytest.mark.parametrize("samples", [6, 64, 512])
def test_random_directions_are_idle_and_separated_actions_are_not(samples):
    labels = torch.arange(samples) % 3
    directions = torch.randn(samples, 64, generator=torch.Generator().manual_seed(0))
    settings = dataclasses.replace(TEN, contrastive_samples=samples, num_actions=3)
    for deltas, idle in ((directions, True), (directions[:3][labels], False)):
        term = supervised_contrastive_loss(deltas, labels, 0.5).item()
        assert (signs.idle_contrastive(term, 0.1, settings) is not None) is idle


def test_nothing_learned_is_the_cross_entropy_of_guessing():
    finding = signs.not_learning(2.30, TEN, 60)
    assert finding.severity == "error" and "guessing among 10 actions gives 2.30" in finding.sentence
    assert signs.not_learning(2.30, TEN, 60, finished=False).severity == "warning"
    assert signs.not_learning(2.0, TEN) is None
    assert signs.not_learning(2.30, Settings()) is None


@pytest.mark.parametrize(("right", "pairs", "seen"), [(5, 20, True), (9, 20, True), (10, 20, False), (45, 100, False)])
def test_chance_is_what_the_interval_includes(right, pairs, seen):
    """Of 20 pairs and four actions, 9 right ones may be luck by Wilson's interval (.258 is its end for .45)."""
    finding = signs.at_chance(right / pairs, pairs, 0.26, "test")
    assert (finding is not None) is seen
    assert not seen or finding.severity == ("error" if right / pairs <= 0.26 else "warning")
    assert signs.at_chance(0.1, 40, 0.26, "test_syst").severity == "warning"  # the shift may be why


@pytest.mark.parametrize(
    ("cross_entropies", "steps", "seen"),
    [
        ([2.0], 24, "24 steps, and its cross-entropy is still 2.00"),
        ([], 24, "24 steps and logged no cross-entropy"),
        ([2.0, 1.6, 1.2], 500, "fell from 1.60 to 1.20 in the last third of 500 steps"),
        ([2.0, 0.5, 0.4], 24, None),  # learned
        ([2.0, 1.5, 1.5], 300, None),  # has stopped falling: more of the same is not the cure
        ([2.0, 0.1], 0, None),  # a head in closed form
    ],
)
def test_a_training_is_short_that_has_not_learned_or_is_still_learning(cross_entropies, steps, seen):
    finding = signs.too_short(cross_entropies, steps, TEN)
    assert (finding.sentence if finding else "").find(seen or "") >= 0 and (finding is None) == (seen is None)


def test_a_test_is_too_small_by_its_interval():
    assert signs.too_small({"test": (0.5, 40), "test_syst": (0.95, 20)}) is None
    finding = signs.too_small({"test": (0.5, 36), "test_comp": (1.0, 3), "test_syst": (0.5, 400)})
    assert "test (36 pairs: ± 16 points), test_comp (3 pairs: ± 28 points)." in finding.sentence


def test_seed_variance_is_the_sample_standard_deviation_of_three_seeds_or_more():
    steady, wild = [0.90, 0.92, 0.91], [0.5, 0.7, 0.6]
    finding = signs.seed_variance({"test": steady, "test_comp": wild, "test_syst": [0.1, 0.2, 0.29]}, "CDE")
    assert finding.value == pytest.approx(statistics.stdev(wild)) and finding.subject == "CDE"
    assert finding.sentence == (
        "CDE: over 3 seeds the accuracy in OOD compositional runs from 0.50 to 0.70, a standard deviation of "
        "0.100; also in OOD systematic."
    )
    assert signs.seed_variance({"test": steady}, "CDE") is None
    assert signs.seed_variance({"test": [0.1, 0.9]}, "CDE") is None


@given(st.lists(SHARES, min_size=3, max_size=9))
def test_seed_variance_agrees_with_the_standard_library(values):
    finding = signs.seed_variance({"test": values}, "x")
    spread = statistics.stdev(values)
    assert (finding is not None) == (spread > findings.SEED_SPREAD) or spread == pytest.approx(findings.SEED_SPREAD)
    assert finding is None or finding.value == pytest.approx(spread)


def short(share=0.01, accuracy=0.2, pairs=20):
    """Four actions, of which one is short, not recognised and rare by so much."""
    lengths = {"open": 5.0, "close": 6.0, "dirty": 5.0 * share, "clean": 4.0}
    rights = {"open": 1.0, "close": 1.0, "dirty": accuracy, "clean": 1.0}
    return signs.vanished(lengths, rights, dict.fromkeys(lengths, 20) | {"dirty": pairs}, "validation", TEN)


NAMES = ("validation", "validation_syst")


@pytest.mark.parametrize(
    ("sign", "worse", "better"),
    [
        (lambda x: signs.collapsed(5 * x, 5.0, "start", GUESSING, TEN), 0.0999, 0.1),
        (lambda x: signs.collapsed(5 * x, 5.0, "states", GUESSING, TEN), 0.0499, 0.05),
        (lambda x: signs.collapsed(0.01, 5.0, "states", x * GUESSING, TEN), 0.501, 0.499),
        (lambda x: short(share=x), 0.0999, 0.1001),
        (lambda x: short(accuracy=x), 0.499, 0.5),
        (lambda x: short(pairs=x), 5, 4),
        (lambda x: signs.divergence(0.9, 0.9 - x, NAMES, TEN), 0.3501, 0.3499),
        (lambda x: signs.divergence(x, 0.1, NAMES, TEN), 0.7, 0.699),
        (lambda x: signs.no_positives(x, TEN), 0.2501, 0.25),
        (lambda x: signs.dominant({"cross_entropy": 1 - x, "sparsity": x}, GUESSING, TEN), 0.901, 0.899),
        (lambda x: signs.dominant({"cross_entropy": x, "sparsity": 1 - x}, 0.1, TEN), 0.901, 0.899),
        (lambda x: signs.idle_contrastive(x * math.log(63), 0.1, TEN), 0.9001, 0.8999),
        (lambda x: signs.idle_contrastive(4.0, x * GUESSING, TEN), 0.499, 0.501),
        (lambda x: signs.not_learning(x * GUESSING, TEN), 0.9501, 0.9499),
        (lambda x: signs.at_chance(0.5, 40, x, "test"), 0.353, 0.351),
        (lambda x: signs.too_short([GUESSING] * 3, x, TEN), 299, 300),
        (lambda x: signs.too_short([9.9, (0.3 + x) * GUESSING, 0.3 * GUESSING], 999, TEN), 0.1001, 0.0999),
        (lambda x: signs.too_short([0.5 * GUESSING, x * GUESSING, x * GUESSING], 99, TEN), 0.501, 0.499),
        (lambda x: signs.too_small({"test": (0.5, x)}), 38, 40),
        (lambda x: signs.seed_variance({"test": [0.5 - x, 0.5, 0.5 + x]}, "CDE"), 0.0501, 0.0499),
        (lambda x: signs.seed_variance({"test": [0.1, 0.9, 0.5][:x]}, "CDE"), 3, 2),
    ],
)
def test_each_threshold_is_that_of_the_page(sign, worse, better):
    """docs/doctor.md names these numbers; a sign is one on one side of them alone."""
    assert sign(worse) is not None and sign(better) is None


def test_the_page_names_the_thresholds():
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("|")]
    named = {cells[1].partition(" (")[0]: cells[3] for cells in rows if len(cells) == 7}
    assert {sign: named[sign] for sign in named.keys() - {"sign", "---"}} == {
        findings.NOT_FINITE: "any",
        findings.COLLAPSED: f"{findings.SHRUNKEN:.2f}; {findings.TINY:.2f}",
        findings.VANISHED: f"{findings.VANISHED_LENGTH:.2f}",
        findings.DIVERGENCE: f"{findings.GAP:.2f}",
        findings.NO_POSITIVES: f"{findings.LONELY:.2f}",
        findings.DEAD_CLASSES: "1",
        findings.DOMINANT: f"{findings.DOMINANT_SHARE:.2f}",
        findings.IDLE_CONTRASTIVE: f"{findings.IDLE:.2f}",
        findings.NOT_LEARNING: f"{findings.UNLEARNED:.2f}",
        findings.AT_CHANCE: "the share of that action",
        findings.TOO_SHORT: f"{findings.FEWEST_STEPS}; {findings.FALLING:.2f}",
        findings.TOO_SMALL: f"{findings.WIDE:.2f}",
        findings.SEED_VARIANCE: f"{findings.SEED_SPREAD:.2f}",
    }
