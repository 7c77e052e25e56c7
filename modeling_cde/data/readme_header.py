"""The YAML header of a data set's README.md, read within bounds before `datasets` reads it, which sets none."""

import re
from pathlib import Path
from typing import Any

import yaml

from ..models.limits_cde import MOST_CONFIG_BYTES, MOST_YAML_BYTES, MOST_YAML_VALUES, check_file_size


class _Loader(yaml.SafeLoader):
    """Counts values with each reference written out, before any is made: ten lines can stand for gigabytes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values = 0
        self._sizes: dict[int, int] = {}  # of finished nodes

    def compose_node(self, parent: Any, index: Any) -> Any:
        refers, before = self.check_event(yaml.AliasEvent), self.values
        node = super().compose_node(parent, index)
        self.values += self._sizes.get(id(node), MOST_YAML_VALUES) if refers else 1  # not finished: it holds itself
        self._sizes.setdefault(id(node), self.values - before)
        if self.values > MOST_YAML_VALUES:
            raise _TooManyValues
        return node


class _TooManyValues(Exception):
    pass


def read_header(path: Path) -> Any:
    """The header of a README.md, or all of another YAML file; None where there is none, or none that is YAML.

    Raises:
        ValueError: It is too large, or its references stand for too many values.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if not path.is_file():
        return None
    check_file_size(path, MOST_CONFIG_BYTES)
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".md":
        head = REGEX_YAML_BLOCK.search(text)
        text = head[2] if head else ""
    if len(text) > MOST_YAML_BYTES:
        raise ValueError(
            f"{path} has {len(text):,} characters of YAML, and at most {MOST_YAML_BYTES:,} are read: shorten it."
        )
    try:
        return _Loader(text).get_single_data()
    except _TooManyValues as error:
        raise ValueError(
            f"{path} has references in its YAML that stand for more than {MOST_YAML_VALUES:,} values: write out what "
            "they stand for, or remove them."
        ) from error
    except (yaml.YAMLError, RecursionError, TypeError, AttributeError, ValueError):
        return None  # datasets reports what is wrong with it


def check_card(repository: str, revision: str | None, token: str | None) -> None:
    """Raise ValueError if a repository's README.md is more than can be read; what cannot be reached is not checked."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        path = hf_hub_download(repository, "README.md", repo_type="dataset", revision=revision, token=token)
    except (OSError, HfHubHTTPError, HFValidationError):
        return  # datasets reports it
    read_header(Path(path))


def check_named_files(folder: Path) -> None:
    """Raise ValueError if a folder's README.md names files elsewhere: datasets would open them, or ask a server."""
    heads = [read_header(folder / name) for name in ("README.md", ".huggingface.yaml")]
    try:
        configs = [item for head in heads for item in (head or {}).get("configs") or []]
        waiting: list[Any] = [item.get(key) for item in configs for key in ("data_files", "data_dir")]
    except (AttributeError, TypeError):
        return  # datasets reports what is wrong with it
    while waiting:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            waiting += [*item.values()] if isinstance(item, dict) else item
        elif isinstance(item, str) and (
            ":" in item or item[:1] in ("/", "\\", "~") or ".." in re.split(r"[/\\]", item)
        ):
            raise ValueError(
                f"{folder}: its README.md names {item[:200]!r}, which is outside the folder: a data set must "
                "contain its own files."
            )
