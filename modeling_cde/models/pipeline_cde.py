"""The "action-classification" pipeline: two images in, actions with their probabilities out; or a clip, and when."""

import math
from collections.abc import Iterator, Sequence
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from transformers import Pipeline, PreTrainedModel

from .checks_cde import check_outputs
from .pipeline_inputs_cde import CALL, Boxed, Clip, boxed, find_clip, pair_of, picture_of, several
from .rejection_cde import NOTHING, rejection
from .threads_cde import InThreads

TASK = "action-classification"
_OF_A_CLIP = {"frames_per_second", "segment_cost", "longest"}


class ActionClassificationPipeline(Pipeline):  # type: ignore[misc]
    """Names what happened between two images.

    Args:
        model: A model with an action classifier; for an encoder, its classifier is loaded too.
        **kwargs: As for every pipeline of Transformers, and those of a call, which then apply to all calls.

    Raises:
        ValueError: The model has no action classifier.

    Examples:
        >>> pipe = pipeline("action-classification", model="folder")
        >>> pipe("before.png", "after.png", top_k=2)
        [{'label': 'open', 'score': 0.93}, {'label': 'close', 'score': 0.04}]
        >>> pipe("before.png", "before.png", top_k=1)
        [{'label': 'nothing changed', 'score': 1.0}]
        >>> pipe("clip.mp4")
        [{'start': 3, 'end': 6, 'label': 'open', 'score': 0.97, 'start_seconds': 0.6, 'end_seconds': 1.2}]
    """

    _load_processor = False
    _load_image_processor = True
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: PreTrainedModel, **kwargs: Any) -> None:
        if hasattr(model, "projector"):
            model = model.with_classifier()
        self._grids: dict[tuple[int, int], tuple[int, int] | None] = {}
        super().__init__(model=model, **kwargs)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        return_delta: bool | None = None,
        return_patches: bool | None = None,
        open_paths: bool | None = None,
        reject: bool | None = None,
        max_actions: int | None = None,
        frames_per_second: float | None = None,
        segment_cost: float | None = None,
        longest: int | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], ...]:
        if kwargs:
            raise TypeError(
                f"The pipeline has no argument {sorted(kwargs)[0]!r}: call {CALL}, optionally with box=[...], "
                "top_k=n, max_actions=2, return_delta=True, return_patches=True, open_paths=True, reject=False, "
                "batch_size=n; of a clip segment_cost=x, longest=n, frames_per_second=n."
            )
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise ValueError(f"top_k must be a whole number of at least 1, not {top_k!r}.")
        looks_at_patches = self.model.config.delta_mode == "patch" or self.model.base_model.reader.feature == "change"
        if return_patches and not looks_at_patches:
            raise ValueError(
                "return_patches=True needs a patch-wise model or one that weighs patches by their change, and this one "
                'does neither: leave it out, or load a model that was trained with delta_mode="patch" or '
                'pooling="change".'
            )
        if max_actions is not None:
            if not isinstance(max_actions, int) or isinstance(max_actions, bool) or max_actions < 1:
                raise ValueError(f"max_actions must be a whole number of at least 1, not {max_actions!r}.")
            self.model.compose([])  # says so if the checkpoint has no action means
        given: dict[str, Any] = {
            "top_k": top_k,
            "return_delta": return_delta,
            "return_patches": return_patches,
            "reject": reject,
        }
        given |= {"max_actions": max_actions, "segment_cost": segment_cost, "longest": longest}
        preparing: dict[str, Any] = {} if open_paths is None else {"open_paths": open_paths}
        if frames_per_second is not None:
            if not isinstance(frames_per_second, (int, float)) or not 0 < frames_per_second < float("inf"):
                raise ValueError(f"frames_per_second must be a number above 0, not {frames_per_second!r}.")
            preparing["frames_per_second"] = frames_per_second
        return preparing, {}, {name: value for name, value in given.items() if value is not None}

    def __call__(
        self, before: Any = None, after: Any = None, box: Any = None, *, frames: Any = None, **kwargs: Any
    ) -> Any:
        """Classifies pairs, or finds the actions of a clip.

        Args:
            before: First image (path, URL, PIL image, array or tensor), several of them (a list, or an array with one
                dimension more), a pair `(before, after)`, a row `{"before": ..., "after": ...}`, or a list, generator
                or data set of pairs or rows; or a clip, see `frames`.
            after: Second image, or several, unless `before` contains pairs.
            box: For a model that was trained on crops: xmin, ymin, xmax, ymax of the object in pixels of both images,
                bounds inclusive, or a list with the box of each pair. The model then sees the box with a margin, as in
                training. Boxes that rows contain are not used unless they are given here. A clip has one box.
            frames: A clip of at least two frames: a list of images, an array (T, ...), or the path of a video, which
                needs PyAV. Three or more images, or the path of a video, are a clip also as the only argument.
            **kwargs: `top_k`: number of answers to return (default 5); `reject`: whether "nothing changed" and
                "something else" are answers beside the actions (default True); `return_delta`: return the delta too;
                `max_actions`: answer which actions happened together, at most so many (see `decode_actions`);
                `return_patches`: return where the model looked too; `open_paths`: also open files and fetch URLs that
                a row or a data set names, which its author chose and not the caller (default: only what the call's own
                pairs name); `batch_size`: pairs that go through the model at once (default 1); `num_workers`:
                processes that prepare the pictures of a list or data set (default 0: as many threads as the model
                uses).

        Returns:
            For one pair a list of `{"label", "score"}`, most probable first; for a list of pairs a list of those, for
            a generator or data set an iterator. Scores are a softmax over the actions. A pair beyond a threshold of the
            checkpoint has "nothing changed" or "something else" first: its score is 0.5 at the threshold and rises
            towards 1, and the actions share the rest. Equal pictures have "nothing changed" with the score 1, also
            where a checkpoint has no thresholds and rejects nothing else.

            For a clip a list of its actions in order of time, each `{"start", "end", "label", "score"}`: frame `start`
            is the last one without any of the action, frame `end` the first with all of it. For a video also
            `"start_seconds"` and `"end_seconds"`; the frames are those that were read of it. `segment_cost` and
            `longest` are those of `find_segments`; `frames_per_second` says how many frames of a video are read
            (default 5).

            With `return_delta` or `return_patches` a dict replaces the list: `"actions"`, that list; `"delta"`, D
            floats; and where the model looked:

            - Patch-wise (`delta_mode="patch"`): `"patches"`, for each kept patch, the one that moved most first,
              `"norm"`, the length of its delta, and `"box"`, its left, top, right and bottom pixel (inclusive) in the
              given image after. `"before_box"` is its place in the image before, if that has another size.
            - With `pooling="change"`: `"weights"`, a list of rows with the weight of each patch, which sum to 1, and
              `"weights_box"`, the part of the given image after that the rows and columns divide evenly, in pixels as
              above: the whole image, or what the processor's centre crop leaves of it. `"weights_before_box"` is that
              part of the image before, if that has another size.

        Raises:
            TypeError: The images do not form pairs, or an argument is unknown.
            ValueError: There are not as many boxes as pairs, or one is not inside its images, which then must have one
                size. Patches are asked of a model that looks at the whole image, or scores are NaN or infinite.
            OSError: A file or URL does not exist or is not an image, or a row or a data set names one.
        """
        clip = find_clip(before, after, frames, box)
        if clip is not None:
            if unknown := set(kwargs) - _OF_A_CLIP - {"open_paths"}:
                takes = ", ".join(sorted(_OF_A_CLIP | {"open_paths"}))
                raise TypeError(f"A clip takes no {min(unknown)}: leave it out; there are {takes}.")
            if not hasattr(self.model, "find_segments"):
                raise TypeError(f"{type(self.model).__name__} does not compare frames: use a CDE model for clips.")
            return super().__call__(clip, **kwargs)
        if unknown := _OF_A_CLIP & set(kwargs):
            raise TypeError(
                f"{min(unknown)} is of clips, and this is a pair: leave it out, or call pipe(frames=[...])."
            )
        before, after = several(before), several(after)
        if after is not None:
            many = isinstance(before, (list, tuple))
            if many and (not isinstance(after, (list, tuple)) or len(before) != len(after)):
                raise TypeError(f"The pipeline needs as many after as before images: call {CALL}.")
            before = list(zip(before, after, strict=True)) if many else (before, after)
        if isinstance(before, list) and not before:
            return []
        if box is not None:
            before = boxed(before, box)
        if isinstance(before, torch.utils.data.Dataset):
            if not kwargs.get("open_paths", self._preprocess_params.get("open_paths")):
                kwargs["open_paths"] = False
                if getattr(before, "features", None) and hasattr(before, "decode"):
                    before = before.decode(False)  # else Datasets itself opens what a row names, to decode it
        elif not isinstance(before, GeneratorType):
            for item in before if isinstance(before, list) else [before]:
                pair_of(item)  # what is wrong is said before any work
        return super().__call__(before, **kwargs)

    def get_iterator(self, inputs: Any, num_workers: int, *args: Any) -> Any:
        """See `transformers.Pipeline.get_iterator`; threads prepare the pictures of a batch side by side."""
        answers = super().get_iterator(inputs, num_workers, *args)
        # Worker processes prepare ahead by themselves. A generator is not read ahead: it may be waiting for the answer
        # to the last pair.
        if num_workers == 0 and hasattr(inputs, "__len__"):
            # On a CPU the model has all cores: a thread beside it would make each of its operations wait for one.
            answers.loader.loader = InThreads(answers.loader.loader, ahead=0 if self.device.type == "cpu" else 1)
        return answers

    def preprocess(
        self, item: Any, open_paths: bool | None = None, frames_per_second: float = 5.0
    ) -> dict[str, torch.Tensor]:
        if isinstance(item, Clip):
            return item.prepared(self.image_processor, self.model.dtype, open_paths, frames_per_second)
        item, box = item if isinstance(item, Boxed) else (item, None)
        if open_paths is None:  # a pair names files by the caller's own word, a row by its author's
            open_paths = not isinstance(item, dict)
        pictures = [picture_of(image, open_paths, box is not None) for image in pair_of(item)]
        sizes = torch.tensor([[*pictures[0].size, *pictures[1].size]])  # (1, 4): width and height of both
        region = torch.zeros(1, 4)  # left, top, right and bottom of what is seen; zeros: see `original_box`
        if box is None:
            pixel_values = self.image_processor(*pictures, return_tensors="pt")["pixel_values"]
        else:
            region[0] = torch.tensor(self.image_processor.preprocessing.box_region(box, pictures[0].size))
            pixel_values = torch.from_numpy(np.stack(self.image_processor.boxed_pair(*pictures, box)))[None]
        return {"pixel_values": pixel_values.to(self.model.dtype), "sizes": sizes, "region": region}

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if "frames" in inputs:
            return {"all_deltas": self.model.compare_frames(inputs["frames"]), "seconds": inputs["seconds"]}
        pixel_values = inputs["pixel_values"]  # (B, 2, C, H, W)
        outputs = self.model(pixel_values=pixel_values, return_dict=True)
        kept = {"logits": outputs.logits, "delta": outputs.delta[:, 0]}
        kept |= {name: inputs[name] for name in ("sizes", "region")}
        kept["equal"] = (pixel_values[:, 0] == pixel_values[:, 1]).flatten(1).all(dim=1)  # (B,)
        if outputs.patch_indices is not None:
            kept["patch_indices"] = outputs.patch_indices[:, 0]  # (B, k)
            kept["patch_norms"] = outputs.patch_delta[:, 0].float().norm(dim=-1)  # (B, k)
        if outputs.patch_weights is not None:
            kept["patch_weights"] = outputs.patch_weights  # (B, N)
        if "patch_indices" in kept or "patch_weights" in kept:
            kept["processed"] = torch.tensor([pixel_values.shape[-2:]] * len(pixel_values))  # (B, 2): height and width
        return kept

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        top_k: int = 5,
        return_delta: bool = False,
        return_patches: bool = False,
        reject: bool = True,
        max_actions: int | None = None,
        segment_cost: float | None = None,
        longest: int | None = None,
    ) -> list[dict[str, Any]] | dict[str, Any]:
        if "all_deltas" in outputs:
            check_outputs(self.model, {"delta": outputs["all_deltas"]}, "for this clip")
            found: list[dict[str, Any]] = self.model.find_segments(outputs["all_deltas"], segment_cost, longest)
            if seconds := outputs["seconds"].tolist():
                found = [one | {f"{at}_seconds": seconds[one[at]] for at in ("start", "end")} for one in found]
            return found
        check_outputs(self.model, {name: outputs[name] for name in ("logits", "delta")}, "for this pair of pictures")
        names = dict(self.model.config.id2label)
        scores = outputs["logits"][0].float().softmax(dim=-1)  # (A,)
        answer = rejection(self.model, outputs["delta"][0], bool(outputs["equal"][0])) if reject else None
        if answer is not None:
            names[len(scores)] = answer.label
            scores = torch.cat([scores * (1 - answer.score), torch.tensor([answer.score])])
        best = scores.topk(min(top_k, len(scores)))
        actions = [
            {"label": names[index], "score": score}
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        # The direction of several actions is far from that of each, so "something else" is no answer here.
        if max_actions is not None and (answer is None or answer.label != NOTHING):
            (decoded,) = self.model.decode_actions(outputs["delta"][:1], max_actions)
            actions = [{"label": label, "score": share} for label, share in decoded]
        if not return_delta and not return_patches:
            return actions
        result: dict[str, Any] = {"actions": actions}
        if return_delta:
            result["delta"] = outputs["delta"][0].float().tolist()
        if return_patches and "patch_indices" in outputs:
            result["patches"] = list(self._patches(outputs))
        elif return_patches:
            result |= self._weights(outputs)
        return result

    def _patches(self, outputs: dict[str, torch.Tensor]) -> Iterator[dict[str, Any]]:
        """Yields the boxes and norms of the kept patches of one pair."""
        height, width = outputs["processed"][0].tolist()
        rows, columns = self._grid(height, width)
        for index, norm in zip(outputs["patch_indices"][0].tolist(), outputs["patch_norms"][0].tolist(), strict=True):
            row, column = divmod(index, columns)
            box = (
                column * width // columns,
                row * height // rows,
                (column + 1) * width // columns - 1,
                (row + 1) * height // rows - 1,
            )
            yield {**self._places(box, outputs), "norm": norm}

    def _weights(self, outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        """The weights of the patches of one pair, and the part of the pictures that they lie over."""
        height, width = outputs["processed"][0].tolist()
        weights = outputs["patch_weights"][0].float().reshape(self._grid(height, width))
        places = self._places((0, 0, width - 1, height - 1), outputs)
        return {"weights": weights.tolist(), **{f"weights_{name}": place for name, place in places.items()}}

    def _places(self, box: tuple[int, int, int, int], outputs: dict[str, torch.Tensor]) -> dict[str, list[int]]:
        """The `box` of a processed image in the given image after, and its `before_box` if the sizes differ."""
        first, second = outputs["sizes"][0].reshape(2, 2).flip(1).tolist()  # height and width each
        processed = tuple(outputs["processed"][0].tolist())
        if outputs["region"][0].any():  # of pictures of one size
            return {"box": _in_region(box, processed, outputs["region"][0].tolist(), first)}
        places = {"box": list(self.image_processor.original_box(box, processed, tuple(second)))}
        if first != second:
            places["before_box"] = list(self.image_processor.original_box(box, processed, tuple(first)))
        return places

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the patches of an image of this size."""
        if (height, width) not in self._grids:
            base = self.model.base_model
            self._grids[height, width] = base.reader.patch_grid(base.backbone, height, width)
        grid = self._grids[height, width]
        if grid is None:
            raise ValueError(
                f"The patches of an image of {height}x{width} pixels do not form a grid: use a square image size."
            )
        return grid


def _in_region(
    box: tuple[int, int, int, int], processed: tuple[int, int], region: Sequence[float], picture: Sequence[int]
) -> list[int]:
    """Every pixel of a picture (height, width) that a box of what is seen of its region covers, bounds inclusive."""
    found = [0, 0, 0, 0]
    for axis, (length, limit) in enumerate(zip(processed[::-1], picture[::-1], strict=True)):
        scale = (region[axis + 2] - region[axis]) / length
        found[axis] = max(0, math.floor(region[axis] + box[axis] * scale))
        found[axis + 2] = min(limit, math.ceil(region[axis] + (box[axis + 2] + 1) * scale)) - 1
    return found
