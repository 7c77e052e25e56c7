"""What a training's log says about its loss: its terms, and how much each counts. Nothing is imported here but types.

The trainer logs everything that its loss returns by name, and keeps the weights of the terms in trainer_state.json.
"""

from collections.abc import Iterable, Mapping
from typing import Any

#: What `CDELoss` logs beside its terms: a share in [0, 1], and a length.
MEASURES = ("anchors_without_positive", "delta_norm")

# What Trainer adds to a log, and the first parts of the names in its evaluations and its summary.
_OF_TRAINER = {"loss", "grad_norm", "learning_rate", "epoch", "step", "total_flos", "num_input_tokens_seen"}
_OTHERS = ("eval_", "train_", "test_")
_TITLES = {"cross_entropy": "cross-entropy", "delta_norm": "norm of the deltas"}


def logged_terms(history: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of what a loss has logged, the cross-entropy first and measures last.

    Args:
        history: `log_history` of a trainer state, or a part of it.
    """
    names = {
        name
        for entry in history
        for name, value in entry.items()
        if name not in _OF_TRAINER and not name.startswith(_OTHERS) and isinstance(value, (int, float))
    }
    return sorted(names, key=lambda name: (name != "cross_entropy", name in MEASURES, name))


def title(name: str) -> str:
    """How a term is called in pictures and sentences."""
    return _TITLES.get(name, name.replace("_", " "))


def loss_weights(kept: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float] | None:
    """The weight of each term that was minimised, None if it is not known.

    Args:
        kept: `stateful_callbacks` of the trainer state. Runs of earlier versions have no weights there.
        arguments: of the training, from which those runs' weights are taken: they had the default loss.
    """
    if (weights := kept.get("loss_weights")) is not None:
        return dict(weights)
    named = {name: arguments.get(f"{name}_weight") for name in ("contrastive", "sparsity")}
    own = {name: weight for name, weight in named.items() if weight is not None}
    return {"cross_entropy": 1.0, "auxiliary": 1.0, **own} if own else None
