"""The doctor while a model trains: reports a sign of trouble once the log shows it, and stops a ruined training.

    trainer.add_callback(DoctorCallback())

`train.py` adds it to every training.
"""

from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback

from ..analysis.doctor.findings import NOT_FINITE, Finding, Settings
from ..analysis.doctor.signs import not_finite, too_short
from ..analysis.doctor.training_log import TrainingLog, examine_log


class DoctorCallback(TrainerCallback):  # type: ignore[misc]
    """Writes one line above the progress bar for each sign of trouble; see docs/doctor.md.

    It reports each sign once, and again only when it gets much worse (`Finding.much_worse_than`). Training goes on
    regardless, unless numbers are not finite: then it stops, and the ruined weights are neither evaluated nor saved, so
    that the earlier checkpoints stay. The weights themselves are checked whenever they are to be evaluated or saved;
    not if they are sharded over processes, which could then disagree on stopping.

    Attributes:
        findings: what was reported, in order.
        stopped: the finding for which the training was stopped, or None.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.stopped: Finding | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start anew; see `transformers.TrainerCallback.on_train_begin`."""
        self.findings, self.stopped = [], None

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look for signs in the log so far; see `transformers.TrainerCallback.on_log`."""
        if self.stopped is not None:
            return
        for finding in examine_log(state.log_history, settings_of(args, state, model)):
            self._say(finding, state)
            if finding.sign == NOT_FINITE and finding.step == state.global_step:
                self._stop(finding, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Keep ruined weights from being saved; see `transformers.TrainerCallback.on_step_end`."""
        due = (control.should_save or control.should_evaluate) and not getattr(args, "fsdp", None)
        if self.stopped is None and due and model is not None and not has_finite_weights(model):
            finding = not_finite(["weights"], "in the model", state.global_step)
            assert finding is not None
            self._say(finding, state)
            self._stop(finding, state, control)
        if self.stopped is not None:
            self._stop(self.stopped, state, control)  # the end of the epoch asks for another checkpoint

    on_epoch_end = on_step_end

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look at whether it was long enough; see `transformers.TrainerCallback.on_train_end`."""
        values = TrainingLog(state.log_history).values("cross_entropy")
        if self.stopped is None and (finding := too_short(values, state.global_step, settings_of(args, state, model))):
            self._say(finding, state)

    def _say(self, finding: Finding, state: Any) -> None:
        """Write it, unless it was reported and has not got much worse."""
        said = [old for old in self.findings if (old.sign, old.subject) == (finding.sign, finding.subject)]
        if said and not finding.much_worse_than(said[-1]):
            return
        self.findings.append(finding)
        if state.is_world_process_zero:
            tqdm.write(f"doctor: {finding.line()}")

    def _stop(self, finding: Finding, state: Any, control: Any) -> None:
        if self.stopped is None and state.is_world_process_zero:
            tqdm.write("doctor: the training stops here; the checkpoints that were saved before stay as they are.")
        self.stopped = finding
        control.should_training_stop = True
        control.should_save = control.should_evaluate = False


def has_finite_weights(model: torch.nn.Module) -> bool:
    """Whether no trained parameter and no running statistic is NaN or infinite."""
    tensors = [*(parameter for parameter in model.parameters() if parameter.requires_grad), *model.buffers()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())


def settings_of(args: Any, state: Any, model: Any) -> Settings:
    """What the arguments, the trainer's state and the model say about the training."""
    config = getattr(model, "config", None)
    of_model = {name: getattr(config, name, None) for name in ("delta_mode", "patch_loss", "top_k_patches")}
    known = {"num_actions": getattr(config, "num_labels", None), "max_steps": state.max_steps}
    return Settings.of({**vars(args), **of_model}, state.stateful_callbacks, max(1, args.world_size), **known)
