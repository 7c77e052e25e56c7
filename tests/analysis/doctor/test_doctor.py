"""The doctor on run folders: each sign in files made for it, silence on healthy ones, old and broken files."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from modeling_cde.analysis.doctor import findings
from modeling_cde.analysis.doctor.diagnosis import examine, examine_run, main, shifted_pairs
from modeling_cde.data.splits.titles import split_title

ACTIONS = ["open", "close", "dirty", "clean"]
ARGUMENTS = {
    "method": "cde", "seed": 0, "view": "single", "shift": "both", "contrastive_weight": 2.0, "sparsity_weight": 0.01,
    "sparsity_warmup_ratio": 0.0, "learning_rate": 1e-3, "class_aware_sampling": True,
    "per_device_train_batch_size": 64,
}  # fmt: skip
EVERYTHING = {
    findings.NOT_FINITE, findings.COLLAPSED, findings.VANISHED, findings.DEAD_CLASSES, findings.DIVERGENCE,
    findings.NO_POSITIVES, findings.DOMINANT, findings.IDLE_CONTRASTIVE, findings.NOT_LEARNING,
    findings.AT_CHANCE, findings.TOO_SHORT, findings.TOO_SMALL,
}  # fmt: skip


def split(n=40, seed=0, right=True):
    """Deltas of length 3 beside states of length 4, and scores that are sure of the right action, or of the next."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    delta = np.eye(8)[labels] * 3 + generator.normal(0, 0.01, (n, 8))
    before = generator.normal(0, 1, (n, 8))
    before *= 4 / np.linalg.norm(before, axis=1, keepdims=True)
    guesses = labels if right else (labels + 1) % 4
    arrays = {"delta": delta, "states": np.stack([before, before + delta], 1), "logits": 6 * np.eye(4)[guesses]}
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    return arrays | {"labels": labels, "objects": np.zeros(n, np.int64)}


def metrics_of(accuracies, arguments=ARGUMENTS, **entries):
    names = {name: 0.5 for name in ACTIONS}
    splits = {
        name: {"n": 40, "accuracy": value, "accuracy_by_action": names, "cross_entropy": 0.3, **entries}
        for name, value in accuracies.items()
    }
    return {"splits": splits, "training": {"arguments": arguments}}


def history(cross_entropies=(1.3, 0.8, 0.4, 0.3), contrastive=(4.0, 3.0, 2.0, 1.8), lonely=0.0):
    logs = []
    for i, (c, s) in enumerate(zip(cross_entropies, contrastive, strict=True), 1):
        terms = {"cross_entropy": c, "contrastive": s, "sparsity": 30.0, "delta_norm": 3.0}
        logs.append({"step": 10 * i, "loss": c + 2 * s + 0.3, **terms, "anchors_without_positive": lonely})
    return logs


HEALTHY = {"validation": 0.95, "test": 0.94, "validation_syst": 0.8, "test_syst": 0.79}


@pytest.fixture
def run(tmp_path):
    """Writes a run: healthy, but for what is passed; None leaves a file out."""

    def write(name="run", splits=None, metrics=None, log=None, without=()):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        splits = {"validation": split(), "test": split(seed=1)} if splits is None else splits
        if "deltas" not in without:
            rows = {
                s: {"pair_id": ["p"] * len(a["labels"]), "scene": ["s"] * len(a["labels"])} for s, a in splits.items()
            }
            header = {"actions": json.dumps(ACTIONS), "objects": json.dumps(["box"]), "rows": json.dumps(rows)}
            tensors = {
                f"{s}/{name}": np.ascontiguousarray(v) for s, arrays in splits.items() for name, v in arrays.items()
            }
            save_file(tensors, folder / "deltas.safetensors", metadata=header)
        if "metrics" not in without:
            (folder / "metrics.json").write_text(json.dumps(metrics_of(HEALTHY) if metrics is None else metrics))
        if "state" not in without:
            state = {"max_steps": 40, "log_history": history() if log is None else log}
            (folder / "trainer_state.json").write_text(json.dumps(state))
        return folder

    return write


def signs_of(folder):
    return [finding.sign for finding in examine(folder)]


