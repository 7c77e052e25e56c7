"""`python -m data_scripts.epic_kitchens clips --index INDEX.csv --frames_folder FOLDER --output data/epic_clips`"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.build_commands import plain_errors
from data_scripts.builds.sequence_build import (
    add_clip_arguments,
    add_sequence_arguments,
    build_sequences,
    check_frames,
    clip_row,
    evenly,
)
from data_scripts.epic_kitchens import terms
from data_scripts.epic_kitchens.annotations import Segment
from data_scripts.epic_kitchens.extract import check_decoder, check_missing, check_wrong, found_text
from data_scripts.epic_kitchens.source import SCENES, EpicSource, whole
from modeling_cde.data.sequence_schema import sequence_features

if TYPE_CHECKING:
    from datasets import Features


class EpicClips(EpicSource):
    """Clips of `frames` frames from the start to the end of each segment; for the others see `EpicSource`."""

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
        return super().settings() | {"source": "epic_kitchens clips", "clip": self.frames}

    def _numbers(self, segment: Segment) -> tuple[int, ...]:
        return evenly(segment.before_frame, segment.after_frame, self.frames)

    def _row(self, segment: Segment, pictures: list[Any]) -> dict[str, Any]:
        classes = self.actions.index(segment.verb), self.objects.index(segment.noun)
        names = self._scene(segment), segment.narration_id
        return clip_row(whole(pictures), *classes, *names, self.image_size or 0, "jpeg")


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the segments of an index out of EPIC-KITCHENS-100's frames or videos, as clips of evenly spaced frames."""
    parser = argparse.ArgumentParser(prog="python -m data_scripts.epic_kitchens clips", description=main.__doc__)
    parser.add_argument("--index", type=Path, required=True, metavar="CSV", help="index.csv of the command index")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--frames_folder", type=Path, metavar="FOLDER", help="with the tars or folders of frames")
    where.add_argument("--videos", type=Path, metavar="FOLDER", help="with the videos")
    parser.add_argument("--scene", choices=SCENES, default="participant", help="what counts as one scene")
    parser.add_argument("--skip_missing", action="store_true", help="continue without videos that are missing or wrong")
    add_clip_arguments(parser)
    add_sequence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        from modeling_cde.data.building.card import DatasetCard

        kind = "frames" if options.frames_folder else "videos"
        folder = options.frames_folder or options.videos
        source = EpicClips(options.index, folder, kind, options.image_size, scene=options.scene, frames=options.frames)
        if kind == "videos":
            check_decoder()
        print(found_text(source), flush=True)
        check_wrong(source, options.skip_missing)
        check_missing(source, options.skip_missing)
        card = DatasetCard(
            title="Clips from EPIC-KITCHENS-100",
            description="Evenly spaced frames of kitchen videos from the start to the end of one action, with the "
            "classes of its verb and noun.",
            license=terms.LICENSE,
            license_terms=terms.TERMS,
            credit=f"{terms.CREDIT}\n\nChanges to the original: frames of each chosen segment were extracted, scaled "
            "down if they were larger, and encoded as JPEG if they were changed or came from videos.",
            provenance=terms.PROVENANCE,
            citation=terms.CITATION,
            tags=("epic-kitchens",),
            limits=("Cameras move and several things change at once.",),
        )
        build_sequences(source, options, card)
