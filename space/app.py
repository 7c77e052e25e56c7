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

import drawing
from checkpoint import Checkpoint
from given_pictures import WrongPicture, box_of, open_pair, uploaded

from modeling_cde.cli.extras import install
from modeling_cde.cli.verbs import command, program
from modeling_cde.whole_files import in_one_sentence

try:
    import gradio as gr
except ModuleNotFoundError as error:
    sys.exit(f"{program('space/app.py')}: the demo needs {error.name}, which is not installed: {install('demo')}")

EXAMPLES = Path(__file__).parent / "examples"
NEIGHBOURS = 6
EDGES = {"Left": 0, "Top": 0, "Right": 100, "Bottom": 100}  # of a crop, in percent of the pictures


def run(checkpoint: Checkpoint, before: str | None, after: str | None, *edges: float) -> list[Any]:
    """What the page shows of a pair.

    Args:
        checkpoint: What reads the pair.
        before, after: Paths of the two pictures, or None.
        *edges: Left, top, right and bottom of the crop, in percent; none for whole pictures.

    Returns:
        Message, probabilities, patches or their weights, bars and nearest pairs; for wrong pictures the message alone.
    """
    try:
        first, second, note = open_pair(before, after)
        box = box_of(first, edges) if edges else None
    except WrongPicture as error:
        return cleared(str(error))
    if box is not None and second.size != first.size:  # a box is in pixels of both
        second = second.resize(first.size)
    reading = checkpoint.read(first, second, box)
    if reading.weights is not None and reading.weights_boxes is not None:
        looked = drawing.heat_maps(first, second, reading.weights, reading.weights_boxes)
    else:
        looked = drawing.patches(first, second, reading.patches)
    said = " ".join(filter(None, (reading.rejection, note)))
    found = [drawing.message(said), reading.probabilities, looked]
    if checkpoint.comparison is None:
        return [*found, drawing.no_gallery(), drawing.no_gallery()]
    cosines = checkpoint.comparison.action_cosines(reading.delta)
    neighbours = checkpoint.comparison.nearest(reading.delta, NEIGHBOURS)
    return [*found, drawing.bars(cosines, len(checkpoint.comparison.pairs)), drawing.nearest(neighbours)]


def cleared(text: str | None = None) -> list[Any]:
    """The page without results: the message and four empty panels."""
    return [drawing.message(text), None, "", "", ""]


def crop_shown(before: str | None, *edges: float) -> str:
    """The picture before with the crop framed; nothing without a picture, which Run asks for."""
    try:
        first, _, _ = open_pair(before, before)
        box = box_of(first, edges)
    except WrongPicture as error:
        return "" if before is None else drawing.message(str(error))
    return drawing.cropped(first, box or [0, 0, first.width - 1, first.height - 1])


def build(checkpoint: Checkpoint) -> gr.Blocks:
    """The page of a checkpoint."""
    before, after = picture_input("Before"), picture_input("After")
    message = gr.HTML(elem_id="message", padding=False, render=False)
    action = gr.Label(label="Action", num_top_classes=5, elem_id="action", render=False)
    panels = [
        gr.HTML(label=label, show_label=True, container=True, elem_id=name, render=False)
        for name, label in (
            ("patches", "Weights of the patches" if checkpoint.weighs_patches else "Selected patches"),
            ("bars", "Delta against the actions"),
            ("nearest", "Nearest training pairs"),
        )
    ]
    pictures, results = [before, after], [message, action, *panels]
    sliders = [gr.Slider(0, 100, value, step=1, label=f"{name}, %", render=False) for name, value in EDGES.items()]
    sliders = sliders if checkpoint.reads_crops else []
    inputs = [*pictures, *sliders]

    def run_pair(first: str | None, second: str | None, *edges: float) -> list[Any]:
        return run(checkpoint, first, second, *edges)

    def run_swapped(first: str | None, second: str | None, *edges: float) -> list[Any]:
        return cleared() if first is None or second is None else run_pair(first, second, *edges)

    with gr.Blocks(title="Causal Delta Embeddings", analytics_enabled=False) as page:
        gr.Markdown("# What happened between two pictures?")
        gr.Markdown(checkpoint.description(), elem_id="loaded")
        with gr.Row():
            for name, picture in (("before", before), ("after", after)):
                with gr.Column(elem_id=f"picture-{name}", min_width=150):
                    picture.render()
        if sliders:
            crop_tool(before, sliders)
        with gr.Row():
            run_button = gr.Button("Run", variant="primary", elem_id="run")
            swap_button = gr.Button("Swap before and after", elem_id="swap")
        message.render()
        shown = gr.Examples(
            [[str(path), str(path).replace("_before", "_after")] for path in examples()],
            pictures,
            cache_examples=False,
            api_visibility="private",
            label="Examples: test pairs of rendered rooms",
            elem_id="examples",
        )
        with gr.Row():
            with gr.Column():
                action.render()
                panels[0].render()
            with gr.Column():
                panels[1].render()
                panels[2].render()
        private: dict[str, Any] = {"concurrency_id": "model", "trigger_mode": "multiple", "api_visibility": "private"}
        running = [
            run_button.click(run_pair, inputs, results, api_name="run", concurrency_id="model"),
            swap_button.click(
                None, pictures, pictures, js="(before, after) => [after, before]", api_visibility="private"
            ).then(run_swapped, inputs, results, **private),
            shown.load_input_event.then(run_pair, inputs, results, **private),
        ]
        # Results beside pictures that they are not of would be read as theirs: they go with the pictures, in the page,
        # since the server's answer could come later than that to a quick Run, and clear it. What is still computed goes
        # with a picture, too; after another example or a swap the newer answer comes later, since the model reads one
        # pair after the other. The page's own word for no probabilities is {}.
        changes = [change for picture in pictures for change in (picture.input, picture.clear)]
        changes += [slider.input for slider in sliders]
        empty: dict[str, Any] = {"js": "() => ['', {}, '', '', '']", "api_visibility": "private"}
        gr.on(changes, None, None, results, cancels=running, **empty)
        gr.on([swap_button.click, shown.dataset.click], None, None, results, **empty)
    return page


