"""Renders the model card of a run from its files: `python -m modeling_cde.cards RUN`.

Every number on it comes from `config.json`, `metrics.json` and, if it exists, `geometry.json`; the energy is an
estimate and says so.
"""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from ..analysis.loss_terms import logged_terms, loss_weights, title
from ..data.splits.titles import split_title
from ..models.methods import by_model_type
from ..whole_files import read_object, write_whole
from .card_tables import (
    by_action_table,
    by_object_table,
    code,
    geometry_table,
    one_line,
    plain,
    rejection_table,
    results_table,
    table,
)
from .energy import energy_estimate, is_processor
from .fitted_card import fitted_values
from .metadata import base_model, card_metadata, hub_dataset
from .run_files import RunFiles, read_run

#: Stands for the checkpoint in the examples of a card without a repository.
PLACEHOLDER = "path/of/this/folder"

# Configuration fields that the card lists if the model has them.
_MODEL_KEYS = (
    "delta_mode",
    "delta_dim",
    "top_k_patches",
    "patch_loss",
    "pooling",
    "feature_layers",
    "projector_num_layers",
)
# Training arguments that the card shows elsewhere, or that name a place on one machine.
_TOLD_ELSEWHERE = {"backbone", "backbone_revision", "backbone_config", "method", "data", "rooms_folder"}


def write_model_card(
    run: str | Path, name: str | None = None, repo_id: str | None = None, dataset: str | None = None
) -> Path:
    """Render the model card of a finished run into its folder, as `README.md`, and return that path.

    Args:
        run: folder with `config.json` and `metrics.json`.
        name: the model's name (default: the repository's or the folder's).
        repo_id: `ORG/NAME` that the examples load; None if there is no repository.
        dataset: `ORG/NAME` of the data set, if training read it from a folder and it has been published since.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is not that of a finished run.
    """
    files = read_run(run)
    path = files.folder / "README.md"
    try:
        text = render_model_card(files, name, repo_id, dataset)
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, jinja2.TemplateError) as error:
        # Files from train.py have what a card needs; other files may lack anything.
        raise ValueError(
            f"{files.folder} has a config.json, metrics.json or geometry.json that train.py and the analysis did not "
            f"write, so no card was written ({type(error).__name__}: {one_line(error)[:200]}): restore the file."
        ) from error
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render_model_card(
    run: RunFiles,
    name: str | None = None,
    repo_id: str | None = None,
    dataset: str | None = None,
    paper: str = "",
    command: str = "",
) -> str:
    """The text of a model card; equal files and arguments give equal text. For arguments see `write_model_card`.

    `paper` is Markdown with the paper's numbers, which were not measured here. `command` trains this checkpoint today;
    default: the command of the run, which may name recipes that have changed since.
    """
    if "fitted" in run.training:
        return _render_fitted(run, name or _name(run, repo_id), repo_id, dataset)
    config, metrics, training = run.config, run.metrics, run.training
    arguments, environment, splits = training["arguments"], metrics["environment"], metrics["splits"]
    name = name or _name(run, repo_id)
    method = by_model_type()[config["model_type"]]
    patches = config.get("delta_mode") == "patch"
    weights = config["model_type"] == "cde" and not patches and config.get("pooling") == "change"
    keys = [key for key in _MODEL_KEYS if key in config and (patches or "patch" not in key)]
    energy, formula = energy_estimate(training["minutes"], environment)
    device = str(environment["device"])
    return render(
        "model_card.md",
        card_metadata(run, name, dataset).to_yaml(),
        run=run,
        name=name,
        method=method,
        pipeline=None if method.needs_masks else pipeline_snippet(repo_id or PLACEHOLDER),
        snippet=snippet(method.model, repo_id or PLACEHOLDER, one_line(arguments["image_size"])),
        patches=patches,
        weights=weights,
        arguments=arguments,
        results=results_table(splits),
        rejections=rejection_table(metrics.get("rejections")),
        gap=", ".join(f"{value:.3f} on {plain(split_title(split))}" for split, value in metrics["gap"].items()),
        used_twice=[
            f"{count:d} of the {splits[split]['n']:d} pairs of {plain(split_title(split))}"
            for split, count in training.get("pairs_used_twice", {}).items()
        ],
        by_action=by_action_table(splits, run.actions),
        by_object=by_object_table(splits),
        geometry=geometry_table(run.geometry) if run.geometry else "",
        paper=paper,
        model_table=_rows([("backbone", _backbone(run)), *((key, config[key]) for key in keys)]),
        base_model=base_model(run),
        origin=_origin(run),
        rooms=rooms_command(arguments) if run.rendered else "",
        data=code(dataset or hub_dataset(run) or Path(training["data"]).name),
        pairs=", ".join(f"{count:d} {plain(split_title(split))}" for split, count in training["pairs"].items()),
        command=command or one_line(training["command"]),
        loss=_loss(run),
        changed=_changed(run),
        training_table=_rows(
            sorted((k, v) for k, v in arguments.items() if v is not None and k not in {*_TOLD_ELSEWHERE, *_MODEL_KEYS})
        ),
        device=plain(f"CPU ({device})" if is_processor(device) and device != "CPU" else device),
        environment=environment,
        energy=energy,
        formula=formula,
    )


