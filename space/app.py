"""Try a checkpoint in the browser: two pictures in, what happened between them out.

    python space/app.py --model runs/quickstart [--revision REVISION] [--port 7860]

Without --model it takes the checkpoint from the variables CDE_MODEL and CDE_REVISION, or from `model.json` beside it,
which a published Space has.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr

import drawing
from checkpoint import Checkpoint
from pictures import WrongPicture, open_pair

EXAMPLES = Path(__file__).parent / "examples"
NEIGHBOURS = 6


def run(checkpoint: Checkpoint, before: str | None, after: str | None) -> list[Any]:
    """What the page shows of a pair.

    Args:
        checkpoint: What reads the pair.
        before, after: Paths of the two pictures, or None.

    Returns:
        Message, probabilities, patches, bars and nearest pairs; for wrong pictures the message alone.
    """
    try:
        first, second, note = open_pair(before, after)
    except WrongPicture as error:
        return cleared(str(error))
    reading = checkpoint.read(first, second)
    found = [drawing.message(note), reading.probabilities, drawing.patches(first, second, reading.patches)]
    if checkpoint.comparison is None:
        return [*found, drawing.no_gallery(), drawing.no_gallery()]
    cosines = checkpoint.comparison.action_cosines(reading.delta)
    neighbours = checkpoint.comparison.nearest(reading.delta, NEIGHBOURS)
    return [*found, drawing.bars(cosines, len(checkpoint.comparison.pairs)), drawing.nearest(neighbours)]


def cleared(text: str | None = None) -> list[Any]:
    """The page without results: message, and nothing for the four others."""
    return [drawing.message(text), None, "", "", ""]


def build(checkpoint: Checkpoint) -> gr.Blocks:
    """The page of a checkpoint."""
    with gr.Blocks(title="Causal Delta Embeddings", analytics_enabled=False) as page:
        gr.Markdown("# What happened between two pictures?")
        gr.Markdown(checkpoint.description(), elem_id="loaded")
        with gr.Row():
            before, after = picture_input("Before"), picture_input("After")
        with gr.Row():
            run_button = gr.Button("Run", variant="primary", elem_id="run")
            swap_button = gr.Button("Swap before and after", elem_id="swap")
        message = gr.HTML(elem_id="message", show_label=False)
        examples = sorted(EXAMPLES.glob("*_before.png"))
        results: list[Any] = [message]
        inputs = [before, after]
        with gr.Row():
            with gr.Column():
                results.append(gr.Label(label="Action", num_top_classes=5, elem_id="action"))
            with gr.Column():
                results.append(gr.HTML(label="Selected patches", show_label=True, container=True, elem_id="patches"))
        with gr.Row():
            with gr.Column():
                results.append(gr.HTML(label="Delta against the actions", show_label=True, container=True, elem_id="bars"))
            with gr.Column():
                results.append(gr.HTML(label="Nearest training pairs", show_label=True, container=True, elem_id="near"))

        def run_pair(first: str | None, second: str | None) -> list[Any]:
            return run(checkpoint, first, second)

        def swap(first: str | None, second: str | None) -> list[Any]:
            both = first is not None and second is not None
            return [second, first, *(run(checkpoint, second, first) if both else cleared())]

        gr.Examples(
            [[str(path), str(path).replace("_before", "_after")] for path in examples],
            inputs,
            results,
            fn=run_pair,
            run_on_click=True,
            cache_examples=False,
            label="Examples: rendered rooms that the training did not see",
        )
        run_button.click(run_pair, inputs, results, api_name="run")
        swap_button.click(swap, inputs, [*inputs, *results], api_visibility="private")
        for picture in inputs:  # old results beside a new picture would be read as its own
            gr.on([picture.input, picture.clear], cleared, None, results, api_visibility="private", queue=False)
    return page


def picture_input(label: str) -> gr.Image:
    """A picture from a file, the camera or the clipboard, handed on as a path."""
    picture = gr.Image(
        label=label, type="filepath", sources=["upload", "webcam", "clipboard"], height=280, elem_id=label.lower()
    )
    # Gradio's own reading of an upload fails over a broken file with a trace in the log and no sentence in the page.
    picture.preprocess = lambda payload: None if payload is None else payload.path
    return picture


def configured() -> tuple[str | None, str | None]:
    """The checkpoint and its revision that the surroundings name, or None for what they do not."""
    if model := os.environ.get("CDE_MODEL"):
        return model, os.environ.get("CDE_REVISION") or None
    file = Path(__file__).with_name("model.json")
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found.get("model"), found.get("revision")


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python space/app.py", description=__doc__)
    parser.add_argument("--model", help="folder or repository of a checkpoint")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--port", type=int, help="of the local address; default: the first free one from 7860")
    options = parser.parse_args(arguments)
    model, revision = (options.model, options.revision) if options.model else configured()
    if not model:
        sys.exit("space/app.py: give --model FOLDER or ORG/NAME, or set CDE_MODEL.")
    try:
        checkpoint = Checkpoint.load(model, revision)
    except (ValueError, OSError) as error:
        sys.exit(f"space/app.py: {error}")
    build(checkpoint).launch(
        server_port=options.port,
        share=False,
        ssr_mode=False,
        css=drawing.STYLE,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        max_file_size="25mb",
        footer_links=["gradio", "settings"],
    )


if __name__ == "__main__":
    main()
