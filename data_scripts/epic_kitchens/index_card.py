"""The card of an index, and its publication: three small text files, no frames."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from data_scripts.epic_kitchens import terms

_EXTRACT = "python -m data_scripts.epic_kitchens extract --index index.csv --frames FOLDER --output data/epic"
_COLUMNS = """\
| column | what |
|---|---|
| `narration_id` | the segment's id in EPIC-KITCHENS-100, unique |
| `participant_id`, `video_id` | the kitchen's owner, and the video |
| `before_frame`, `after_frame` | official frame numbers at the segment's start and end, from 1 |
| `rate` | frames per second of these numbers: 60, or 50 in the videos PXX_1YY, whatever the video's own rate |
| `seconds` | length of the segment |
| `verb`, `noun` | keys of the verb class and of the first noun's class |
| `video_seconds`, `video_fps` | length and native rate of the video |
"""
_CHANGES = """\
Changes to the original: a choice of the segments of the official annotation tables, some of their columns under other
names, class ids replaced by the classes' keys, and lengths added. Frame numbers are unchanged."""


def index_card(report: Mapping[str, Any], index: str) -> str:
    """README.md of an index with the text `index`: equal reports and indexes give equal text."""
    settings = report["settings"]
    conditions = [f"verb classes: {', '.join(settings['verbs'])}"]
    if settings["min_seconds"] or settings["min_frames"] > 1:
        conditions.append(f"at least {settings['min_seconds']:g} s and {settings['min_frames']} frames long")
    if settings["max_overlap"] is not None:
        conditions.append(f"at most {settings['max_overlap']:.0%} of a segment overlapped by another action")
    if settings["min_score"] is not None:
        conditions.append(f"both frames scored above {settings['min_score']:g}")
    gone = {**report["faulty"], **report["left_out"]}
    left_out = ", ".join(f"{_plain(reason)} {count}" for reason, count in gone.items()) or "none"
    verbs = ", ".join(f"{_plain(verb)} {count}" for verb, count in report["verbs"].items())
    tables = "\n".join(
        f"- `{name.replace('`', '')}`, SHA-256 `{digest}`" for name, digest in settings["tables"].items()
    )
    blocks = [
        "# Before/after frames of EPIC-KITCHENS-100: an index",
        f"The frames before and after {report['segments']} actions in {report['videos']} kitchen videos of "
        f"{report['participants']} participants, as frame numbers, with the action's verb and noun. It contains no "
        "frames: get them from EPIC-KITCHENS-100, and extract them as pairs by",
        f"```bash\n{_EXTRACT}\n```",
        _COLUMNS.rstrip(),
        f"Chosen: {'; '.join(conditions)}. Rows of the tables: {report['rows']}; left out: {left_out}.",
        f"Segments per verb: {verbs}.",
        f"Made from:\n\n{tables}",
        "## Licence and credit",
        terms.TERMS,
        terms.CREDIT,
        _CHANGES,
        "\n".join(f"- {line}" for line in terms.PROVENANCE),
        "## Citation",
        f"```text\n{terms.CITATION}\n```",
    ]
    return f"---\n{_header(index)}\n---\n\n" + "\n\n".join(blocks) + "\n"


def _header(index: str) -> str:
    """Metadata for the Hub's listing, and the columns, rows and bytes for `datasets`."""
    import pyarrow.csv
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    from modeling_cde.data.building.card_header import size_category

    content = index.encode()
    table = pyarrow.csv.read_csv(io.BytesIO(content))
    splits = SplitDict()
    splits.add(SplitInfo("train", table.nbytes, table.num_rows))
    data = DatasetCardData(
        pretty_name="Before/after frames of EPIC-KITCHENS-100, an index",
        license=terms.LICENSE,
        task_categories=["image-classification"],
        size_categories=[size_category(table.num_rows)],
        tags=["before-after-pairs", "action-recognition", "causal-delta-embeddings", "epic-kitchens"],
        ignore_metadata_errors=False,
    )
    data["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "index.csv"}]}]
    info = DatasetInfo(
        features=Features.from_arrow_schema(table.schema),
        splits=splits,
        download_size=len(content),
        dataset_size=table.nbytes,
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return str(data.to_yaml())


def push_index(files: Mapping[str, str], repo_id: str, *, private: bool = False) -> str:
    """Publish an index, as texts by file name, as a data set repository of the Hub in one commit; returns its address.

    A repository that does not exist is created, private if asked.

    Raises:
        ValueError: The name is invalid, or the repository has other data.
        PermissionError, ConnectionError: See `modeling_cde.cards.hub.commit_files`.
    """
    from modeling_cde.cards.hub import commit_files

    def refuse_pairs(theirs: list[str]) -> list[str]:
        others = [name for name in theirs if name.endswith(".parquet")]
        if others:
            raise ValueError(f"{repo_id} has other data ({others[0]}): publish the index to its own repository.")
        return []

    return commit_files(
        repo_id,
        {name: text.encode() for name, text in files.items()},
        repo_type="dataset",
        private=private,
        message="Upload an index of before/after frames",
        delete=refuse_pairs,
    )


def _plain(text: str) -> str:
    """Text that Markdown shows literally."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text.replace("\n", " "))