def test_a_healthy_run_is_silent_and_everything_was_checked(run):
    examination = examine_run(run())
    assert examination.findings == [] and examination.skipped == {}
    assert set(examination.checked) == EVERYTHING


@pytest.mark.parametrize("part", ["validation", "test"])
def test_deltas_near_zero_are_seen_without_a_log(run, part):
    flat = split()
    flat["delta"] *= 0.01
    flat["logits"] *= 0
    folder = run(splits={part: flat}, without=("state", "metrics"))
    finding = examine(folder)[0]
    assert (finding.sign, finding.severity) == (findings.COLLAPSED, "error")
    lengths = np.linalg.norm(flat["delta"], axis=1).mean() / np.linalg.norm(flat["states"], axis=-1).mean()
    assert finding.value == pytest.approx(lengths, rel=1e-5)
    assert f"In {split_title(part)} the deltas" in finding.sentence and "is 1.39 (guessing: 1.39)" in finding.sentence
    flat["logits"] = split()["logits"]  # small, but read well
    assert findings.COLLAPSED not in signs_of(run(splits={part: flat}, without=("state", "metrics")))


def test_a_collapse_that_results_and_log_show_is_said_once(run):
    flat = split()
    flat["delta"] *= 0.01
    flat["logits"] *= 0
    log = [entry | {"delta_norm": 5.0 / 100**i} for i, entry in enumerate(history(cross_entropies=(1.4,) * 4))]
    found = [f for f in examine(run(splits={"validation": flat}, log=log)) if f.sign == findings.COLLAPSED]
    assert len(found) == 1


def test_an_action_that_vanished_is_named(run):
    some = split()
    of_dirty = some["labels"] == 2
    some["delta"][of_dirty] *= 0.02
    some["logits"][of_dirty] = 6 * np.eye(4)[0]
    found = examine(run(splits={"validation": some}))
    assert [finding.sign for finding in found] == [findings.VANISHED, findings.DEAD_CLASSES]
    assert "the deltas of dirty are 2% as long" in found[0].sentence
    assert found[1].sentence == "In validation 1 of 4 actions is never predicted: dirty (10 pairs)."


def test_dead_classes_need_pairs_and_come_from_the_metrics_where_there_are_no_scores(run):
    few = split(16)  # four pairs of each action
    few["logits"][few["labels"] == 2] = 6 * np.eye(4)[0]
    assert signs_of(run(splits={"validation": few})) == []
    metrics = metrics_of(HEALTHY, never_predicted=["fill"])
    finding = examine(run("other", metrics=metrics, without=("deltas", "state")))[0]
    assert finding.sentence == "In validation 1 of 4 actions is never predicted: fill."


def test_divergence_is_read_from_validation_and_from_test_only_where_there_is_no_such_validation(run):
    finding = examine(run(metrics=metrics_of(HEALTHY | {"validation_syst": 0.3})))[0]
    assert finding.sign == findings.DIVERGENCE and finding.value == pytest.approx(0.65)
    assert signs_of(run(metrics=metrics_of(HEALTHY | {"test_syst": 0.3}))) == []
    few = metrics_of(HEALTHY | {"validation_syst": 0.3}, n=19)
    assert "splits of fewer than 20 pairs" in examine_run(run(metrics=few)).skipped[findings.DIVERGENCE]
    only_test = {"test": 0.94, "test_syst": 0.3}
    assert "in IID but 0.30 in OOD systematic" in examine(run(metrics=metrics_of(only_test)))[0].sentence


def test_a_run_of_few_pairs_and_few_steps_is_told_so(run):
    """What a run of 24 steps on 63 pairs of one's own looked like."""
    metrics = metrics_of({"validation": 0.5, "test": 0.385, "test_syst": 0.148}, n=8)
    metrics["splits"]["test"]["n"], metrics["splits"]["test_syst"]["n"] = 13, 27
    state = history(cross_entropies=(1.37,), contrastive=(4.0,))
    found = {finding.sign: finding for finding in examine(run(metrics=metrics, log=state, without=("deltas",)))}
    assert {findings.AT_CHANCE, findings.TOO_SHORT, findings.TOO_SMALL} <= set(found)
    small = found[findings.TOO_SMALL].sentence
    assert "test (13 pairs: ± 23 points)" in small and "test_syst" not in small
    assert "8 pairs" not in small  # validation is there to look at, and not to report
    assert found[findings.TOO_SHORT].sentence.startswith(
        "The training had 10 steps, and its cross-entropy is still 1.37"
    )


