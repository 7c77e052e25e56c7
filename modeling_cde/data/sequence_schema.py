"""The columns of every data set of sequences: pictures of one scene over time, and what is done in it when.

One row is one *sequence* of T frames, of T - 1 steps from each frame to the next, and of K actions one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .schema import pair_features

if TYPE_CHECKING:
    from datasets import Features

#: What a source must have; the box may be null, and so may the amounts.
SEQUENCE_COLUMNS: tuple[str, ...] = ("frames", "actions", "objects", "onset", "end", "scene", "sequence_id")

#: The folder of a data set that has its Parquet files.
SEQUENCE_FOLDER = "sequences"


def sequence_features(actions: Sequence[str], objects: Sequence[str]) -> Features:
    """The `datasets.Features` of a data set of sequences; the position of a name is the class id.

    Returns:
        Features with, in this order:

        - `frames`: list of T Images, RGB, as encoded bytes, all of one size.
        - `actions`, `objects`: lists of T - 1 ClassLabels: what is going on in each step, and with which object; null
          where nothing happens.
        - `onset`, `end`: lists of K int32, in order of time: the last frame without any of an action, and the first
          with all of it. Step `onset[k]` is the first of the action, so `actions[onset[k]]` is its class.
        - `amount`: K lists of T float32: how much of each action is done in each frame, 0 to 1; or null if unknown.
        - `box`: 4 int32 `xmin, ymin, xmax, ymax`, bounds inclusive, around all objects that are acted on, in all
          frames; or null.
        - `scene`: string; what must not be on both sides of a split.
        - `sequence_id`: string, unique within the data set.

    Raises:
        ValueError: A list of names is empty or names a class twice.
    """
    from datasets import Features, Image, List, Value

    pairs = pair_features(actions, objects)
    return Features(
        {
            "frames": List(Image()),
            "actions": List(pairs["action"]),
            "objects": List(pairs["object"]),
            "onset": List(Value("int32")),
            "end": List(Value("int32")),
            "amount": List(List(Value("float32"))),
            "box": pairs["box"],
            "scene": pairs["scene"],
            "sequence_id": Value("string"),
        }
    )


def step_classes(
    frames: int, acts: Sequence[tuple[int, int, int, int]]
) -> tuple[list[int | None], list[int | None], list[int], list[int]]:
    """The columns `actions`, `objects`, `onset` and `end` of a sequence.

    Args:
        frames: T.
        acts: (action, object, onset, end) of each action, in order of time.

    Raises:
        ValueError: An action does not lie within the frames, or begins before the one before it has ended.
    """
    actions: list[int | None] = [None] * (frames - 1)
    objects: list[int | None] = [None] * (frames - 1)
    free = 0
    for action, thing, onset, end in acts:
        if not free <= onset < end < frames:
            raise ValueError(
                f"An action from frame {onset} to {end} of {frames} does not follow one that ends at frame {free}."
            )
        free = end
        for step in range(onset, end):
            actions[step], objects[step] = action, thing
    return actions, objects, [act[2] for act in acts], [act[3] for act in acts]
