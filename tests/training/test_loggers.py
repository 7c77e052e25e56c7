"""What a training reports, and shows: TensorBoard gets every loss term; without bars there are lines alone."""

import pytest
import torch
from datasets import Dataset
from datasets.utils import are_progress_bars_disabled, enable_progress_bars

from modeling_cde.training.progress import CDELinesCallback, CDEProgressCallback, hide_bars, show_progress
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


def test_tensorboard_gets_every_term_of_the_loss(tmp_path, monkeypatch):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    args = quick(tmp_path / "run", report_to="tensorboard", max_steps=2, eval_strategy="steps", eval_steps=2)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset=pairs())
    trainer.train()
    board = reader.EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    for log in trainer.state.log_history[:2]:
        for name in ("loss", "cross_entropy", "contrastive", "sparsity"):
            [value] = [event.value for event in board.Scalars(f"train/{name}") if event.step == log["step"]]
            assert value == pytest.approx(log[name], rel=1e-5)
    assert [event.step for event in board.Scalars("eval/cross_entropy")] == [2]


@pytest.mark.parametrize("disabled", [True, False])
def test_without_bars_the_lines_stay(disabled, tmp_path, capsys):
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path, disable_tqdm=disabled, max_steps=2), train_dataset=pairs())
    show_progress(trainer)
    kinds = {type(callback) for callback in trainer.callback_handler.callbacks}
    assert (CDELinesCallback in kinds, CDEProgressCallback in kinds) == (disabled, not disabled)
    trainer.train()
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if "step     2  loss" in line]
    assert len(lines) == 1
    assert ("%|" in printed.err) is not disabled


def test_hidden_bars_are_those_of_all_libraries():
    import huggingface_hub.utils
    import transformers.utils.logging

    try:
        hide_bars()
        assert are_progress_bars_disabled() and huggingface_hub.utils.are_progress_bars_disabled()
        assert not transformers.utils.logging.is_progress_bar_enabled()
    finally:
        enable_progress_bars()
        huggingface_hub.utils.enable_progress_bars()
        transformers.utils.logging.enable_progress_bar()


def test_a_data_set_with_plain_labels_trains_as_it_is(tmp_path):
    """As an image data set of Transformers: no column `action`, and the default collator."""
    rows = {"pixel_values": torch.randn(12, 2, 3, 32, 32).numpy(), "labels": [0, 1, 2] * 4}
    data = Dataset.from_dict(rows).with_format("torch")
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path), train_dataset=data)
    trainer.train()
    assert all(log["anchors_without_positive"] == 0 for log in trainer.state.log_history[:3])  # classes are balanced
