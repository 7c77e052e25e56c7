"""README.md of a data set of pairs: the card that the Hub shows and the header that `datasets` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .schema import parse_config
from .splits import PARTS, SplitManifest

#: Hashes of a view's files.
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class DatasetCard:
    """What a card says besides what the files say themselves.

    Attributes:
        title: Heading.
        description: A paragraph: what the pairs are and how they were made.
        license: Identifier such as `"cc-by-4.0"`, or None.
    """

    title: str = "Before/after pairs"
    description: str = ""
    license: str | None = None


def render_readme(folder: Path, manifests: Mapping[str, SplitManifest], card: DatasetCard) -> str:
    """README.md of a folder: its configurations (name -> manifest), their sizes and what is held out."""
    header: dict[str, Any] = {
        "pretty_name": card.title,
        "task_categories": ["image-classification"],
        "configs": [],
    }
    if card.license:
        header["license"] = card.license
    sizes, held = [], []
    for config, manifest in sorted(manifests.items()):
        view, shift = parse_config(config)
        files = {part: f"{view}/{part.replace('_ood', f'_{shift}')}-*.parquet" for part in PARTS}
        # datasets keys its cache on this header: without the hash it might serve an older build.
        digest = hashlib.sha256((folder / view / CHECKSUMS).read_bytes()).hexdigest()
        header["configs"].append(
            {
                "config_name": config,
                "description": f"view {view}, shift {shift}, files {digest[:16]}",
                "data_files": [{"split": part, "path": pattern} for part, pattern in files.items()],
            }
        )
        sizes.append(f"| {config} | " + " | ".join(str(len(manifest.parts[part])) for part in PARTS) + " |")
        for part, items in manifest.held_out.items():
            names = ", ".join(item if isinstance(item, str) else " ".join(item) for item in items)
            held.append(f"- `{config}`, `{part}`: {names}")
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {card.title}",
        *(["", card.description] if card.description else []),
        "",
        "Pairs of pictures before and after one action. Columns: `before`, `after` (pictures), `action`,",
        "`object` (classes), `scene`, `pair_id`, `box` (xmin, ymin, xmax, ymax of the target, inclusive, or",
        "null), `mask_before`, `mask_after` (the target, or null).",
        "",
        "```python",
        "import datasets",
        "",
        f'pairs = datasets.load_dataset("path/of/this/folder", "{header["configs"][0]["config_name"]}")',
        "```",
        "",
        "| configuration | " + " | ".join(PARTS) + " |",
        "|---|" + "---:|" * len(PARTS),
        *sizes,
        "",
        "`comp`: combinations of action and object that training lacks; `syst`: objects that training lacks.",
        "Held out:",
        "",
        *held,
        "",
        "Every pair's part, and the seed and options behind it, are in `manifests/`.",
        "",
    ]
    return "\n".join(lines)
