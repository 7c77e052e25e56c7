"""Loads before/after pairs from a folder that was built on this machine, or from a repository of the Hub."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import yaml

from ..models.limits_cde import MOST_COLUMNS, check_within
from .readme_header import check_card, check_named_files
from .schema import REQUIRED_COLUMNS, SPLITS

_IMAGES = ("before", "after", "mask_before", "mask_after")

#: What datasets and Arrow raise for a file, or the names and types in it, that nobody wrote in earnest.
_WRONG_TYPES = (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError, RecursionError)

_counting_lock, _loads, _counts = threading.Lock(), 0, True


class UnknownConfigError(ValueError):
    """A data set lacks the requested configuration; the message names those that it has, `known` lists them."""

    def __init__(self, message: str, known: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.known = list(known)


@contextmanager
def uncounted() -> Iterator[None]:
    """Without this, datasets asks s3.amazonaws.com to count each load, also of a folder, and does not say so.

    The setting holds for the whole process, so the last of several threads puts it back.
    """
    global _loads, _counts
    with _counting_lock:
        if _loads == 0:
            _counts = datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
        _loads += 1
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    try:
        yield
    finally:
        with _counting_lock:
            _loads -= 1
            if _loads == 0:
                datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = _counts


@uncounted()
def load_pairs(
    source: str | os.PathLike[str],
    config: str,
    split: str | Sequence[str] | None = None,
    streaming: bool = False,
    *,
    decode: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Any:
    """Load one configuration of a pair data set by `datasets.load_dataset`.

    datasets copies Parquet files to an Arrow cache once (`cache_dir`, else its own) and maps that into memory. By
    default it identifies the copy of a folder by the folder's last name and its README.md, so a rebuilt data set, or
    another folder of that name, could be served from the old copy. Here the files of a folder are passed one by one,
    which identifies the copy by their paths and modification times. Old copies stay until they are removed.

    Args:
        source: Folder (see `modeling_cde.data.building.build`) or id of a data set repository.
        config: For example `"single_syst"`; see `modeling_cde.data.schema.CONFIGS`.
        split: One of the five splits, also with a slice (`"train[:100]"`); None for all that the source has. The
            causal_triplet protocol has no `validation`, and the shift `none` no out-of-distribution splits. A list of
            splits gives those of them that the source has, and no other files are read.
        streaming: Read during iteration instead of preparing a copy; set the transform by `transform_pairs`.
        decode: Return pictures as PIL images, to look at them. By default they stay encoded (`{"bytes", "path"}`),
            and `PairTransform` decodes only what it needs.
        cache_dir: Where datasets keeps its copy.
        revision: Commit or branch of a repository.
        token: For a private repository.

    Returns:
        A `datasets.Dataset` (`IterableDataset` when streaming), or a dict of them where split is None or a list.

    Raises:
        FileNotFoundError: The source is neither a folder with data nor a repository.
        ConnectionError: The connection broke while the files of a repository were read.
        ValueError: The configuration or the split does not exist, a file is damaged, a split is empty, a column is
            missing or has the wrong type, or the files disagree about the class names or with the numbers of pairs on
            the card.
    """
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    asked = [name.partition("[")[0] for name in re.split(r"\s*\+\s*", split)] if isinstance(split, str) else []
    for name in asked:
        if name not in SPLITS:
            raise ValueError(f"There is no split {name!r}; the splits are {', '.join(SPLITS)}.")
    data_files = find_files(source, config, cache_dir=cache_dir, revision=revision, token=token)
    for name in asked:
        if name not in data_files:
            raise ValueError(f"{source}, {config} has no split {name!r}; it has {', '.join(data_files)}.")
    where: dict[str, Any] = {"path": str(source), "revision": revision, "token": token}
    if not (split is None or isinstance(split, str)):
        data_files = {name: paths for name, paths in data_files.items() if name in split}
        if not data_files:
            return {}
        split = None
        where = {"path": "parquet", "data_files": data_files, "token": token}
    elif Path(source).is_dir():
        where = {"path": "parquet", "data_files": data_files}
    if Path(source).is_dir():
        _check_files(str(source), data_files)
    where |= {"name": config, "cache_dir": cache_dir}
    try:
        loaded: Any = datasets.load_dataset(**where, split=split, streaming=streaming)
    except (DatasetsError, HTTPError, ConnectionError, *_WRONG_TYPES) as error:
        reason = error.__cause__ or error
        if isinstance(reason, (HTTPError, ConnectionError)):
            raise ConnectionError(
                f"The connection to {source} broke while it was read ({reason}); load it again."
            ) from error
        raise ValueError(
            f"{source}, {config} cannot be read, or its numbers of pairs differ from its card; publish or build it "
            f"again ({type(reason).__name__}: {_first_line(reason)})."
        ) from error
    if not isinstance(loaded, dict):
        return _checked(loaded, f"{source}, {config}, {split}", decode)
    for name, part in list(loaded.items()):
        loaded[name] = _checked(part, f"{source}, {config}, {name}", decode)
    return loaded


@uncounted()
def find_files(
    source: str | os.PathLike[str],
    config: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> dict[str, list[str]]:
    """The files of one configuration: split -> paths, or `hf://` addresses with the commit, in order.

    Raises:
        FileNotFoundError: The source is neither a folder with data nor a repository.
        UnknownConfigError: The configuration does not exist.
        ValueError: The header of README.md cannot be used, or names files elsewhere; or a file is a link to elsewhere.
    """
    folder = Path(source)
    if folder.is_dir() and not any(path.relative_to(folder).parts[0] != "shards" for path in folder.rglob("*.parquet")):
        raise FileNotFoundError(f"The folder {source} does not contain a finished data set; build it there first.")
    if folder.is_dir():
        check_named_files(folder)
    else:
        check_card(str(source), revision, token)
    try:
        builder = datasets.load_dataset_builder(
            str(source), config, cache_dir=cache_dir, revision=revision, token=token
        )
    except (FileNotFoundError, ConnectionError) as error:
        raise FileNotFoundError(
            f"{source} is neither a folder nor a data set repository that can be reached; build it or "
            f"check the name ({_first_line(error)})."
        ) from error
    except ValueError as error:
        try:
            known = datasets.get_dataset_config_names(str(source), revision=revision, token=token)
        except ValueError:  # the same again
            known = [config]
        if config in known:
            raise ValueError(
                f"{source}, {config} cannot be read, perhaps because files that its README.md names are missing; "
                f"build or download it again ({_first_line(error)})."
            ) from error
        told = f"{source} has no configuration {config!r}; it has {', '.join(known)}."
        raise UnknownConfigError(told, known) from error
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: the header of its README.md is not YAML; build or download it again.") from error
    except RuntimeError as error:
        if isinstance(error, RecursionError):
            raise ValueError(
                f"{source} has a README.md or a JSON file that is nested too deeply to be read."
            ) from error
        raise ValueError(
            f"{source} has a script {Path(source).name}.py, which would be code to run: remove it, or use a data set "
            "that is only files of data."
        ) from error
    except (TypeError, AttributeError, KeyError) as error:  # of a dataset_infos.json, for one
        raise ValueError(
            f"{source} has an impossible value in README.md or in a JSON file next to it; download it again."
        ) from error
    files = {str(name): list(map(str, paths)) for name, paths in (builder.config.data_files or {}).items()}
    home = f"{folder.absolute()}/" if folder.is_dir() else f"hf://datasets/{source}@"
    if elsewhere := [path for paths in files.values() for path in paths if not path.startswith(home)]:
        raise ValueError(f"{source} names {elsewhere[0]}, which is outside it: a data set must contain its own files.")
    if folder.is_dir():
        for path in (path for paths in files.values() for path in paths):
            check_within(path, folder)
    return files


def transform_pairs(pairs: Any, transform: Any, batch_size: int = 32) -> Any:
    """Apply a `PairTransform` to loaded or streamed pairs, for a data loader.

    A `Dataset` gets the transform by `with_transform`. An `IterableDataset` has no such method and gets it by `map`,
    without the columns that are not tensors; shuffle it before (`pairs.shuffle(seed, buffer_size)`), so that the buffer
    holds encoded pairs. Each worker of a data loader reads its own files, so more workers than files of a split do not
    help.

    Args:
        pairs: From `load_pairs`.
        transform: A `PairTransform`; its `set_epoch` keeps working.
        batch_size: Pairs of a stream that are transformed and held in memory at a time.

    Returns:
        The data set with `pixel_values`, a (2, 3, H, W) float32 tensor, and `labels`, an int.
    """
    if isinstance(pairs, datasets.IterableDataset):
        return pairs.map(transform, batched=True, batch_size=batch_size, remove_columns=pairs.column_names)
    return pairs.with_transform(transform)


def _check_files(source: str, data_files: Mapping[str, Sequence[str]]) -> None:
    """Check the footers of a folder's files: the errors of datasets name neither file nor column."""
    schemas: list[tuple[str, pa.Schema]] = []
    for name, paths in data_files.items():
        rows = 0
        for path in paths:
            try:
                footer = parquet.read_metadata(path)
                schemas.append((path, footer.schema.to_arrow_schema()))
            except (OSError, *_WRONG_TYPES) as error:
                raise ValueError(
                    f"{path} cannot be read as Parquet ({_first_line(error)}); build or download it again."
                ) from error
            check_columns(features_of(schemas[-1][1], path), path)
            rows += footer.num_rows
        if rows == 0:
            raise ValueError(f"{source}: the split {name!r} has no pairs; build the data set with more pairs.")
    check_class_names(source, schemas)


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return line if len(line) <= 300 else f"{line[:300]}…"


