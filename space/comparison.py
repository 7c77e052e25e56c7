"""A new delta beside those of training pairs: how it points, and which pairs point the same way."""

from dataclasses import dataclass
from typing import Any

import datasets
import torch
from torch.nn.functional import normalize


@dataclass(frozen=True)
class Neighbour:
    """A training pair near to a delta.

    Attributes:
        before, after: PIL pictures.
        action, object: Names.
        pair_id: In the data set that the model was trained on.
        cosine: Of its delta and the new one, in [-1, 1].
    """

    before: Any
    after: Any
    action: str
    object: str
    pair_id: str
    cosine: float


class Comparison:
    """Training pairs of a checkpoint, to compare new deltas with.

    Args:
        pairs: From `modeling_cde.evaluation.gallery.read_gallery`.
    """

    def __init__(self, pairs: datasets.Dataset) -> None:
        self.pairs = pairs
        self.action_names: list[str] = pairs.features["action"].names
        self.object_names: list[str] = pairs.features["object"].names
        columns = pairs.select_columns(["action", "delta"])[:]
        self.deltas = torch.tensor(columns["delta"])  # (n, D)
        self.actions = torch.tensor(columns["action"])  # (n,)

    def action_cosines(self, delta: list[float]) -> dict[str, float]:
        """Cosine of a delta (D numbers) to the mean delta of each action's pairs, largest first.

        An action without a pair is left out. Empty for a delta of length zero: it points nowhere.
        """
        new = torch.tensor(delta)
        if not new.any():
            return {}
        found = {}
        for index, name in enumerate(self.action_names):
            own = self.deltas[self.actions == index]  # (m, D)
            if len(own):
                found[name] = torch.cosine_similarity(own.mean(dim=0), new, dim=0).item()
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def nearest(self, delta: list[float], number: int) -> list[Neighbour]:
        """The pairs of largest cosine to a delta (D numbers), nearest first; none for a delta of length zero."""
        new = torch.tensor(delta)
        if not new.any():
            return []
        cosines = normalize(self.deltas, dim=-1) @ normalize(new, dim=-1)  # (n,)
        best = cosines.topk(min(number, len(cosines)))
        found = []
        for index, cosine in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            row = self.pairs[index]
            action, kind = self.action_names[row["action"]], self.object_names[row["object"]]
            found.append(Neighbour(row["before"], row["after"], action, kind, row["pair_id"], cosine))
        return found
