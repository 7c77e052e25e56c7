"""The model card of a classifier that `CDEClassifier` or fit.py fitted to a few pairs."""

from typing import Any

from .card_tables import code, one_line, plain, rejection_table, table
from .run_files import RunFiles

_HEADS = {
    "closed_form": "a linear discriminant analysis of the differences, in closed form",
    "trained": "CDE's projector and classifier, trained by cross-entropy and a supervised contrastive term",
}


def fitted_values(run: RunFiles) -> dict[str, Any]:
    """What the template `fitted_card.md` shows beside what every card has."""
    fitted, splits = run.training["fitted"], run.metrics["splits"]
    rows = []
    for name, values in splits.items():
        low, high = values["interval"]
        spread = f"{100 * low:.0f} to {100 * high:.0f} %"
        rows.append([name, str(values["n"]), str(values["folds"]), f"{100 * values['accuracy']:.1f} %", spread])
    rejections = run.metrics.get("rejections") or {}
    opposites = run.training["arguments"].get("opposites")
    return {
        "fitted": fitted,
        "head": _HEADS.get(fitted["head"], "of unknown kind"),
        "data": code(run.training["arguments"]["data"]),
        "command": one_line(fitted["command"]),
        "results": table(["tested on", "pairs", "folds", "accuracy", "95 % interval"], rows, 1) if rows else "",
        "by_action": table(["action", *splits], [_by_action(run, name) for name in run.actions], 1) if rows else "",
        "rejections": rejection_table(rejections),
        "thresholds": rejections,
        "says": [plain(sentence) for sentence in fitted["says"]],
        "opposites": ", ".join(f"{plain(a)} and {plain(b)}" for a, b in (opposites or {}).items()),
    }


def _by_action(run: RunFiles, action: str) -> list[str]:
    found = [values["accuracy_by_action"].get(action) for values in run.metrics["splits"].values()]
    return [action, *("–" if value is None else f"{100 * value:.0f} %" for value in found)]
