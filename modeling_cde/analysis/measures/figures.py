"""The names of the figures: what a table calls each number of a split, and where `geometry.json` holds it.

A place is the keys that lead to the number, joined by dots. The module that measures it states formula and range.
"""

from collections.abc import Mapping
from typing import Any

#: What every table shows: that of one run, of several runs side by side, and of a model card.
MEASURES: dict[str, str] = {
    "cosine of opposite actions": "opposites.mean",
    "cosine of other actions": "opposites.others.mean",
    "p of opposites by chance": "opposites.p_value",
    "variance by action": "variance.action",
    "variance by action, by chance": "variance_by_chance.action",
    "variance by object": "variance.object",
    "variance by object, by chance": "variance_by_chance.object",
    "variance by interaction": "variance.interaction",
    "action on an object held out": "transfer.accuracy",
    "action on pairs held out": "transfer.within",
    "sparsity (Hoyer)": "sparsity.hoyer",
    "dimensions near zero": "sparsity.near_zero_share",
    "object read from delta": "probes.object.delta",
    "object read from state": "probes.object.states",
    "object by the best guess": "probes.object.chance",
    "object read from delta and action": "probes.object.within_action.delta",
    "object read from state and action": "probes.object.within_action.states",
    "object read from the action alone": "probes.object.within_action.chance",
    "scene read from delta": "probes.scene.delta",
    "scene read from state": "probes.scene.states",
    "scene by the best guess": "probes.scene.chance",
    "k-NN on deltas": "neighbours.knn",
    "k-NN on states": "neighbours.knn_states",
    "prototypes": "neighbours.prototype",
    "calibration error (ECE)": "calibration.ece",
    "selected patches in the box": "patches.in_box",
    "patches in the box by chance": "patches.in_box_by_chance",
    "selected patches in the mask": "patches.in_mask",
    "patches in the mask by chance": "patches.in_mask_by_chance",
    "cosine of opposite patches": "patches.opposites_mean",
    "patch variance by action": "patches.variance_action",
    "patch sparsity (Hoyer)": "patches.hoyer",
}

#: What only the report of a run shows beside them.
DETAILS: dict[str, str] = {
    "cosine of other actions, standard deviation": "opposites.others.std",
    "cosine of other actions, lowest": "opposites.others.min",
    "smallest p possible": "opposites.smallest_p",
    "variance by interaction, by chance": "variance_by_chance.interaction",
    "variance left over": "variance.residual",
    "mechanisms: variance by action": "mechanism_variance.action",
    "mechanisms: variance by mechanism": "mechanism_variance.mechanism",
    "mechanisms: variance by mechanism, by chance": "mechanism_variance_by_chance.mechanism",
    "mechanisms: variance by interaction": "mechanism_variance.interaction",
    "mechanisms: variance by interaction, by chance": "mechanism_variance_by_chance.interaction",
    "mechanisms: variance left over": "mechanism_variance.residual",
    "action by the best guess": "transfer.chance",
    "deltas that are 0": "sparsity.zero_deltas",
    "object by the best guess from the action": "probes.object.from_action",
    "scene by the best guess from the action": "probes.scene.from_action",
    "scene read from delta and action": "probes.scene.within_action.delta",
    "scene read from state and action": "probes.scene.within_action.states",
    "scene read from the action alone": "probes.scene.within_action.chance",
    "number of neighbours (k)": "neighbours.k",
    "neighbours taken from": "neighbours.bank",
    "number of selected patches (k)": "patches.k",
    "best k patches in the box": "patches.box.at_best",
    "best k patches in the mask": "patches.mask.at_best",
    "cosine of patches, other actions": "patches.others_mean",
    "cosine of patches, same action": "patches.same_action_mean",
    "patch variance by object": "patches.variance_object",
    "object read from one patch and action": "patches.object_probe",
    "object read from the action alone, patches": "patches.object_chance",
}


def measured(values: Any, place: str) -> Any:
    """One figure of a split, None where it was not measured.

    Args:
        values: what `geometry.json` holds of the split, or None.
        place: where the figure is.
    """
    for key in place.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def shown(value: Any) -> str:
    """A figure as text: three decimals, or four for a small p; "–" for None."""
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    return f"{value:.4f}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"
