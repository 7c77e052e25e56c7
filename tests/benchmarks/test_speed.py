"""The speed scripts run on a tiny model, their arithmetic is right, and docs/performance.md holds what was measured."""

import itertools
import json
import time

import pytest
import torch
from torch import nn

from benchmarks.speed import data_waiting, reference_loop, speed_table, step_overhead
from benchmarks.speed.flops import flops_by_dtype, step_flops
from benchmarks.speed.measured import Target, write_result
from benchmarks.speed.training_steps import TINY, Case, bare_step, full_step
from modeling_cde.training.losses import supervised_contrastive_loss

CASE = Case("tiny", TINY, 32, 4)


@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        (step_overhead, ["--seconds", "0.01", "--turns", "2"], 2),
        (reference_loop, ["--steps", "1", "--turns", "2"], 0),  # of a ViT, which has none
        (data_waiting, ["--turns", "1"], 1),
    ],
)
def test_each_script_runs_on_a_tiny_model(script, options, rows, tmp_path, capsys):
    script.main(["--quick", *options, "--output", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    targets = [Target(**target) for target in json.loads(file.read_text())["targets"]]
    assert len(targets) == rows and all(target.value > 0 for target in targets)
    assert all(target.what in capsys.readouterr().out for target in targets[:1])


def test_each_step_of_the_trainer_is_paired_with_the_bare_step_before_it(monkeypatch):
    calls = itertools.count()
    monkeypatch.setattr(step_overhead, "bare_step", lambda *_: lambda: time.sleep(0.03 * next(calls)))
    found = step_overhead.trainer_turns(CASE, 3)
    assert len(found["trainer"]) == 3 and all(0 < seconds for seconds in found["trainer"])
    assert all(seconds >= 0.03 * number for number, seconds in enumerate(found["bare"], 1))  # not the first
    assert len(found["bare"]) == 3 and not set(found["bare"]) & set(found["trainer"])


def test_operations_are_counted_by_precision():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    convolution, image = nn.Conv2d(2, 6, 3, padding=1), torch.ones(1, 2, 8, 8)

    def work():
        a @ b
        convolution(image)
        with torch.autocast("cpu", torch.bfloat16):
            a @ b

    product = 2 * 3 * 4 * 5
    assert flops_by_dtype(work) == {"float32": product + 2 * 6 * 2 * 9 * 64, "bfloat16": product}


def test_attention_is_counted_and_bf16_leaves_only_the_head_in_float32():
    low, full = step_flops(CASE, bf16=True), step_flops(CASE, bf16=False)
    assert set(full) == {"float32"} and set(low) == {"float32", "bfloat16"}
    assert sum(low.values()) == full["float32"]
    tokens, width, images = 17, 32, 8
    attention = 2 * 2 * tokens * tokens * width * images  # of one layer, forward: two products
    layer = 2 * tokens * images * (4 * width * width + 2 * width * 64)
    embedding = 2 * 16 * images * width * 3 * 8 * 8
    # Backward takes twice as much; pictures need no gradient, and nothing is counted that a kernel does a second time.
    assert low["bfloat16"] == 2 * embedding + 3 * 2 * (layer + attention)


@pytest.mark.parametrize(("step", "make"), [(full_step, CASE.model), (bare_step, CASE.bare_backbone)])
def test_the_written_steps_train(step, make):
    model = make()
    before = {name: value.clone() for name, value in model.named_parameters() if value.requires_grad}
    step(model, CASE.batch())()
    after = dict(model.named_parameters())
    assert before and not [name for name, value in before.items() if torch.equal(value, after[name])]


def test_the_bare_step_has_the_backbones_products_and_no_fewer():
    bare = sum(flops_by_dtype(bare_step(CASE.bare_backbone(), CASE.batch(), bf16=True)).values())
    assert bare == step_flops(CASE, bf16=True)["bfloat16"]  # all but the projector and the classifier


def test_the_loop_of_the_reference_has_our_term():
    delta, labels = torch.randn(9, 5), torch.tensor([0, 0, 1, 1, 1, 2, 0, 3, 3])
    torch.testing.assert_close(
        reference_loop.reference_contrastive(delta, labels), supervised_contrastive_loss(delta, labels)
    )


def test_the_document_holds_the_table_of_the_kept_results():
    document = speed_table.DOCUMENT.read_text(encoding="utf-8")
    assert speed_table.replaced(document, speed_table.render()) == document, (
        "python -m benchmarks.speed.speed_table --write"
    )


def test_the_table_is_rendered_and_a_wrong_file_named(tmp_path):
    write_result("some", "python -m some", [Target.of("x", "<= 1.0", 2.0, "because")], {}, tmp_path)
    table = speed_table.render(tmp_path)
    assert "| x | <= 1.0 | 2 | **missed**; because |" in table and "`python -m some`" in table
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="other.json is not a result"):
        speed_table.render(tmp_path)
    with pytest.raises(ValueError, match="lacks the marker"):
        speed_table.replaced("no markers", table)
