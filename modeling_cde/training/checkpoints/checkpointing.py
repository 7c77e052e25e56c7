"""What a training saves and restores: checkpoints that are complete or absent, without pickle.

A checkpoint has the model, or the adapters that LoRA trains in it, and beside it, as safetensors and JSON,

    optimizer.safetensors, scheduler.safetensors       see training_state.py; scaler.safetensors where fp16 is trained
    random_state-0.safetensors, ...                    of each process its random generators, and sums for the next log
    trainer_state.json, training_args.json             how far the training was, its log, and what it was started with
    manifest.json                                      see checkpoint_folder.py
"""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_callback import ExportableState
from transformers.utils import logging

from ...data.sampler import seeded
from ...whole_files import TEMPORARY, check_writable, says_what_is_not_written, write_files_whole, write_whole
from ..lora import is_adapted, merged
from ..sharding import ShardingTrainer
from . import checkpoint_folder
from .adapter_files import ADAPTER_FOLDER, add_description, load_adapter_weights, save_adapter
from .checkpoint_folder import (
    STATE,
    best_of,
    check_is_new,
    checkpoints,
    find_damage,
    find_lost_best,
    newest_complete,
    temporary_of,
)
from .run_lock import alone_in
from .sharded_checkpoints import is_sharded, load_sharded, save_sharded
from .state_file import read_state, write_state

logger = logging.get_logger(__name__)

OPTIMIZER, SCHEDULER, SCALER = "optimizer.safetensors", "scheduler.safetensors", "scaler.safetensors"
WEIGHTS = "model.safetensors"


