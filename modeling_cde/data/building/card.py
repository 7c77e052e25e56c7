"""Writes README.md of a data set of pairs: the card that the Hub shows and the header that `datasets` reads.

Features, sizes, splits, what is held out, and the counts and settings of the build are read from the files. A
`DatasetCard` adds what no file says: what the pairs are, whose they are, and on which terms.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..schema import parse_config
from ..splits import PARTS, SplitManifest
from .card_header import by_view, header, one_line

#: The name of the data set in the examples of README.md; `push_to_hub` replaces it by the repository's name.
PLACEHOLDER = "path/of/this/folder"

#: Licence identifiers that the Hub accepts for data.
LICENSES = frozenset(
    "afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc "
    "cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 "
    "cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 "
    "isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 ncsa odbl odc-by osl-3.0 pddl unlicense wtfpl zlib other unknown".split()
)

#: Said where nobody has said it.
UNKNOWN_ORIGIN = "Where the pairs come from is unknown: nobody has stated it."
UNKNOWN_LICENSE = "Licence: unknown, as nobody has stated it."

_FIELDS = """\
| column | type | what |
|---|---|---|
| `before`, `after` | image | the scene before and after one action, of one size |
| `action`, `object` | class | the action, and the object that it was done to |
| `scene` | string | room, house, kitchen or episode that similar pairs share |
| `pair_id` | string | unique in this data set |
| `box` | 4 integers or null | `xmin, ymin, xmax, ymax` of the object in pixels, bounds inclusive |
| `mask_before`, `mask_after` | image or null | 255 on the object, else 0 |
"""
_MECHANISM = "| `mechanism` | string | how the action is done to the object, such as `door` or `drawer` for `open` |"
_PROTOCOLS = {
    "clean": "`clean`: the parts share no pair, `validation_ood` and `test_ood` hold out different things, and classes "
    "are capped. Select a model on the validation parts and report it on the test parts.",
    "causal_triplet": "`causal_triplet`: the procedure of the Causal Triplet benchmark, for comparison with its "
    "numbers. It does not group pairs, so scenes may be on both sides, and its out-of-distribution validation "
    "and test parts may overlap.",
}
_SHIFTS = {
    "comp": "`comp`: the out-of-distribution parts have combinations of action and object that training lacks.",
    "syst": "`syst`: the out-of-distribution parts have objects that training lacks.",
    "mech": "`mech`: the out-of-distribution parts have ways to do an action that training lacks.",
    "none": "`none`: nothing is held out, so every kind of object is trained on, and there are no "
    "out-of-distribution parts.",
}
_SHOWN = 60  # names in one list of held-out items; the manifests have all of them


@dataclass(frozen=True)
class DatasetCard:
    """What a card says besides the content of the files. Texts may contain Markdown, the title may not.

    Attributes:
        title: Heading.
        description: What the pairs are and how they were made.
        license: Identifier of the Hub such as `"cc-by-4.0"`; `"other"` needs `license_terms`; None if not stated, which
            the card calls unknown.
        license_terms: What the licence requires of people who use or share the pairs.
        credit: Whom to name.
        provenance: Where the pairs come from, one line or link each.
        citation: BibTeX, or a reference as text.
        tags: Besides those of every data set of pairs.
        command: The command that made the data set.
        limits: Known limits, one line each.

    Raises:
        ValueError: The Hub has no such licence identifier, or `"other"` comes without terms.
    """

    title: str = "Before/after pairs"
    description: str = ""
    license: str | None = None
    license_terms: str = ""
    credit: str = ""
    provenance: tuple[str, ...] = ()
    citation: str = ""
    tags: tuple[str, ...] = ()
    command: str = ""
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.license is not None and self.license not in LICENSES:
            near = difflib.get_close_matches(self.license.lower(), sorted(LICENSES), n=1, cutoff=0.3)
            raise ValueError(
                f"{self.license!r} is not a licence identifier of the Hub; write {near[0] if near else 'cc-by-4.0'!r} "
                "or similar, or 'other' and the terms in license_terms."
            )
        if self.license == "other" and not self.license_terms.strip():
            raise ValueError("The licence is 'other' but license_terms is empty; state its terms there.")


def render_readme(folder: Path, manifests: Mapping[str, SplitManifest], card: DatasetCard) -> str:
    """README.md of a folder, as text: equal files, manifests and card give equal text.

    The header lists each configuration with its files, features, pairs and bytes, which `datasets.load_dataset` reads
    and compares with the data.

    Args:
        folder: With the files of each manifest's view; reads their footers, and `shards/` if it still exists.
        manifests: By configuration, for example `"single_syst"`.

    Raises:
        ValueError: There are no manifests.
    """
    if not manifests:
        raise ValueError(f"{folder} has no split manifests, so there is nothing to describe; assemble it first.")
    manifests = dict(sorted(manifests.items()))
    made = [f"```bash\n{one_line(card.command)}\n```"] if card.command.strip() else []
    made += [told for view in by_view(manifests) if (told := _made(folder / "shards" / view, view))]
    metadata = header(folder, manifests, card.title, card.license or "unknown", card.tags)
    text = [
        f"# {_plain(card.title)}",
        card.description.strip(),
        "A row is a pair of pictures before and after one action.\n\n" + _classes(manifests),
        "## Use",
        _example(next(iter(manifests))),
        "## Fields",
        _FIELDS + _MECHANISM if "- name: mechanism\n" in metadata else _FIELDS.rstrip(),
        "## Splits",
        _sizes(manifests),
        "\n".join(f"- {line}" for line in _used_texts(manifests)),
        _held_out(manifests),
        "Every pair's part is in `manifests/`.",
        *(["## How it was made", *made] if made else []),
        "## Source, licence and credit",
        "\n".join(f"- {one_line(line)}" for line in card.provenance or (UNKNOWN_ORIGIN,)),
        f"Licence: `{card.license}`." if card.license else UNKNOWN_LICENSE,
        card.license_terms.strip(),
        card.credit.strip(),
        "## Known limits",
        "\n".join(f"- {one_line(line)}" for line in [*card.limits, *_shortcomings(manifests)]) or "None are recorded.",
        *(["## Citation", f"```text\n{card.citation.strip()}\n```"] if card.citation.strip() else []),
    ]
    return f"---\n{metadata}---\n\n" + "\n\n".join(block for block in text if block) + "\n"


def _example(config: str) -> str:
    return f"""\
