"""Chooses the segments that make pairs: by verb, length, overlap with other actions, and scores of both frames."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from data_scripts.epic_kitchens.annotations import Segment
from data_scripts.epic_kitchens.scores import FrameScore


@dataclass(frozen=True)
class Choice:
    """Conditions that segments must meet."""

    verbs: frozenset[str]  # keys of the verb classes to keep
    min_seconds: float = 0.0
    min_frames: int = 1  # from the before to the after frame, at the nominal rate
    # Largest share of a segment, 0 to 1, that may also belong to segments of another verb or noun in the same video;
    # None keeps all. If two things change at the same time, the label of the pair is only half true.
    max_overlap: float | None = None
    min_score: float = 0.5  # both frames must score above this, if there are scores

    def __post_init__(self) -> None:
        if not self.min_seconds >= 0:
            raise ValueError(f"min_seconds is {self.min_seconds}; give 0 or more.")
        if self.min_frames < 1:
            raise ValueError(f"min_frames is {self.min_frames}; give 1 or more.")
        if self.max_overlap is not None and not 0 <= self.max_overlap <= 1:
            raise ValueError(f"max_overlap is {self.max_overlap}; give a share from 0 to 1.")
        if not math.isfinite(self.min_score):
            raise ValueError(f"min_score is {self.min_score}; give a number.")


def choose(
    segments: Sequence[Segment], choice: Choice, score: FrameScore | None = None
) -> tuple[list[Segment], dict[str, int]]:
    """The chosen segments, sorted by video, frames and id, and the number of others by reason.

    A segment counts under the first reason of: verb not chosen, too short, overlaps another action, no score, low
    score. `segments` are all those of the annotations, of other verbs too, as overlap with any of them counts.
    """
    shares = overlap_shares(segments, choice.verbs) if choice.max_overlap is not None else {}
    kept: list[Segment] = []
    left_out = dict.fromkeys(("verb not chosen", "too short", "overlaps another action", "no score", "low score"), 0)
    for segment in segments:
        reason = _reason(segment, choice, shares.get(segment.narration_id, 0.0), score)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(segment)
    kept.sort(key=lambda s: (s.video_id, s.before_frame, s.after_frame, s.narration_id))
    return kept, {reason: count for reason, count in left_out.items() if count}


def _reason(segment: Segment, choice: Choice, share: float, score: FrameScore | None) -> str | None:
    if segment.verb not in choice.verbs:
        return "verb not chosen"
    if segment.seconds < choice.min_seconds or segment.after_frame - segment.before_frame < choice.min_frames:
        return "too short"
    if choice.max_overlap is not None and share > choice.max_overlap:
        return "overlaps another action"
    if score is not None:
        scores = score(segment)
        if scores is None:
            return "no score"
        if not all(value > choice.min_score for value in scores):
            return "low score"
    return None


def overlap_shares(segments: Sequence[Segment], verbs: Collection[str]) -> dict[str, float]:
    """The share of each segment of `verbs`, 0 to 1, that also belongs to segments of another verb or noun in its video.

    Time counts once, however many others overlap. Segments of the same verb and noun do not count: they describe the
    same thing.
    """
    by_video: dict[str, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_video[segment.video_id].append(segment)
    shares = {}
    for others in by_video.values():
        others.sort(key=lambda s: (s.before_frame, s.after_frame))
        for segment in others:
            if segment.verb in verbs:
                shared = _covered(segment, others) / (segment.after_frame - segment.before_frame)
                shares[segment.narration_id] = shared
    return shares


def _covered(segment: Segment, others: Sequence[Segment]) -> int:
    """Frames of a segment that others cover; `others` are sorted by their start."""
    covered, reached = 0, segment.before_frame
    for other in others:
        if other.before_frame >= segment.after_frame:
            break
        if (other.verb, other.noun) == (segment.verb, segment.noun):
            continue
        begin, end = max(other.before_frame, reached), min(other.after_frame, segment.after_frame)
        if begin < end:
            covered, reached = covered + end - begin, end
    return covered
