"""What a card says of each method: which class loads it, what it does, and how."""

from typing import NamedTuple


class Described(NamedTuple):
    """What a card says of a method: the class to load, one sentence, and how it works."""

    model: str
    sentence: str
    explanation: str


METHODS = {  # by model_type
    "cde": Described(
        "CDEForActionClassification",
        "Causal delta embeddings: an action is recognised from the difference of two embeddings.",
        "An intervention is represented as the difference of two embeddings, δ = φ(after) − φ(before), where φ is a "
        "causal projector on a vision backbone. Identical pictures have δ = 0, and swapping the two flips the sign.",
    ),
    "cde-concatenation": Described(
        "ConcatenationForActionClassification",
        "A baseline: an action is recognised from two embeddings side by side.",
        "Both pictures are embedded, and a small network reads the two embeddings side by side.",
    ),
    "cde-icm": Described(
        "ICMForActionClassification",
        "A baseline: an action is recognised from embeddings that an adversary cannot read the object from.",
        "A critic learns to name the object from the embeddings, and its reversed gradient makes that hard.",
    ),
    "cde-sms": Described(
        "SMSForActionClassification",
        "A baseline: an action is recognised from embeddings of which it may change one block only.",
        "Every action has a block of dimensions, shared with its opposite; a penalty keeps the other blocks unchanged.",
    ),
    "cde-oracle-mask": Described(
        "OracleMaskForActionClassification",
        "An oracle: an action is recognised from what lies under the true mask of its target.",
        "Patch features are averaged under the target's mask, in both pictures. It needs `masks` beside the pictures.",
    ),
    "cde-token-matching": Described(
        "TokenMatchingForActionClassification",
        "A baseline: an action is recognised from the differences of matched patches.",
        "Each patch of one picture is matched with the most similar patch of the other; the differences are pooled.",
    ),
    "cde-joint": Described(
        "JointEncoderForActionClassification",
        "A baseline: an action is recognised by a transformer that reads the patches of both pictures at once.",
        "A small transformer attends over the patch tokens of both frames, as a video model does.",
    ),
    "cde-neighbours": Described(
        "NeighboursForActionClassification",
        "A baseline: an action is that of the most similar training pairs.",
        "The features of the training pairs are kept, and the nearest of them by cosine vote.",
    ),
}

#: Added to the explanation of a patch-wise model.
PATCHES = (
    "The difference is taken patch by patch, and of the patches the {k} whose difference is longest are kept: they are "
    "where the model sees a change, and `return_patches=True` gives them as boxes."
)

#: Its pipeline cannot be called with two pictures alone.
NEEDS_MASKS = "cde-oracle-mask"
