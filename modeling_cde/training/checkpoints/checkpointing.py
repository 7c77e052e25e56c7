"""What a training saves and restores: checkpoints that are complete or absent, without pickle.

A checkpoint has the model, or the adapters that LoRA trains in it, and beside it, as safetensors and JSON,

    optimizer.safetensors, random_state-0.safetensors, ...   see resume_state.py; with FSDP2 sharded_checkpoints.py
    trainer_state.json, training_args.json                   how far the training was, its log, and its arguments
    settings.json                                            what it was trained with and on; see settings.py
    manifest.json                                            see checkpoint_folder.py
"""

import copy
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer_callback import ExportableState

from ...cards.pushing import HubPushes
from ...data.streaming.parquet_rows import StreamError
from ...whole_files import says_what_is_not_written, write_whole
from ..distributed import check_same_everywhere, share_buffers, tells_of_lost_processes
from ..lora import merged
from ..sharding import gathered, set_up_sharding
from ..stream_training import broken_off, refuse_streams
from . import checkpoint_folder
from .changed_settings import Change
from .checkpoint_folder import STATE, check_is_new, temporary_of
from .model_files import read_model, write_model
from .resume_state import load_random_state, loss_until_now, save_resume_state
from .resuming import ResumeCallback, compare_settings, find_checkpoint
from .run_lock import alone_in
from .settings import SETTINGS, settings_text
from .sharded_checkpoints import load_sharded


