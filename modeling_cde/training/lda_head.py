"""Gives a CDE model the head of a discriminant analysis of its training pairs."""

from collections.abc import Mapping
from typing import Any

import torch

from .closed_form import BETWEEN, Discriminant, LinearHead, choose_shrinkage

_ROWS_AT_ONCE = 512


@torch.no_grad()
def give_lda_head(model: Any, train: Any, validation: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces the weights of projector and classifier; every process that calls it computes the same.

    The shrinkage is chosen on the validation parts of objects and combinations that training does not have; on
    "validation" where there are none; it is `DEFAULT_SHRINKAGE` without any.

    Args:
        model: A `CDEForActionClassification` in global mode whose projector has one linear layer.
        train: Rows with kept features; see `keep_features`.
        validation: Name -> such rows.

    Returns:
        For the record, in JSON types: `kind` ("lda"), `shrinkage`, `between`, `directions` (their number), `chosen_on`
        (names of parts) and `validation_accuracy` (their mean accuracy by shrinkage); the last two are empty without
        validation.

    Raises:
        ValueError: An action has no training pairs; the message names it.
    """
    actions = train.features["action"].names
    labels, objects = (torch.tensor(train.with_format(None)[name][:]) for name in ("action", "object"))
    if missing := [name for i, name in enumerate(actions) if not bool((labels == i).any())]:
        raise ValueError(f"classifier='lda' needs training pairs of every action, and {missing[0]} has none.")
    discriminant = Discriminant(_deltas(model, train), labels, objects, len(actions))
    unseen = [name for name in sorted(validation) if name != "validation"] or sorted(validation)
    parts = {
        name: (_deltas(model, validation[name]), torch.tensor(validation[name].with_format(None)["action"][:]))
        for name in unseen
    }
    shrinkage, accuracies = choose_shrinkage(discriminant, parts)
    head = discriminant.head(shrinkage, model.config.delta_dim)
    set_lda_head(model, head)
    return {
        "kind": "lda",
        "shrinkage": shrinkage,
        "between": BETWEEN,
        "directions": len(head.directions),
        "chosen_on": unseen,
        "validation_accuracy": {str(tried): round(accuracy, 4) for tried, accuracy in accuracies.items()},
    }


@torch.no_grad()
def set_lda_head(model: Any, head: LinearHead) -> None:
    """Replaces the weights of projector and classifier by a head with at most `delta_dim` directions."""
    number = len(head.directions)
    projection = model.cde.projector[-1].weight
    projection.zero_()  # a direction too few leaves its dimension empty; the classifier's column there can be trained
    projection[:number] = head.directions
    model.classifier.weight[:, :number] = head.weight
    model.classifier.bias.copy_(head.bias)


def sentence(record: Mapping[str, Any]) -> str:
    """What a run says of the head."""
    said = f"The head comes from a discriminant analysis with shrinkage {record['shrinkage']:g}"
    if not record["chosen_on"]:
        return f"{said}, the default, since there are no validation pairs to choose it by."
    accuracy = record["validation_accuracy"][str(record["shrinkage"])]
    return f"{said}, which has the best accuracy on {' and '.join(record['chosen_on'])} ({accuracy:.3f})."


def _deltas(model: Any, rows: Any) -> torch.Tensor:
    """The differences that the projector's linear layer is given, (n, D_b)."""
    found = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        features = torch.stack(rows[start : start + _ROWS_AT_ONCE]["features"]).to(model.device)  # (B, 2, D_b)
        for layer in list(model.cde.projector)[:-1]:  # a LayerNorm where the backbone has none at its end
            features = layer(features)
        found.append((features[:, 1] - features[:, 0]).cpu())
    return torch.cat(found)