def features_of(schema: pa.Schema, path: str) -> datasets.Features:
    """The columns of a Parquet file.

    Raises:
        ValueError: There are too many, or what the file says of their types cannot be read.
    """
    if len(schema) > MOST_COLUMNS:
        raise ValueError(f"{path} has {len(schema):,} columns, and at most {MOST_COLUMNS:,} are read.")
    try:
        return datasets.Features.from_arrow_schema(schema)
    except _WRONG_TYPES as error:
        raise ValueError(
            f"{path} cannot be read as Parquet, for its types of columns ({_first_line(error)}); build or download it "
            "again."
        ) from error


def check_class_names(source: str, schemas: Iterable[tuple[str, pa.Schema]]) -> None:
    """Check that the files of a data set name their classes alike.

    datasets applies the class names of the first file to all files, and would misread the numbers of the others.

    Raises:
        ValueError: They do not; the message names `source` and the paths of two files, which come with their schemas.
    """
    first: dict[str, tuple[str, list[str] | None]] = {}
    for path, schema in schemas:
        features = features_of(schema, path)
        for column in ("action", "object"):
            names = getattr(features.get(column), "names", None)
            first_path, expected = first.setdefault(column, (path, names))
            if names != expected:
                raise ValueError(
                    f"{source}: {Path(path).name} and {Path(first_path).name} have different classes of {column}, "
                    "so their numbers mean different things; build the data set again in one go."
                )


