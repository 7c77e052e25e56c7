"""EPIC-KITCHENS-100 as a source of pairs: a video is a work unit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.work_units import BadPairError, ClassSource, Inputs, StopBuildError, UnitRows, json_sha256
from data_scripts.epic_kitchens.annotations import Segment
from data_scripts.epic_kitchens.frames import KINDS, WRONG_FRAMES, FramesError, Video, find, pictures, stamps
from data_scripts.epic_kitchens.listing import read_index
from data_scripts.stored_views import BadPictureError, store_pair

if TYPE_CHECKING:
    from PIL import Image

SCENES = ("participant", "video")
_NAMED = 20  # segments in one sentence


class EpicSource(ClassSource):
    """The pairs of an index, from frames or videos below a folder.

    Classes are those of the whole index, sorted, even if videos are missing.

    Args:
        index: `index.csv`.
        root: Folder of the frames or videos.
        kind: `"frames"` or `"videos"`.
        image_size: Shorter side of the stored pictures in pixels, never scaled up; None for the originals.
        scene: `"participant"` (a kitchen) or `"video"`.
        strict: Stop the build at the first segment that gives no pair.

    Attributes:
        wrong: Videos of the index that are not read, because their official frames are wrong; see `WRONG_FRAMES`.

    Raises:
        ValueError: The index cannot be read, the folder is missing, or an argument is invalid.
    """

    def __init__(
        self,
        index: Path,
        root: Path,
        kind: str,
        image_size: int | None = None,
        *,
        scene: str = "participant",
        strict: bool = False,
    ) -> None:
        if kind not in KINDS or scene not in SCENES:
            raise ValueError(f"There is no kind {kind!r} and scene {scene!r}; see {KINDS} and {SCENES}.")
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size is {image_size}; give at least 1 pixel.")
        if not root.is_dir():
            raise ValueError(f"There is no folder {root} of {kind}.")
        segments = read_index(index)
        self.root, self.kind, self.image_size = root.absolute(), kind, image_size
        self.scene, self.strict = scene, strict
        self.actions = sorted({segment.verb for segment in segments})
        self.objects = sorted({segment.noun for segment in segments})
        segments.sort(key=lambda s: (s.video_id, s.before_frame, s.after_frame, s.narration_id))
        self.segments: dict[str, list[Segment]] = _grouped(segments, "video_id")
        self.wrong = sorted(WRONG_FRAMES & self.segments.keys()) if kind == "frames" else []
        self.paths = {
            name: path
            for name in self.segments.keys() - self.wrong
            if (path := find(self.root, name, kind)) is not None
        }

    @property
    def missing(self) -> list[str]:
        """Videos of the index that are missing below the folder, sorted; without those of `wrong`."""
        return sorted(self.segments.keys() - self.paths.keys() - set(self.wrong))

    def settings(self) -> dict[str, Any]:
        """What was chosen."""
        return {
            "source": "epic_kitchens",
            "from": self.kind,
            "view": "multi",
            "image_size": self.image_size,
            "scene": self.scene,
        }

    def units(self) -> list[str]:
        """The videos that were found."""
        return sorted(self.paths)

    def inputs(self, unit: str) -> Inputs:
        """Its segments, and the frames that they name, or the whole tar or video."""
        segments = self.segments[unit]
        numbers = {number for segment in segments for number in self._numbers(segment)}
        return (stamps(self.paths[unit], numbers) if unit in self.paths else {}) | {
            "its segments": json_sha256([repr(segment) for segment in segments]),
            "the class names": json_sha256([self.actions, self.objects]),
        }

    def build(self, unit: str) -> UnitRows:
        """The pairs of a video.

        Raises:
            FramesError: Its frames cannot be used at all. The unit fails, and the next run tries it again.
            StopBuildError: A segment gives no pair, and the source is strict.
        """
        segments = self.segments[unit]
        first = segments[0]
        video = Video(unit, first.rate, first.video_seconds, first.video_fps)
        rows: dict[str, dict[str, Any]] = {}
        faults: dict[str, tuple[str, str]] = {}
        # Frames come in numerical order; only those of segments that wait for a later frame are kept.
        waiting: dict[str, list[bytes | Image.Image | BadPairError]] = {}
        wanted: dict[int, list[Segment]] = {}
        for segment in segments:
            for number in self._numbers(segment):
                wanted.setdefault(number, []).append(segment)
        try:
            for number, picture in pictures(self.paths[unit], self.kind, video, wanted):
                for segment in wanted[number]:
                    seen = waiting.setdefault(segment.narration_id, [])
                    seen.append(picture)
                    if len(seen) < len(self._numbers(segment)):
                        continue
                    try:
                        rows[segment.narration_id] = self._row(segment, waiting.pop(segment.narration_id))
                    except (BadPairError, BadPictureError) as error:
                        faults[segment.narration_id] = (error.reason, self._sentence(segment, error))
                        if self.strict:
                            raise StopBuildError(self._sentence(segment, error)) from error
        except FramesError as error:
            told = self._without_root(error).rstrip(".")
            raise FramesError(f"{told}. It has {_named(s.narration_id for s in segments)}.") from error
        in_order = [segment.narration_id for segment in segments]
        rejected = Counter(faults[name][0] for name in in_order if name in faults)
        return UnitRows(
            [rows[name] for name in in_order if name in rows],
            dict(sorted(rejected.items())),
            [faults[name][1] for name in in_order if name in faults],
        )

    def _numbers(self, segment: Segment) -> tuple[int, ...]:
        """The frames that are read of a segment, in ascending order."""
        return segment.before_frame, segment.after_frame

    def _row(self, segment: Segment, pictures: list[bytes | Image.Image | BadPairError]) -> dict[str, Any]:
        before, after = whole(pictures)
        stored = store_pair(before, after, None, view="multi", image_size=self.image_size, encoding="jpeg")
        return self.row(stored, segment.verb, segment.noun, self._scene(segment), segment.narration_id)

    def _scene(self, segment: Segment) -> str:
        return segment.participant_id if self.scene == "participant" else segment.video_id

    def _sentence(self, segment: Segment, error: Exception) -> str:
        what = f"{segment.verb} {segment.noun}"
        return f"{segment.video_id}, {segment.narration_id} ({what}): {self._without_root(error)}."

    def _without_root(self, error: Exception) -> str:
        """An error's message without the folder, as it is stored with the pairs."""
        return str(error).replace(f"{self.root}{os.sep}", "")


def whole(pictures: Iterable[bytes | Image.Image | BadPairError]) -> list[bytes | Image.Image]:
    """The pictures; raises the first error among them."""
    found = []
    for picture in pictures:
        if isinstance(picture, BadPairError):
            raise picture
        found.append(picture)
    return found


def _grouped(segments: Iterable[Segment], column: str) -> dict[Any, list[Segment]]:
    found: dict[Any, list[Segment]] = {}
    for segment in segments:
        found.setdefault(getattr(segment, column), []).append(segment)
    return found


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} segments, {', '.join(names[:_NAMED])}{more}"
