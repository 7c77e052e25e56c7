"""The model card of a run, rendered from its `config.json` and `metrics.json`.

    python -m modeling_cde.cards.model_card runs/quickstart

writes `README.md` into the folder. Every number in the card is read from those files.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = Path(__file__).with_name("model_card.md")


class Described(NamedTuple):
    """What a card says of a method: the class to load, one sentence, and how it works."""

    model: str
    sentence: str
    explanation: str


_METHODS = {  # by model_type
    "cde": Described(
        "CDEForActionClassification",
        "Causal delta embeddings: an action is recognised from the difference of two embeddings.",
        "An intervention is represented as the difference of two embeddings, δ = φ(after) − φ(before), where φ is a "
        "causal projector on a vision backbone. Identical pictures have δ = 0, and swapping the two flips the sign.",
    ),
    "cde-concatenation": Described(
        "ConcatenationForActionClassification",
        "A baseline: an action is recognised from two embeddings side by side.",
        "Both pictures are embedded, and a small network reads the two embeddings side by side.",
    ),
    "cde-icm": Described(
        "ICMForActionClassification",
        "A baseline: an action is recognised from embeddings that an adversary cannot read the object from.",
        "A critic learns to name the object from the embeddings, and its reversed gradient makes that hard.",
    ),
    "cde-sms": Described(
        "SMSForActionClassification",
        "A baseline: an action is recognised from embeddings of which it may change one block only.",
        "Every action has a block of dimensions, shared with its opposite; a penalty keeps the other blocks unchanged.",
    ),
    "cde-oracle-mask": Described(
        "OracleMaskForActionClassification",
        "An oracle: an action is recognised from what lies under the true mask of its target.",
        "Patch features are averaged under the target's mask, in both pictures. It needs `masks` beside the pictures.",
    ),
    "cde-token-matching": Described(
        "TokenMatchingForActionClassification",
        "A baseline: an action is recognised from the differences of matched patches.",
        "Each patch of one picture is matched with the most similar patch of the other; the differences are pooled.",
    ),
    "cde-joint": Described(
        "JointEncoderForActionClassification",
        "A baseline: an action is recognised by a transformer that reads the patches of both pictures at once.",
        "A small transformer attends over the patch tokens of both frames, as a video model does.",
    ),
    "cde-neighbours": Described(
        "NeighboursForActionClassification",
        "A baseline: an action is that of the most similar training pairs.",
        "The features of the training pairs are kept, and the nearest of them by cosine vote.",
    ),
}
_MODEL_KEYS = (
    "delta_mode",
    "delta_dim",
    "top_k_patches",
    "patch_loss",
    "global_feature",
    "projector_num_layers",
)
_SPLIT_TEXT = {
    "test": "in distribution",
    "test_comp": "unseen action-object combinations",
    "test_syst": "unseen objects",
}


def results_rows(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The results as a Markdown table, a row per split."""
    lines = ["| split | what | pairs | accuracy | macro accuracy |", "|---|---|---:|---:|---:|"]
    for name, values in splits.items():
        what = _SPLIT_TEXT.get(name.replace("validation", "test"), "")
        figures = f"{values['n']} | {values['accuracy']:.3f} | {values['macro_accuracy']:.3f}"
        lines.append(f"| {name} | {what} | {figures} |")
    return "\n".join(lines)


def snippet(model_type: str, folder: str, size: int) -> str:
    """Code that loads the checkpoint and names the action of one pair of pictures."""
    kind = _METHODS[model_type].model
    return "\n".join(
        [
            "from PIL import Image",
            f"from modeling_cde import CDEImageProcessor, {kind}",
            "",
            f'model = {kind}.from_pretrained("{folder}").eval()',
            f'processor = CDEImageProcessor.from_pretrained("{folder}")  # resizes to {size} px',
            'inputs = processor(Image.open("before.png"), Image.open("after.png"), return_tensors="pt")',
            "print(model.config.id2label[model(**inputs).logits.argmax(-1).item()])",
        ]
    )


def card_metadata(name: str, config: Mapping[str, Any], metrics: Mapping[str, Any], rendered: bool) -> ModelCardData:
    """The card's YAML header, with the measured test accuracies as `model-index`."""
    source = metrics["training"]["data"]
    backbone = metrics["training"]["arguments"].get("backbone")
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="action classification from before/after pairs",
            dataset_type=source,
            dataset_name=Path(source).name,
            dataset_split=split,
            metric_type="accuracy",
            metric_name=f"accuracy, {_SPLIT_TEXT.get(split, split)}",
            metric_value=round(values["accuracy"], 4),
        )
        for split, values in metrics["splits"].items()
        if split.startswith("test")
    ]
    return ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["causal-delta-embeddings", config["model_type"], "before-after-pairs"] + ["synthetic"] * rendered,
        base_model=None if backbone and Path(backbone).is_dir() else backbone,  # a folder is no repository
        metrics=["accuracy"],
        model_name=name,
        eval_results=results,
        ignore_metadata_errors=False,
    )


def write_model_card(run: str | Path, name: str | None = None) -> Path:
    """Render the model card of a finished run.

    Args:
        run: folder with `config.json` and `metrics.json`.
        name: the model's name; the folder's when None.

    Returns:
        The path of the card, `README.md` in the folder.

    Raises:
        FileNotFoundError: if one of the two files is missing.
    """
    folder = Path(run)
    for file in ("config.json", "metrics.json"):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder / file} is missing: give the output folder of a finished run.")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    training, environment = metrics["training"], metrics["environment"]
    arguments = training["arguments"]
    name = name or folder.resolve().name
    rendered = arguments["data"] is None
    backbone = config["backbone_config"]
    described = arguments.get("backbone") or f"{backbone['model_type']}, trained from scratch"
    label_of = {int(key): value for key, value in config["id2label"].items()}
    told_above = {"backbone_config", "method", *_MODEL_KEYS}
    model_keys = [
        key for key in _MODEL_KEYS if key in config and (config.get("delta_mode") == "patch" or "patch" not in key)
    ]
    card = ModelCard.from_template(
        card_metadata(name, config, metrics, rendered),
        template_path=str(TEMPLATE),
        name=name,
        method_sentence=_METHODS[config["model_type"]].sentence,
        actions=[label_of[i] for i in sorted(label_of)],
        snippet=snippet(config["model_type"], name, arguments["image_size"]),
        results=results_rows(metrics["splits"]),
        gap=", ".join(f"{value:.3f} on {split}" for split, value in metrics["gap"].items()),
        model_rows=[("backbone", described), *((key, config[key]) for key in model_keys)],
        explanation=_METHODS[config["model_type"]].explanation,
        data=training["data"],
        used_twice=[
            f"{count} of the {metrics['splits'][split]['n']} pairs of {split}"
            for split, count in training.get("pairs_used_twice", {}).items()
        ],
        pairs=", ".join(f"{count} {split}" for split, count in training["pairs"].items()),
        minutes=training["minutes"],
        device=environment["device"],
        cores=environment["cores"],
        torch=environment["torch"],
        transformers=environment["transformers"],
        command=training["command"],
        training_rows=sorted((k, v) for k, v in arguments.items() if v is not None and k not in told_above),
        rendered=rendered,
    )
    path = folder / "README.md"
    card.save(path)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m modeling_cde.cards.model_card", description=__doc__)
    parser.add_argument("run", help="output folder of a finished run")
    parser.add_argument("--name", help="the model's name; the folder's by default")
    options = parser.parse_args(arguments)
    print(write_model_card(options.run, options.name))


if __name__ == "__main__":
    main()
