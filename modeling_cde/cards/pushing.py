"""Pushes to the Hub during training: each is one commit that anybody can load, without this package.

What `Trainer` itself pushes is a folder file by file, with pickled arguments, and without the code that our checkpoints
need; and if its push in the background fails, nothing is reported.
"""

import json
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging

from ..training.lora import is_adapted, merged
from .checkpoint_files import model_files, of_an_earlier_upload, provisional_card
from .hub import check_writable, commit_files, full_name

logger = logging.get_logger(__name__)


class HubPushes(TrainerCallback):  # type: ignore[misc]
    """The pushes of a training: one after another, in the background, each a commit that loads by itself.

    Adapters (LoRA) are pushed merged into the model. A checkpoint that does not load by itself (weights sharded over
    processes) is not pushed: one line reports it, and training continues. The trainer is a `CheckpointingTrainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._last: Future[str] | None = None

    def create_repository(self, token: str | None, private: bool | None) -> str:
        """Create the repository, check that it can be written to, and return its name with the owner."""
        args = self._trainer.args
        token = args.hub_token if token is None else token
        private = args.hub_private_repo if private is None else private
        repo_id = full_name(args.hub_model_id or Path(args.output_dir).absolute().name, token)
        check_writable(repo_id, private=bool(private), token=token)
        self._uploads = ThreadPoolExecutor(max_workers=1)  # one after another: each commit follows the one before
        return repo_id

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Push a checkpoint in the background, unless the last push is still running."""
        if not args.push_to_hub or not state.is_world_process_zero or args.hub_strategy == HubStrategy.END:
            return
        if not args.hub_always_push and self._last is not None and not self._last.done():
            return
        try:
            folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
            self._last = self.push(folder, f"Training in progress, step {state.global_step}")
        except (ValueError, OSError) as error:
            _warn(error)
            return
        self._last.add_done_callback(_warn_of_failure)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the last push."""
        if self._last is not None:
            wait([self._last])

    def push_saved(self, folder: Path) -> None:
        """Push what `save_model` has written, and wait; if that fails, one line reports it."""
        try:
            self.push(folder, "Model save").result()
        except (ValueError, OSError) as error:
            _warn(error)

    def push(self, folder: Path, message: str, token: str | None = None, revision: str | None = None) -> Future[str]:
        """Commit the model that a folder now holds, after the commits that are waiting.

        Raises:
            FileNotFoundError: the model does not load by itself.
        """
        trainer = self._trainer
        args, model = trainer.args, trainer.model
        trainer.callback_handler.on_push_begin(args, trainer.state, trainer.control)
        # The folder may be deleted or written anew before its files are sent.
        names = [] if is_adapted(model) else list(model_files(folder))
        kept = tempfile.TemporaryDirectory(prefix="_push_", dir=args.output_dir)
        for name in names:
            try:
                os.link(folder / name, Path(kept.name, name))
            except OSError:  # a file system without links
                shutil.copyfile(folder / name, Path(kept.name, name))
        if not names:  # the folder holds adapters alone, which nobody can load without PEFT
            merged(model).save_pretrained(kept.name)
            if trainer.processing_class is not None:
                trainer.processing_class.save_pretrained(kept.name)
        files, repo_id = model_files(Path(kept.name)), str(trainer.hub_model_id)
        config = json.loads(Path(kept.name, "config.json").read_text(encoding="utf-8"))
        state = f"This is step {trainer.state.global_step} of {trainer.state.max_steps} of a training."
        files["README.md"] = provisional_card(config, repo_id, state)

        def commit() -> str:
            with kept:
                return commit_files(
                    repo_id,
                    files,
                    message=message,
                    token=token or args.hub_token,
                    revision=revision or args.hub_revision,
                    delete=of_an_earlier_upload,
                )

        return self._uploads.submit(commit)


def _warn(error: BaseException) -> None:
    logger.warning(f"Not pushed, and training continues: {error}")


def _warn_of_failure(job: Future[str]) -> None:
    if failure := job.exception():
        _warn(failure)
