"""From a recipe to its runs: one for each method, combination of settings, shift and seed, with its name and flags."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.paper.recipe import Method, Recipe, Rooms, nearest

LAUNCH = ("accelerate", "launch", "train.py")


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: of its folder and its result file.
        benchmark: name of the recipe.
        method: key of the recipe's method.
        title: how tables call the method.
        setting: axis -> value of the grid, {} outside of one.
        view: "single" or "multi".
        shift: "both", "comp", "syst" or "mech".
        seed: of the training.
        split_seed: of the split that it trains on; None for the split that the data set has.
        source: folder or repository of the pairs.
        base: the folder that `source` is another split of; `source` itself where it is none.
        rooms: what the folder is rendered from where it is absent, or None.
        train: recipe of train.py.
        flags: all flags that follow it, in their order.
        geometry: whether its result has what the analysis measures on the deltas.
    """

    name: str
    benchmark: str
    method: str
    title: str
    setting: Mapping[str, Any]
    view: str
    shift: str
    seed: int
    split_seed: int | None
    source: str
    base: str
    rooms: Rooms | None
    train: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    geometry: bool = True
    runs: str = "runs"
    results: str = "benchmarks/results"

    @property
    def folder(self) -> Path:
        """Where train.py writes."""
        return Path(self.runs, self.benchmark, self.name)

    @property
    def result(self) -> Path:
        """The result that is kept."""
        return Path(self.results, self.benchmark, f"{self.name}.json")

    def arguments(self) -> list[str]:
        """What follows `train.py`."""
        given = {name: value for name, value in self.flags.items() if value is not None}
        words = (
            [f"--{name}", *map(as_text, value if isinstance(value, list) else [value])] for name, value in given.items()
        )
        return ["--config", self.train, *itertools.chain.from_iterable(words)]

    def command(self) -> str:
        """The run as a user would type it."""
        return shlex.join([*LAUNCH, *self.arguments()])


def make_plan(
    recipe: Recipe,
    seeds: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    runs: str = "runs",
    results: str = "benchmarks/results",
) -> list[Run]:
    """The runs of a recipe, seed by seed, so that what is finished after a while is a whole smaller benchmark.

    Args:
        recipe: what to run.
        seeds: instead of the recipe's.
        methods: keys of the recipe's methods, instead of all.
        runs: folder of the run folders.
        results: folder of the result folders.

    Raises:
        ValueError: if a method is not in the recipe, a seed is below 0, or two runs would have one name.
    """
    known = [method.key for method in recipe.methods]
    for key in methods or ():
        if key not in known:
            raise ValueError(f"--methods {key} is not in {recipe.path}{nearest(key, known)}")
    if wrong := [seed for seed in seeds or () if seed < 0]:
        raise ValueError(f"--seeds {wrong[0]}: seeds are 0 or more.")
    chosen = [method for method in recipe.methods if methods is None or method.key in methods]
    every = [dict(zip(recipe.axes, values, strict=True)) for values in itertools.product(*recipe.axes.values())]
    plan = [
        _run(recipe, method, setting, shift, seed, runs, results)
        for seed in (recipe.seeds if seeds is None else seeds)
        for method in chosen
        for setting in ([{}] if not method.grid else every)
        for shift in recipe.shifts
    ]
    names = [run.name for run in plan]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{recipe.path}: two runs are called {name}; give the values of the grid other names.")
    return plan


def _run(
    recipe: Recipe, method: Method, setting: dict[str, Any], shift: str, seed: int, runs: str, results: str
) -> Run:
    changes: dict[str, Any] = {}
    for axis, value in setting.items():
        changes |= recipe.axes[axis][value]
    told = "".join(f"-{axis}_{file_name(value)}" for axis, value in setting.items())
    name = f"{method.key}{told}-{shift}-seed{seed}"
    flags = {**recipe.flags, **method.flags, **{k: v for k, v in changes.items() if not k.startswith("rooms.")}}
    rooms = _rooms(recipe.data.rooms, {k[6:]: v for k, v in changes.items() if k.startswith("rooms.")}, recipe.view)
    base = rooms.folder if rooms is not None else recipe.data.source
    split_seed = seed if recipe.split_seeds == "by_seed" else None
    source = base if split_seed is None else f"{base.rstrip('/')}-split{split_seed}"
    first = {"method": method.method, "seed": seed, "data": source, "view": recipe.view, "shift": shift}
    last = {"evaluate_last_checkpoint": True, "output_dir": str(Path(runs, recipe.name, name))}
    return Run(
        name=name,
        benchmark=recipe.name,
        method=method.key,
        title=method.title,
        setting=setting,
        view=recipe.view,
        shift=shift,
        seed=seed,
        split_seed=split_seed,
        source=source,
        base=base,
        rooms=rooms,
        train=recipe.train,
        flags={**first, **flags, **last},
        geometry=recipe.geometry,
        runs=runs,
        results=results,
    )


def _rooms(rooms: Rooms | None, changes: dict[str, Any], view: str) -> Rooms | None:
    """The data set with other values, in a folder that tells those which differ: data/rooms-camera_cm_5."""
    if rooms is None:
        return None
    differing = {name: value for name, value in changes.items() if value != getattr(rooms, name)}
    told = "".join(f"-{name}_{file_name(value)}" for name, value in differing.items())
    return replace(rooms, **differing, folder=rooms.folder + told)


def file_name(value: Any) -> str:
    """A value as part of a file's name."""
    text = f"{value:g}" if isinstance(value, float) else as_text(value)
    return "".join(letter if letter.isalnum() or letter in "._-+" else "_" for letter in text)


def as_text(value: Any) -> str:
    """A value as train.py reads it from the command line."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
