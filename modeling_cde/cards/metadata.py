"""The YAML header of a model card: what the Hub lists a checkpoint by, with measured results only."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from .card_tables import split_text
from .run_files import RunFiles

LICENSE = "apache-2.0"
# Backbones that pass a licence of their own on to what is made of them, by the beginning of their model_type.
_PASSED_ON = {"dinov3": {"license": "other", "license_name": "dinov3-license"}}
LIBRARY = "transformers"
#: The nearest of the Hub's tasks. It has none for a pair of pictures; its widget would send one, so it is turned off.
TASK = "image-classification"

_REPOSITORY = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]{0,95}", flags=re.ASCII)
_SHIFTS = ("comp", "syst")


def card_metadata(run: RunFiles, name: str, dataset: str | None = None) -> ModelCardData:
    """The header of a trained checkpoint's card.

    Args:
        run: the files of the run.
        name: of the model.
        dataset: repository of the data set, where the training read it from a folder.
    """
    dataset = dataset or hub_dataset(run)
    return base_metadata(
        base_model=base_model(run),
        datasets=[dataset] if dataset else None,
        tags=[run.config["model_type"], *([_mode_tag(run.config)] if "delta_mode" in run.config else [])]
        + ["synthetic"] * run.rendered,
        model_name=name,
        eval_results=_eval_results(run, dataset),
        **_license(run),
    )


def _license(run: RunFiles) -> dict[str, str]:
    """The licence of a run's weights: that of their backbone where it has to be kept, else ours."""
    family = run.config["backbone_config"]["model_type"] if base_model(run) else ""
    return next((kept for start, kept in _PASSED_ON.items() if family.startswith(start)), {"license": LICENSE})


def base_metadata(*, tags: Sequence[str] = (), **options: Any) -> ModelCardData:
    """What the headers of all our models have in common, and more of it.

    Args:
        tags: beside the common ones; a second one of a kind is left out, since the Hub refuses it.
        **options: of `ModelCardData`; None leaves a key out.
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
    """Repository of the pretrained backbone; None where it was a folder, or trained from scratch."""
    backbone = run.training["arguments"].get("backbone")
    if not backbone or not is_repository(backbone):
        return None
    # With a recorded commit it came from a repository, whatever lies in the folder where this runs.
    return None if not run.config.get("backbone_revision") and Path(backbone).is_dir() else str(backbone)


def hub_dataset(run: RunFiles) -> str | None:
    """Repository that the pairs were read from; None where it was a folder."""
    data = run.training["arguments"].get("data")
    # A folder of pairs has manifests, which a run records; a repository's are not there to be listed.
    return str(data) if data and not run.training.get("manifests") and is_repository(data) and "/" in data else None


def is_repository(text: str) -> bool:
    """Whether the Hub may have a repository of that name: NAME or ORG/NAME, of letters, digits, `-`, `_` and `.`."""
    return bool(_REPOSITORY.fullmatch(text)) and ".." not in text and "--" not in text and not text.endswith(".git")


def _mode_tag(config: Mapping[str, Any]) -> str:
    return f"{config['delta_mode']}-delta"


def _eval_results(run: RunFiles, dataset: str | None) -> list[EvalResult]:
    """Accuracy on each test split, which is named so that `datasets.load_dataset` finds it."""
    arguments = run.training["arguments"]
    view, splits = arguments.get("view") or "single", run.metrics["splits"]
    folder = Path(run.training["data"]).name
    shifts = [shift for shift in _SHIFTS if f"test_{shift}" in splits] or list(_SHIFTS)
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
                metric_name=f"accuracy, {split_text(split) or split}",
                metric_value=round(values["accuracy"], 4),
            )
        )
    return results
