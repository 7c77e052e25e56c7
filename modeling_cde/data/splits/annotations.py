"""The table that a split is made from: checks of its columns, its rows as pairs, its hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: The columns that every split needs.
COLUMNS: tuple[str, ...] = ("pair_id", "action", "object", "scene")

#: The column that the shift `mech` needs beside them: how an action is done to its object.
MECHANISM = "mechanism"

#: Column name -> its values; all columns of equal length, all values non-empty strings.
Annotations = Mapping[str, Sequence[str]]


class SplitError(ValueError):
    """Pairs that cannot be divided as asked: a problem, and what to do about it in terms of the options.

    Attributes:
        problem: What was counted and what it falls short of, without a period at its end. A command adds its flags.
        more: What to add to the pairs.
    """

    def __init__(self, problem: str, remedy: str, more: str = "pairs") -> None:
        super().__init__(f"{problem}; {remedy}.")
        self.problem, self.more = problem, more


class Pair(NamedTuple):
    """One row of the annotations; pairs of one `group` must not be both in training and outside it."""

    pair_id: str
    action: str
    object: str
    group: str
    mechanism: str = ""  # only read for the shift `mech`

    def key(self, shift: str) -> tuple[str, ...]:
        """What the shift holds out: the object (`syst`), the action with its mechanism (`mech`) or with the object."""
        if shift == "syst":
            return (self.object,)
        return (self.action, self.mechanism if shift == "mech" else self.object)


def check_columns(annotations: Annotations, names: Sequence[str]) -> None:
    """Raise ValueError unless a table has rows and these columns, of equal length, with a name in every cell."""
    missing = [name for name in names if name not in annotations]
    if missing:
        known = ", ".join(annotations)
        raise ValueError(f"The annotations have no column {', '.join(missing)} (they have {known}); add it.")
    lengths = {name: len(annotations[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The annotation columns have different lengths ({lengths}); give every pair every value.")
    if not lengths["pair_id"]:
        raise ValueError("The annotations have no rows; there is nothing to split.")
    for name in names:
        for value in annotations[name]:
            if not isinstance(value, str) or not value:
                raise ValueError(f"The annotation column {name} contains {value!r}; every value must be a name.")


def check_opposites(opposites: Mapping[str, str]) -> None:
    """Raise ValueError unless each opposite of an action is given both ways."""
    for action, opposite in opposites.items():
        if opposites.get(opposite) != action or action == opposite:
            raise ValueError(f"The opposite of {action!r} is not given both ways; give each both ways.")


def read_pairs(annotations: Annotations, group_by: str | None, mechanisms: bool = False) -> list[Pair]:
    """The checked rows, in order; without `group_by` every pair is its own group. `mechanisms` reads these, too.

    Raises:
        ValueError: See `check_columns`; or a pair_id occurs twice.
        SplitError: There is no column of mechanisms.
    """
    if mechanisms and MECHANISM not in annotations:
        raise SplitError(
            f"The mech split holds out mechanisms, and these pairs have no column {MECHANISM}, which says how an "
            "action is done to its object",
            "add it, or choose the shift comp or syst",
            f"the column {MECHANISM}",
        )
    names = ["pair_id", "action", "object", group_by or "pair_id", *([MECHANISM] if mechanisms else [])]
    check_columns(annotations, [*COLUMNS, *names])
    columns = (annotations[name] for name in names)
    pairs = [Pair(*row) for row in zip(*columns, strict=True)]
    repeated = [pair_id for pair_id, number in Counter(pair.pair_id for pair in pairs).items() if number > 1]
    if repeated:
        raise ValueError(f"The pair_id {min(repeated)!r} occurs twice; give every pair its own.")
    return pairs


def annotations_sha256(
    annotations: Annotations, group_by: str | None = "scene", ordered: bool = False, mechanisms: bool = False
) -> str:
    """Hash of the annotation rows over the columns that the split depends on: four, `group_by`, and `mechanisms`.

    The rows are sorted, or `ordered` as they are, for a protocol that depends on that.
    """
    names = list(dict.fromkeys([*COLUMNS, *([group_by] if group_by else []), *([MECHANISM] if mechanisms else [])]))
    check_columns(annotations, names)
    digest = hashlib.sha256(json.dumps([*names, "in this order"] if ordered else names).encode())
    rows: Iterable[tuple[str, ...]] = zip(*(annotations[name] for name in names), strict=True)
    for row in rows if ordered else sorted(rows):
        digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def count_pairs(parts: Mapping[str, Sequence[Pair]]) -> dict[str, dict[str, Any]]:
    """Of each part: pairs by action and by object, its groups, and how many of these are also in train."""
    groups = {part: {pair.group for pair in pairs} for part, pairs in parts.items()}
    return {
        part: {
            "actions": dict(sorted(Counter(pair.action for pair in pairs).items())),
            "objects": dict(sorted(Counter(pair.object for pair in pairs).items())),
            "groups": len(groups[part]),
            "groups_in_train": len(groups[part] & groups["train"]),
        }
        for part, pairs in parts.items()
    }
