"""From the shards of a source to a folder that `datasets.load_dataset(folder, "single_syst")` reads as it is.

    folder/shards/<view>/*.parquet        in: one file per work unit of the source, rows of `pair_features`
    folder/<view>/<part>-*.parquet        out, both shifts around one train part: train, validation, test,
                                          {validation,test}_{comp,syst}
    folder/<view>_<shift>/<part>-*.parquet  out, one shift alone: train, validation, test, {validation,test}_<shift>,
                                          the latter not for the shift none
    .../SHA256SUMS                        of these files; `sha256sum -c` checks them
    folder/manifests/<view>_<shift>.json
    folder/README.md                      configurations -> splits -> files
    folder/shards/<view>[_<shift>].json   the hashes of the shards that these splits were made from

Shards are read once and written in row groups, so memory stays flat. Equal shards, seed and options give equal bytes
(fixed row groups, no time stamps). A class of which no shard has a pair is left out. Everything is written aside and
renamed, and the manifests come last: run a killed assembly again. Splitting again needs only the shards, not the
source: `python -m data_scripts.splits`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from datasets import ClassLabel, Features

from ...whole_files import file_sha256, write_folder_whole, write_text_whole, write_whole
from ..schema import (
    COLUMNS,
    CONFIGS,
    JOINT_SHIFTS,
    SHIFTS,
    VIEWS,
    config_name,
    data_folder,
    pair_features,
    parse_config,
)
from ..splits import MECHANISM, CausalTripletOptions, CleanOptions, SplitManifest, divide
from .card import DatasetCard, render_readme
from .card_header import CHECKSUMS
from .part_files import file_checksums, unreadable, write_parts
from .shards import encode_shard

_CARD = Path("shards", "card.json")
_OPTIONS: dict[str, type] = {"clean": CleanOptions, "causal_triplet": CausalTripletOptions}


def write_shard(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], features: Features) -> None:
    """Write one work unit's pairs as a shard that is complete or absent; equal rows give equal bytes.

    The path is `<folder>/shards/<view>/<unit>.parquet`, and `features` come from `pair_features`; see `encode_shard`.
    """
    with write_whole(path) as temporary:
        temporary.write_bytes(encode_shard(rows, features.arrow_schema))


def assemble(
    folder: str | os.PathLike[str],
    view: str,
    seed: int = 0,
    *,
    protocol: str = "clean",
    shift: str = "joint",
    options: CleanOptions | CausalTripletOptions | None = None,
    rows_per_file: int = 5000,
    card: DatasetCard | None = None,
    progress: bool = True,
) -> dict[str, SplitManifest]:
    """Split the pairs of the shards and write them as a data set.

    The folder's files of the other view stay. So do those of another shift if each shift was split alone; splits of
    comp and syst at once (`"joint"`) are replaced as a whole, but not by those of another shift.

    Args:
        folder: Of the data set; its shards are in `shards/<view>`. The row order, on which the protocol
            causal_triplet depends, is that of the shards by name and of the rows in each.
        view: `"single"` or `"multi"`.
        seed: Of the split.
        protocol: `"clean"` or `"causal_triplet"`; see `modeling_cde.data.splits`.
        shift: `"joint"` for comp and syst around one training part, or `"comp"`, `"syst"`, `"mech"` or `"none"` alone.
            The protocol causal_triplet has only comp and syst, each alone.
        options: Of the protocol: `CleanOptions` or `CausalTripletOptions`.
        rows_per_file: Pairs in one output file.
        card: What README.md says about the pairs: what they are, where they come from, their licence. None reuses
            the card of an earlier call, which `shards/card.json` keeps.
        progress: Show a progress bar.

    Returns:
        The manifest of each shift.

    Raises:
        FileNotFoundError: There are no shards.
        ValueError: The shards have different schemas, cannot be split like this, or the folder contains something
            else where the files should go; the message says which.
    """
    _check_request(view, protocol, shift, options, rows_per_file)
    folder = Path(folder)
    shards = sorted((folder / "shards" / view).glob("*.parquet"))
    shifts = JOINT_SHIFTS if shift == "joint" else (shift,)
    home = folder / data_folder(config_name(view, shifts[0]), joint=shift == "joint")
    if home.exists() and not _is_ours(home):
        raise ValueError(
            f"{home} contains something other than splits of pairs; move it away or choose another folder."
        )
    card = _stored_card(folder) if card is None else card
    kept, replaced = _other_manifests(folder, view, shifts)
    stored, annotations = read_annotations(shards, folder / "shards" / view)
    manifests = divide(annotations, protocol, shift, seed, options)
    paths = {name: folder / "manifests" / f"{config_name(view, name)}.json" for name in manifests}
    made_from = {shard.stem: file_sha256(shard) for shard in shards}
    with write_folder_whole(home) as building:
        write_parts(
            shards, stored, used_classes(stored, annotations), file_parts(manifests), building, rows_per_file, progress
        )
        sums = "".join(f"{line}\n" for line in file_checksums(building))
        (building / CHECKSUMS).write_text(sums, encoding="utf-8")
        # From here on only renames and small files. A configuration is finished once its manifest is there: manifests
        # go first and come last, so after a kill their absence shows that the assembly has to be run again.
        for path in (*paths.values(), *replaced):
            path.unlink(missing_ok=True)
        used = {data_folder(config, manifest.joint) for config, manifest in kept.items()}
        for name in (view, *(config_name(view, name) for name in SHIFTS)):
            if name != home.name and name not in used and _is_ours(folder / name):
                shutil.rmtree(folder / name, ignore_errors=True)
    finished = kept | {path.stem: manifests[name] for name, path in paths.items()}
    write_text_whole(folder / "README.md", render_readme(folder, finished, card))
    write_text_whole(folder / _CARD, json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n")
    write_text_whole(folder / "shards" / f"{home.name}.json", json.dumps(made_from, indent=1) + "\n")
    for name, manifest in manifests.items():
        manifest.save(paths[name])
    return manifests


def _check_request(view: str, protocol: str, shift: str, options: object, rows_per_file: int) -> None:
    if view not in VIEWS:
        raise ValueError(f"There is no view {view!r}; choose one of {', '.join(VIEWS)}.")
    if protocol not in _OPTIONS:
        raise ValueError(f"There is no protocol {protocol!r}; choose {' or '.join(_OPTIONS)}.")
    if shift not in ("joint", *SHIFTS):
        raise ValueError(f"There is no shift {shift!r}; choose joint, {' or '.join(SHIFTS)}.")
    if protocol == "causal_triplet" and shift == "joint":
        raise ValueError(
            "The causal_triplet protocol has no joint split: its shifts have different train parts; choose the shift "
            "comp or syst, and run it once for each if you need both."
        )
    if options is not None and not isinstance(options, _OPTIONS[protocol]):
        raise ValueError(
            f"The options are {type(options).__name__}; the {protocol} protocol takes {_OPTIONS[protocol].__name__}."
        )
    if rows_per_file < 1:
        raise ValueError(f"rows_per_file is {rows_per_file}; give 1 or more.")


def _is_ours(home: Path) -> bool:
    """Whether a folder contains only hidden files and what an assembly writes, even a killed one."""
    return home.is_dir() and all(
        path.is_file() and (path.suffix in (".parquet", ".tmp") or path.name == CHECKSUMS or path.name.startswith("."))
        for path in home.iterdir()
    )


def _other_manifests(folder: Path, view: str, shifts: Sequence[str]) -> tuple[dict[str, SplitManifest], list[Path]]:
    """The manifests that stay, by configuration, and the files of others that this split replaces."""
    kept: dict[str, SplitManifest] = {}
    replaced = []
    for path in sorted((folder / "manifests").glob("*.json")):
        if path.stem not in CONFIGS:
            raise ValueError(f"{path} is not the manifest of a configuration ({', '.join(CONFIGS)}); move it away.")
        if path.stem in [config_name(view, shift) for shift in shifts]:
            continue
        manifest = SplitManifest.load(path)
        both = manifest.joint or len(shifts) > 1
        if both and parse_config(path.stem)[0] == view and {manifest.shift, *shifts} <= set(JOINT_SHIFTS):
            replaced.append(path)
        else:
            kept[path.stem] = manifest
    return kept, replaced


def _stored_card(folder: Path) -> DatasetCard:
    """The card of the folder's last assembly."""
    path = folder / _CARD
    if not path.exists():
        return DatasetCard()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return DatasetCard(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a stored card ({error}); delete it, or give a card.") from error


def read_annotations(shards: Sequence[Path], where: Path) -> tuple[Features, dict[str, list[str]]]:
    """The shards' features, and the columns that a split depends on, with class names; mechanisms if they have them.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: A shard is not a Parquet file, or its columns or classes are not those of `pair_features`.
    """
    if not shards:
        raise FileNotFoundError(f"{where} contains no *.parquet shards; run the source that writes them first.")
    features: Features | None = None
    annotations: dict[str, list[str]] = {}
    for shard in shards:
        try:
            found = Features.from_arrow_schema(parquet.read_schema(shard))
            columns = ["pair_id", "action", "object", "scene", *([MECHANISM] if MECHANISM in found else [])]
            table = parquet.read_table(shard, columns=columns, page_checksum_verification=True)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise unreadable(shard, error) from error
        if features is None:
            features = found
            named = all(isinstance(found.get(name), ClassLabel) for name in ("action", "object"))
            if not named or pair_features(found["action"].names, found["object"].names, MECHANISM in found) != found:
                raise ValueError(
                    f"{shard} has the columns {', '.join(found)}; it needs {', '.join(COLUMNS)}, as in pair_features."
                )
        elif found != features:
            raise ValueError(
                f"{shard} has other columns or class names than {shards[0].name}; write all shards with the "
                "same pair_features, or delete those of an older run."
            )
        for name in columns:
            values = annotations.setdefault(name, [])
            column = table.column(name).to_pylist()
            values += [features[name].names[i] for i in column] if name in ("action", "object") else column
    assert features is not None
    return features, annotations


def used_classes(features: Features, annotations: Mapping[str, Sequence[str]]) -> Features:
    """The features without the classes that no pair has.

    A source names its classes before it builds: those of rows that were rejected, or of videos that were missing, must
    not become outputs of a model.
    """
    used = {column: set(annotations[column]) for column in ("action", "object")}
    actions, objects = ([name for name in features[column].names if name in used[column]] for column in used)
    return pair_features(actions, objects, MECHANISM in features)


def check_files(folder: str | os.PathLike[str], config: str, manifest: SplitManifest) -> None:
    """Check that the files of a configuration contain the pairs of its manifest, unchanged.

    Raises:
        ValueError: A part's files are missing, have other pairs or were changed; the message says which.
    """
    home = Path(folder) / data_folder(config, manifest.joint)
    for name, ids in file_parts({manifest.shift: manifest}).items():
        try:
            tables = [parquet.read_table(path, columns=["pair_id"]) for path in sorted(home.glob(f"{name}-*.parquet"))]
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise ValueError(
                f"The files of {name} in {home} cannot be read ({error}); split the data again."
            ) from error
        found = sorted(pair_id for table in tables for pair_id in table.column("pair_id").to_pylist())
        if unlike := set(found) ^ set(ids):
            where = "lack" if min(unlike) in ids else "have, unlike the manifest,"
            raise ValueError(f"The files of {name} in {home} {where} the pair {min(unlike)}; split the data again.")
        if len(found) > len(ids):
            raise ValueError(f"The files of {name} in {home} contain a pair twice; split the data again.")
    written = home / CHECKSUMS
    if not written.exists():
        raise ValueError(f"{written} is missing; split the data again.")
    changed = set(written.read_text(encoding="utf-8").splitlines()) ^ set(file_checksums(home))
    if changed:
        name = min(line.partition("  ")[2] for line in changed)
        raise ValueError(f"{home / name} was changed after it was written ({CHECKSUMS}); split the data again.")


def file_parts(manifests: Mapping[str, SplitManifest]) -> dict[str, list[str]]:
    """The pair ids of each set of files: train, validation, test, then validation_<shift> and test_<shift>.

    The shifts of a joint split share the first three. A part may be empty.
    """
    parts: dict[str, list[str]] = {}
    for shift, manifest in manifests.items():
        for part, ids in manifest.parts.items():
            parts[part.replace("_ood", f"_{shift}")] = ids
    return parts