def check_columns(features: datasets.Features, where: str, required: Sequence[str] = REQUIRED_COLUMNS) -> None:
    """Raise a ValueError if a column of pairs is missing or has the wrong type; `where` names the data."""
    missing = [name for name in required if name not in features]
    if missing:
        raise ValueError(
            f"{where}: the column {', '.join(missing)} is missing (there are {', '.join(features)}); rename or add it."
        )
    for names, kind in ((_IMAGES, datasets.Image), (("action", "object"), datasets.ClassLabel)):
        for name in names:
            if name in features and not isinstance(features[name], kind):
                raise ValueError(
                    f"{where}: the column {name} is {features[name]} and must be {kind.__name__}; cast it."
                )
    for name in ("action", "object"):
        if name in features and not all(isinstance(item, str) for item in features[name].names or [None]):
            raise ValueError(f"{where}: the classes of the column {name} must be text; name each.")
    for name in ("pair_id", "scene", "mechanism"):
        if name in features and getattr(features[name], "dtype", None) not in ("string", "large_string"):
            raise ValueError(f"{where}: the column {name} is {features[name]} and must be text; cast it.")


def _checked(dataset: Any, where: str, decode: bool) -> Any:
    """The data set with its columns checked and its pictures encoded or decoded."""
    features = dataset.features
    if features is None:  # a stream does not always know before its first row
        features = dataset._resolve_features().features
    check_columns(features, where)
    for name in _IMAGES:
        if name in features and features[name].decode != decode:
            dataset = dataset.cast_column(name, datasets.Image(decode=decode))
    return dataset
