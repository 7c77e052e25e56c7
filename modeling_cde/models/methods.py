"""The methods that can be trained and compared, one row each: adding a method is adding its model's file and a row.

Everything that lists methods reads it here: `--method` of train.py, Transformers' Auto classes, the cards, the tables
and the tests. Reading the rows imports no model; `model_class` and `config_class` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .configuration_cde import CDEConfig


@dataclass(frozen=True)
class Method:
    """One value of `--method`.

    Attributes:
        title: Its name in tables.
        model_type: Of its configuration.
        file: Module of `modeling_cde.models` with its classes.
        model: The class that is trained, `...ForActionClassification`, with a `...Config` in the same file. All models
            take the same inputs and return delta, states and logits.
        sentence: What it is, for its card.
        explanation: How it works, for its card.
        flags: Values that the method brings for flags of train.py; flags that are given explicitly win.
        auto_model: The class that AutoModel loads; default: `model`.
        patch_mode: Whether `delta_mode="patch"` exists.
        needs_masks: Whether it needs more than two pictures, so that its pipeline cannot be called.
    """

    title: str
    model_type: str
    file: str
    model: str
    sentence: str
    explanation: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    auto_model: str = ""
    patch_mode: bool = False
    needs_masks: bool = False

    @property
    def config(self) -> str:
        """The name of the configuration's class."""
        return self.model.removesuffix("ForActionClassification") + "Config"

    @property
    def model_class(self) -> type[PreTrainedModel]:
        """Imports the class that is trained."""
        return self.load(self.model)  # type: ignore[no-any-return]

    @property
    def config_class(self) -> type[CDEConfig]:
        """Imports the class of its configuration."""
        return self.load(self.config)  # type: ignore[no-any-return]

    def load(self, name: str) -> Any:
        """Imports a name from the method's file."""
        return getattr(import_module(f".{self.file}", __package__), name)


# The model learns from the cross-entropy and its own term only: no loss on the deltas.
OWN_LOSS_ONLY = {"contrastive_weight": 0.0, "sparsity_weight": 0.0}

_CDE = Method(
    "CDE",
    "cde",
    "modeling_cde",
    "CDEForActionClassification",
    "Causal delta embeddings: an action is recognised from the difference of two embeddings.",
    "An intervention is represented as the difference of two embeddings, δ = φ(after) − φ(before), where φ is a causal "
    "projector on a vision backbone. Identical pictures have δ = 0, and swapping the two flips the sign.",
    auto_model="CDEModel",
    patch_mode=True,
)

#: In the order of the rows of a table.
METHODS: dict[str, Method] = {
    "concatenation": Method(
        "concatenation, cross-entropy (vanilla)",
        "cde-concatenation",
        "modeling_concatenation",
        "ConcatenationForActionClassification",
        "A baseline: an action is recognised from two embeddings side by side.",
        "Both pictures are embedded, and a small network reads the two embeddings side by side.",
        OWN_LOSS_ONLY,
    ),
    "icm": Method(
        "ICM, adversarial object critic",
        "cde-icm",
        "modeling_icm_sms",
        "ICMForActionClassification",
        "A baseline: an action is recognised from embeddings that an adversary cannot read the object from.",
        "A critic learns to name the object from the embeddings, and its reversed gradient makes that hard.",
        OWN_LOSS_ONLY,
    ),
    "sms": Method(
        "SMS, block sparsity",
        "cde-sms",
        "modeling_icm_sms",
        "SMSForActionClassification",
        "A baseline: an action is recognised from embeddings of which it may change one block only.",
        "Every action has a block of dimensions, shared with its opposite; a penalty keeps the other blocks unchanged.",
        OWN_LOSS_ONLY,
    ),
    "oracle_mask": Method(
        "oracle mask",
        "cde-oracle-mask",
        "modeling_oracle_mask",
        "OracleMaskForActionClassification",
        "An oracle: an action is recognised from what lies under the true mask of its target.",
        "Patch features are averaged under the target's mask, in both pictures. It needs `masks` beside the pictures.",
        OWN_LOSS_ONLY,
        needs_masks=True,
    ),
    "token_matching": Method(
        "token matching",
        "cde-token-matching",
        "modeling_token_matching",
        "TokenMatchingForActionClassification",
        "A baseline: an action is recognised from the differences of matched patches.",
        "Each patch of one picture is matched with the most similar patch of the other; the differences are pooled.",
        OWN_LOSS_ONLY,
    ),
    "joint": Method(
        "joint two-frame encoder",
        "cde-joint",
        "modeling_joint",
        "JointEncoderForActionClassification",
        "A baseline: an action is recognised by a transformer that reads the patches of both pictures at once.",
        "A small transformer attends over the patch tokens of both frames, as a video model does.",
        OWN_LOSS_ONLY,
    ),
    "neighbours": Method(
        "k-NN on features",
        "cde-neighbours",
        "modeling_neighbours",
        "NeighboursForActionClassification",
        "A baseline: an action is that of the most similar training pairs.",
        "The features of the training pairs are kept, and the nearest of them by cosine vote.",
        # One epoch fills the bank; in a second one the copy of each pair would vote for it.
        {**OWN_LOSS_ONLY, "num_train_epochs": 1},
    ),
    "prototypes": Method(
        "CDE, several prototypes per action",
        "cde-prototypes",
        "modeling_mechanisms",
        "PrototypesForActionClassification",
        "A variant of causal delta embeddings: an action has several prototypes, for the ways in which it is done.",
        "The delta is compared with every prototype of an action, and the nearest ones decide.",
    ),
    "low_rank": Method(
        "CDE, deltas that depend on the object",
        "cde-low-rank",
        "modeling_mechanisms",
        "LowRankForActionClassification",
        "A variant of causal delta embeddings: the mean delta of an action depends on the state before it.",
        "The mean delta of an action moves with the state before it, in few dimensions and under a penalty.",
    ),
    "difference": replace(_CDE, title="difference, cross-entropy", flags=OWN_LOSS_ONLY),
    "cde": _CDE,
}


def by_model_type() -> dict[str, Method]:
    """One method for each `model_type`: methods that differ in their flags alone share a model."""
    return {method.model_type: method for method in METHODS.values()}
