"""The tables of docs/performance.md, section "Curves", from the results that are kept.

    python -m benchmarks.speed.curve_tables [--write]

Reads what `step_cost` and `contrastive_scale` wrote. `--write` puts the tables between
the markers of docs/performance.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import contrastive_scale, step_cost
from benchmarks.speed.measured import RESULTS
from benchmarks.speed.speed_table import DOCUMENT, show
from modeling_cde.whole_files import in_one_sentence

BEGIN, END = "<!-- curves: python -m benchmarks.speed.curve_tables --write -->", "<!-- end of the curves -->"
PICTURE = "![Cost of a training step against batch, image side, kept patches, frames and actions](images/step_cost.png)"


def render(folder: Path | None = None) -> str:
    """The table of each result that is there, with the command that measured it, and the picture of the curves.

    Raises:
        ValueError: a file is not a result of its benchmark.
    """
    folder, parts = folder or RESULTS, []
    for name, table in (("step_cost", step_cost.curves_table), ("contrastive_scale", contrastive_scale.curve_table)):
        if not (path := folder / f"{name}.json").exists():
            continue
        try:
            result: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            where = result["environment"]
            parts.append(f"`{result['command']}`, {where['device']}, {where['cores']} cores, {where['precision']}:")
            parts.append(table(result))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a result of benchmarks.speed.{name} ({error!r}).") from error
        if name == "step_cost":
            parts.append(PICTURE)
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; with --write put them into docs/performance.md."""
    show(arguments, "curve_tables", __doc__, render, DOCUMENT, BEGIN, END)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.curve_tables"):
        main()
