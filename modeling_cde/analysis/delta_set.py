"""What a run kept of one split: deltas, states, scores and labels, as NumPy arrays.

Every number and picture of the analysis starts here. `load_delta_sets` reads `deltas.safetensors`, whose keys and
header `modeling_cde.evaluation` documents; files from before the newer keys existed load too, with None for these.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..whole_files import as_they_were_written

DELTAS_FILE = "deltas.safetensors"
TRAIN_SPLIT = "train"
_EXAMPLES = "examples/"

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

# The arrays of a split and their types; files from before the newer keys, and global mode, lack the optional ones.
_KINDS: dict[str, type[np.generic]] = {
    **dict.fromkeys(("delta", "states", "logits"), np.float32),
    **dict.fromkeys(("labels", "objects"), np.int64),
    "patch_delta": np.float32,
    "patch_indices": np.int64,
    "box_coverage": np.float32,
    "mask_coverage": np.float32,
}
_OPTIONAL = ("patch_delta", "patch_indices", "box_coverage", "mask_coverage")


@dataclass(frozen=True, eq=False)
class DeltaSet:
    """One split of a run, n pairs.

    Attributes:
        split: name of the split; "train" is the part of the training pairs that serves as a bank.
        delta: (n, D) float32, one delta per pair.
        states: (n, 2, D) float32, the states before and after.
        logits: (n, A) float32, action scores.
        labels: (n,) int64 action ids in [0, A).
        objects: (n,) int64 object ids, -1 where the object is not known.
        actions: names of the A actions.
        object_names: names of the objects, by id.
        opposites: action name -> name of its opposite; actions without one are absent.
        pair_ids: n ids of the pairs in the data set.
        scenes: n scenes (rooms, houses, episodes).
        mechanisms: n names of how the action is done, or None where the data set does not say.
        patch_delta: (n, k, D) float32, the deltas of the kept patches, or None in global mode.
        patch_indices: (n, k) int64 places of the kept patches in the row-major grid of N patches, or None.
        box_coverage: (n, N) float32 in [0, 1], share of each patch inside the target's box, or None.
        mask_coverage: (n, N) float32 in [0, 1], the same for the union of the two masks, or None.
        patch_grid: rows and columns of the grid, N = rows * columns, or None.
    """

    split: str
    delta: FloatArray
    states: FloatArray
    logits: FloatArray
    labels: IntArray
    objects: IntArray
    actions: list[str]
    object_names: list[str]
    opposites: dict[str, str]
    pair_ids: list[str]
    scenes: list[str]
    mechanisms: list[str] | None = None
    patch_delta: FloatArray | None = None
    patch_indices: IntArray | None = None
    box_coverage: FloatArray | None = None
    mask_coverage: FloatArray | None = None
    patch_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n, dimensions, num_actions = len(self.labels), self.delta.shape[-1], len(self.actions)
        k = 0 if self.patch_indices is None else self.patch_indices.shape[-1]
        patches = 0 if self.patch_grid is None else self.patch_grid[0] * self.patch_grid[1]
        expected: dict[str, tuple[int, ...]] = {
            "delta": (n, dimensions),
            "states": (n, 2, dimensions),
            "logits": (n, num_actions),
            "labels": (n,),
            "objects": (n,),
            "patch_indices": (n, k),
            "patch_delta": (n, k, dimensions),
            "box_coverage": (n, patches),
            "mask_coverage": (n, patches),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"split {self.split!r}: {name} has shape {array.shape}, expected {shape}.")
        for name in ("pair_ids", "scenes", "mechanisms"):
            if (found := getattr(self, name)) is not None and len(found) != n:
                raise ValueError(f"split {self.split!r}: {len(found)} {name} for {n} pairs.")
        known = ("labels", self.labels, self.actions, 0), ("objects", self.objects, self.object_names, -1)
        for name, ids, names, lowest in known:
            if n and not (lowest <= ids.min() and ids.max() < len(names)):
                raise ValueError(f"split {self.split!r}: {name} must be in [{lowest}, {len(names)}), an id per name.")
        if self.patch_grid is not None and self.patch_indices is not None and self.patch_indices.size:
            if not (0 <= self.patch_indices.min() and self.patch_indices.max() < patches):
                raise ValueError(f"split {self.split!r}: patch_indices must be in [0, {patches}), places in the grid.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predictions(self) -> IntArray:
        """(n,) ids of the actions with the highest score."""
        best: IntArray = self.logits.argmax(axis=1)
        return best

    def action_labels(self) -> list[str]:
        """n names of actions."""
        return [self.actions[i] for i in self.labels]

    def object_labels(self) -> list[str]:
        """n names of objects, "unknown" where the object is not known."""
        return [self.object_names[i] if i >= 0 else "unknown" for i in self.objects]

    def opposite_pairs(self) -> list[tuple[str, str]]:
        """The pairs of opposite actions that both occur in the split, each once, in the order of `actions`."""
        present = [name for i, name in enumerate(self.actions) if (self.labels == i).any()]
        pairs: list[tuple[str, str]] = []
        for action in present:
            opposite = self.opposites.get(action)
            if opposite in present and opposite != action and (opposite, action) not in pairs:
                pairs.append((action, opposite))
        return pairs


@dataclass(frozen=True, eq=False)
class Examples:
    """A few pairs of the test splits with the pictures that the model saw.

    Attributes:
        pictures: (m, 2, H, W, 3) uint8, before and after.
        rows: m dicts with "split", "row" (index into that split's arrays), "pair_id", "action" and "object".
        patch_weights: (m, rows, columns) float32, the weights of the patches, which sum to 1 in each pair; None for a
            model that does not weigh patches by their change.
        box_coverage, mask_coverage: (m, rows, columns) float32, as in `DeltaSet`; None without weights.
    """

    pictures: npt.NDArray[np.uint8]
    rows: list[dict[str, Any]]
    patch_weights: FloatArray | None = None
    box_coverage: FloatArray | None = None
    mask_coverage: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.rows)


def load_delta_sets(run: str | Path) -> dict[str, DeltaSet]:
    """Read every split of a run.

    Args:
        run: folder that holds `deltas.safetensors`, or the path of such a file.

    Returns:
        Split name -> its arrays, in the order in which the splits were evaluated; "train" is among them if the file
        has it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `modeling_cde.evaluation` did not write it, or its parts do not match.
    """
    path = deltas_path(run)
    tensors, header = _read(path, leave_out="examples/")
    with as_they_were_written(path):
        return _delta_sets(path, tensors, header)


def _delta_sets(path: Path, tensors: dict[str, npt.NDArray[Any]], header: dict[str, str]) -> dict[str, DeltaSet]:
    """`load_delta_sets` for the content of the file."""
    try:
        rows: dict[str, Any] = _json(path, header, "rows")
        actions: list[str] = _json(path, header, "actions")
        object_names: list[str] = _json(path, header, "objects")
    except KeyError as error:
        made = "make the file with python -m modeling_cde.evaluation"
        raise ValueError(f"{path}: the header has no {error}; {made}.") from None
    for key, names in (("actions", actions), ("objects", object_names)):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: {key} in the header is not a list of names; evaluate the checkpoint again.")
    grid = _grid(path, header)
    opposites = _json(path, header, "opposites") if "opposites" in header else _known_opposites(actions)
    sets: dict[str, DeltaSet] = {}
    for split, columns in rows.items():
        found = {name: tensors.get(f"{split}/{name}") for name in _KINDS}
        arrays = {name: array.astype(_KINDS[name], copy=False) for name, array in found.items() if array is not None}
        missing = [name for name in _KINDS if name not in arrays and name not in _OPTIONAL]
        if missing:
            raise ValueError(f"{path}: {split}/{missing[0]} is missing; evaluate the checkpoint again.")
        if not grid:  # then nothing says which patch a coverage belongs to
            arrays = {name: array for name, array in arrays.items() if not name.endswith("_coverage")}
        try:
            sets[split] = DeltaSet(
                split=split,
                actions=actions,
                object_names=object_names,
                opposites=opposites,
                pair_ids=[str(name) for name in columns["pair_id"]],
                scenes=[str(name) for name in columns["scene"]],
                mechanisms=[str(name) for name in columns["mechanism"]] if "mechanism" in columns else None,
                patch_grid=grid,
                **arrays,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        except (KeyError, TypeError):
            raise ValueError(
                f"{path}: the header does not name the pairs and scenes of {split!r}; evaluate the checkpoint again."
            ) from None
    return sets


def load_examples(run: str | Path) -> Examples | None:
    """Read the example pictures of a run.

    Args:
        run: folder that holds `deltas.safetensors`, or the path of such a file.

    Returns:
        The examples, or None where the file has none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a safetensors file, or does not describe as many examples as it has pictures, or not
            one weight for each of their patches.
    """
    path = deltas_path(run)
    tensors, header = _read(path, only=_EXAMPLES)
    if f"{_EXAMPLES}pictures" not in tensors:
        return None
    pictures = tensors[f"{_EXAMPLES}pictures"].astype(np.uint8, copy=False)
    rows: list[dict[str, Any]] = _json(path, header, "examples") if "examples" in header else []
    if pictures.ndim != 5 or pictures.shape[1] != 2 or pictures.shape[-1] != 3 or 0 in pictures.shape:
        raise ValueError(f"{path}: the example pictures have shape {pictures.shape}, expected (m, 2, H, W, 3).")
    described = ("split", "row", "pair_id", "action", "object")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(described) for row in rows):
        raise ValueError(
            f"{path}: the header does not give {', '.join(described)} of each example; evaluate the checkpoint again."
        )
    if len(rows) != len(pictures):
        told = f"{len(rows)} of {len(pictures)} examples"
        raise ValueError(f"{path}: the header describes {told}; evaluate the checkpoint again.")
    if f"{_EXAMPLES}patch_weights" not in tensors:
        return Examples(pictures, rows)
    with as_they_were_written(path):
        grid = _grid(path, header)
    arrays: dict[str, FloatArray] = {}
    for name in ("patch_weights", "box_coverage", "mask_coverage"):
        found = tensors.get(_EXAMPLES + name)
        if found is None:
            continue
        if grid is None or found.shape != (len(pictures), grid[0] * grid[1]):
            raise ValueError(
                f"{path}: {_EXAMPLES}{name} has shape {found.shape}, not a number for each patch of {len(pictures)} "
                "examples; evaluate the checkpoint again."
            )
        arrays[name] = found.astype(np.float32, copy=False).reshape(-1, *grid)
    if not np.isfinite(arrays["patch_weights"]).all():
        raise ValueError(f"{path}: the weights of patches are not finite; evaluate the checkpoint again.")
    return Examples(pictures, rows, **arrays)


def deltas_path(run: str | Path) -> Path:
    """The path of a run's `deltas.safetensors`.

    Raises:
        FileNotFoundError: if it is not there.
    """
    path = Path(run)
    path = path if path.is_file() else path / DELTAS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the output folder of train.py or of modeling_cde.evaluation.")
    return path


def _read(path: Path, leave_out: str = "\0", only: str = "") -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The tensors whose names start with `only` but not with `leave_out`, and the header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = [name for name in file.keys() if name.startswith(only) and not name.startswith(leave_out)]
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError:
        raise ValueError(f"{path} is not a complete safetensors file; evaluate the checkpoint again.") from None


def _grid(path: Path, header: dict[str, str]) -> tuple[int, int] | None:
    """Rows and columns of the patches, if the header names them."""
    grid = _json(path, header, "patch_grid") if "patch_grid" in header else None
    return (int(grid[0]), int(grid[1])) if grid else None


def _json(path: Path, header: dict[str, str], key: str) -> Any:
    try:
        return json.loads(header[key])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {key} in the header is not JSON; evaluate the checkpoint again.") from error


def _known_opposites(actions: list[str]) -> dict[str, str]:
    """The opposites that the splits define, for files whose header does not name them."""
    from ..data.splits import OPPOSITES

    return {a: b for a, b in OPPOSITES.items() if a in actions and b in actions}
