"""The columns, splits and configurations that every source of before/after pairs comes out in.

One row is one *pair*: a picture before an action, a picture after it, the action's class and the object
it was done to. Simulators, videos and tables all give this schema, so one loader, one transform and one
evaluation serve all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .splits import OPPOSITES, PARTS, SHIFTS

if TYPE_CHECKING:
    from datasets import Features

__all__ = [
    "COLUMNS",
    "CONFIGS",
    "OPPOSITES",
    "REQUIRED_COLUMNS",
    "SHIFTS",
    "SPLITS",
    "VIEWS",
    "config_name",
    "data_folder",
    "pair_features",
    "parse_config",
]

#: The splits of every configuration, in the order in which they are reported.
SPLITS: tuple[str, ...] = PARTS

#: `single`: the target fills most of the picture. `multi`: a whole view with at least two possible targets.
VIEWS: tuple[str, ...] = ("single", "multi")

#: `<view>_<shift>`: single_comp, single_syst, multi_comp, multi_syst.
CONFIGS: tuple[str, ...] = tuple(f"{view}_{shift}" for view in VIEWS for shift in SHIFTS)

#: All columns, in the order in which they are stored.
COLUMNS: tuple[str, ...] = (
    "before",
    "after",
    "action",
    "object",
    "scene",
    "pair_id",
    "box",
    "mask_before",
    "mask_after",
)

#: What a source has to have; box and masks may be left out, and then count as null.
REQUIRED_COLUMNS: tuple[str, ...] = ("before", "after", "action", "object", "scene", "pair_id")


def pair_features(actions: Sequence[str], objects: Sequence[str]) -> Features:
    """The `datasets.Features` of a pair data set.

    Args:
        actions: Names of the action classes; the position is the class id.
        objects: Names of the object classes; the position is the class id.

    Returns:
        Features with, in this order:

        - `before`, `after`: Image, RGB, as encoded bytes (PNG for rendered pictures), both of one size.
        - `action`, `object`: ClassLabel (int64).
        - `scene`: string; what must not stand on both sides of a split (room, house, kitchen, episode).
        - `pair_id`: string, unique within the data set.
        - `box`: 4 int32 `xmin, ymin, xmax, ymax` of the target in pixels of the stored picture, bounds
          inclusive (a box of one pixel has xmin == xmax), or null.
        - `mask_before`, `mask_after`: Image, one channel, 0 or 255, the target only; or null.

    Raises:
        ValueError: If a list of names is empty or names a class twice.
    """
    from datasets import ClassLabel, Features, Image, List, Value

    for kind, names in (("actions", actions), ("objects", objects)):
        repeated = sorted({name for name in names if list(names).count(name) > 1})
        if not names or repeated:
            problem = f"names {', '.join(repeated)} twice" if repeated else "is empty"
            raise ValueError(f"The list of {kind} {problem}; give every class once.")
    return Features(
        {
            "before": Image(),
            "after": Image(),
            "action": ClassLabel(names=list(actions)),
            "object": ClassLabel(names=list(objects)),
            "scene": Value("string"),
            "pair_id": Value("string"),
            "box": List(Value("int32"), length=4),
            "mask_before": Image(),
            "mask_after": Image(),
        }
    )


def config_name(view: str, shift: str) -> str:
    """The configuration's name, for example `config_name("single", "syst") == "single_syst"`."""
    name = f"{view}_{shift}"
    if name not in CONFIGS:
        raise ValueError(f"There is no configuration {name!r}; the known ones are {', '.join(CONFIGS)}.")
    return name


def parse_config(name: str) -> tuple[str, str]:
    """The view and the shift of a configuration, for example `("single", "syst")` for `"single_syst"`."""
    if name not in CONFIGS:
        raise ValueError(f"There is no configuration {name!r}; the known ones are {', '.join(CONFIGS)}.")
    view, shift = name.split("_")
    return view, shift


def data_folder(config: str, joint: bool) -> str:
    """Where a built folder has a configuration's files: `"single"` of both shifts at once, else `"single_syst"`.

    Args:
        config: One of `CONFIGS`.
        joint: Whether both shifts were split around one training part, whose files they share.
    """
    view, _ = parse_config(config)
    return view if joint else config