def test_one_answer_to_all_pairs_is_no_better_than_guessing(run):
    """Nine of ten pairs show one action: an accuracy of .9 is nothing."""
    part = split(40)
    part["labels"] = np.where(np.arange(40) < 36, 0, 1)
    part["logits"] = 6 * np.tile(np.eye(4, dtype=np.float32)[0], (40, 1))
    metrics = metrics_of({"validation": 0.9, "test": 0.9})
    finding = next(
        f for f in examine(run(splits={"validation": part}, metrics=metrics)) if f.sign == findings.AT_CHANCE
    )
    assert finding.severity == "error" and "not above the 0.90 of guessing" in finding.sentence


def test_pairs_of_splits():
    names = ["validation", "test", "validation_comp", "test_comp", "test_syst"]
    splits = {name: {"accuracy": 0.5} for name in names}
    assert shifted_pairs(splits) == [("validation", "validation_comp"), ("test", "test_syst")]
    del splits["validation"]  # a protocol without one
    assert shifted_pairs(splits) == [("test", "validation_comp"), ("test", "test_syst")]
    assert shifted_pairs({"validation_ood": {"accuracy": 0.5}}) == shifted_pairs({}) == []


@pytest.mark.parametrize(
    ("log", "arguments", "sign"),
    [
        (history(lonely=1.0), {}, findings.NO_POSITIVES),
        (history((1.4,) * 4), {"sparsity_weight": 10.0}, findings.DOMINANT),
        (history((1.4,) * 4), {}, findings.NOT_LEARNING),
        (history(contrastive=(4.1,) * 4), {}, findings.IDLE_CONTRASTIVE),
    ],
)
def test_signs_of_the_log_use_the_recorded_settings(run, log, arguments, sign):
    assert sign in signs_of(run(log=log, metrics=metrics_of(HEALTHY, ARGUMENTS | arguments)))


def test_numbers_that_are_not_finite_are_found_in_every_file(run):
    broken = split()
    broken["delta"][3, 2] = np.nan
    broken["logits"][0, 0] = np.inf
    metrics = metrics_of(HEALTHY)
    metrics["splits"]["test"]["cross_entropy"] = float("nan")
    log = history() + [{"step": 50, "loss": float("nan")}]
    found = examine(run(splits={"validation": broken, "test": split()}, metrics=metrics, log=log))
    assert [finding.sign for finding in found] == [findings.NOT_FINITE] * 3
    several = examine(run("b", splits={"validation": broken, "test": broken}, log=history()))
    assert [f.sentence for f in several] == ["NaN or infinity in validation, IID: delta, logits."]
    sentences = " ".join(finding.sentence for finding in found)
    assert "in validation: delta, logits." in sentences and "in IID: cross_entropy." in sentences
    assert "in the log: loss." in sentences and found[-1].step == 50


def test_a_cross_entropy_that_was_not_recorded_is_no_trouble(run):
    metrics = metrics_of(HEALTHY)
    metrics["splits"]["test"]["cross_entropy"] = None
    assert examine(run(metrics=metrics)) == []


def test_what_cannot_be_checked_is_named_with_the_reason(run):
    skipped = examine_run(run(without=("state", "metrics"))).skipped
    assert set(skipped) == EVERYTHING - {
        findings.NOT_FINITE,
        findings.COLLAPSED,
        findings.VANISHED,
        findings.DEAD_CLASSES,
    }
    assert skipped[findings.NOT_LEARNING] == "no trainer_state.json"
    skipped = examine_run(run("b", without=("deltas", "metrics"))).skipped
    assert skipped[findings.DOMINANT] == "the weights of the loss are not in metrics.json"
    assert findings.COLLAPSED not in skipped and findings.VANISHED in skipped
    short = examine_run(run("c", log=history()[:2])).skipped
    assert short[findings.NOT_LEARNING] == "fewer than 3 logs of training"


