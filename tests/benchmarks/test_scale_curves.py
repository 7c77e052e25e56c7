"""What the contrastive term and a step cost as they grow: the arithmetic, and that the scripts run on tiny sizes."""

import json

import pytest
import torch

from benchmarks.speed import contrastive_scale, curve_tables, peak_memory, step_cost
from benchmarks.speed.speed_table import replaced
from benchmarks.speed.step_cost import AXES, VALUES, Point, curve_points, exponents


def test_the_peak_of_a_fork_is_what_it_holds_at_most_at_once():
    def step():
        for _ in range(3):  # one after the other
            # 64 MiB: more than the allocator ever takes out of what this process had before, and has freed.
            torch.ones(64 * 2**18)

    found = peak_memory.in_forked_process(lambda: peak_memory.peak_over_before(step))
    assert 60 < found < 80
    with pytest.raises(RuntimeError, match="no answer"):
        peak_memory.in_forked_process(lambda: 1 / 0)


def test_exponents_are_those_of_the_law():
    sizes = [2, 4, 8, 16]
    assert exponents(sizes, [3 * s**1.5 for s in sizes]) == {"all": 1.5, "end": 1.5}
    with_fixed_part = exponents(sizes, [10 + s for s in sizes])
    assert 0 < with_fixed_part["all"] < with_fixed_part["end"] < 1


def test_a_point_differs_from_the_first_in_its_axis_only():
    for axis in AXES:
        points = curve_points("resnet", axis)
        assert [getattr(point, axis) for point in points] == list(VALUES[axis])
        assert len({tuple(v for k, v in vars(point).items() if k != axis) for point in points}) == 1
    assert {p.backbone for p in curve_points("resnet", "top_k_patches")} == {"resnet (patch)"}


def test_a_step_is_that_of_its_point(monkeypatch):
    seen = []
    monkeypatch.setattr(step_cost, "full_step", lambda model, batch: seen.append((model, batch)))
    Point("tiny", batch=3, image_size=32, top_k_patches=5, frames=4, actions=7).step()
    Point("tiny", batch=3, image_size=64).step()
    (patch, clips), (plain, pairs) = seen
    assert patch.config.delta_mode == "patch" and patch.config.top_k_patches == 5 and patch.num_labels == 7
    assert clips["pixel_values"].shape == (3, 4, 3, 32, 32) and clips["labels"].shape == (3, 3)
    assert plain.config.delta_mode == "global" and pairs["labels"].shape == (3,)
    assert plain(**pairs).loss.isfinite() and patch(**clips).loss.isfinite()


def test_the_steps_cost_is_measured_written_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(step_cost, "memory_of", lambda point: 5.0 * point.batch)
    step_cost.main(["--quick", "--output", str(tmp_path), "--pictures", str(tmp_path)])
    (curve,) = json.loads((tmp_path / "step_cost.json").read_text())["curves"]
    assert curve["values"] == [4, 8] and curve["peak_mib"] == [20.0, 40.0] and min(curve["seconds"]) > 0
    assert curve["memory_grows"] == {"all": 1.0, "end": 1.0}
    assert (tmp_path / "step_cost.png").stat().st_size > 10_000


def test_the_contrastive_term_is_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(contrastive_scale, "memory_of", lambda deltas, dimensions, at_once=False: 2.0 * deltas)
    contrastive_scale.main(["--quick", "--dimensions", "4", "--output", str(tmp_path)])
    result = json.loads((tmp_path / "contrastive_scale.json").read_text())
    assert [row["deltas"] for row in result["curve"]] == [256, 1536] and result["at_once"]["deltas"] == 384
    assert result["targets"][-1]["value"] == 4.0 and result["targets"][-1]["met"]
    assert all(target["value"] > 0 for target in result["targets"])


def test_targets_of_the_contrastive_term():
    times = {"at once": [1.0, 2.0], "gathered": [1.1, 2.2], "10": [1.5, 3.0], "40": [8.0, 16.0]}
    memory = {"10": 3.0, "40": 13.5, "at once": 9.0}
    targets, details = contrastive_scale.summary(times, memory, (10, 40), 10)
    assert [target.value for target in targets] == [1.5, 0.5, 1.1, 4.5]  # 16 times the work in 8 times the time
    assert [target.met for target in targets] == [False, True, True, False]
    assert details["curve"][1] == {"deltas": 40, "seconds": 12.0, "peak_mib": 13.5}


def test_all_forms_of_the_step_take_the_gradient_of_the_same_loss(monkeypatch):
    losses = []
    real = contrastive_scale.supervised_contrastive_loss

    def spy(*args, **options):
        losses.append(real(*args, **options))
        return losses[-1]

    monkeypatch.setattr(contrastive_scale, "supervised_contrastive_loss", spy)
    for options in ({}, {"at_once": True}, {"processes": 1}):
        contrastive_scale.contrastive_step(1500, 4, **options)()
    torch.testing.assert_close(losses[0], losses[1])
    contrastive_scale.contrastive_step(1500, 4, processes=15)()
    assert losses[-1].item() == pytest.approx(losses[0].item(), rel=0.05)  # 100 anchors stand for all


def test_the_page_holds_the_tables_of_the_kept_results():
    document = curve_tables.DOCUMENT.read_text(encoding="utf-8")
    assert replaced(document, curve_tables.render(), curve_tables.BEGIN, curve_tables.END) == document


def test_tables_of_results(tmp_path, capsys, monkeypatch):
    curve = {"backbone": "vit", "axis": "frames", "values": [2, 8], "seconds": [1.0, 3.0], "peak_mib": [10.0, 20.0]}
    curve |= {"time_grows": {"all": 0.79, "end": 0.8}, "memory_grows": {"all": 0.5, "end": 0.5}}
    where = {"device": "CPU", "cores": 2, "precision": "float32"}
    result = {"command": "measured so", "environment": where, "curves": [curve]}
    (tmp_path / "step_cost.json").write_text(json.dumps(result))
    monkeypatch.setattr(curve_tables, "RESULTS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"Before\n\n{curve_tables.BEGIN}\nold\n{curve_tables.END}\nAfter\n")
    monkeypatch.setattr(curve_tables, "DOCUMENT", page)
    curve_tables.main(["--write"])
    row = "| frames of a clip (T) | vit | 2, 8 | 3 | 0.79, 0.80 | 2 | 0.50, 0.50 |"
    assert row in capsys.readouterr().out
    text = page.read_text()
    assert row in text and "measured so" in text and "step_cost.png" in text
    assert text.startswith("Before") and text.endswith("After\n") and "old" not in text
    (tmp_path / "step_cost.json").write_text("{}")
    with pytest.raises(SystemExit, match="step_cost.json is not a result"):
        curve_tables.main([])
