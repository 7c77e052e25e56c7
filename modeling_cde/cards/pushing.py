"""Pushes to the Hub during training: each is one commit that anybody can load, without this package.

What `Trainer` itself pushes is a folder bit by bit, with pickled arguments, and without the code that a checkpoint of
ours needs; a push of it that fails in the background fails in silence.
"""

import json
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from transformers import Trainer
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..training.lora import is_adapted, merged
from .checkpoint_files import model_files, of_an_earlier_upload, provisional_card
from .hub import check_writable, commit_files, full_name

logger = logging.get_logger(__name__)


class PushingTrainer(Trainer):  # type: ignore[misc]
    """A `Trainer` with pushes to the Hub that anybody can load.

    Adapters (LoRA) are pushed merged into the model. Nothing is pushed of a checkpoint that does not load by itself
    (weights that are sharded over processes): that is said in one line, and training goes on.
    """

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Creates the repository, and finds out whether it can be written to.

        Raises:
            ValueError, PermissionError, ConnectionError: See `modeling_cde.cards.hub.commit_files`.
        """
        if not self.is_world_process_zero():
            return
        token = self.args.hub_token if token is None else token
        private = self.args.hub_private_repo if private is None else private
        name = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        repo_id = full_name(name, token)
        check_writable(repo_id, private=bool(private), token=token)
        self.hub_model_id, self.push_in_progress = repo_id, None
        self._uploads = ThreadPoolExecutor(max_workers=1)  # one after another: each commit follows the one before

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """See `transformers.Trainer.save_model`; where that pushes and the push fails, it is said in one line."""
        super().save_model(output_dir, _internal_call=True)
        if self.args.push_to_hub and not _internal_call and self.is_world_process_zero():
            try:
                self._finish_current_push()
                self._push(output_dir or self.args.output_dir, "Model save").result()
            except (ValueError, OSError) as error:
                _warn(error)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> str | Future[str] | None:
        """Saves the model to `args.output_dir` and pushes it, in one commit, with a card that says it is not evaluated.

        A run that train.py has evaluated is published by `modeling_cde.cards.publishing.publish_run`.

        Args:
            commit_message: Of the commit.
            blocking: Whether to wait; else the push's errors are raised by the future's `result`.
            token: None for `args.hub_token`.
            revision: Branch to push to; None for `args.hub_revision`.
            private: Of a repository that does not exist yet; None for `args.hub_private_repo`.

        Returns:
            The repository's address, or its future; None on all processes but the first.

        Raises:
            FileNotFoundError: If the saved model does not load by itself.
            ValueError, PermissionError, ConnectionError: See `modeling_cde.cards.hub.commit_files`.
        """
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        pushes, self.args.push_to_hub = self.args.push_to_hub, False  # `save_model` would push, too
        try:
            self.save_model()
        finally:
            self.args.push_to_hub = pushes
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        job = self._push(self.args.output_dir, commit_message or "End of training", token, revision)
        return job.result() if blocking else job

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes a checkpoint in the background, unless the last push is still under way."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if not self.args.hub_always_push and self.push_in_progress and not self.push_in_progress.is_done():
            return
        try:
            job = self._push(checkpoint_folder, f"Training in progress, step {self.state.global_step}")
        except (ValueError, OSError) as error:
            _warn(error)
            return
        job.add_done_callback(_warn_of_failure)
        self.push_in_progress = PushInProgress([job])

    def _push(self, folder: str, message: str, token: str | None = None, revision: str | None = None) -> Future[str]:
        """Commits, one job after another, the model that a folder holds now."""
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        # The folder may be deleted or written anew before its files are sent.
        names = [] if is_adapted(self.model) else list(model_files(Path(folder)))
        kept = tempfile.TemporaryDirectory(prefix="_push_", dir=self.args.output_dir)
        for name in names:
            _link(Path(folder, name), Path(kept.name, name))
        if not names:  # the folder holds adapters alone, which nobody can load without PEFT
            merged(self.model).save_pretrained(kept.name)
            if self.processing_class is not None:
                self.processing_class.save_pretrained(kept.name)
        files, repo_id = model_files(Path(kept.name)), str(self.hub_model_id)
        config = json.loads(Path(kept.name, "config.json").read_text(encoding="utf-8"))
        state = f"This is step {self.state.global_step} of {self.state.max_steps} of a training."
        files["README.md"] = provisional_card(config, repo_id, state)

        def commit() -> str:
            with kept:
                return commit_files(
                    repo_id,
                    files,
                    message=message,
                    token=token or self.args.hub_token,
                    revision=revision or self.args.hub_revision,
                    delete=of_an_earlier_upload,
                )

        return self._uploads.submit(commit)


def _warn(error: BaseException) -> None:
    logger.warning(f"Not pushed, and training goes on: {error}")


def _warn_of_failure(job: Future[str]) -> None:
    if failure := job.exception():
        _warn(failure)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