def test_the_weights_that_the_trainer_kept_come_before_the_arguments(run):
    folder = run(log=history((1.4,) * 4), metrics=metrics_of(HEALTHY, ARGUMENTS | {"sparsity_weight": 10.0}))
    assert findings.DOMINANT in signs_of(folder)
    path = folder / "trainer_state.json"
    kept = {"loss_weights": {"cross_entropy": 1.0, "margin": 1.0}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stateful_callbacks": kept}))
    examination = examine_run(folder)
    assert findings.DOMINANT in examination.checked and findings.DOMINANT not in signs_of(folder)
    for sign in (findings.NO_POSITIVES, findings.IDLE_CONTRASTIVE):
        assert examination.skipped[sign] == "the loss has no contrastive term"


def test_a_run_that_was_cut_off_is_examined_by_its_evaluations(run):
    log = history() + [{"step": 40, f"eval_{name}_accuracy": value} for name, value in HEALTHY.items()]
    log[-2]["eval_validation_syst_accuracy"] = 0.1
    examination = examine_run(run(log=log, without=("deltas", "metrics")))
    assert [finding.sign for finding in examination.findings] == [findings.DIVERGENCE]
    assert findings.DIVERGENCE in examination.checked


# Command line


def test_the_command_prints_a_line_for_each_finding_and_what_was_checked(run, capsys):
    healthy, ill = run("healthy"), run("ill", log=history(lonely=1.0), without=("deltas",))
    with pytest.raises(SystemExit) as stopped:
        main([str(healthy), str(ill)])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert stopped.value.code == 1  # one of them is worthless
    assert lines[0] == str(healthy) and lines[1].startswith("  nothing found; checked: numbers that are not finite, ")
    assert lines[2] == str(ill) and lines[3].startswith("  error at step 40, batches without positives: 100% of")
    assert "Try:" in lines[3] and "  not checked: vanished action (no deltas.safetensors" in out
    assert lines[-1] == "  not checked: seed variance (fewer than 3 seeds of runs that differ in nothing else)"
    with pytest.raises(SystemExit) as stopped:
        main([str(healthy)])
    assert stopped.value.code == 0


def test_runs_that_differ_in_the_seed_are_compared(run, capsys):
    folders = []
    for seed, accuracy in enumerate([0.9, 0.6, 0.75]):
        metrics = metrics_of(HEALTHY | {"validation": accuracy}, ARGUMENTS | {"seed": seed})
        folders.append(str(run(f"seed{seed}", metrics=metrics)))
    with pytest.raises(SystemExit):
        main(folders)
    out = capsys.readouterr().out
    assert (
        "3 runs together\n  warning, seed variance: cde: over 3 seeds the accuracy in validation runs from 0.60" in out
    )


def test_a_folder_of_results_is_compared(tmp_path, capsys):
    for seed, accuracy in enumerate([0.9, 0.6, 0.75]):
        metrics = metrics_of({"test": accuracy}, ARGUMENTS | {"seed": seed})
        (tmp_path / f"cde-seed{seed}.json").write_text(json.dumps(metrics))
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path)])
    out = capsys.readouterr().out
    assert out.startswith("3 runs together\n  warning, seed variance: cde: over 3 seeds") and stopped.value.code == 0
    (tmp_path / "cde-seed1.json").unlink()
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "not checked: seed variance (fewer than 3 seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (None, None, "has no trainer_state.json, metrics.json or deltas.safetensors: give the output folder"),
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("metrics.json", "[" * 100_000, "metrics.json is not JSON (nested too deeply)"),
        ("metrics.json", '{"splits": []}', "differs from what training, evaluation and analysis write"),
        (
            "metrics.json",
            '{"splits": {"test": {"accuracy": "x"}, "test_comp": 3}}',
            "differs from what training, evaluation and",
        ),
        ("metrics.json", '{"training": {"arguments": 3}}', "differs from what training, evaluation and analysis write"),
        ("trainer_state.json", "[]", "trainer_state.json does not contain a JSON object"),
        ("trainer_state.json", '{"log_history": [1]}', "differs from what training, evaluation and analysis write"),
        ("deltas.safetensors", "x", "is not a complete safetensors file"),
        ("result.json", "{}", "result.json is neither a benchmark's result nor a metrics.json"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_code_2(tmp_path, capsys, file, content, message):
    if file:
        (tmp_path / file).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1 and error.startswith("doctor: ")
