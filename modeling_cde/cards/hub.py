"""Commits files to a repository of the Hub: every publication of a model, a data set or a Space goes through here.

Notable:

- All files are uploaded first and become visible together in one commit, so that nobody ever loads half a model. For
  that reason `HfApi.upload_folder` and `upload_large_folder` are not used: both split large folders over commits. After
  a broken upload, files that arrived are not sent again, since the Hub recognises them by their content.
- A commit names its parent, so that the Hub refuses it if somebody else committed in between.
- Every failure becomes one sentence: what happened, what is visible now, what to do.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Chooser = Callable[[list[str]], Iterable[str]]


def commit_files(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    repo_type: str = "model",
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    delete: Chooser | None = None,
) -> str:
    """Update a repository in one commit, and create it if it does not exist.

    Args:
        repo_id: `"ORG/NAME"` or `"USER/NAME"`.
        files: Content, or the path of a file with it, by name in the repository.
        message: The commit message.
        repo_type: `"model"`, `"dataset"` or `"space"` (Gradio).
        private: Only its owners see a new repository; False leaves that to the organization's settings. An existing
            public repository is refused, not made private.
        token: With write access; None for the one from `hf auth login` or `HF_TOKEN`.
        revision: An existing branch to commit to; None for the main one.
        delete: Called with the names of all files in the repository; the same commit deletes those that it returns and
            that `files` does not replace. It may raise to refuse the repository.

    Returns:
        The repository's address.

    Raises:
        ValueError: The Hub does not accept the name or the content, or the repository is public and `private` is set.
        PermissionError: The Hub refuses the token.
        FileNotFoundError: The branch does not exist.
        ConnectionError: The Hub cannot be reached or fails, or somebody else committed in between.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = open_repository(repo_id, repo_type=repo_type, private=private, token=token)
    with explained(repo_id):
        repository = api.repo_info(repo_id, repo_type=repo_type, revision=revision)
        theirs = [item.rfilename for item in repository.siblings or ()]
        stale = [name for name in (delete(theirs) if delete else ()) if name not in files]
        operations: list[Any] = [CommitOperationDelete(name) for name in stale]
        operations += [CommitOperationAdd(name, content) for name, content in files.items()]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            where = {"repo_type": repo_type, "revision": revision, "parent_commit": repository.sha}
            try:
                api.create_commit(repo_id, operations, commit_message=message, **where)
            except ValueError as error:  # README.md's metadata, for one
                raise ValueError(f"{repo_id} cannot be published: {' '.join(str(error).split())}") from error
    return f"{api.endpoint}/{'' if repo_type == 'model' else f'{repo_type}s/'}{repo_id}"


def open_repository(repo_id: str, *, repo_type: str = "model", private: bool = False, token: str | None = None) -> Any:
    """Create a repository if absent; the `HfApi` with the token. For arguments and errors see `commit_files`."""
    from huggingface_hub import HfApi

    check_name(repo_id)
    api = HfApi(token=token, library_name="modeling-cde")
    with explained(repo_id):
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True, space_sdk=sdk)
        if private and not api.repo_info(repo_id, repo_type=repo_type).private:
            raise ValueError(
                f"{repo_id} exists and is public: make it private on its settings page, or choose another name."
            )
    return api


def check_name(repo_id: str) -> None:
    """Raise ValueError unless the name is a valid ORG/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a valid repository name ({_one_line(error)}).") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} is not a valid repository name; write ORG/NAME or USER/NAME.")


def check_writable(repo_id: str, *, private: bool = False, token: str | None = None) -> None:
    """Create the repository and request an upload, to learn before long work whether publishing will succeed.

    "Creating" an existing repository also succeeds with a read-only token; requesting an upload does not. Nothing is
    uploaded. For arguments and errors see `commit_files`.
    """
    from huggingface_hub import CommitOperationAdd

    api = open_repository(repo_id, private=private, token=token)
    with explained(repo_id):
        api.preupload_lfs_files(repo_id, additions=[CommitOperationAdd("config.json", b"{}")])


def check_readable(repo_id: str, *, revision: str | None = None, token: str | None = None) -> None:
    """Raise FileNotFoundError, or what `commit_files` raises, unless this token can read the model and revision."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    check_name(repo_id)
    with explained(repo_id):
        try:
            HfApi(token=token).model_info(repo_id, revision=revision)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            missing = repo_id if isinstance(error, RepositoryNotFoundError) else f"{repo_id} at {revision}"
            raise FileNotFoundError(
                f"The Hub has no model {missing} that this token can read; check the name and the token."
            ) from error


def full_name(name: str, token: str | None = None) -> str:
    """`"USER/NAME"` for a bare name, with the user of the token; names with a slash stay as they are."""
    from huggingface_hub import HfApi

    if "/" in name:
        return name
    with explained(name):
        return f"{HfApi(token=token).whoami()['name']}/{name}"


@contextmanager
def explained(repo_id: str) -> Iterator[None]:
    """Turns errors of the Hub's client into one sentence."""
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ConnectionError(f"HF_HUB_OFFLINE is set, so nothing can be published to {repo_id}: unset it.") from error
    except json.JSONDecodeError as error:
        raise ConnectionError("The server at HF_ENDPOINT is not a Hub: unset or correct HF_ENDPOINT.") from error
    except (HTTPError, RuntimeError, ConnectionError) as error:
        raise _answer(error, repo_id) from error


def _answer(error: BaseException, repo_id: str) -> OSError:
    """The error to raise for an answer of the Hub or a failure on the way to it."""
    reason: BaseException | None = error
    while reason is not None and getattr(reason, "response", None) is None:  # an upload's error is wrapped
        reason = reason.__cause__
    status = getattr(getattr(reason, "response", None), "status_code", None)
    nothing = f"nothing became visible in {repo_id}"
    if status == 401:
        return PermissionError(
            f"The Hub does not accept the token for {repo_id} (401): log in with `hf auth login`, or set HF_TOKEN to a "
            "token with write access."
        )
    if status == 403:
        return PermissionError(
            f"This token has no write access to {repo_id} (403): use one that has, or another ORG/NAME."
        )
    if status == 404:
        told = _one_line(getattr(reason, "server_message", None) or "not found")
        return FileNotFoundError(
            f"The Hub did not find {repo_id} or its branch (404: {told}), so {nothing}; check both names."
        )
    if status in (409, 412):
        return ConnectionError(f"Somebody else changed {repo_id} meanwhile ({status}), so {nothing}: try again.")
    if status is not None:
        told = _one_line(getattr(reason, "server_message", None) or "no reason given")
        visible = nothing if status < 502 else _ALL_OR_NOTHING.format(repo_id)  # a gateway does not know
        return ConnectionError(f"The Hub answered {status} ({told}); {visible}. {_LATER}")
    return ConnectionError(
        f"The Hub cannot be reached, or the connection broke ({_one_line(error) or type(error).__name__}); "
        f"{_ALL_OR_NOTHING.format(repo_id)}. Check the connection and HF_ENDPOINT. {_LATER}"
    )


_ALL_OR_NOTHING = "{} has all files or none"  # the connection may break after the commit, before the answer
_LATER = "Try again later: files that arrived are not sent twice."


def _one_line(error: object) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "")
