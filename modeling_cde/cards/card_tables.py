"""The tables of a card, as Markdown: accuracy by split, by action and by object, and the geometry of the deltas."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..analysis.measures.figures import MEASURES, measured
from ..data.splits.titles import split_title

#: What is in the evaluated splits; `validation_comp` is like `test_comp`.
SPLIT_TEXT = {
    "test": "known objects and combinations",
    "test_comp": "unseen action-object combinations",
    "test_syst": "unseen objects",
    "test_mech": "unseen mechanisms of actions",
}

#: Control characters and halves of surrogate pairs.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# The measures of `geometry.json` that tell whether the deltas are as they should be.
_SHOWN = (
    "cosine of opposite actions",
    "cosine of other actions",
    "p of opposites by chance",
    "variance by action",
    "variance by object",
    "action on an object held out",
    "object read from delta and action",
    "object read from the action alone",
    "sparsity (Hoyer)",
    "k-NN on deltas",
    "calibration error (ECE)",
    "selected patches in the box",
    "patches in the box by chance",
)


def split_text(split: str) -> str:
    """What is in an evaluated split; empty if that is unknown."""
    return SPLIT_TEXT.get(split.replace("validation", "test"), "")


def results_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy by split, one row each; `splits` as in `metrics.json`."""
    headers = ["split", "what", "pairs", "accuracy", "macro accuracy", "errors that name the opposite"]
    keys = ["accuracy", "macro_accuracy", "opposite_error_share"]
    if any(
        "accuracy_own_actions" in values for values in splits.values()
    ):  # the data set's actions are not the model's
        headers.append("accuracy among its own actions")
        keys.append("accuracy_own_actions")
    rows = []
    for name, values in splits.items():
        figures = ["–" if (x := values.get(key)) is None else f"{x:.3f}" for key in keys]
        rows.append([split_title(name), split_text(name), str(values["n"]), *figures])
    return table(headers, rows, 2)


def by_action_table(splits: Mapping[str, Mapping[str, Any]], actions: Sequence[str]) -> str:
    """Accuracy by action on the test splits; "–" if a split has no such pair; empty if nothing was measured."""
    tests = {
        split: values["accuracy_by_action"]
        for split, values in splits.items()
        if split.startswith("test") and values.get("accuracy_by_action")
    }
    rows = [
        [name, *(f"{found[name]:.3f}" if name in found else "–" for found in tests.values())]
        for name in actions
        if any(name in found for found in tests.values())
    ]
    return table(["action", *map(split_title, tests)], rows, 1) if rows else ""


def by_object_table(splits: Mapping[str, Mapping[str, Any]], shown: int = 5) -> str:
    """The objects with the lowest accuracy, at most `shown` per test split; empty if nothing was measured."""
    rows = []
    for split, values in splits.items():
        found = values.get("accuracy_by_object") or {}
        if split.startswith("test") and found:
            worst = sorted(found.items(), key=lambda item: (item[1], item[0]))[:shown]
            told = ", ".join(f"{plain(name)} {value:.2f}" for name, value in worst)
            rows.append([plain(split_title(split)), told, str(len(found))])
    return table(["split", "objects with the lowest accuracy", "of"], rows, 2, escaped=True) if rows else ""


def geometry_table(geometry: Mapping[str, Any]) -> str:
    """The measures of `geometry.json` on the test splits, one row each."""
    splits = [name for name in geometry["splits"] if name.startswith("test")]
    rows = []
    for title in _SHOWN:
        values = [measured(geometry["splits"][name], MEASURES[title]) for name in splits]
        if any(value is not None for value in values):
            rows.append([title, *("–" if value is None else _number(value) for value in values)])
    return table(["measure", *map(split_title, splits)], rows, 1) if rows else ""


def rejection_table(rejections: Mapping[str, Any] | None) -> str:
    """What a model with thresholds answered, by what happened, from `metrics.json`; "" if not measured."""
    found = rejections or {}
    told = [(f"a known action ({name})", shares) for name, shares in found.get("splits", {}).items()]
    told += [
        (f"{action}, which it does not know ({name})", shares)
        for name, actions in found.get("unknown", {}).items()
        for action, shares in actions.items()
    ]
    told += [(f"{action}, by a head without it", shares) for action, shares in found.get("unknown_actions", {}).items()]
    if found.get("still"):
        told.append(("nothing", found["still"]))
    keys = ("action", "nothing", "else")
    rows = [[name, str(shares["pairs"]), *(f"{100 * shares[key]:.1f} %" for key in keys)] for name, shares in told]
    headers = ["what happened", "pairs", "an action", "nothing changed", "something else"]
    return table(headers, rows, 1) if rows else ""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int, *, escaped: bool = False) -> str:
    """A Markdown table: `left` leading columns have text, the others numbers; `escaped` cells are Markdown already."""
    rule = "|" + "---|" * left + "---:|" * (len(headers) - left)
    cells = [[cell if escaped else plain(cell) for cell in row] for row in rows]
    return "\n".join([f"| {' | '.join(map(plain, headers))} |", rule, *(f"| {' | '.join(row)} |" for row in cells)])


def plain(text: object) -> str:
    """Text that Markdown shows unchanged on one line, also in a table."""
    return re.sub(r"([\\`*\[\]<>#|~$]|&(?=[#\w])|(?<!\w)_|_(?!\w))", r"\\\1", one_line(text))


def one_line(text: object) -> str:
    """Text without line breaks and characters that are invalid in YAML or HTML; usable in a block of code."""
    return " ".join(_UNSEEN.sub(" ", str(text)).split())


def code(text: object) -> str:
    """Text as inline code, even if it contains backticks."""
    line = one_line(text)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"


def _number(value: float) -> str:
    return f"{value:.4f}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"  # a small p is not 0
