"""Writes README.md of a data set of sequences: the card, and the header by which `datasets` finds the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import yaml
from datasets import Features

from ...whole_files import write_whole
from ..sequence_schema import SEQUENCE_FOLDER
from .card import UNKNOWN_LICENSE, UNKNOWN_ORIGIN, DatasetCard
from .card_header import one_line, size_category

_FIELDS = """\
| column | type | what |
|---|---|---|
| `frames` | list of T images | the scene over time, of one size |
| `actions`, `objects` | lists of T - 1 classes or null | what is going on in each step from a frame to the next, with \
which object; null: nothing |
| `onset`, `end` | lists of K integers | of each action: the last frame without any of it, the first with all of it |
| `amount` | K lists of T numbers, or null | how much of each action is done in each frame, 0 to 1; null: unknown |
| `box` | 4 integers or null | `xmin, ymin, xmax, ymax` around the objects acted on, in pixels, bounds inclusive |
| `scene` | string | room, kitchen or episode that similar sequences share |
| `sequence_id` | string | unique in this data set |
"""
_USE = """\
```python
from modeling_cde.data import load_sequences

sequences = load_sequences("path/of/this/folder")  # frames stay encoded
```"""


def write_sequence_card(folder: Path, card: DatasetCard) -> None:
    """Write README.md of a folder whose subfolder `sequences` has the Parquet files; equal files give equal text."""
    text = render_sequence_card(folder, card)
    path = folder / "README.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with write_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def render_sequence_card(folder: Path, card: DatasetCard) -> str:
    """README.md as text.

    Raises:
        ValueError: There are no sequences.
    """
    files = sorted((folder / SEQUENCE_FOLDER).glob("*.parquet"))
    if not files:
        raise ValueError(f"{folder} has no sequences, so there is nothing to describe; build them first.")
    rows = sum(parquet.read_metadata(path).num_rows for path in files)
    features: Any = Features.from_arrow_schema(parquet.read_schema(files[0]))
    actions, objects = features["actions"].feature.names, features["objects"].feature.names
    header = {
        "pretty_name": one_line(card.title),
        "license": card.license or "unknown",
        "task_categories": ["video-classification"],
        "size_categories": [size_category(rows)],
        "tags": ["before-after-pairs", "action-recognition", "causal-delta-embeddings", *card.tags],
        "configs": [{"config_name": "sequences", "data_files": f"{SEQUENCE_FOLDER}/*.parquet"}],
    }
    text = [
        f"# {one_line(card.title)}",
        card.description.strip(),
        "A row is a sequence of pictures of one scene, and what is done in it from each picture to the next. "
        "There is one split: evaluate on a data set with another seed than the one you train or choose on.",
        f"Sequences: {rows}. Objects: {len(objects)}. Actions: {', '.join(actions)}.",
        f"## Use\n\n{_USE}",
        f"## Fields\n\n{_FIELDS.rstrip()}",
        f"## How it was made\n\n```bash\n{one_line(card.command)}\n```" if card.command else "",
        "## Source, licence and credit\n\n"
        + "\n".join(f"- {one_line(p)}" for p in card.provenance or (UNKNOWN_ORIGIN,)),
        f"Licence: `{card.license}`." if card.license else UNKNOWN_LICENSE,
        card.license_terms.strip(),
        card.credit.strip(),
        "## Known limits\n\n" + ("\n".join(f"- {one_line(line)}" for line in card.limits) or "None are recorded."),
    ]
    dumped = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{dumped}---\n\n" + "\n\n".join(block for block in text if block) + "\n"