class CheckpointingTrainer(ShardingTrainer):
    """A `Trainer` that can be stopped anywhere: its checkpoints are whole, and give back what they were made of.

    Args:
        *args, **kwargs: as for `transformers.Trainer`.

    Raises:
        ValueError: see `ShardingTrainer`.
    """

    model: Any
    seconds_before = 0.0  # of the training that was resumed, up to its checkpoint
    _began = 0.0
    _resumed: str | None = None  # checkpoint that the training goes on from
    _alone = False
    _globalstep_last_logged: int
    _tr_loss: torch.Tensor

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the output folder around `train` and what is written after it: no other training writes there.

        Raises:
            ValueError: another training writes to the folder, or has left checkpoints in it that this one is not to
                go on with.
        """
        with self._holds_folder():
            check_is_new(self.args)
            yield

    @contextmanager
    def _holds_folder(self) -> Iterator[None]:
        if self._alone or not self.is_world_process_zero():
            yield
            return
        with alone_in(Path(self.args.output_dir)):
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """See `transformers.Trainer.train`.

        Args:
            resume_from_checkpoint: a checkpoint's folder, or True (also as text) for the newest one of
                `args.output_dir` that is complete; each newer one is passed over with a warning, and with none at all
                training starts at its beginning.
            **kwargs: as for `transformers.Trainer.train`.

        Raises:
            ValueError: the named checkpoint is not complete, or another training writes to the same folder.
            OSError: a checkpoint cannot be written.
        """
        self._began = time.monotonic()
        wanted = resume_from_checkpoint or None
        if str(wanted).lower() == "true":
            wanted = True
        with self._holds_folder() if self.args.save_strategy != "no" else nullcontext():
            self._resumed = self._complete_checkpoint(wanted)
            return super().train(self._resumed, **kwargs)

    def _complete_checkpoint(self, wanted: str | bool | None) -> str | None:
        """The folder to resume from; the first process looks, the others are told the step."""
        run = Path(self.args.output_dir)
        damage, step = None, -1
        if self.is_world_process_zero():
            if self.args.save_strategy != "no":
                check_writable(run)
            for path in checkpoint_folder.tidy(run):
                logger.warning(f"{path} was not finished when an earlier run was stopped; it is removed.")
            if wanted is True:
                newest, passed_over = newest_complete(run, with_best=self.args.load_best_model_at_end)
                for sentence in passed_over:
                    logger.warning(sentence)
                step = -1 if newest is None else newest
            elif isinstance(wanted, str):
                damage = find_damage(Path(wanted))
        told = broadcast(torch.tensor([step, damage is not None], device=self.args.device))
        step = int(told[0])
        if told[1]:
            hint = " or true, which takes the newest complete one" if checkpoints(run) else ""
            raise ValueError(
                f"resume_from_checkpoint={wanted}: {damage or 'it is not complete'}; name another checkpoint{hint}."
            )
        if wanted is None or isinstance(wanted, str):
            return wanted
        if step < 0:
            logger.warning(f"{run} has no complete checkpoint to resume from: training starts at its beginning.")
            return None
        return str(checkpoints(run)[step])

    # Saving

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if trial is None:
            self.store_flos()
        state, run = self.state, Path(self._get_output_dir(trial))
        folder = run / f"checkpoint-{state.global_step}"
        best = run / f"checkpoint-{state.best_global_step}"
        with self._written_whole(folder) as temporary:
            self.save_model(str(temporary), _internal_call=True)
            if state.best_global_step and (best == folder or best.is_dir()):
                state.best_model_checkpoint = str(best)
            if not self.args.save_only_model:
                self._save_optimizer_and_scheduler(str(temporary))
                self._save_scaler(str(temporary))
                self._save_rng_state(str(temporary))
            if self.args.should_save:
                self._save_callbacks()
                state.stateful_callbacks["seconds"] = round(self.seconds_before + time.monotonic() - self._began, 1)
                state.save_to_json(str(temporary / STATE))
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(folder))
        if self.args.should_save:
            checkpoint_folder.rotate(folder, self.args.save_total_limit, state.best_model_checkpoint)

    @contextmanager
    def _written_whole(self, folder: Path) -> Iterator[Path]:
        """The folder for all processes to write a checkpoint to, which takes its place when all have written."""
        with says_what_is_not_written(folder):
            if self.args.should_save:
                checkpoint_folder.begin(folder)
            self.accelerator.wait_for_everyone()
            try:
                yield temporary_of(folder)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    about = {"step": self.state.global_step, "processes": self.args.world_size}
                    checkpoint_folder.complete(folder, **about, save_only_model=self.args.save_only_model)
            except BaseException:
                shutil.rmtree(temporary_of(folder), ignore_errors=True)  # a full disk gets its room back
                raise
            self.accelerator.wait_for_everyone()

    def _save_callbacks(self) -> None:
        """Put the state of the callbacks that have one into the trainer's, as `Trainer._save_checkpoint` does."""
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                name, kept = type(callback).__name__, self.state.stateful_callbacks
                if isinstance(kept.get(name), list):
                    kept[name].append(callback.state())
                else:
                    kept[name] = callback.state()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model; see `transformers.Trainer.save_model`.

        Of a model with LoRA a checkpoint of the training holds the adapters alone; what is saved in the end is the
        plain model that they amount to, with the adapters in the folder adapter/ beside it.
        """
        if not is_adapted(self.model):
            super().save_model(output_dir, _internal_call)
            return
        adapted, folder = self.model, Path(output_dir or self.args.output_dir)
        if not _internal_call:
            if self.args.should_save:
                with write_files_whole(folder / ADAPTER_FOLDER, last="adapter_model.safetensors") as temporary:
                    save_adapter(adapted, temporary)
            self.model = merged(adapted)
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            self.model = adapted
        if _internal_call and self.args.should_save:
            add_description(adapted, folder)

    def _save(self, output_dir: str, state_dict: dict[str, Any] | None = None) -> None:
        if not self.args.should_save:
            return
        model, folder = self.accelerator.unwrap_model(self.model, keep_torch_compile=False), Path(output_dir)
        whole = nullcontext(folder) if folder.name.startswith(TEMPORARY) else write_files_whole(folder, last=WEIGHTS)
        with whole as temporary:
            if hasattr(model, "save_pretrained"):
                model.save_pretrained(temporary, state_dict=state_dict)
            else:
                save_file(state_dict or model.state_dict(), temporary / WEIGHTS, metadata={"format": "pt"})
            if self.processing_class is not None:
                self.processing_class.save_pretrained(temporary)
            (temporary / "training_args.json").write_text(self.args.to_json_string() + "\n", encoding="utf-8")

    def save_state(self) -> None:
        """Saves how far the training is, and its log; see `transformers.Trainer.save_state`."""
        if self.args.should_save:
            with write_whole(Path(self.args.output_dir) / STATE) as temporary:
                self.state.save_to_json(str(temporary))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_fsdp_enabled:
            save_sharded(self.model, self.optimizer, output_dir)
        elif self.args.should_save:
            write_state(Path(output_dir, OPTIMIZER), self.optimizer.state_dict())
        if self.args.should_save:
            write_state(Path(output_dir, SCHEDULER), self.lr_scheduler.state_dict())

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            write_state(Path(output_dir, SCALER), scaler.state_dict())

    def _save_rng_state(self, output_dir: str) -> None:
        state = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
        if self.args.device.type == "cuda":
            state["cuda"] = [torch.cuda.get_rng_state(device) for device in self._gpus]
        write_state(self._random_file(output_dir), {**state, "since_log": self._since_log()})

    def _since_log(self) -> dict[str, Any]:
        """What has been added up since the last log: the next one is to tell of all its steps, also after a stop."""
        return {"processes": self.args.world_size, "step": self._globalstep_last_logged, "loss": self._tr_loss}

    def _go_on_logging(self, since_log: dict[str, Any]) -> None:
        self._globalstep_last_logged = since_log["step"]
        self._tr_loss += since_log["loss"].to(self._tr_loss)

    # Resuming

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        done: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        state = self.state
        self.seconds_before = float(state.stateful_callbacks.get("seconds", 0.0))
        if self._resumed is not None:
            self._find_best(Path(self._resumed))
        if state.global_step >= state.max_steps:
            logger.warning(f"The training was finished at step {state.global_step}: nothing of it is left to do.")
        return done

    def _find_best(self, resumed: Path) -> None:
        """Say where the best checkpoint is now; where it is lost, the best of those to come is taken."""
        state, best = self.state, best_of(resumed)
        if self.args.load_best_model_at_end and (lost := find_lost_best(resumed)):
            logger.warning(f"{resumed} goes on without its best checkpoint, and selects among those to come: {lost}.")
            state.best_model_checkpoint = state.best_global_step = state.best_metric = None
        elif best is not None and best.is_dir():
            state.best_model_checkpoint = str(best)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # finished within an epoch, and resumed
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        # With a limit of 1 Trainer would remove the last checkpoint, by which a run is known to be finished.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit = limit

    def restore(self, checkpoint: str) -> bool:
        """Fills the model from a checkpoint; False where a sharded model needs Trainer's own way.

        Trainer's way loads the file as it is, where some families' parameters have older names, and only warns.

        Raises:
            ValueError: if the checkpoint does not hold exactly the weights, or the adapters, of this model.
        """
        if is_adapted(self.model):
            load_adapter_weights(self.model, checkpoint)
            return True
        if self.is_fsdp_enabled or is_sharded(checkpoint):
            load_sharded(self.model, None, checkpoint)
            return True
        if self.is_deepspeed_enabled or not isinstance(self.model, PreTrainedModel):
            return False
        with seeded():
            saved, info = type(self.model).from_pretrained(checkpoint, output_loading_info=True)
        wrong = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
        if wrong:
            raise ValueError(f"{checkpoint} does not hold exactly the weights of this model: {wrong}.")
        self.model.load_state_dict(saved.state_dict())
        return True

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if not self.restore(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self.restore(self.state.best_model_checkpoint):
            super()._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if self.is_fsdp_enabled or is_sharded(checkpoint):
            load_sharded(self.model, self.optimizer, checkpoint)
        else:
            self.optimizer.load_state_dict(read_state(Path(checkpoint, OPTIMIZER)))
        self.lr_scheduler.load_state_dict(read_state(Path(checkpoint, SCHEDULER)))

    def _load_scaler(self, checkpoint: str | None) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if checkpoint is not None and scaler is not None and Path(checkpoint, SCALER).is_file():
            scaler.load_state_dict(read_state(Path(checkpoint, SCALER)))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        if not (file := self._random_file(checkpoint)).is_file():
            logger.warning(
                f"{checkpoint} was written by fewer processes: number {self.args.process_index} starts with fresh "
                "random generators."
            )
            return
        state = read_state(file)
        name, keys, *rest = state["numpy"]
        random.setstate(state["python"])
        np.random.set_state((name, keys.numpy(), *rest))
        torch.random.set_rng_state(state["cpu"])
        since_log = state.get("since_log", {"processes": 0})  # older versions have none
        if since_log["processes"] == self.args.world_size:  # others have had other shares of the steps
            self._go_on_logging(since_log)
        if self.args.device.type == "cuda":
            for device, own in zip(self._gpus, state.get("cuda", []), strict=False):
                torch.cuda.set_rng_state(own, device)

    def _random_file(self, folder: str) -> Path:
        return Path(folder, f"random_state-{self.args.process_index}.safetensors")

    @property
    def _gpus(self) -> list[Any]:
        """The GPUs that this process computes on: several under DataParallel."""
        return list(range(self.args.n_gpu)) if self.args.n_gpu > 1 else [self.args.device]
