"""What a benchmark runs, read from a YAML file and checked before anything starts.

    name: rooms                        # names runs/<name>/ and benchmarks/results/<name>/
    title: CDE and two baselines on rendered rooms
    train: configs/from_scratch.yaml   # the recipe of train.py that every run starts from
    flags: {num_train_epochs: 9}       # flags of train.py for every run
    methods:                           # rows of the table
      concatenation: {title: "concatenation, cross-entropy"}
      no_contrastive: {method: cde, title: CDE without the contrastive term, flags: {contrastive_weight: 0}}
    grid: {temperature: [0.05, 0.1]}   # one run for each value; of several keys, for each combination
    variants:                          # as grid, where one value stands for several flags
      camera: {0: {rooms.camera_cm: 0}, 5: {rooms.camera_cm: 5, rooms.camera_deg: 2}}
    shifts: [both]                     # --shift of train.py: both from one training, or comp, syst and mech, one each
    view: single
    seeds: [0, 1, 2]
    split_seeds: fixed                 # or by_seed: every seed trains on a split of its own
    reference: concatenation           # the method that differences are taken to
    data: {rooms: {folder: data/rooms, num_pairs: 5000}}    # or {folder: ..., build: command} or {repository: org/name}
                                       # kinds: classic in rooms asks for the 34 kinds of docs/data.md
    geometry: true                     # whether results have what the analysis measures on the deltas
    minutes_per_run: 5                 # a guess for the first estimate, on the hardware named next
    hardware: two CPU cores
    resources: {CPU: 2}                # of one run, such as {CPU: 8, GPU: 1}; as many runs are made at once as fit

Keys of `grid` and `variants` that begin with `rooms.` change the rendered data set, all others are flags of train.py.
A method with `grid: false` is run once and not for every value, because none of them concerns it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from modeling_cde.cli.project import find_recipe
from modeling_cde.models.methods import METHODS

SHIFTS, VIEWS = ("both", "comp", "syst", "mech"), ("single", "multi")
KINDS = ("all", "classic")  # of things in rooms
NOISE = ("camera_cm", "camera_deg", "object_cm", "light_percent")
# What the runner itself decides; a recipe that set it, too, would say two things.
RESERVED = ("config", "seed", "output_dir", "data", "view", "shift", "method", "resume_from_checkpoint")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        key: its name in files and tables.
        method: the value of `--method`.
        title: its name in tables; default: that of the method, where the key is its name.
        flags: flags of train.py.
        grid: whether it is run for every value of the grid, or once.
    """

    key: str
    method: str
    title: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    grid: bool = True


@dataclass(frozen=True)
class Rooms:
    """The rendered data set; see `data_scripts.rooms`."""

    folder: str = "data/rooms"
    num_pairs: int = 5000
    image_size: int = 128
    kinds: str = "all"
    seed: int = 0
    workers: int = 2
    camera_cm: float = 0.0
    camera_deg: float = 0.0
    object_cm: float = 0.0
    light_percent: float = 0.0


@dataclass(frozen=True)
class Data:
    """Where the pairs are: rendered rooms, a folder that was built before, or a repository.

    Attributes:
        rooms: of a data set that is rendered here where it is absent.
        source: folder or repository id otherwise.
        build: the command that makes the folder, said where it is absent.
    """

    rooms: Rooms | None = None
    source: str = ""
    build: str = ""
    is_folder: bool = True


@dataclass(frozen=True)
class Recipe:
    """A benchmark; the keys are explained at the top of this file."""

    path: str
    name: str
    title: str
    train: str
    methods: tuple[Method, ...]
    data: Data
    flags: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Mapping[Any, Mapping[str, Any]]] = field(default_factory=dict)
    shifts: tuple[str, ...] = ("both",)
    view: str = "single"
    seeds: tuple[int, ...] = (0, 1, 2)
    split_seeds: str = "fixed"
    reference: str = "concatenation"
    geometry: bool = True
    minutes_per_run: float = 5.0
    hardware: str = ""
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 2})


_KEYS = {f.name for f in fields(Recipe)} - {"path", "axes"} | {"grid", "variants"}
_TEXTS = ("name", "title", "train", "view", "split_seeds", "reference", "hardware")


