"""Files into a repository of the Hub, in one commit: what publishing a model, a data set or a Space comes down to.

Notable:

- All files are uploaded first and become visible together by one commit, so that nobody ever loads half of something.
  `HfApi.upload_folder` and `upload_large_folder` are not used for that reason: both commit large folders bit by bit.
  What an upload that broke has sent is not sent again, since the Hub knows it by its content.
- A commit names its parent, so that the Hub refuses it if someone else's came between.
- Whatever the Hub or the way to it answers becomes one sentence: what happened, what is visible now, what to do.
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
    """Bring a repository up to date by one commit, and create it where it does not exist.

    Args:
        repo_id: `"ORG/NAME"` or `"USER/NAME"`.
        files: Content, or the file that holds it, by its name in the repository.
        message: Of the commit.
        repo_type: `"model"`, `"dataset"` or `"space"` (of the kind Gradio).
        private: Only its owners see the new repository; otherwise it is as the organization's settings have it. A
            public one that exists is not made private, but refused.
        token: With the right to write; None for the one of `hf auth login` or of `HF_TOKEN`.
        revision: Branch to commit to, which has to exist; None for the main one.
        delete: Called with the names of all files in the repository; those that it returns go in the same commit,
            unless `files` has them. It may raise to refuse the repository as it is.

    Returns:
        The repository's address.

    Raises:
        ValueError: If the name is none that the Hub takes, the repository is public and `private` was asked for, or
            the Hub does not take the content.
        PermissionError: If the Hub refuses the token.
        FileNotFoundError: If there is no such branch.
        ConnectionError: If the Hub cannot be reached or fails, or someone else's commit came between.
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
    """Create a repository where it does not exist; see `commit_files` for the arguments and what is raised.

    Returns:
        The `HfApi` that was used, which has the token.
    """
    from huggingface_hub import HfApi

    check_name(repo_id)
    api = HfApi(token=token, library_name="modeling-cde")
    with explained(repo_id):
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True, space_sdk=sdk)
        if private and not api.repo_info(repo_id, repo_type=repo_type).private:
            raise ValueError(f"{repo_id} exists and is public; make it private on its settings page or choose another.")
    return api


def check_name(repo_id: str) -> None:
    """Raise ValueError for a name that is no ORG/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name for a repository ({_one_line(error)}).") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} is no name for a repository; write ORG/NAME or USER/NAME.")


def check_writable(repo_id: str, *, private: bool = False, token: str | None = None) -> None:
    """Find out before long work whether its model can be published: creates the repository, and asks for an upload.

    An existing repository is "created" also by a token that may only read, so an upload is asked for, of a file that
    is then not sent. See `commit_files` for the arguments and what is raised.
    """
    from huggingface_hub import CommitOperationAdd

    api = open_repository(repo_id, private=private, token=token)
    with explained(repo_id):
        api.preupload_lfs_files(repo_id, additions=[CommitOperationAdd("config.json", b"{}")])


def check_readable(repo_id: str, *, revision: str | None = None, token: str | None = None) -> None:
    """Raise what `commit_files` does where there is no such model, or no such branch, tag or commit of it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    check_name(repo_id)
    with explained(repo_id):
        try:
            HfApi(token=token).model_info(repo_id, revision=revision)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            missing = repo_id if isinstance(error, RepositoryNotFoundError) else f"{repo_id} at {revision}"
            raise FileNotFoundError(f"There is no model {missing} on the Hub that this token may read.") from error


def full_name(name: str, token: str | None = None) -> str:
    """`"USER/NAME"` for a bare name, the user being the token's; other names stay as they are."""
    from huggingface_hub import HfApi

    if "/" in name:
        return name
    with explained(name):
        return f"{HfApi(token=token).whoami()['name']}/{name}"


@contextmanager
def explained(repo_id: str) -> Iterator[None]:
    """Turns what the client of the Hub raises within into one sentence."""
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ConnectionError(f"HF_HUB_OFFLINE is set, so {repo_id} cannot be published to; unset it.") from error
    except json.JSONDecodeError as error:
        raise ConnectionError("What answers at HF_ENDPOINT is no Hub; unset it, or correct it.") from error
    except (HTTPError, RuntimeError, ConnectionError) as error:
        raise _answer(error, repo_id) from error


def _answer(error: BaseException, repo_id: str) -> OSError:
    """The error to raise for what the Hub or the way to it answered."""
    reason: BaseException | None = error
    while reason is not None and getattr(reason, "response", None) is None:  # an upload's error is wrapped
        reason = reason.__cause__
    status = getattr(getattr(reason, "response", None), "status_code", None)
    nothing = f"nothing of it became visible in {repo_id}"
    if status == 401:
        return PermissionError(
            f"The Hub does not accept the token for {repo_id} (401): log in by `hf auth login`, or set HF_TOKEN to a "
            "token that may write."
        )
    if status == 403:
        return PermissionError(
            f"This token may not write to {repo_id} (403): use one with write access, or another ORG/NAME."
        )
    if status == 404:
        told = _one_line(getattr(reason, "server_message", None) or "not found")
        return FileNotFoundError(f"The Hub finds something missing in {repo_id} (404: {told}), so {nothing}.")
    if status in (409, 412):
        return ConnectionError(f"{repo_id} was changed by someone else meanwhile ({status}), so {nothing}; try again.")
    if status is not None:
        told = _one_line(getattr(reason, "server_message", None) or "no more is said")
        visible = nothing if status < 502 else _ALL_OR_NOTHING.format(repo_id)  # a gateway does not know
        return ConnectionError(f"The Hub answered {status} ({told}); {visible}. {_LATER}")
    return ConnectionError(
        f"The Hub cannot be reached or broke off ({_one_line(error) or type(error).__name__}); "
        f"{_ALL_OR_NOTHING.format(repo_id)}. Check the connection and HF_ENDPOINT. {_LATER}"
    )


_ALL_OR_NOTHING = "{} has all of it or nothing"  # the connection may break after the commit, before the answer
_LATER = "Try again later: what is uploaded already is not sent twice."


def _one_line(error: object) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "")
