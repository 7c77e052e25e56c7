"""One HTML page made of titled sections with text, tables and pictures: the report of a run, or of a comparison.

The page needs no network and no other file: it contains its style, pictures are data URIs, and a content security
policy stops the browser from loading anything else. It has no script. Light and dark follow the reader's setting.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .extra import analysis_extra

TEMPLATE = Path(__file__).with_name("report.html")
MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}

#: A cell of a table: text, a number, or None for "not measured".
Cell = str | int | float | None


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        source: a data URI, as made by `as_data_uri`.
        alternative: what the picture shows, for readers who cannot see it; never empty.
        caption: what to look for; shown below the picture.
    """

    source: str
    alternative: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        headers: titles of the c columns; the first column names the row.
        rows: any number of rows of c cells.
        caption: what the table shows; above it.
        folded: whether only the caption is shown until the reader opens the table; for long tables.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page; its content is shown in the order of the attributes.

    Attributes:
        title: the heading, unique within the page.
        text: paragraphs of plain text.
        tables: tables.
        pictures: pictures.
        code: lines to copy, such as commands.
        notes: short remarks in smaller print.
        level: 2 for a main section, which is listed at the top of the page; 3 for a part of the section before it.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    code: Sequence[str] = ()
    notes: Sequence[str] = ()
    level: int = 2


def as_data_uri(path: str | Path) -> str:
    """The content of a PNG or SVG file as a data URI.

    Raises:
        ValueError: if the name ends in neither .png nor .svg.
    """
    file = Path(path)
    if file.suffix not in MEDIA_TYPES:
        raise ValueError(f"{file}: the name ends in neither .png nor .svg; pass a PNG or SVG picture.")
    return f"data:{MEDIA_TYPES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def written(cell: Cell) -> str:
    """A cell as text: a dash for None, three decimals for a float (five below 0.0005), anything else unchanged."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        text = f"{cell:.3f}" if abs(cell) >= 0.0005 else f"{cell:.5f}".rstrip("0")
        return "0.000" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
    return str(cell)


def anchor(title: str) -> str:
    """The name by which a link finds a section: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def render_page(title: str, sections: Sequence[Section], summary: str = "", footer: str = "") -> str:
    """A self-contained HTML page.

    Args:
        title: the page's heading and the title of its window.
        sections: what the page shows, in order.
        summary: one or two sentences below the heading.
        footer: one line at the end, such as what made the page.

    Returns:
        The page's HTML. All text is escaped, so none of it becomes markup.

    Raises:
        ModuleNotFoundError: if Jinja2 is not installed.
        ValueError: if two sections share a title, a row and its headers differ in length, a picture has no alternative
            text, or its source is not a data URI.
    """
    with analysis_extra():
        import jinja2
    _check(sections)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["written"] = written
    environment.filters["anchor"] = anchor
    environment.tests["number"] = lambda cell: cell is None or isinstance(cell, int | float)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, sections=sections, summary=summary, footer=footer)


def _check(sections: Sequence[Section]) -> None:
    """Raise ValueError for sections that would make a broken page."""
    anchors = [anchor(section.title) for section in sections]
    for position, section in enumerate(sections):
        if anchors[position] in anchors[:position]:
            raise ValueError(f"two sections are called {section.title!r}: give each its own title, which links need.")
        if section.level not in (2, 3):
            raise ValueError(
                f"section {section.title!r} has level {section.level}: use 2 for a section, 3 for a part of one."
            )
        for table in section.tables:
            wrong = [row for row in table.rows if len(row) != len(table.headers)]
            if table.folded and not table.caption:
                raise ValueError(f"section {section.title!r}: a folded table needs a caption that opens it.")
            if wrong:
                raise ValueError(
                    f"section {section.title!r}: a row has {len(wrong[0])} cells under {len(table.headers)} headers."
                )
        for picture in section.pictures:
            if not picture.alternative.strip():
                raise ValueError(f"section {section.title!r}: a picture has no alternative text: say what it shows.")
            if not picture.source.startswith("data:image/"):
                raise ValueError(f"section {section.title!r}: a picture is not a data URI: make one with as_data_uri.")
