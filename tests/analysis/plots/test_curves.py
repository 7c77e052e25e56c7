"""The training curve draws what was logged, and asks for a finished run."""

import json

import pytest

from modeling_cde.analysis.plots import curves
from modeling_cde.analysis.plots.curves import main, plot_training_curve, series
from tests.analysis.kept_figures import keep_figures

HISTORY = [
    {"step": 1, "loss": 3.0, "cross_entropy": 1.0, "contrastive": 0.9, "sparsity": 20.0},
    {"step": 2, "eval_validation_accuracy": 0.5, "eval_validation_loss": 2.0},
    {"step": 3, "loss": 2.0, "cross_entropy": 0.5, "contrastive": 0.7, "sparsity": 10.0},
    {"step": 4, "eval_validation_accuracy": 0.75},
]


def test_series_takes_only_the_steps_at_which_a_value_was_logged():
    assert series(HISTORY, "cross_entropy") == ([1, 3], [1.0, 0.5])
    assert series(HISTORY, "eval_validation_accuracy") == ([2, 4], [0.5, 0.75])
    assert series(HISTORY, "absent") == ([], [])


def test_the_picture_shows_each_term_and_each_validation_split(tmp_path, capsys, monkeypatch):
    from matplotlib.axes import Axes

    drawn = {}
    plot = Axes.plot

    def record(axis, steps, values, **options):
        drawn[options["label"]] = (steps, values)
        return plot(axis, steps, values, **options)

    monkeypatch.setattr(Axes, "plot", record)
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": HISTORY}))
    main([str(tmp_path)])
    path = tmp_path / "training_curve.png"
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.with_suffix(".svg").is_file()
    assert set(drawn) == {"cross-entropy", "contrastive", "sparsity", "validation"}
    assert drawn["validation"] == ([2, 4], [0.5, 0.75])


def write(folder, history):
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))


def test_a_term_that_turns_negative_and_the_size_of_the_deltas_are_drawn(tmp_path, monkeypatch):
    figures = keep_figures(monkeypatch, curves)
    write(tmp_path, [{"step": i, "cross_entropy": 1.0, "auxiliary": 1.0 - i, "delta_norm": 3.0} for i in range(3)])
    assert plot_training_curve(tmp_path, tmp_path / "pictures" / "curve.png") == tmp_path / "pictures" / "curve.png"
    (axes,) = figures[0].axes  # nothing was validated
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {"cross-entropy": [1.0] * 3, "auxiliary": [1.0, 0.0, -1.0], "norm of the deltas": [3.0] * 3}
    assert axes.get_yscale() == "symlog"
    write(tmp_path, HISTORY)
    plot_training_curve(tmp_path)
    assert figures[1].axes[0].get_yscale() == "log"
    figures[1].draw_without_rendering()
    labels = [label.get_text() for label in figures[1].axes[0].get_yticklabels(which="both")]
    assert "1" in labels and not any("$" in label for label in labels)


def test_a_file_that_is_no_log_is_one_sentence(tmp_path, capsys):
    (tmp_path / "trainer_state.json").write_text("[]")
    with pytest.raises(SystemExit, match="trainer_state.json does not contain a JSON object"):
        main([str(tmp_path)])


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="trainer_state.json is missing: give the output folder"):
        plot_training_curve(tmp_path)


def test_every_term_that_a_run_has_logged_is_drawn(tmp_path, monkeypatch):
    figures = keep_figures(monkeypatch, curves)
    own = {f"own_{i}": 1.0 + i for i in range(len(curves.LINES))}
    trainers = {"loss": 3.0, "grad_norm": 1.0, "learning_rate": 0.1, "epoch": 0.5, "anchors_without_positive": 0.0}
    summary = {"step": 2, "train_loss": 3.0, "train_runtime": 1.0, "total_flos": 0.0}
    write(tmp_path, [{"step": i, **trainers, "cross_entropy": 1.0, **own} for i in (1, 2)] + [summary])
    plot_training_curve(tmp_path)
    drawn = [line.get_label() for line in figures[0].axes[0].lines]
    assert drawn == ["cross-entropy", *(name.replace("_", " ") for name in own)]
