"""From the shards of a source to a folder that `datasets.load_dataset(folder, "single_syst")` reads as it is.

    folder/shards/<view>/*.parquet        in: one file per work unit of the source, rows of `pair_features`
    folder/<view>/<part>-*.parquet        out, both shifts around one train part: train, validation, test,
                                          {validation,test}_{comp,syst}
    folder/<view>_<shift>/<part>-*.parquet  out, one shift alone: train, validation, test, {validation,test}_<shift>
    .../SHA256SUMS                        of these files; `sha256sum -c` checks them
    folder/manifests/<view>_<shift>.json
    folder/README.md                      configurations -> splits -> files

Notable: shards are read once, and written in row groups, so memory stays flat; equal shards, seed and options
give equal bytes (fixed row groups, no time stamps); everything is written aside and renamed, and the manifests
come last: an assembly that was killed is run again. Splitting anew needs no source, only the shards:
`python -m data_scripts.splits`.
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

from ..schema import COLUMNS, CONFIGS, SHIFTS, VIEWS, config_name, data_folder, pair_features, parse_config
from ..splits import CausalTripletOptions, CleanOptions, SplitManifest, causal_triplet_split, clean_split, joint_split
from .card import CHECKSUMS, DatasetCard, render_readme
from .part_files import file_checksums, unreadable, write_checksums, write_parts
from .shards import encode_shard

_CARD = Path("shards", "card.json")
_OPTIONS: dict[str, type] = {"clean": CleanOptions, "causal_triplet": CausalTripletOptions}


def write_shard(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], features: Features) -> None:
    """Write one work unit's pairs as a shard, aside and then renamed; equal rows give equal bytes.

    Args:
        path: `<folder>/shards/<view>/<unit>.parquet`.
        rows, features: See `encode_shard`; features from `pair_features`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(encode_shard(rows, features.arrow_schema))
    os.replace(temporary, path)


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

    What the folder holds of the other view stays. So does the other shift where each was split alone, one call
    after the other; splits of both shifts at once (`"joint"`) are replaced as a whole.

    Args:
        folder: Of the data set; its shards lie in `shards/<view>`. The order of rows, on which the protocol
            causal_triplet depends, is that of the shards by name and of the rows in each.
        view: `"single"` or `"multi"`.
        seed: Of the split.
        protocol: `"clean"` or `"causal_triplet"`; see `modeling_cde.data.splits`.
        shift: `"joint"` for both shifts around one training part, or `"comp"` or `"syst"` alone. The protocol
            causal_triplet has no joint split.
        options: Of the protocol: `CleanOptions` or `CausalTripletOptions`.
        rows_per_file: Pairs in one output file.
        card: What README.md says of the pairs: what they are, where they come from, their licence. None stands
            for the card of the last call that gave one, which `shards/card.json` keeps.
        progress: Show a progress bar.

    Returns:
        The manifest of each shift.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: If the shards do not have one and the same schema, cannot be split so, or the folder holds
            something else where the files should go; says which.
    """
    _check_request(view, protocol, shift, options, rows_per_file)
    folder = Path(folder)
    shards = sorted((folder / "shards" / view).glob("*.parquet"))
    shifts = SHIFTS if shift == "joint" else (shift,)
    home = folder / data_folder(config_name(view, shifts[0]), joint=shift == "joint")
    _check_home(home)
    card = _stored_card(folder) if card is None else card
    kept, replaced = _other_manifests(folder, view, shifts)
    features, annotations = read_annotations(shards, folder / "shards" / view)
    manifests = _split(annotations, protocol, shift, seed, options)
    building = folder / f".{home.name}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    write_parts(shards, features, file_parts(manifests), building, rows_per_file, progress)
    write_checksums(building)

    # From here on only renames and small files. A configuration is finished when its manifest is there: they go first
    # and come last, so whoever looks for them after a kill sees that the assembly has to be run again.
    paths = {name: folder / "manifests" / f"{config_name(view, name)}.json" for name in manifests}
    for path in (*paths.values(), *replaced):
        path.unlink(missing_ok=True)
    used = {data_folder(config, manifest.joint) for config, manifest in kept.items()}
    for name in (view, *(config_name(view, name) for name in SHIFTS)):
        if name == home.name or (name not in used and _is_ours(folder / name)):
            shutil.rmtree(folder / name, ignore_errors=True)
    os.replace(building, home)
    finished = kept | {path.stem: manifests[name] for name, path in paths.items()}
    _write_aside(folder / "README.md", render_readme(folder, finished, card))
    _write_aside(folder / _CARD, json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n")
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
            "The causal_triplet protocol has no joint split: its shifts have different train parts; name the shift "
            "comp or syst, and run it once for each where you want both."
        )
    if options is not None and not isinstance(options, _OPTIONS[protocol]):
        raise ValueError(
            f"The options are {type(options).__name__}; the {protocol} protocol takes {_OPTIONS[protocol].__name__}."
        )
    if rows_per_file < 1:
        raise ValueError(f"rows_per_file is {rows_per_file}; give 1 or more.")


def _split(
    annotations: Mapping[str, list[str]],
    protocol: str,
    shift: str,
    seed: int,
    options: CleanOptions | CausalTripletOptions | None,
) -> dict[str, SplitManifest]:
    if isinstance(options, CausalTripletOptions) or protocol == "causal_triplet":
        assert not isinstance(options, CleanOptions)
        return {shift: causal_triplet_split(annotations, shift, seed, options)}
    return (
        joint_split(annotations, seed, options)
        if shift == "joint"
        else {shift: clean_split(annotations, shift, seed, options)}
    )


def _is_ours(home: Path) -> bool:
    """Whether a folder holds nothing but what an assembly writes, also one that was killed, and hidden files."""
    return home.is_dir() and all(
        path.is_file() and (path.suffix in (".parquet", ".tmp") or path.name == CHECKSUMS or path.name.startswith("."))
        for path in home.iterdir()
    )


def _check_home(home: Path) -> None:
    if home.exists() and not _is_ours(home):
        raise ValueError(f"{home} holds something else than splits of pairs; move it away or choose another folder.")


def _other_manifests(folder: Path, view: str, shifts: Sequence[str]) -> tuple[dict[str, SplitManifest], list[Path]]:
    """The manifests that stay, by configuration, and the files of those that this split replaces besides its own."""
    kept: dict[str, SplitManifest] = {}
    replaced = []
    for path in sorted((folder / "manifests").glob("*.json")):
        if path.stem not in CONFIGS:
            raise ValueError(f"{path} is no manifest of a configuration ({', '.join(CONFIGS)}); move it away.")
        if path.stem in [config_name(view, shift) for shift in shifts]:
            continue
        manifest = SplitManifest.load(path)
        if parse_config(path.stem)[0] == view and (manifest.joint or len(shifts) > 1):
            replaced.append(path)
        else:
            kept[path.stem] = manifest
    return kept, replaced


def _stored_card(folder: Path) -> DatasetCard:
    """The card that the folder was last assembled with."""
    path = folder / _CARD
    if not path.exists():
        return DatasetCard()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return DatasetCard(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no stored card ({error}); delete it, or give a card.") from error


def _write_aside(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_annotations(shards: Sequence[Path], where: Path) -> tuple[Features, dict[str, list[str]]]:
    """The shards' features, and the columns that a split depends on with classes by name.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: If a shard is no Parquet file, or its columns or classes are not those of `pair_features`.
    """
    if not shards:
        raise FileNotFoundError(f"{where} holds no *.parquet shards; run the source that writes them first.")
    features: Features | None = None
    annotations: dict[str, list[str]] = {name: [] for name in ("pair_id", "action", "object", "scene")}
    for shard in shards:
        try:
            found = Features.from_arrow_schema(parquet.read_schema(shard))
            table = parquet.read_table(shard, columns=list(annotations), page_checksum_verification=True)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise unreadable(shard, error) from error
        if features is None:
            features = found
            named = all(isinstance(found.get(name), ClassLabel) for name in ("action", "object"))
            if not named or pair_features(found["action"].names, found["object"].names) != found:
                raise ValueError(
                    f"{shard} has the columns {', '.join(found)}; needed are {', '.join(COLUMNS)}, as in pair_features."
                )
        elif found != features:
            raise ValueError(
                f"{shard} has other columns or class names than {shards[0].name}; write all shards with one "
                "pair_features, or delete those of an older run."
            )
        for name, values in annotations.items():
            column = table.column(name).to_pylist()
            values += [features[name].names[i] for i in column] if name in ("action", "object") else column
    assert features is not None
    return features, annotations


def check_files(folder: str | os.PathLike[str], config: str, manifest: SplitManifest) -> None:
    """Check that the files of a configuration hold the pairs that its manifest says, as they were written.

    Raises:
        ValueError: If a part's files are missing, hold other pairs or were changed since; says which.
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
            where = "lack" if min(unlike) in ids else "have, against the manifest,"
            raise ValueError(f"The files of {name} in {home} {where} the pair {min(unlike)}; split the data again.")
        if len(found) > len(ids):
            raise ValueError(f"The files of {name} in {home} have a pair twice; split the data again.")
    written = home / CHECKSUMS
    if not written.exists():
        raise ValueError(f"{written} is missing; split the data again.")
    changed = set(written.read_text(encoding="utf-8").splitlines()) ^ set(file_checksums(home))
    if changed:
        name = min(line.partition("  ")[2] for line in changed)
        raise ValueError(f"{home / name} was changed since it was written ({CHECKSUMS}); split the data again.")


def file_parts(manifests: Mapping[str, SplitManifest]) -> dict[str, list[str]]:
    """Pair ids of each group of files: train, validation, test, then validation_<shift> and test_<shift>.

    The shifts of a joint split share the first three. A part may be empty.
    """
    parts: dict[str, list[str]] = {}
    for shift, manifest in manifests.items():
        for part, ids in manifest.parts.items():
            parts[part.replace("_ood", f"_{shift}")] = ids
    return parts