def load_recipe(path: Path) -> Recipe:
    """Read a benchmark's recipe, a YAML file with the keys of this module's docstring.

    Raises:
        ValueError: if the file is missing or no YAML, or a key or value is not known; one sentence that names the file,
            the key and, for an unknown one, the nearest that is known.
    """
    path = find_recipe(path)
    if not path.is_file():
        raise ValueError(f"--config {path}: the file does not exist; the benchmarks are configs/benchmark_*.yaml.")
    # Here, because what it imports takes seconds that --help should not cost.
    from modeling_cde.training.recipe import read_plain_yaml

    reader = _Reader(str(path))
    given = reader.mapping(read_plain_yaml(path), "the file", _KEYS)
    for key in ("name", "title", "train", "methods", "data"):
        if key not in given:
            raise ValueError(f"{path}: the key {key!r} is missing; see benchmarks/paper/recipe.py.")
    if not _NAME.fullmatch(str(given["name"])):
        raise ValueError(f"{path}: name={given['name']!r} names folders; use letters, digits, dots and underscores.")
    for key in _TEXTS:
        if not isinstance(given.get(key, ""), str):
            raise ValueError(f"{path}: {key}={given[key]!r} must be text; in YAML yes and numbers have to be quoted.")
    methods = reader.mapping(given["methods"], "methods")
    resources = reader.mapping(given.get("resources", {"CPU": 2}), "resources")
    recipe = Recipe(
        path=str(path),
        **{key: given[key] for key in _TEXTS if key in given},
        methods=tuple(reader.method(key, value) for key, value in methods.items()),
        data=reader.data(given["data"]),
        flags=reader.flags(given.get("flags"), "flags"),
        axes=reader.axes(given.get("grid"), given.get("variants")),
        shifts=tuple(reader.list_of(given.get("shifts", ["both"]), "shifts", str)),
        seeds=tuple(reader.list_of(given.get("seeds", [0, 1, 2]), "seeds", int)),
        geometry=reader.truth(given.get("geometry", True), "geometry"),
        minutes_per_run=reader.number(given.get("minutes_per_run", 5.0), "minutes_per_run"),
        resources={str(key): reader.number(value, f"resources.{key}") for key, value in resources.items()},
    )
    _check(recipe)
    return recipe


def redirect(recipe: Recipe, train: str | None = None, data: str | None = None) -> Recipe:
    """The same questions put to another training (a recipe of train.py), or to other pairs (their folder).

    The recipe's name gets the name of what is new behind it, so that results are not mixed.

    Raises:
        ValueError: as `load_recipe`.
    """
    if train is not None:
        recipe = replace(recipe, train=train, name=f"{recipe.name}-{Path(train).stem}")
    if data is not None:
        recipe = replace(recipe, data=Data(None, data.rstrip("/")), name=f"{recipe.name}-{Path(data).name}")
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    for key, values, known in (
        ("shifts", recipe.shifts, SHIFTS),
        ("view", (recipe.view,), VIEWS),
        ("split_seeds", (recipe.split_seeds,), ("fixed", "by_seed")),
        ("reference", (recipe.reference,), [method.key for method in recipe.methods]),
    ):
        for value in values:
            if value not in known:
                raise ValueError(f"{recipe.path}: {key}={value!r} is not known; choose among {', '.join(known)}.")
    for key, listed in (("seeds", recipe.seeds), ("shifts", recipe.shifts)):
        if not listed or len(set(listed)) < len(listed):
            raise ValueError(f"{recipe.path}: {key} must hold at least one value and none twice.")
    if recipe.minutes_per_run <= 0:
        raise ValueError(f"{recipe.path}: minutes_per_run={recipe.minutes_per_run:g} must be over 0.")
    if min(recipe.seeds) < 0:
        raise ValueError(f"{recipe.path}: seeds must be 0 or more.")
    if not find_recipe(recipe.train).is_file():
        raise ValueError(f"{recipe.path}: train={recipe.train!r} does not exist; name a recipe in configs/.")
    changed = {flag for values in recipe.axes.values() for flags in values.values() for flag in flags}
    if recipe.data.rooms is None and any(flag.startswith("rooms.") for flag in changed):
        raise ValueError(f"{recipe.path}: a grid over rooms.* needs data: {{rooms: ...}}.")
    if recipe.split_seeds == "by_seed" and not recipe.data.is_folder:
        raise ValueError(f"{recipe.path}: split_seeds: by_seed splits a folder anew; a repository has its own split.")


