"""Splits of a pair data set, as pure functions of (annotations, protocol, seed).

Notable:

- Three shifts. `syst`: the objects of `validation_ood` and `test_ood` are never seen in training (`held_out` chooses
  them). `comp`: their (action, object) combinations are never seen, though the action, the object, and the opposite
  action on that object all are. `mech`: the way in which the action is done is never seen, nor is the opposite done in
  it. Or `none`, which holds nothing out: every kind of object can be trained on.
- Two protocols. `clean` (`clean_split`, `joint_split`), the default: the model is selected on parts that share no pair
  with the parts that are reported, no scene of `train` is in any other part, and the order of the rows does not
  matter. `causal_triplet` (`causal_triplet_split`): the published procedure, for comparison with published numbers.
- Models are selected on the validation parts: `validation` and `validation_ood`, see `manifest.PARTS`.
- Global random state is neither read nor changed, and the assignment is stored in a manifest that can be saved,
  reloaded and checked against the annotations.
- Imports only the standard library, NumPy and `modeling_cde.whole_files`.
"""

from .annotations import MECHANISM, SplitError, annotations_sha256
from .causal_triplet import CausalTripletOptions, causal_triplet_split
from .clean import CleanOptions, clean_split, joint_split
from .manifest import JOINT_SHIFTS, OOD_SHIFTS, OPPOSITES, PARTS, PROTOCOLS, SHIFTS, SplitManifest
from .protocols import divide

__all__ = [
    "JOINT_SHIFTS",
    "MECHANISM",
    "OOD_SHIFTS",
    "OPPOSITES",
    "PARTS",
    "PROTOCOLS",
    "SHIFTS",
    "CausalTripletOptions",
    "CleanOptions",
    "SplitError",
    "SplitManifest",
    "annotations_sha256",
    "causal_triplet_split",
    "clean_split",
    "divide",
    "joint_split",
]
