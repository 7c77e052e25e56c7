"""Progress of a training run: a bar, and a readable line for what Transformers prints as a dictionary."""

from typing import Any

from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from ..analysis.loss_terms import MEASURES, logged_terms, title


class CDEProgressCallback(ProgressCallback):  # type: ignore[misc]
    """One line per log: the loss terms while training, the accuracy of each validation split after an epoch."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write what was logged above the bar; see `transformers.TrainerCallback.on_log`."""
        if self.training_bar is None or not state.is_world_process_zero or not logs:
            return
        if line := format_log(logs):
            self.training_bar.write(f"epoch {state.epoch:5.2f}  step {state.global_step:5d}  {line}")


class CDELinesCallback(TrainerCallback):  # type: ignore[misc]
    """The lines of `CDEProgressCallback`, without a bar: for `--disable_tqdm true`."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Print what was logged; see `transformers.TrainerCallback.on_log`."""
        if state.is_world_process_zero and logs and (line := format_log(logs)):
            print(f"epoch {state.epoch:5.2f}  step {state.global_step:5d}  {line}", flush=True)


def format_log(logs: dict[str, Any]) -> str:
    """The line for one log of `transformers.Trainer`; empty if it has neither loss terms nor accuracies."""
    if "loss" in logs:
        terms = ["loss", *(name for name in logged_terms([logs]) if name not in MEASURES)]
        parts = [f"{title(name)} {logs[name]:.3f}" for name in terms]
        lonely = logs.get("anchors_without_positive", 0.0)
        return "  ".join(parts + ([f"anchors without positive {lonely:.0%}"] if lonely > 0 else []))
    return "  ".join(
        f"{key.removeprefix('eval_').removesuffix('_accuracy')} accuracy {value:.3f}"
        for key, value in logs.items()
        if key.startswith("eval_") and key.endswith("_accuracy") and not key.endswith("macro_accuracy")
    )


def show_progress(trainer: Trainer) -> None:
    """Replace a trainer's own progress display by `CDEProgressCallback`, or by its lines alone."""
    for kind in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(kind)
    trainer.add_callback(CDELinesCallback if trainer.args.disable_tqdm else CDEProgressCallback)


def hide_bars() -> None:
    """Show no bar of this project or of the libraries under it, for the rest of the process."""
    import datasets
    import huggingface_hub.utils
    import transformers.utils.logging

    datasets.disable_progress_bars()  # ours are of its class
    huggingface_hub.utils.disable_progress_bars()  # type: ignore[attr-defined]
    transformers.utils.logging.disable_progress_bar()
