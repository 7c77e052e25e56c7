"""The code blocks of a Markdown page or a notebook, in order, each with the output that the page shows for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The page's path within the repository.
        line: Of its first line of code, counted from 1.
        language: What follows the fence: python, bash, csv, ...
        code: Its text.
        output: The `text` block that follows it with nothing but blank lines between; None where there is none.
    """

    page: str
    line: int
    language: str
    code: str
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page but for the outputs, which stand with what gives them; of a notebook, its code cells."""
    if page.endswith(".ipynb"):
        return _cells_of(page)
    found: list[Block] = []
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    fence, start, language = False, 0, ""
    adjacent = False  # nothing but blank lines since the last block
    for number, line in enumerate(lines, start=1):
        if line.startswith("```") and not fence:
            fence, start, language = True, number + 1, line[3:].strip()
        elif line.startswith("```"):
            code = "\n".join(lines[start - 1 : number - 1])
            before = found[-1] if found else None
            if language == "text" and adjacent and before and before.language in ("python", "bash"):
                found[-1] = Block(before.page, before.line, before.language, before.code, code)
            elif language != "text":
                found.append(Block(page, start, language, code))
            fence, adjacent = False, True
        elif not fence and line.strip():
            adjacent = False
    if fence:
        raise ValueError(f"{page}:{start}: the block is not closed")
    return found


def _cells_of(page: str) -> list[Block]:
    """The code cells of a notebook, numbered by their places; the outputs that it keeps are of another checkpoint."""
    cells = json.loads((ROOT / page).read_text(encoding="utf-8"))["cells"]
    return [
        Block(page, place, "python", "".join(cell["source"]))
        for place, cell in enumerate(cells, start=1)
        if cell["cell_type"] == "code"
    ]
