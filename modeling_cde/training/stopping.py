"""Stop a program on SIGTERM (from a scheduler) or SIGINT (Ctrl-C) with one sentence, and a training with a checkpoint.

with stoppable("train.py") as stop:
    trainer.add_callback(stop)
    trainer.train()
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from transformers import TrainerCallback

from ..cli.verbs import program as name_of
from ..whole_files import NotWritten

GO_ON = "resume with the same command and --resume_from_checkpoint true"


class StopCallback(TrainerCallback):  # type: ignore[misc]
    """Ends a training with a checkpoint after the step in which a signal arrived; see `stoppable`."""

    def __init__(self, program: str) -> None:
        self.program = name_of(program)
        self._process = os.getpid()
        self._signal: signal.Signals | None = None
        self._stops_between_steps = False
        self._output_dir = ""

    def receive(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:
            return  # a worker that reads data; its training ends it
        if not self._stops_between_steps or self._signal is not None:
            self._leave(signal.Signals(number))
        self._signal = signal.Signals(number)
        _say(
            f"{self.program}: {self._signal.name}: the training stops after this step, with a checkpoint; a second "
            "signal stops it at once."
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_train_begin`."""
        self._output_dir = args.output_dir
        # Several processes would have to agree on the step; they resume from the newest checkpoint.
        self._stops_between_steps = args.world_size == 1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_step_end`."""
        if self._signal is not None and state.global_step < state.max_steps:
            control.should_training_stop = True
            # At the end of an epoch, evaluation comes before the checkpoint.
            control.should_save = control.should_save or not float(state.epoch).is_integer()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_epoch_end`."""
        if self._signal is None:
            return
        if float(state.epoch).is_integer() or state.global_step >= state.max_steps:
            control.should_save = True
        else:  # Trainer treats an epoch that is cut short as a whole one, and would evaluate it
            control.should_log = control.should_evaluate = control.should_save = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_train_end`."""
        self._stops_between_steps = False
        if self._signal is not None:
            early = state.global_step < state.max_steps
            place = f"step {state.global_step} of {state.max_steps}" if early else f"its last step, {state.global_step}"
            self._leave(self._signal, f" at {place}, with a checkpoint")

    def _leave(self, number: signal.Signals, where: str = "") -> NoReturn:
        hint = f": {GO_ON} ({self._output_dir})" if self._output_dir else " before the training"
        _say(f"{self.program}: stopped by {number.name}{where}{hint}.")
        sys.exit(128 + number)  # as a shell counts


@contextmanager
def stoppable(program: str) -> Iterator[StopCallback]:
    """Let SIGTERM and SIGINT end what runs in the block with one sentence of `program` and exit status 143 or 130.

    While the training of the yielded callback runs in one process, the first signal lets the step end and a checkpoint
    be written. At any other time, and with several processes, the program ends at once: the files that it writes are
    whole or absent. A file that cannot be written also ends it with one sentence.
    """
    _end_with_the_launcher()
    stop = StopCallback(program)
    numbers = [signal.SIGTERM, signal.SIGINT] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    except NotWritten as error:
        sys.exit(f"{name_of(program)}: {error}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_the_launcher() -> None:
    """Have Linux send SIGTERM when the launcher dies: if it is killed alone, its training would continue unseen."""
    if sys.platform == "linux" and os.environ.keys() & {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"}:
        set_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


def _say(sentence: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes
        os.write(2, f"\n{sentence}\n".encode())  # the signal may have interrupted print
