"""The "action-classification" pipeline: two images in, actions with their probabilities out."""

from typing import Any

from transformers import Pipeline, PreTrainedModel

from .modeling_cde import CDEForActionClassification

TASK = "action-classification"
_CALL = "pipe(before, after), or pipe([(before, after), ...])"


class ActionClassificationPipeline(Pipeline):  # type: ignore[misc]
    """Names what happened between two images.

    Example:
        >>> pipe = pipeline("action-classification", model="folder")
        >>> pipe("before.png", "after.png", top_k=2)
        [{'label': 'open', 'score': 0.93}, {'label': 'close', 'score': 0.04}]
    """

    _load_processor = False
    _load_image_processor = True
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: PreTrainedModel, **kwargs: Any) -> None:
        if hasattr(model, "projector"):
            # `pipeline` loads by an Auto class, and Transformers has none for this task: AutoModel gave the encoder
            # without its classifier.
            model = CDEForActionClassification.from_pretrained(
                model.name_or_path, revision=model.loaded_revision or "main", dtype=model.dtype
            )
        super().__init__(model=model, **kwargs)

    def _sanitize_parameters(self, top_k: int | None = None, **kwargs: Any) -> tuple[dict[str, Any], ...]:
        if kwargs:
            raise TypeError(f"The pipeline has no argument {sorted(kwargs)[0]!r}: call {_CALL}, top_k=n.")
        return {}, {}, {} if top_k is None else {"top_k": top_k}

    def __call__(self, before: Any, after: Any = None, **kwargs: Any) -> Any:
        """Classifies pairs.

        Args:
            before: First image (path, PIL image or array), a list of them, a pair `(before, after)`, a row
                `{"before": ..., "after": ...}`, or a list of pairs or rows.
            after: Second image, or a list of them, where `before` is no pair.
            **kwargs: `top_k`: number of actions to return (default 5); `batch_size`.

        Returns:
            For one pair a list of `{"label", "score"}`, most probable first; for a list of pairs a list of those.

        Raises:
            TypeError: The images do not form pairs.
        """
        if after is not None:
            several = isinstance(before, (list, tuple))
            if several and (not isinstance(after, (list, tuple)) or len(before) != len(after)):
                raise TypeError(f"The pipeline needs as many after as before images: call {_CALL}.")
            return super().__call__(list(zip(before, after, strict=True)) if several else (before, after), **kwargs)
        if isinstance(before, list):
            return super().__call__([_pair(item) for item in before], **kwargs)
        return super().__call__(_pair(before), **kwargs)

    def preprocess(self, pair: tuple[Any, Any]) -> Any:
        inputs = self.image_processor(*pair, return_tensors="pt")
        return inputs.to(self.model.dtype)

    def _forward(self, inputs: Any) -> Any:
        return self.model(**inputs)

    def postprocess(self, outputs: Any, top_k: int = 5) -> list[dict[str, Any]]:
        names = self.model.config.id2label
        scores = outputs.logits[0].float().softmax(dim=-1)  # (A,)
        best = scores.topk(min(top_k, len(scores)))
        return [
            {"label": names[index], "score": score}
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def _pair(item: Any) -> tuple[Any, Any]:
    """Makes (before, after) of a pair or a row."""
    if isinstance(item, dict) and {"before", "after"} <= set(item):
        return item["before"], item["after"]
    if isinstance(item, (list, tuple)) and len(item) == 2:
        return item[0], item[1]
    raise TypeError(f"The pipeline got {type(item).__name__} where a pair of images belongs: call {_CALL}.")
