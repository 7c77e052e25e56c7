"""Figures instead of files: what a picture shows can be asked of it, and tests need not wait for pixels."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def keep_figures(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[Any]:
    """Let the pictures of a module be laid out but not written; returns the list that figures are put into."""
    figures: list[Any] = []

    def keep(figure: Any, folder: Path, name: str) -> Path:
        figure.draw_without_rendering()
        figures.append(figure)
        return Path(folder) / f"{name}.png"

    monkeypatch.setattr(module, "save", keep)
    return figures


def texts(figure: Any) -> list[str]:
    """All texts of a figure, ticks, titles and legends included, without the empty ones."""
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]
