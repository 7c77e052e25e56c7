"""The verb classes that cause a visible change, and the choice of others."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

#: Keys of verb classes, in the order of Causal Triplet, where a missing comma joins "wrap" and "hang".
CAUSAL_TRIPLET_VERBS: tuple[str, ...] = tuple(
    """open close cut move remove adjust peel empty flip fill fold pull break lift wrap hang add roll stretch divide
    sharpen attach increase bend flatten""".split()
)


def choose_verbs(
    names: Sequence[str], known: Collection[str], instances: Mapping[str, str] | None = None
) -> frozenset[str]:
    """The verb classes to keep: keys of the table `known`, or all of them for `["all"]`.

    `instances` are the keys by the annotations' raw verbs ("put-down" is under put).

    Raises:
        ValueError: A name is not a key; the message says under which key it is, or suggests one.
    """
    if "all" in names:
        return frozenset(known)
    if not names:
        raise ValueError("The set of verbs is empty; name at least one, or all.")
    for name in names:
        if name not in known:
            key = (instances or {}).get(name.lower())
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.4)
            hint = f"; it is under {key!r}, so name that" if key else f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{name!r} is not a key of the {len(known)} verb classes{hint}. The keys are in the column key of "
                "EPIC_100_verb_classes.csv; the raw verbs of the annotations are not keys."
            )
    return frozenset(names)
