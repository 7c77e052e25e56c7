"""The results of a fitted classifier beside its checkpoint: `metrics.json`, and the card that is rendered from it."""

import json
from pathlib import Path
from typing import Any

from ..cards.model_card import write_model_card
from ..evaluation.evaluate import METRICS_FILE, environment
from ..training.run_record import backbone_source
from ..whole_files import command_without_places, without_places, write_text_whole
from .validation import CrossValidation


def write_results(
    folder: Path,
    classifier: Any,
    report: CrossValidation | None = None,
    *,
    data: str = "",
    command: str = "",
    minutes: float | None = None,
    license: str = "",
) -> None:
    """Writes `metrics.json` and the card into the folder of a saved checkpoint.

    Args:
        folder: The checkpoint's.
        classifier: A fitted `CDEClassifier`.
        report: What its `cross_validate` found.
        data: Where the pairs come from.
        command: That fitted it.
        minutes: That it took.
        license: Under which the owner of the pictures shares the checkpoint, such as cc-by-4.0; "": none is stated.
    """
    arguments = classifier.get_params()
    for name in ("feature_store", "revision"):  # where numbers are kept does not change them; the source has the commit
        del arguments[name]
    if Path(classifier.backbone).is_dir():  # a path on this machine means nothing elsewhere
        arguments["backbone"] = Path(classifier.backbone).name
    fitted = {
        "head": getattr(classifier, "head_", None),
        "pairs": getattr(classifier, "n_pairs_", None),
        "data": data,
        "command": command_without_places(command),
        "minutes": minutes,
        "license": license,
        "says": [] if report is None else report.says,
    }
    revision = classifier.model_.config.backbone_revision
    metrics = {
        "splits": {} if report is None else report.parts,
        "gap": {},
        "environment": environment(),
        "rejections": getattr(classifier, "rejections_", None),
        "training": {
            "fitted": fitted,
            "data": data,
            "arguments": {**arguments, "data": Path(data).name or "pairs", "view": _view(classifier)},
            "backbone_source": backbone_source(classifier.backbone, revision),
        },
    }
    write_text_whole(folder / METRICS_FILE, json.dumps(without_places(metrics), indent=2) + "\n")
    write_model_card(folder)


def _view(classifier: Any) -> str:
    """What the classifier was fitted to, as `--view` of train.py has it: the demo asks for a box of "single" ones."""
    return "single" if getattr(classifier, "crops_", False) else "multi"
