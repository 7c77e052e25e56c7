"""The metric as a page: paste true and predicted actions, one pair per line."""

import csv
import json

import gradio as gr
from metrics import compute_action_metrics

EXAMPLE = "open, open, safe\nopen, close, box\nbreak, open, vase"
OPPOSITES = "open, close\nturnon, turnoff\nclean, dirty\nfill, empty"


def measure(pairs, opposites):
    """The metrics as JSON of lines "true action, predicted action[, object]"; `opposites` has two actions per line."""
    try:
        rows = _rows(pairs, (2, 3), "true action, predicted action, object")
        names = list(dict.fromkeys(name for row in rows for name in row[:2]))
        both = _rows(opposites, (2,), "action, opposite action")
        found = compute_action_metrics(
            predictions=[names.index(row[1]) for row in rows],
            references=[names.index(row[0]) for row in rows],
            action_names=names,
            objects=[row[2] if len(row) == 3 else "" for row in rows],
            opposites=dict(both) | {second: first for first, second in both},
        )
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return json.dumps(found, indent=2, ensure_ascii=False)


def _rows(text, lengths, wanted):
    rows = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if any(cell.strip() for cell in row):
            if len(row) not in lengths:
                raise ValueError(f"Line {number} has {len(row)} names; write: {wanted}.")
            rows.append([cell.strip() for cell in row])
    return rows


page = gr.Interface(
    fn=measure,
    inputs=[
        gr.Textbox(EXAMPLE, lines=8, label="One pair per line: true action, predicted action, object"),
        gr.Textbox(OPPOSITES, lines=4, label="Actions that undo each other, two per line"),
    ],
    outputs=gr.Code(language="json", label="Metrics"),
    title="Action accuracy",
    description="Overall, macro, by action and by object, and how often an error is the opposite action.",
    flagging_mode="never",
    analytics_enabled=False,
)

if __name__ == "__main__":
    page.launch()
