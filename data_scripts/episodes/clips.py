"""`python -m data_scripts.episodes clips --input FOLDER --output data/libero_clips --frames 16`

Each episode of a data set in the LeRobot format becomes a sequence of evenly spaced frames; its instruction gives the
action, which goes on from the first frame to the last. How much of it is done when is unknown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.build_commands import plain_errors
from data_scripts.builds.licensed_build import add_licence_arguments, stated_card
from data_scripts.builds.sequence_build import (
    add_clip_arguments,
    add_sequence_arguments,
    build_sequences,
    check_frames,
    clip_row,
    evenly,
)
from data_scripts.episodes.entries import Episode
from data_scripts.episodes.lerobot import SCENES, LeRobotSource
from data_scripts.episodes.readings import Readings, read_known
from data_scripts.episodes.verbs import read_verbs
from modeling_cde.data.sequence_schema import sequence_features

if TYPE_CHECKING:
    from datasets import Features


class LeRobotClips(LeRobotSource):
    """Clips of `frames` frames; for the other arguments see `LeRobotSource`."""

    def __init__(self, *args: Any, frames: int = 16, **options: Any) -> None:
        super().__init__(*args, **options)
        self.frames = frames
        check_frames(frames, self.image_size or 1)

    @property
    def features(self) -> Features:
        """The columns, with these classes."""
        return sequence_features(self.actions, self.objects)

    def settings(self) -> dict[str, Any]:
        """What was chosen."""
        return super().settings() | {"source": "lerobot clips", "clip": self.frames}

    def _numbers(self, first: int, last: int) -> tuple[int, ...]:
        return evenly(first, last, self.frames)

    def _row(self, episode: Episode, *pictures: Any) -> dict[str, Any]:
        answer, name = self._answer(episode), f"episode-{episode.number:06d}"
        classes = self.actions.index(answer.action), self.objects.index(answer.object)
        return clip_row(pictures, *classes, self._scene(episode), name, self.image_size or 0, self.encoding)


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the episodes of a data set in the LeRobot format into clips of evenly spaced frames."""
    parser = argparse.ArgumentParser(prog="python -m data_scripts.episodes clips", description=main.__doc__)
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder with meta/info.json, v2.0, v2.1 or v3.0")
    add("--camera", help="key of the camera; not needed if there is only one")
    add("--encoding", choices=("png", "jpeg"), default="jpeg", help="of the stored frames")
    add("--first", type=int, default=0, help="frames to skip at the start of each episode")
    add("--last", type=int, default=0, help="frames to skip at the end of each episode")
    add("--scene", choices=SCENES, default="episode", help="what must not be on both sides of a split")
    add("--verbs", type=Path, help="CSV phrase,action: verbs besides the built-in ones")
    add("--instructions", type=Path, help="CSV instruction,action,object: your own readings")
    add_clip_arguments(parser)
    add_sequence_arguments(parser)
    add_licence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        from modeling_cde.data.building.card import DatasetCard

        source = LeRobotClips(
            options.input,
            options.camera,
            image_size=options.image_size,
            first=options.first,
            last=options.last,
            scene=options.scene,
            readings=Readings(
                read_verbs(options.verbs) if options.verbs else None,
                read_known(options.instructions) if options.instructions else None,
            ),
            encoding=options.encoding,
            frames=options.frames,
        )
        print(source.summary(), flush=True)
        card = DatasetCard(
            title=f"Clips of {options.input.resolve().name}",
            description="Each sequence is evenly spaced frames of one robot episode. Action and object are read from "
            "the episode's instruction by rule; episodes that the rule does not cover are left out.",
            limits=("The robot moves too.", "An action is said to go on from the first frame to the last."),
        )
        build_sequences(source, options, stated_card(options, card))