```python
from modeling_cde.data import load_pairs

pairs = load_pairs("{PLACEHOLDER}", "{config}", "train")  # pictures stay encoded
```

or, with `datasets` alone, `datasets.load_dataset("{PLACEHOLDER}", "{config}")`."""


def _classes(manifests: Mapping[str, SplitManifest]) -> str:
    """The actions of each view, and how many objects it has."""
    lines = []
    for view, configs in by_view(manifests).items():
        counts = [count for config in configs for count in manifests[config].counts.values()]
        actions, objects = ({name for count in counts for name in count[kind]} for kind in ("actions", "objects"))
        named = ", ".join(_plain(name) for name in sorted(actions))
        lines.append(f"View `{view}`: {len(objects)} objects and {len(actions)} actions: {named}.")
    return "\n\n".join(lines)


def _sizes(manifests: Mapping[str, SplitManifest]) -> str:
    lines = [
        "| configuration | protocol | seed | " + " | ".join(PARTS) + " |",
        "|---|---|---:|" + "---:|" * len(PARTS),
    ]
    for config, manifest in manifests.items():
        sizes = " | ".join(str(len(manifest.parts[part])) if manifest.parts.get(part) else "–" for part in PARTS)
        lines.append(f"| `{config}` | {_plain(manifest.protocol)} | {manifest.seed} | {sizes} |")
    return "\n".join(lines)


def _used_texts(manifests: Mapping[str, SplitManifest]) -> list[str]:
    """The meaning of the protocols and shifts that occur."""
    protocols = sorted({manifest.protocol for manifest in manifests.values()})
    shifts = sorted({parse_config(config)[1] for config in manifests})
    return [_PROTOCOLS[name] for name in protocols if name in _PROTOCOLS] + [_SHIFTS[name] for name in shifts]


def _held_out(manifests: Mapping[str, SplitManifest]) -> str:
    lines = []
    for config, manifest in manifests.items():
        for part, items in manifest.held_out.items():
            names = [_plain(item if isinstance(item, str) else " ".join(item)) for item in items]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"- `{config}`, `{part}`: {', '.join(names[:_SHOWN])}{more}")
    return "Held out:\n\n" + "\n".join(lines) if lines else ""


def _shortcomings(manifests: Mapping[str, SplitManifest]) -> Iterable[str]:
    """Pairs that a split leaves out or uses twice, as limits."""
    for config, manifest in manifests.items():
        ood = [set(manifest.parts.get(part, ())) for part in ("validation_ood", "test_ood")]
        if both := len(ood[0] & ood[1]):
            yield f"{both} of the {len(ood[1])} test_ood pairs of `{config}` are also in validation_ood."
        if any(manifest.unused.values()):
            reasons = ", ".join(f"{len(ids)} {_plain(reason)}" for reason, ids in manifest.unused.items() if ids)
            yield f"`{config}` leaves out pairs: {reasons}."


def _made(shards: Path, view: str) -> str:
    """The counts and settings of a view's build, from the entries and settings next to its shards."""
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for path in shards.glob("*.json"):
        if path.stem == "settings":
            continue
        entry = json.loads(path.read_text(encoding="utf-8"))
        counts[entry.get("state", "done")] += 1
        counts["pairs"] += entry.get("rows", entry.get("pairs", 0))
        rejected.update(entry.get("rejected", {}))
    if not counts:
        return ""
    text = f"View `{view}`: {counts['pairs']} pairs; units of work done: {counts['done']}, failed: {counts['failed']}."
    if rejected:
        listed = ", ".join(f"{_plain(reason)} ({number})" for reason, number in sorted(rejected.items()))
        text += f" Rejected, by reason: {listed}."
    path = shards / "settings.json"
    if path.exists():
        settings = json.dumps(_short(json.loads(path.read_text(encoding="utf-8"))), indent=1, ensure_ascii=False)
        text += f" Settings:\n\n```json\n{settings.replace('```', '')}\n```"
    return text


def _short(value: Any) -> Any:
    """Settings to show: long lists cut, folders of the building machine left out."""
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value[:20]] + ([f"and {len(value) - 20} more"] if len(value) > 20 else [])
    if isinstance(value, str):
        value = Path(value).name if Path(value).is_absolute() else value
        return value if len(value) <= 200 else value[:200] + "…"
    return value


def _plain(text: str) -> str:
    """Text on one line that Markdown shows literally, also in a table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", one_line(text))
