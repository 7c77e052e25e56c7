"""The metric as a page: paste its arguments as JSON."""

import json

import gradio as gr
from metrics import compute_action_metrics

EXAMPLE = """{
  "predictions": [0, 1, 0],
  "references": [0, 0, 2],
  "objects": ["safe", "box", "vase"],
  "action_names": ["open", "close", "break"],
  "opposites": {"open": "close", "close": "open"}
}"""


def measure(arguments):
    try:
        return json.dumps(compute_action_metrics(**json.loads(arguments)), indent=2, ensure_ascii=False)
    except (ValueError, TypeError) as error:
        raise gr.Error(f"{error} (The arguments are listed in the README.)", print_exception=False) from error


page = gr.Interface(
    fn=measure,
    inputs=gr.Code(EXAMPLE, language="json", label="Arguments"),
    outputs=gr.Code(language="json", label="Metrics"),
    title="Action accuracy",
    flagging_mode="never",
    analytics_enabled=False,
)

if __name__ == "__main__":
    page.launch()
