"""The columns, splits and configurations of every data set of before/after pairs.

One row is one *pair*: a picture before an action, a picture after it, the action's class and the object it was done
to. Simulators, videos and tables all produce this schema, so one loader, one transform and one evaluation serve all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .splits import JOINT_SHIFTS as JOINT_SHIFTS
from .splits import OOD_SHIFTS as OOD_SHIFTS
from .splits import OPPOSITES as OPPOSITES
from .splits import PARTS
from .splits import SHIFTS as SHIFTS

if TYPE_CHECKING:
    from datasets import Features


#: The splits of every configuration, in reporting order.
SPLITS: tuple[str, ...] = PARTS

#: `single`: the target fills most of the picture. `multi`: a whole view with at least two possible targets.
VIEWS: tuple[str, ...] = ("single", "multi")

#: `<view>_<shift>`: single_comp, single_syst, single_mech, single_none, multi_comp, multi_syst, ...
CONFIGS: tuple[str, ...] = tuple(f"{view}_{shift}" for view in VIEWS for shift in SHIFTS)

#: What a source must have; box and masks may be left out, and are null then.
REQUIRED_COLUMNS: tuple[str, ...] = ("before", "after", "action", "object", "scene", "pair_id")

#: The columns of every source, in storage order.
COLUMNS: tuple[str, ...] = (*REQUIRED_COLUMNS, "box", "mask_before", "mask_after")

#: Marks the copies of `with_swapped`; no name that a source would give a column of its own.
SWAPPED = "_swapped_copy"


def pair_features(actions: Sequence[str], objects: Sequence[str], mechanism: bool = False) -> Features:
    """The `datasets.Features` of a pair data set, from the class names; the position of a name is the class id.

    Returns:
        Features with, in this order:

        - `before`, `after`: Image, RGB, as encoded bytes (PNG for rendered pictures), both of one size.
        - `action`, `object`: ClassLabel (int64).
        - `scene`: string; what must not be on both sides of a split (room, house, kitchen, episode).
        - `pair_id`: string, unique within the data set.
        - `box`: 4 int32 `xmin, ymin, xmax, ymax` of the target in pixels of the stored picture, bounds
          inclusive (a box of one pixel has xmin == xmax), or null.
        - `mask_before`, `mask_after`: Image, one channel, 0 or 255, the target only; or null.
        - `mechanism`: string; how the action is done to the object, such as `door` or `drawer` for `open`. Only with
          `mechanism=True`, from sources that know it.

    Raises:
        ValueError: A list of names is empty or names a class twice.
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
        | ({"mechanism": Value("string")} if mechanism else {})
    )


def config_name(view: str, shift: str) -> str:
    """The configuration's name, for example `config_name("single", "syst") == "single_syst"`."""
    return "_".join(parse_config(f"{view}_{shift}"))


def parse_config(name: str) -> tuple[str, str]:
    """The view and the shift of a configuration, for example `("single", "syst")` for `"single_syst"`."""
    if name not in CONFIGS:
        raise ValueError(f"There is no configuration {name!r}; the known ones are {', '.join(CONFIGS)}.")
    view, shift = name.split("_")
    return view, shift


def data_folder(config: str, joint: bool) -> str:
    """The subfolder of a configuration's files: `"single"` for a joint split, whose files both shifts share."""
    view, _ = parse_config(config)
    return view if joint else config
