"""Divides pairs as a protocol, a shift and options ask: the one entry for a data set's parts."""

from __future__ import annotations

from typing import Any

from .annotations import Annotations
from .causal_triplet import CausalTripletOptions, causal_triplet_split
from .clean import CleanOptions, clean_split, joint_split
from .manifest import SplitManifest


def divide(
    annotations: Annotations,
    protocol: str,
    shift: str,
    seed: int,
    options: CleanOptions | CausalTripletOptions | None = None,
) -> dict[str, SplitManifest]:
    """The manifest of each shift; for `"joint"`, which the clean protocol alone has, of both around one train part.

    The options are those of the protocol. Errors are those of `clean_split` and `causal_triplet_split`.
    """
    chosen: Any = options
    if shift == "joint":
        return joint_split(annotations, seed, chosen)
    split = clean_split if protocol == "clean" else causal_triplet_split
    return {shift: split(annotations, shift, seed, chosen)}
