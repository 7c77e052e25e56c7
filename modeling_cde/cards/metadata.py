"""The YAML header of a model card, by which the Hub lists a checkpoint; it has measured results only."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ..data.splits.titles import split_title
from .run_files import RunFiles

LICENSE = "apache-2.0"
# Backbones whose own licence also covers models made from them, by the beginning of their model_type.
_PASSED_ON = {"dinov3": {"license": "other", "license_name": "dinov3-license"}}
LIBRARY = "transformers"
#: The nearest of the Hub's tasks, which has none for pairs of pictures. Its widget sends one picture, so it is off.
TASK = "image-classification"

_REPOSITORY = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]{0,95}", flags=re.ASCII)
_SHIFTS = ("comp", "syst", "mech")


def card_metadata(run: RunFiles, name: str, dataset: str | None = None) -> ModelCardData:
    """The header of a trained checkpoint's card; `dataset` is where the pairs are published, if it read a folder."""
    dataset = dataset or hub_dataset(run)
    return base_metadata(
        base_model=base_model(run),
        datasets=[dataset] if dataset else None,
        tags=[
            run.config["model_type"],
            *([f"{run.config['delta_mode']}-delta"] if "delta_mode" in run.config else []),
            *["synthetic"] * run.rendered,
        ],
        model_name=name,
        eval_results=_eval_results(run, dataset) or None,
        **_license(run),
    )


def _license(run: RunFiles) -> dict[str, str | None]:
    """The licence of a run's weights: the backbone's if that must be kept, otherwise this project's.

    Of a classifier that was fitted to somebody's own pairs, it is the one that they chose, or none.
    """
    family = run.config["backbone_config"]["model_type"] if base_model(run) else ""
    own = run.training["fitted"].get("license") if "fitted" in run.training else LICENSE
    for start, kept in _PASSED_ON.items():
        if family.startswith(start):
            return {**kept}
    return {"license": own or None}


def base_metadata(*, tags: Sequence[str] = (), **options: Any) -> ModelCardData:
    """A header with what all these models have in common.

    Args:
        tags: further tags; duplicates are dropped, since the Hub refuses them.
        **options: further arguments of `ModelCardData`; None omits a key.
    """
    return ModelCardData(
        **{"license": LICENSE, **options},
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=list(dict.fromkeys(["causal-delta-embeddings", "action-recognition", "before-after-pairs", *tags])),
        metrics=["accuracy"],
        inference=False,
        ignore_metadata_errors=False,
    )


def base_model(run: RunFiles) -> str | None:
    """Repository of the pretrained backbone; None if it was a folder, or trained from scratch."""
    backbone = run.training["arguments"].get("backbone")
    source = run.training.get("backbone_source")  # older runs have none
    if not backbone or not is_repository(backbone) or (source and "revision" not in source):
        return None
    # With a recorded commit it came from a repository, even if a folder of that name exists here.
    return None if not run.config.get("backbone_revision") and Path(backbone).is_dir() else str(backbone)


def hub_dataset(run: RunFiles) -> str | None:
    """Repository that the pairs were read from; None if it was a folder."""
    data = run.training["arguments"].get("data")
    # A run records the manifests of a folder of pairs; it cannot list those of a repository.
    return str(data) if data and not run.training.get("manifests") and is_repository(data) and "/" in data else None


def is_repository(text: str) -> bool:
    """Whether this is a possible repository: NAME or ORG/NAME, of letters, digits, `-`, `_` and `.`."""
    return bool(_REPOSITORY.fullmatch(text)) and ".." not in text and "--" not in text and not text.endswith(".git")


def _eval_results(run: RunFiles, dataset: str | None) -> list[EvalResult]:
    """Accuracy on each test split, named as `datasets.load_dataset` names it."""
    arguments = run.training["arguments"]
    view, splits = arguments.get("view") or "single", run.metrics["splits"]
    folder = Path(run.training["data"]).name
    shifts = [shift for shift in _SHIFTS if f"test_{shift}" in splits] or list(_SHIFTS)
    shifts = ["none"] if arguments.get("shift") == "none" else shifts
    results = []
    for split, values in splits.items():
        if not split.startswith("test"):
            continue
        shift = split.partition("_")[2]
        results.append(
            EvalResult(
                task_type=TASK,
                task_name="action classification from before/after pairs",
                dataset_type=dataset or folder,
                dataset_name="rendered rooms" if run.rendered else folder,
                dataset_config=f"{view}_{shift if shift in _SHIFTS else shifts[0]}",
                dataset_split="test_ood" if shift in _SHIFTS else split,
                metric_type="accuracy",
                metric_name=f"accuracy, {split_title(split)}",
                metric_value=round(values["accuracy"], 4),
            )
        )
    return results
