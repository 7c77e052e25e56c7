"""A page of the episodes whose instruction contradicts what is seen, worst first; see `label`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_scripts.episodes.judgement import Label
from modeling_cde.analysis.page import Cell, Picture, Section, Table, render_page
from modeling_cde.whole_files import write_text_whole

SHOWN = 20  # episodes with pictures
_HEIGHT = 160  # of a picture, in pixels


def write_audit(path: Path, name: str, model: str, labels: Sequence[Label]) -> None:
    """Write the page; the episode in which the instructed action is least probable comes first."""
    told = [label for label in labels if label.instructed]
    wrong = sorted((label for label in told if label.contradicts), key=lambda label: label.success)
    rows: list[list[Cell]] = [
        [_title(label), _said(label), label.instructed, label.seen or "nothing", label.success] for label in wrong
    ]
    headers = ("episode", "instruction", "instructed", "seen", "probability of the instructed action")
    summary = (
        f"{len(wrong)} of {len(told)} episodes of {name} show another action than their instruction names, or none, as "
        f"{model} sees them. {len(labels) - len(told)} more name no action that the model knows, and are not judged."
    )
    sections = [Section("Contradictions", tables=[Table(headers, rows)])]
    sections += [
        Section(_title(label), text=[f"Instruction: {_said(label)}. Seen: {label.seen or 'nothing'}."], level=3,
                pictures=[_strip(label)])
        for label in wrong[:SHOWN]
    ]  # fmt: skip
    page = render_page(f"Audit of {name}", sections, summary=summary, footer="python -m data_scripts.episodes label")
    write_text_whole(path, page)


def _title(label: Label) -> str:
    return f"Episode {label.episode.number}"


def _said(label: Label) -> str:
    return " / ".join(label.episode.tasks)


def _strip(label: Label) -> Picture:
    """The first, middle and last picture side by side."""
    from PIL import Image

    pictures: list[Any] = [p.resize((max(round(p.width * _HEIGHT / p.height), 1), _HEIGHT)) for p in label.shown]
    strip = Image.new("RGB", (sum(p.width for p in pictures) + 4 * (len(pictures) - 1), _HEIGHT), "white")
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width + 4
    buffer = io.BytesIO()
    strip.save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return Picture(source, f"First, middle and last frame of {_title(label).lower()}", "first, middle and last frame")