class CheckpointingTrainer(Trainer):  # type: ignore[misc]
    """A `Trainer` that can be stopped anywhere: its checkpoints are whole, and restore what they were made of.

    The private methods of Trainer that are overridden here are listed in `trainer_contract.py`.

    Attributes:
        run_settings: Further settings, in JSON types, that a checkpoint keeps and a resumed training is compared with.
        changed_settings: What resumed trainings have changed that bears upon the weights, oldest first: `after_step`,
            and `settings`, each by name with its value `then` and `now`.

    Raises:
        ValueError: FSDP is requested for a model, or in a version, that cannot be sharded; see `set_up_sharding`.
    """

    args: Any
    loss: Any  # module or function
    model: Any
    loss_is_given = False  # and not made from the arguments
    run_settings: dict[str, Any]
    settings: dict[str, Any]  # all that are kept
    changed_settings: list[dict[str, Any]]
    changes: list[Change]  # since the checkpoint that is resumed
    resumed: str | None = None  # checkpoint that the training resumes
    seconds_before = 0.0  # duration of the resumed training up to its checkpoint
    _began = 0.0
    _alone = False
    _initial_global_step = 0
    _globalstep_last_logged: int
    _tr_loss: torch.Tensor
    _total_loss_scalar: float

    def __init__(self, *args: Any, callbacks: list[Any] | None = None, **kwargs: Any) -> None:
        self._pushes = HubPushes(self)
        self.run_settings, self.changed_settings, self.changes = {}, [], []
        # Before those of the user, which see a training that is restored.
        super().__init__(*args, callbacks=[ResumeCallback(self), self._pushes, *(callbacks or [])], **kwargs)
        set_up_sharding(self)

    # Training

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the output folder around `train` and what is written after it: no other training writes there.

        Raises:
            ValueError: another training writes to the folder, or the folder has checkpoints that this training does
                not resume.
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
            resume_from_checkpoint: a checkpoint's folder, or True (also as text) for the newest complete one of
                `args.output_dir`. Each newer, incomplete one is passed over with a warning; if there is no complete
                one, training starts from the beginning.
            **kwargs: as for `transformers.Trainer.train`.

        Raises:
            ValueError: the named checkpoint is not complete, or was trained with other settings, model or data in a way
                that `check_settings` refuses; another training writes to the same folder, a stream is to be evaluated,
                `metric_for_best_model` does not exist, or the processes have different settings.
            StreamError: a stream broke off for good. A single process has saved a checkpoint of the last step.
            ConnectionError: another process ended, or was silent for longer than `args.ddp_timeout`.
            OSError: a checkpoint cannot be written.
        """
        refuse_streams(self.eval_dataset)
        self._began = time.monotonic()
        with self._holds_folder() if self.args.save_strategy != "no" else nullcontext(), tells_of_lost_processes():
            self.resumed = find_checkpoint(self.args, resume_from_checkpoint)
            compare_settings(self)
            parameters = sum(parameter.numel() for parameter in self.model.parameters())
            samples = len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else None
            sizes = {"number of parameters": parameters, "number of training samples": samples}
            check_same_everywhere({**self.args.to_dict(), **sizes})
            try:
                return super().train(self.resumed, **kwargs)
            except StreamError as error:  # between two steps: all batches of a step are read before it
                raise broken_off(self, error) from error
            except KeyError as error:
                if "metric_for_best_model" in str(error):  # Trainer's own sentence
                    raise ValueError(error.args[0]) from error
                raise

    @contextmanager
    def _own_args(self, **changes: Any) -> Iterator[None]:
        """Have Trainer read other values from its arguments, in a copy: the user's stay as they are."""
        given, self.args = self.args, copy.copy(self.args)
        vars(self.args).update(changes)
        try:
            yield
        finally:
            self.args = given

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """The autocast that Accelerate puts around each forward pass, except with FSDP2."""
        if self.is_fsdp_enabled:
            return self.accelerator.autocast()  # type: ignore[no-any-return]
        return super().autocast_smart_context_manager(cache_enabled)  # type: ignore[no-any-return]

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # a training that ended within an epoch is resumed
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        # With a limit of 1 Trainer would remove the last checkpoint, which shows that a run is finished.
        with self._own_args(save_total_limit=None):
            output = super()._finalize_training(*args, **kwargs)
        return output._replace(training_loss=output.metrics["train_loss"])

    # Saving

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if trial is None:
            self.store_flos()
        state, run = self.state, Path(self._get_output_dir(trial))
        folder = run / f"checkpoint-{state.global_step}"
        train_loss = loss_until_now(self)
        best = run / f"checkpoint-{state.best_global_step}"
        with self._written_whole(folder) as temporary:
            write_model(self, temporary, in_checkpoint=True)
            if state.best_global_step and (best == folder or best.is_dir()):
                state.best_model_checkpoint = str(best)
            if not self.args.save_only_model:
                save_resume_state(self, temporary)
            if self.args.should_save:
                self._save_callbacks()
                state.stateful_callbacks["seconds"] = round(self.seconds_before + time.monotonic() - self._began, 1)
                state.stateful_callbacks["train_loss"] = train_loss
                state.save_to_json(str(temporary / STATE))
                settings = settings_text(self.settings, self.changed_settings)
                (temporary / SETTINGS).write_text(settings, encoding="utf-8")
        if self.args.should_save:
            checkpoint_folder.rotate(folder, self.args.save_total_limit, state.best_model_checkpoint)

    @contextmanager
    def _written_whole(self, folder: Path) -> Iterator[Path]:
        """The folder where all processes write a checkpoint; it gets its name when all have written."""
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
                shutil.rmtree(temporary_of(folder), ignore_errors=True)  # makes room on a full disk
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
        """Saves the model in one piece, and pushes it if `args.push_to_hub`; see `transformers.Trainer.save_model`.

        A model with LoRA is saved merged, with the adapters in the folder adapter/ beside it. A push that fails is
        reported in one line.
        """
        folder = Path(output_dir or self.args.output_dir)
        write_model(self, folder)
        if self.args.push_to_hub and not _internal_call and self.is_world_process_zero():
            self._pushes.push_saved(folder)

    def save_state(self) -> None:
        """Saves how far the training is, and its log; see `transformers.Trainer.save_state`."""
        if self.args.should_save:
            with write_whole(Path(self.args.output_dir) / STATE) as temporary:
                self.state.save_to_json(str(temporary))

    def whole_model(self) -> Any:
        """The trained model in one piece: gathered from shards as a new model, or with LoRA merged.

        All processes call it together, and each gets the model. A model that is already whole is returned itself.
        """
        share_buffers(self.model)
        if not self.is_fsdp_enabled:
            return merged(self.model)
        return gathered(self.accelerator.unwrap_model(self.model, keep_torch_compile=False)).to(self.args.device)

    # Pushing

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Creates the repository, and checks that it can be written to.

        Raises:
            ValueError, PermissionError, ConnectionError: see `modeling_cde.cards.hub.commit_files`.
        """
        if self.is_world_process_zero():
            self.hub_model_id = self._pushes.create_repository(token, private)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> Any:
        """Saves the model to `args.output_dir` and pushes it, in one commit, with a card that says it is not evaluated.

        A run that train.py has evaluated is published by `modeling_cde.cards.publishing.publish_run`.

        Args:
            commit_message: of the commit.
            blocking: whether to wait; otherwise the push's errors are raised by the future's `result`.
            token: None for `args.hub_token`.
            revision: branch to push to; None for `args.hub_revision`.
            private: of a repository that does not exist yet; None for `args.hub_private_repo`.

        Returns:
            The repository's address, or its future; None on all processes but the first.

        Raises:
            FileNotFoundError: the saved model does not load by itself.
            ValueError, PermissionError, ConnectionError: see `modeling_cde.cards.hub.commit_files`.
        """
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        write_model(self, Path(self.args.output_dir))
        if not self.is_world_process_zero():
            return None
        job = self._pushes.push(Path(self.args.output_dir), commit_message or "End of training", token, revision)
        return job.result() if blocking else job

    # Resuming; the rest is done by `ResumeCallback`

    def restore(self, checkpoint: str) -> None:
        """Fill the model from a checkpoint; with FSDP2 all processes call it together.

        Raises:
            ValueError: the checkpoint does not hold exactly the weights, or the adapters, of this model.
        """
        if self.is_fsdp_enabled:
            load_sharded(self.model, None, checkpoint)
        else:
            read_model(self.model, checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.restore(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        self.restore(self.state.best_model_checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random_state(self, Path(checkpoint))

    def _since_log(self) -> dict[str, Any]:
        """What has been added up since the last log: the next one covers all its steps, also after a stop."""
        return {"processes": self.args.world_size, "step": self._globalstep_last_logged, "loss": self._tr_loss}

    def _go_on_logging(self, since_log: dict[str, Any]) -> None:
        self._globalstep_last_logged = since_log["step"]
        self._tr_loss.copy_(since_log["loss"])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """See `transformers.Trainer.log`; `train_loss` is the mean of all steps, also of those before a resume."""
        if "train_loss" in logs:  # where Trainer has divided by the steps of this process
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 0.001)
        super().log(logs, start_time)
