"""What a model of pairs sees in an episode: which action, whether it is the instructed one, and when how much of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data_scripts.builds.sequence_build import evenly
from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.entries import Episode
from data_scripts.episodes.frames import episode_pictures
from data_scripts.episodes.instruction import Instruction
from data_scripts.episodes.readings import Readings
from data_scripts.episodes.recording import Recording

if TYPE_CHECKING:
    import torch

FRAMES = 16  # that are encoded of an episode; progress is interpolated between them


@dataclass(frozen=True)
class Label:
    """What a model says of an episode.

    Attributes:
        episode: As its entry has it.
        instructed: The action that its instruction names; "" if that is not read or the model does not know it.
        seen: The action from the first frame to the last; "" if none is seen.
        success: The probability of the instructed action; NaN without one.
        progress: How much is done, for each frame of the episode.
        shown: The first, middle and last picture, RGB.
    """

    episode: Episode
    instructed: str
    seen: str
    success: float
    progress: tuple[float, ...]
    shown: tuple[Any, ...] = ()

    @property
    def contradicts(self) -> bool:
        """Whether something else is seen than the instruction says, or nothing."""
        return bool(self.instructed) and self.seen != self.instructed


def judge(model: Any, delta: torch.Tensor, instructed: str, frames: Sequence[int]) -> tuple[str, float, list[float]]:
    """What is seen, the success and the progress in each frame up to the last of `frames`.

    Args:
        model: A `CDEForActionClassification`.
        delta: (T, T, D), of the `frames`.
        instructed: An action of the model, or "".
        frames: Numbers of the T frames, from 0, ascending.
    """
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    gains = model.gains(delta[0])  # (T, A), since the first frame
    best = int(gains[-1].argmax())
    seen = names[best] if float(gains[-1, best]) > model.config.segment_cost else ""
    success, action = math.nan, best
    if instructed:
        action = names.index(instructed)
        success = float(model.classifier(delta[0, -1]).detach().softmax(dim=-1)[action])
    whole = max(float(gains[-1, action]), model.config.segment_cost)
    done = (gains[:, action] / whole).clamp(0, 1).tolist()
    return seen, success, np.interp(range(frames[-1] + 1), frames, done).tolist()


def label_episodes(
    model: Any, processor: Any, recording: Recording, readings: Readings, notes: list[str]
) -> Iterator[Label]:
    """The labels of all episodes whose pictures can be read; sentences on the others are added to `notes`."""
    import torch

    from modeling_cde.models.pictures_cde import load_picture

    frames = {
        episode: tuple(sorted(set(evenly(0, episode.length - 1, FRAMES))))
        for episode in recording.episodes
        if episode.length > 1
    }
    notes += [f"Episode {e.number}: has one frame, so nothing happens." for e in recording.episodes if e.length < 2]
    known = set(model.config.id2label.values())
    for episode, found in episode_pictures(recording, frames, notes):
        if isinstance(found, BadPairError):
            notes.append(f"Episode {episode.number}: {found}.")
            continue
        pictures = [load_picture(picture) if not isinstance(picture, bytes) else _opened(picture) for picture in found]
        clip = torch.stack([processor.process(picture) for picture in pictures])
        answer = readings.answer(episode.tasks)
        instructed = answer.action if isinstance(answer, Instruction) and answer.action in known else ""
        with torch.no_grad():
            seen, success, progress = judge(model, model.compare_frames(clip), instructed, frames[episode])
        shown = pictures[0], pictures[len(pictures) // 2], pictures[-1]
        yield Label(episode, instructed, seen, success, tuple(progress), shown)


def _opened(picture: bytes) -> Any:
    from modeling_cde.models.pictures_cde import open_picture, upright_rgb

    return upright_rgb(open_picture(picture, "A picture of an episode"), "A picture of an episode")
