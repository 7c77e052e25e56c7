"""Actions in a clip: which frames show which action, and which show none.

    z_i|j                   state of frame i as in the pair of frames i and j (mostly z_i; see `all_deltas`)
    delta_ij                z_j|i - z_i|j, for all T^2 pairs of T frames that are encoded once each
    gain of a segment       g_a(i, j) = <w_a - mean of w, delta_ij>, how far delta_ij speaks for action a
    best segments           those that do not overlap with the largest sum of max_a g_a(i, j) - cost

A gain has no bias, so nothing between equal frames speaks for an action, and a clip in reverse has the opposite gains.
Where states do not depend on the pair, gains add up along the clip: a gradual action is one segment, as each further
one costs something; and one that is done and undone is two, as their sum is nothing.

Dynamic programming finds the best of all segmentations in O(T^2). The cost is the field `segment_cost` of the
configuration; `python -m benchmarks.segmentation` chooses it on clips.
"""

from typing import Any

import torch
from torch import nn

from .change_pooling_cde import pool_changed_pairs
from .checks_cde import check_clips
from .limits_cde import MOST_CLIP_FRAMES
from .projector_cde import full_precision, largest_deltas


@torch.no_grad()
def all_deltas(encoder: Any, encoded: torch.Tensor) -> torch.Tensor:
    """The deltas of all pairs of frames, each as the model gives it for the pair alone.

    Args:
        encoder: A `CDEModel`.
        encoded: What its backbone says of T frames: (T, D_b), or (T, N, D_b) of patches.

    Returns:
        (T, T, D): [i, j] is the delta from frame i to frame j.
    """
    if encoder.config.delta_mode == "patch":
        patches = encoder.projector(encoded)  # (T, N, D)
        rows = [largest_deltas((patches - state)[None], encoder.config.top_k_patches)[0][0] for state in patches]
        return torch.stack([row.mean(dim=1) for row in rows])  # T of (T, k, D)
    if encoder.reader.feature == "change":
        paired = pool_changed_pairs(encoded, encoder.reader.layer_widths)  # (T, T, D_b)
        states = full_precision(encoder.projector, paired)  # [i, j]: frame i, as in the pair with j
        return states.transpose(0, 1) - states
    states = full_precision(encoder.projector, encoded)  # (T, D)
    return states[None] - states[:, None]


def best_segments(gains: torch.Tensor, cost: float, longest: int | None = None) -> list[tuple[int, int]]:
    """The segments that do not overlap with the largest sum of gain - cost; of equal ones the shorter.

    Args:
        gains: (T, T): [i, j] of a segment from frame i to frame j; only i < j is read.
        cost: Of each segment.
        longest: Number of steps that a segment has at most.

    Returns:
        (i, j) of each segment, in order of time; a frame may end one and start the next.
    """
    table = gains.tolist()
    best, start = [0.0], [-1]  # of the first j steps: the largest sum, and where a segment that ends there starts
    for j in range(1, len(table)):
        best.append(best[j - 1])
        start.append(-1)
        for i in range(j - 1, max(j - (longest or j), 0) - 1, -1):
            if (found := best[i] + table[i][j] - cost) > best[j]:
                best[j], start[j] = found, i
    segments, j = [], len(table) - 1
    while j > 0:
        if start[j] < 0:
            j -= 1
        else:
            segments.append((start[j], j))
            j = start[j]
    return segments[::-1]


class FindsSegments:
    """What a model with a linear classifier of deltas can say of a clip."""

    config: Any
    base_model: Any
    classifier: nn.Linear

    @torch.no_grad()
    def compare_frames(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The deltas of all pairs of frames of a clip, (T, T, D), by one call of the backbone.

        Args:
            pixel_values: (T, C, H, W), T >= 2.

        Raises:
            ValueError: There are more frames than `MOST_CLIP_FRAMES`, or the shape is another; see `forward`.
        """
        check_clips(pixel_values[None], getattr(self.config.backbone_config, "num_channels", 3))
        if len(pixel_values) > MOST_CLIP_FRAMES:
            raise ValueError(
                f"The clip has {len(pixel_values)} frames, and at most {MOST_CLIP_FRAMES} are compared: give every "
                "n-th frame, or parts of the clip."
            )
        encoded, _ = self.base_model.reader(self.base_model.backbone, pixel_values)
        return all_deltas(self.base_model, encoded)

    @torch.no_grad()
    def gains(self, delta: torch.Tensor) -> torch.Tensor:
        """How far deltas (..., D) speak for each action, (..., A); see the module's docstring."""
        directions = self.classifier.weight - self.classifier.weight.mean(dim=0)  # (A, D)
        return delta.to(directions.dtype) @ directions.T

    @torch.no_grad()
    def find_segments(
        self, delta: torch.Tensor, cost: float | None = None, longest: int | None = None
    ) -> list[dict[str, Any]]:
        """The actions of a clip, from the deltas (T, T, D) that `compare_frames` gives.

        Args:
            delta: (T, T, D).
            cost: Of a segment; default: `config.segment_cost`. A higher one finds fewer segments.
            longest: Number of steps from frame to frame that an action takes at most; default: any number.

        Returns:
            For each segment, in order of time, `start`, the last frame without any of the action, `end`, the first with
            all of it, `label`, and `score`, the probability that the classifier gives this action for the two frames.

        Raises:
            ValueError: The shape is another, or `cost` or `longest` is out of range.
        """
        if delta.ndim != 3 or delta.shape[0] != delta.shape[1]:
            raise ValueError(f"delta has the shape {tuple(delta.shape)}; give (T, T, D), as compare_frames does.")
        cost = self.config.segment_cost if cost is None else cost
        if not 0 < cost < float("inf"):
            raise ValueError(f"The cost of a segment is {cost}; give a number above 0.")
        if longest is not None and longest < 1:
            raise ValueError(f"The longest segment has {longest} steps; give at least 1.")
        gain, action = self.gains(delta).max(dim=-1)  # (T, T)
        probabilities = full_precision(self.classifier, delta).float().softmax(dim=-1)  # (T, T, A)
        answers = []
        for start, end in best_segments(gain, cost, longest):
            number = int(action[start, end])
            score = float(probabilities[start, end, number])
            answers.append({"start": start, "end": end, "label": self.config.id2label[number], "score": score})
        return answers