def crop_tool(before: gr.Image, sliders: list[gr.Slider]) -> None:
    """Sliders for the edges of one crop of both pictures, and the picture before under it."""
    with gr.Accordion("Crop both pictures to the object", open=False, elem_id="crop"):
        for pair in (sliders[:2], sliders[2:]):
            with gr.Row():
                for slider in pair:
                    slider.render()
        shown = gr.HTML(elem_id="crop-shown", padding=False)
    events = [before.change, *(slider.change for slider in sliders)]
    gr.on(events, crop_shown, [before, *sliders], shown, api_visibility="private", show_progress="hidden")


def launch(page: gr.Blocks, port: int | None = None, **options: Any) -> tuple[Any, str, str]:
    """Serves a page; nothing of it comes from elsewhere, and nothing is sent elsewhere.

    Args:
        page: From `build`.
        port: Of the local address; None for the first free one from 7860.
        **options: Others of `gradio.Blocks.launch`.

    Returns:
        See `gradio.Blocks.launch`.
    """
    blue = {"button_primary_background_fill": "#063fa2", "button_primary_background_fill_hover": "#0a52cc"}
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gr.themes.Default(primary_hue="blue", **fonts)
    labels = (Path(__file__).parent / "labels.js").read_text(encoding="utf-8")
    names = [path.stem.removesuffix("_before").replace("_", " ") for path in examples()]
    theme.set(**blue, **{f"{name}_dark": colour for name, colour in blue.items()})  # white on it is readable
    return page.launch(
        server_port=port,
        share=False,
        ssr_mode=False,
        theme=theme,
        css=drawing.STYLE,
        js=labels.replace("EXAMPLES", json.dumps(names)),
        max_file_size="25mb",
        footer_links=["gradio", "settings"],
        **options,
    )


def examples() -> list[Path]:
    """The pictures before of the examples, in their order; each has one after beside it."""
    return sorted(EXAMPLES.glob("*_before.png"))


def picture_input(label: str) -> gr.Image:
    """A picture from a file, the camera or the clipboard, handed on as a path from `uploaded`."""
    options: dict[str, Any] = {"type": "filepath", "sources": ["upload", "webcam", "clipboard"], "height": 280}
    picture = gr.Image(label=label, elem_id=label.lower(), render=False, **options)
    # Gradio's own reading of an upload fails over a broken file with a trace in the log and no sentence in the page.
    picture.preprocess = lambda payload: None if payload is None else uploaded(payload.path, picture.GRADIO_CACHE)
    take = picture.async_move_resource_to_block_cache

    async def take_no_url(path: Any) -> str | None:
        """Gradio would fetch a URL that a request names in place of a file."""
        return path if str(path).startswith(("http://", "https://")) else await take(path)

    picture.async_move_resource_to_block_cache = take_no_url
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
    parser = argparse.ArgumentParser(prog=command("space/app.py"), description=__doc__)
    parser.add_argument("--model", help="folder or repository of a checkpoint")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--port", type=int, help="of the local address; default: the first free one from 7860")
    options = parser.parse_args(arguments)
    model, revision = (options.model, options.revision) if options.model else configured()
    if not model:
        sys.exit(f"{program('space/app.py')}: give --model FOLDER or ORG/NAME, or set CDE_MODEL.")
    try:
        checkpoint = Checkpoint.load(model, revision)
    except (ValueError, OSError) as error:
        sys.exit(
            f"{program('space/app.py')}: {str(error).splitlines()[0]}"
        )  # Transformers adds paragraphs of general advice
    try:
        launch(build(checkpoint), options.port)
    except (OSError, OverflowError):  # of the socket, under many words of advice
        what = f"port {options.port}" if options.port is not None else "every port from 7860 on"
        sys.exit(f"{program('space/app.py')}: {what} is in use or not available: choose a free one with --port.")


if __name__ == "__main__":
    with in_one_sentence("space/app.py"):
        main()