class _Reader:
    """Values of a recipe; every error begins with the file and the key."""

    def __init__(self, path: str) -> None:
        self.path = path

    def mapping(self, value: Any, key: str, known: Collection[str] | None = None) -> dict[str, Any]:
        """A mapping, whose keys must be known unless `known` is None."""
        if not isinstance(value, dict) or not value:
            raise ValueError(f"{self.path}: {key} must hold `key: value` lines, found {value!r}.")
        for name in value:
            if known is not None and name not in known:
                raise ValueError(f"{self.path}: unknown key {name!r} in {key}{nearest(str(name), known)}")
        return dict(value)

    def number(self, value: Any, key: str) -> float:
        """A number; YAML reads 1e-5 as text."""
        try:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{self.path}: {key}={value!r} must be a number.") from None

    def truth(self, value: Any, key: str) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            raise ValueError(f"{self.path}: {key}={value!r} must be true or false.")
        return value

    def list_of(self, value: Any, key: str, kind: type) -> list[Any]:
        """A list of one type."""
        if not isinstance(value, list) or any(type(item) is not kind for item in value):
            raise ValueError(f"{self.path}: {key}={value!r} must be a list of {kind.__name__}, such as in [...].")
        return value

    def flags(self, value: Any, key: str, rooms: bool = False) -> dict[str, Any]:
        """Flags of train.py, and `rooms.*` where they are allowed."""
        from modeling_cde.training.recipe import check_stays_here

        result = self.mapping(value, key) if value else {}
        for name in result:
            if name in RESERVED:
                raise ValueError(f"{self.path}: {key} sets {name!r}, which the benchmark decides; leave it out.")
            check_stays_here(self.path, str(name), result[name])
            if str(name).startswith("rooms."):
                known = [f"rooms.{f.name}" for f in fields(Rooms) if f.name not in ("folder", "workers")]
                if not rooms:
                    raise ValueError(f"{self.path}: {key} sets {name!r}; write it in data or in grid.")
                if name not in known:
                    raise ValueError(f"{self.path}: unknown key {name!r} in {key}{nearest(name, known)}")
        return {name: plain(item) for name, item in result.items()}

    def method(self, key: str, value: Any) -> Method:
        """One entry of `methods`."""
        if not _NAME.fullmatch(str(key)):
            raise ValueError(f"{self.path}: the method {key!r} names files; use letters, digits, dots and underscores.")
        where = f"methods.{key}"
        given = self.mapping(value, where, ("method", "title", "flags", "grid")) if value else {}
        flags = self.flags(given.get("flags"), f"{where}.flags")
        method = str(given.get("method", key))
        title = METHODS[key].title if key == method and key in METHODS else key
        return Method(
            key, method, str(given.get("title", title)), flags, self.truth(given.get("grid", True), f"{where}.grid")
        )

    def data(self, value: Any) -> Data:
        """The entry `data`."""
        from modeling_cde.training.recipe import check_stays_here

        given = self.mapping(value, "data", ("rooms", "folder", "repository", "build"))
        if len({"rooms", "folder", "repository"} & set(given)) != 1:
            raise ValueError(f"{self.path}: data names one of rooms, folder and repository, found {', '.join(given)}.")
        if "rooms" not in given:
            source = str(given.get("folder", given.get("repository")))
            return Data(None, source, str(given.get("build", "")), is_folder="folder" in given)
        rooms = self.mapping(given["rooms"], "data.rooms", [f.name for f in fields(Rooms)]) if given["rooms"] else {}
        check_stays_here(self.path, "rooms_folder", rooms.get("folder"))
        for name, item in rooms.items():
            if name in NOISE:
                rooms[name] = self.number(item, f"data.rooms.{name}")
            elif name == "kinds":
                if item not in KINDS:
                    raise ValueError(f"{self.path}: data.rooms.kinds={item!r} must be {' or '.join(KINDS)}.")
            elif name != "folder" and type(item) is not int:
                raise ValueError(f"{self.path}: data.rooms.{name}={item!r} must be a whole number.")
        return Data(Rooms(**rooms))

    def axes(self, grid: Any, variants: Any) -> dict[str, dict[Any, dict[str, Any]]]:
        """Grid and variants as one: axis -> value -> flags."""
        axes: dict[str, dict[Any, dict[str, Any]]] = {}
        for flag, values in (self.mapping(grid, "grid") if grid else {}).items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{self.path}: grid.{flag}={values!r} must be a list of values.")
            axis = str(flag).removeprefix("rooms.")
            axes[axis] = {plain(value): self.flags({flag: value}, f"grid.{flag}", rooms=True) for value in values}
            if len(axes[axis]) < len(values):
                raise ValueError(f"{self.path}: grid.{flag} holds a value twice.")
        for axis, labels in (self.mapping(variants, "variants") if variants else {}).items():
            if axis in axes:
                raise ValueError(f"{self.path}: {axis!r} is in grid and in variants; give it once.")
            axes[str(axis)] = {
                plain(label): self.flags(flags, f"variants.{axis}.{label}", rooms=True)
                for label, flags in self.mapping(labels, f"variants.{axis}").items()
            }
        return axes


def plain(value: Any) -> Any:
    """The value, with numbers that YAML takes for text (1e-5) as numbers."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def nearest(key: str, known: Collection[str]) -> str:
    """How a sentence about an unknown key ends."""
    matches = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else f"; the known ones are {', '.join(sorted(known))}."
