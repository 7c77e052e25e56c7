"""Any trained checkpoint, from a folder or the Hub, and what is known of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import Comparison
from PIL import Image
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from modeling_cde.cards.card_tables import code, plain
from modeling_cde.data.splits.titles import split_title
from modeling_cde.evaluation.gallery import GALLERY_FILE, read_gallery
from modeling_cde.models.load_model import load_action_model
from modeling_cde.models.pipeline_cde import ActionClassificationPipeline
from modeling_cde.models.rejection_cde import ELSE, NOTHING
from modeling_cde.whole_files import as_they_were_written, read_object

_REJECTIONS = {
    NOTHING: "Nothing changed between the two pictures, as far as the model sees.",
    ELSE: "Something changed, but it is not like any action that the model knows.",
}


@dataclass(frozen=True)
class Reading:
    """What a checkpoint says of a pair.

    Attributes:
        probabilities: Answer -> probability, most probable first. Beside the actions, "nothing changed" or "something
            else" can be the first answer.
        delta: D numbers.
        patches: Of a patch-wise model: `box` (x0, y0, x1, y1, inclusive pixels of the pictures) and `norm` of each
            patch that it kept, largest norm first; otherwise None. `before_box` is the box in the picture before where
            that has another size.
        weights: Of a model that weighs patches by their change: rows of weights, which sum to 1; otherwise None.
        weights_boxes: The parts of the picture before and of the picture after that they lie over, boxes as above.
    """

    probabilities: dict[str, float]
    delta: list[float]
    patches: list[dict[str, Any]] | None
    weights: list[list[float]] | None = None
    weights_boxes: tuple[list[int], list[int]] | None = None

    @property
    def rejection(self) -> str | None:
        """A sentence where no action of the model seems to have happened."""
        return _REJECTIONS.get(next(iter(self.probabilities)))


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        name: Folder or repository id, as it was asked for.
        commit: Of the Hub repository, or None for a folder.
        pipeline: Model and processor.
        metrics: What metrics.json holds, or None where there is none.
        comparison: Training pairs to compare with, or None where there is no gallery.parquet.
    """

    name: str
    commit: str | None
    pipeline: ActionClassificationPipeline
    metrics: dict[str, Any] | None
    comparison: Comparison | None

    @classmethod
    def load(cls, name: str, revision: str | None = None) -> "Checkpoint":
        """Loads by the installed package; code of the repository is never run.

        Args:
            name: Folder or Hub id of a checkpoint of any method.
            revision: Branch, tag or commit of the Hub repository.

        Raises:
            OSError: There is no such folder or repository, or the Hub cannot be reached.
            ValueError: It is not a checkpoint of this package, its method needs more than two pictures, or a file
                beside it does not match.
        """
        model, processor = load_action_model(name, revision)
        commit = extract_commit_hash(f"{model.loaded_from}/config.json", None)
        if "masks" in getattr(model, "extra_inputs", ()):
            raise ValueError(f"{name} needs masks of the target beside the pictures, which this page cannot provide.")
        metrics = _beside(name, "metrics.json", commit)
        gallery = _beside(name, GALLERY_FILE, commit)
        checkpoint = cls(
            name=name,
            commit=commit,
            pipeline=ActionClassificationPipeline(model=model, image_processor=processor),
            metrics=None if metrics is None else read_object(metrics),
            comparison=None if gallery is None else Comparison(read_gallery(gallery)),
        )
        checkpoint._check()
        if metrics is not None:
            with as_they_were_written(metrics):
                checkpoint.description()  # now, and not when the page is built
        return checkpoint

    def _check(self) -> None:
        """Reads a black pair, so that what does not fit is found now and not by the first person."""
        black = Image.new("RGB", (64, 64))
        given = len(self.read(black, black).delta)
        if self.comparison is None:
            return
        stored = self.comparison.deltas.shape[1]
        if given != stored or self.comparison.action_names != self.actions:
            raise ValueError(
                f"the {GALLERY_FILE} of {self.name} belongs to another model ({stored} numbers per delta, here "
                f"{given}; actions {', '.join(self.comparison.action_names)}): evaluate the checkpoint again."
            )

    @property
    def actions(self) -> list[str]:
        """Names of the actions in the order of their class ids."""
        names = self.pipeline.model.config.id2label
        return [names[index] for index in sorted(names)]

    @property
    def patchwise(self) -> bool:
        """Whether it keeps patches; a baseline never does."""
        config = self.pipeline.model.config
        return bool(config.model_type == "cde" and config.delta_mode == "patch")

    @property
    def weighs_patches(self) -> bool:
        """Whether it pools patches by how much each changed; a baseline can."""
        return bool(self.pipeline.model.base_model.reader.feature == "change")

    @property
    def reads_crops(self) -> bool:
        """Whether it was trained on crops filled by the object."""
        return ((self.metrics or {}).get("training") or {}).get("arguments", {}).get("view") == "single"

    def read(self, before: Image.Image, after: Image.Image, box: list[int] | None = None) -> Reading:
        """Runs the model on one pair of RGB pictures, or on a box (inclusive pixels) of two pictures of one size."""
        options: dict[str, Any] = {"return_patches": True} if self.patchwise or self.weighs_patches else {}
        options |= {} if box is None else {"box": box}
        found = self.pipeline(before, after, top_k=len(self.actions) + 1, return_delta=True, **options)
        box = found.get("weights_box")
        return Reading(
            probabilities={item["label"]: item["score"] for item in found["actions"]},
            delta=found["delta"],
            patches=found.get("patches"),
            weights=found.get("weights"),
            weights_boxes=(found.get("weights_before_box", box), box) if box else None,
        )

    def description(self) -> str:
        """What was loaded, in Markdown."""
        config = self.pipeline.model.config
        where = "local folder" if self.commit is None else f"commit `{self.commit[:10]}` of the Hub"
        if config.model_type != "cde":
            kind = f"baseline `{config.model_type.removeprefix('cde-')}`"
        elif self.patchwise:
            kind = f"CDE, patch-wise: keeps the {config.top_k_patches} patches that changed most"
        elif self.weighs_patches:
            kind = "CDE, global: one delta for the whole picture, in which patches that changed more count more"
        else:
            kind = "CDE, global: one delta for the whole picture"
        lines = [
            f"**Checkpoint** {code(self.name)} ({where})",
            f"**Method** {kind}; backbone `{config.backbone_config.model_type}`; delta of {config.delta_dim} numbers",
            f"**{len(self.actions)} actions** {', '.join(map(plain, self.actions))}",
        ]
        splits = (self.metrics or {}).get("splits", {})
        tests = {split_title(name): values for name, values in splits.items() if "test" in name}
        if tests:
            measured = ", ".join(f"{plain(title)} {values['accuracy']:.3f}" for title, values in tests.items())
            lines.append(f"**Accuracy in its metrics.json** {measured}")
        if self.reads_crops:
            lines.append("It was trained on crops filled by the object: crop your pictures to the object, below them.")
        return "  \n".join(lines)


def _beside(name: str, file: str, commit: str | None) -> Path | None:
    """A file beside the weights, at the same commit; None where there is none."""
    found = cached_file(name, file, revision=commit, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)
