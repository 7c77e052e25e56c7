"""Scores of a checkpoint on every split, its predictions and its gallery of training pairs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # isort: off
    from .evaluate import evaluate_splits as evaluate_splits, results_table as results_table
    from .gallery import write_gallery as write_gallery
    from .predictions import Predictions as Predictions, predict as predict

#: Public names, by the module that is loaded when one of them is first used.
_NAMES = {
    "evaluate": ["evaluate_splits", "results_table"],
    "gallery": ["write_gallery"],
    "predictions": ["Predictions", "predict"],
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