def _render_fitted(run: RunFiles, name: str, repo_id: str | None, dataset: str | None) -> str:
    """The card of a classifier that was fitted to a few pairs."""
    return render(
        "fitted_card.md",
        card_metadata(run, name, dataset).to_yaml(),
        run=run,
        name=name,
        checkpoint=json.dumps(repo_id or PLACEHOLDER, ensure_ascii=False),
        pipeline=pipeline_snippet(repo_id or PLACEHOLDER),
        backbone=_backbone(run),
        base_model=base_model(run),
        origin=_origin(run),
        **fitted_values(run),
    )


def _name(run: RunFiles, repo_id: str | None) -> str:
    return repo_id.rpartition("/")[2] if repo_id else run.folder.resolve().name


def render(template: str, header: str, **values: Any) -> str:
    """A card: the YAML header, and a template of this folder with its values filled in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["plain"] = plain
    environment.filters["split_title"] = split_title
    text = environment.get_template(template).render(**values)
    return f"---\n{header}\n---\n\n{text.strip()}\n"


def pipeline_snippet(checkpoint: str) -> str:
    """Code that runs a checkpoint in the pipeline, with only torch, Transformers and Pillow."""
    return f"""from transformers import pipeline

pipe = pipeline("action-classification", model={json.dumps(checkpoint, ensure_ascii=False)}, trust_remote_code=True)
print(pipe("before.png", "after.png", top_k=3))"""


def snippet(model: str, checkpoint: str, size: int | str) -> str:
    """Code that loads the checkpoint with this package and names the action of one pair of pictures."""
    quoted = json.dumps(checkpoint, ensure_ascii=False)
    return f"""from PIL import Image
from modeling_cde import CDEImageProcessor, {model}

model = {model}.from_pretrained({quoted}).eval()
processor = CDEImageProcessor.from_pretrained({quoted})  # resizes to {size} px
inputs = processor(Image.open("before.png"), Image.open("after.png"), return_tensors="pt")
print(model.config.id2label[model(**inputs).logits.argmax(-1).item()])"""


def rooms_command(arguments: Mapping[str, Any]) -> str:
    """The command that renders the rooms of a run again."""
    flags = {"view": "view", "num_pairs": "rooms_pairs", "image_size": "rooms_image_size", "seed": "rooms_seed"}
    told = [f"--{flag} {shlex.quote(one_line(arguments[key]))}" for flag, key in flags.items() if key in arguments]
    # Runs from before there was a choice were made on what is now called classic.
    if (kinds := arguments.get("rooms_kinds", "classic")) != "all":
        told.append(f"--kinds {shlex.quote(one_line(kinds))}")
    return " ".join(["python -m data_scripts.rooms --output data/rooms", *told])


def _backbone(run: RunFiles) -> str:
    name = run.training["arguments"].get("backbone")
    if not name:
        return f"{run.config['backbone_config']['model_type']}, trained from scratch"
    revision = run.config.get("backbone_revision") or run.training["arguments"].get("backbone_revision")
    shown = base_model(run) or (run.training.get("backbone_source") or {}).get("source") or Path(name).name
    return f"{shown}, commit {revision}" if revision else shown


def _origin(run: RunFiles) -> str:
    """What is recorded of pretrained weights that came from no repository, as Markdown; "" if nothing is."""
    told = run.training.get("backbone_source") or {}
    if base_model(run) or "licence" not in told:
        return ""
    about = [f"licence {plain(told['licence'])}", *(plain(told[key]) for key in ("url", "note") if key in told)]
    about += [f"SHA-256 {code(told['sha256'])}"] if "sha256" in told else []
    return f"{plain(told['source'])} ({'; '.join(about)})"


def _loss(run: RunFiles) -> str:
    """The terms that training minimised; the explanation of a baseline describes its own term."""
    arguments, state = run.training["arguments"], run.folder / "trainer_state.json"
    kept = read_object(state).get("stateful_callbacks", {}) if state.is_file() else {}
    weights = loss_weights(kept, arguments) or {"cross_entropy": 1.0}
    titles = {
        "contrastive": f"supervised contrastive (temperature {arguments.get('temperature', math.nan):g})",
        "sparsity": "L1 of the delta",
    }
    names = [name for name in logged_terms([weights]) if weights[name] and name != "auxiliary"]
    parts = [
        ("" if weights[name] == 1 and name == "cross_entropy" else f"{weights[name]:g} · ", name) for name in names
    ]
    return " + ".join(f"{weight}{titles.get(name) or plain(title(name))}" for weight, name in parts)


def _changed(run: RunFiles) -> list[str]:
    """What was changed of the settings when the training was resumed, a line for each time."""
    lines = []
    for change in run.training.get("changed_settings", []):
        values = [
            f"{code(name)} {plain(both['now'])} in place of {plain(both['then'])}"
            for name, both in change["settings"].items()
        ]
        lines.append(f"after step {change['after_step']:d}: {', '.join(values)}")
    return lines


def _rows(rows: Sequence[tuple[str, Any]]) -> str:
    return table(["", ""], [[key, str(value)] for key, value in rows], 2)
