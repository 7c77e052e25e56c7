"""The YAML header of a data set's README.md, which the Hub uses to list it and `datasets` to load and check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import yaml
from datasets import DatasetInfo, Features, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from ...whole_files import file_sha256
from ..schema import data_folder, parse_config
from ..splits import PARTS, SplitManifest

#: The file with the hashes of the files next to it.
CHECKSUMS = "SHA256SUMS"


def header(folder: Path, manifests: Mapping[str, SplitManifest], title: str, license: str, tags: Sequence[str]) -> str:
    """The header as text: each configuration with its files, features, pairs and bytes, and what the Hub lists.

    `tags` follow those that every data set of pairs carries; for the other arguments see `render_readme`.
    """
    configs, infos = [], DatasetInfosDict()
    for config, manifest in manifests.items():
        view, shift = parse_config(config)
        home = data_folder(config, manifest.joint)
        # datasets identifies its cache by this header: without the hash it might serve an older build.
        digest = file_sha256(folder / home / CHECKSUMS)
        filled = [part for part in PARTS if manifest.parts.get(part)]
        files = {part: f"{home}/{part.replace('_ood', f'_{shift}')}-*.parquet" for part in filled}
        configs.append(
            {
                "config_name": config,
                "description": f"view {view}, shift {shift}, protocol {manifest.protocol}, files {digest[:16]}",
                "data_files": [{"split": part, "path": pattern} for part, pattern in files.items()],
            }
        )
        infos[config] = _info(folder, files)
    pairs = sum(
        len({pair_id for config in configs for ids in manifests[config].parts.values() for pair_id in ids})
        for configs in by_view(manifests).values()
    )
    data = DatasetCardData(
        pretty_name=one_line(title),
        license=license,
        task_categories=["image-classification"],
        size_categories=[size_category(pairs)],
        tags=list(dict.fromkeys(["before-after-pairs", "action-recognition", "causal-delta-embeddings", *tags])),
        ignore_metadata_errors=False,
    )
    data["configs"] = configs
    infos.to_dataset_card_data(data)
    # As datasets writes it, but with the letters of every language as they are.
    values: Any = data.to_dict()  # type: ignore[no-untyped-call]
    text = str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    if set(text) & set("\x85\u2028\u2029"):  # line breaks to YAML, which would come back as others
        text = str(yaml.safe_dump(values, sort_keys=False, allow_unicode=False))
    return text


def _info(folder: Path, files: Mapping[str, str]) -> DatasetInfo:
    """Features, pairs and bytes of a configuration, from the footers of its files.

    `num_bytes` is the size of the unpacked columns, which differs slightly from that of the Arrow tables that datasets
    counts.
    """
    features, splits, download = None, SplitDict(), 0
    for part, pattern in files.items():
        rows = size = 0
        for path in sorted(folder.glob(pattern)):
            footer = parquet.read_metadata(path)
            rows += footer.num_rows
            size += sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
            download += path.stat().st_size
            features = features or Features.from_arrow_schema(footer.schema.to_arrow_schema())
        splits.add(SplitInfo(part, size, rows))
    total = sum(split.num_bytes for split in splits.values())
    return DatasetInfo(features=features, splits=splits, download_size=download, dataset_size=total)


def size_category(pairs: int) -> str:
    """The Hub's name for a number of rows."""
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if pairs < bound), "1M<n<10M")


def by_view(manifests: Mapping[str, SplitManifest]) -> dict[str, list[str]]:
    """The configurations of each view."""
    views: dict[str, list[str]] = {}
    for config in manifests:
        views.setdefault(parse_config(config)[0], []).append(config)
    return views


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(str(text).split())
