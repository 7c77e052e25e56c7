"""Pushes to the Hub during training: each is one commit that anybody can load, without this package.

What `Trainer` itself pushes is a folder bit by bit, with pickled arguments, and without the code that a checkpoint of
ours needs; a push of it that fails in the background fails in silence.
"""

import json
import os
import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from .cards.publishing import model_files, of_an_earlier_upload, provisional_card
from .hub import check_writable, commit_files, full_name

logger = logging.get_logger(__name__)


class HubPushes:
    """The part of `CDETrainer` that talks to the Hub; it takes the place of `Trainer`'s methods of the same names.

    Nothing is pushed of a checkpoint that does not load by itself (weights that are sharded over processes, a bare
    adapter): that is said in one line, and training goes on.
    """

    args: Any
    state: Any
    control: Any
    callback_handler: Any
    hub_model_id: str | None
    push_in_progress: Any

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Creates the repository, and finds out whether it can be written to.

        Raises:
            ValueError, PermissionError, ConnectionError: See `modeling_cde.hub.commit_files`.
        """
        if not self.is_world_process_zero():
            return
        token = self.args.hub_token if token is None else token
        private = self.args.hub_private_repo if private is None else private
        name = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        repo_id = full_name(name, token)
        check_writable(repo_id, private=bool(private), token=token)
        self.hub_model_id, self.push_in_progress = repo_id, None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """See `transformers.Trainer.save_model`; where that pushes and the push fails, it is said in one line."""
        super().save_model(output_dir, _internal_call=True)  # type: ignore[misc]
        if self.args.push_to_hub and not _internal_call:
            try:
                self.push_to_hub("Model save", revision=self.args.hub_revision)
            except (ValueError, OSError) as error:
                self._warn(error)

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
            ValueError, PermissionError, ConnectionError: See `modeling_cde.hub.commit_files`.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        state = f"Training has come to step {self.state.global_step} of {self.state.max_steps}."
        job = self._job(self.args.output_dir, commit_message or "End of training", state, token, revision)
        return job.result() if blocking else job

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes a checkpoint in the background, unless the last push is still under way."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if not self.args.hub_always_push and self.push_in_progress and not self.push_in_progress.is_done():
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        state = f"Training is in progress: this is step {self.state.global_step} of {self.state.max_steps}."
        try:
            job = self._job(checkpoint_folder, f"Training in progress, step {self.state.global_step}", state)
        except (ValueError, OSError) as error:
            self._warn(error)
            return
        job.add_done_callback(lambda done: self._warn(error) if (error := done.exception()) else None)
        self.push_in_progress = PushInProgress([job])

    def _job(
        self, folder: str, message: str, state: str, token: str | None = None, revision: str | None = None
    ) -> Future[str]:
        """Commits the model that a folder holds, one job after another; the folder may be deleted meanwhile."""
        from huggingface_hub import HfApi

        files, repo_id = model_files(Path(folder)), str(self.hub_model_id)
        config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
        # Links in place of copies: they stay when the checkpoint goes.
        kept = tempfile.TemporaryDirectory(prefix="_push_", dir=self.args.output_dir)
        for name in files:
            _link(Path(folder, name), Path(kept.name, name))
            files[name] = Path(kept.name, name)
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

        return HfApi().run_as_future(commit)

    def _warn(self, error: BaseException) -> None:
        logger.warning(f"Not pushed, training goes on: {error}")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
