"""The metric as a page: paste what was true and what was predicted, a pair a line."""

import csv
import json
from typing import Any

from action_accuracy import compute_action_metrics

EXAMPLE = "open, open, safe\nopen, close, box\nbreak, open, vase"
OPPOSITES = "open, close\nturnon, turnoff\nclean, dirty\nfill, empty"


def measure(pairs: str, opposites: str) -> dict[str, Any]:
    """The metrics of pasted pairs.

    Args:
        pairs: a line each: true action, predicted action and, where it is known, the object.
        opposites: a line each: two actions that undo each other.

    Raises:
        ValueError: if a line has another number of names, or there is no pair.
    """
    rows = _rows(pairs, (2, 3), "true action, predicted action, object")
    names = list(dict.fromkeys(name for row in rows for name in row[:2]))
    both = _rows(opposites, (2,), "action, opposite action")
    return compute_action_metrics(
        predictions=[names.index(row[1]) for row in rows],
        references=[names.index(row[0]) for row in rows],
        action_names=names,
        objects=[row[2] if len(row) == 3 else "" for row in rows],
        opposites=dict(both) | {second: first for first, second in both},
    )


def _rows(text: str, lengths: tuple[int, ...], what: str) -> list[list[str]]:
    rows = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) not in lengths:
            raise ValueError(f"Line {number}: names found {len(row)}; write: {what}.")
        rows.append([cell.strip() for cell in row])
    return rows


def page() -> Any:
    """The page, not started yet."""
    import gradio as gr

    def answer(pairs: str, opposites: str) -> str:
        try:
            return json.dumps(measure(pairs, opposites), indent=2, ensure_ascii=False)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return gr.Interface(
        fn=answer,
        inputs=[
            gr.Textbox(EXAMPLE, lines=8, label="A pair a line: true action, predicted action, object"),
            gr.Textbox(OPPOSITES, lines=4, label="Actions that undo each other, two a line"),
        ],
        outputs=gr.Code(language="json", label="Metrics"),
        title="Action accuracy",
        description="Overall, macro, by action and by object, and how often an error is the opposite action.",
        flagging_mode="never",
        analytics_enabled=False,
    )


if __name__ == "__main__":
    page().launch()
