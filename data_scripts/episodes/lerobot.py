"""`python -m data_scripts.episodes lerobot --input FOLDER --output data/libero --camera observation.images.image`

The first and last frame of each episode are a pair; its instruction, read by the rule of `instruction`, gives action
and object. Episodes that the rule does not cover are left out, counted and listed in `<output>/instructions.csv`: fill
in action and object there and pass the file by --instructions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_scripts.builds.licensed_build import add_licence_arguments, build_licensed, stated_card
from data_scripts.builds.work_units import BadPairError, ClassSource, Inputs, UnitRows, file_stamp, json_sha256
from data_scripts.episodes.entries import Episode, Fault
from data_scripts.episodes.frames import episode_pictures
from data_scripts.episodes.instruction import Instruction, Unparsed, normalized
from data_scripts.episodes.readings import Readings, read_known
from data_scripts.episodes.recording import Recording, read_recording
from data_scripts.episodes.verbs import read_verbs
from data_scripts.stored_views import BadPictureError, store_pair, whole_box

EPISODES_PER_UNIT = 50
SCENES = ("episode", "task", "file")
SHOWN = 15


class LeRobotSource(ClassSource):
    """Pairs of first and last frames; a `data_scripts.builds.work_units.Source`.

    Args:
        folder: In the LeRobot format.
        camera: Key of the camera; None for the only one.
        view: "multi", or "single", where the whole picture counts as the target, as episodes have no boxes.
        image_size: Shorter side of what is stored; None keeps the originals.
        first: Frames to skip at the start of each episode, for example until the scene settles.
        last: Frames to skip at the end.
        scene: What must not be on both sides of a split that groups by scene: an "episode", all episodes of one
            instruction ("task"), or of one data file ("file", v3.0 only), which were recorded in succession.
        readings: Of the instructions; by default by the rule and the built-in verbs.
        encoding: Of the stored pictures, "png" or "jpeg".

    Raises:
        RecordingError: See `read_recording`.
        ValueError: An option is invalid.
    """

    def __init__(
        self,
        folder: Path,
        camera: str | None = None,
        *,
        view: str = "multi",
        image_size: int | None = None,
        first: int = 0,
        last: int = 0,
        scene: str = "episode",
        readings: Readings | None = None,
        encoding: str = "png",
    ) -> None:
        if first < 0 or last < 0:
            raise ValueError(f"--first is {first} and --last {last}; give numbers of frames to skip, 0 or more.")
        if scene not in SCENES:
            raise ValueError(f"--scene is {scene!r}; choose {', '.join(SCENES)}.")
        folder = folder.absolute()  # workers may run elsewhere
        self.folder, self.view, self.image_size, self.encoding = folder, view, image_size, encoding
        self.first, self.last, self.scene = first, last, scene
        self.readings = readings or Readings()
        self._recording: Recording | None = read_recording(folder, camera)
        self.camera, self.version = self._recording.camera, self._recording.version
        if scene == "file" and self.version != "v3.0":
            raise ValueError(
                f"--scene file needs v3.0: in {self.version} each episode is a file; choose episode or task."
            )
        found = [
            answer
            for episode in self._recording.episodes
            if isinstance(answer := self.readings.answer(episode.tasks), Instruction)
        ]
        self.actions = sorted({answer.action for answer in found})
        self.objects = sorted({answer.object for answer in found})

    def __getstate__(self) -> dict[str, Any]:
        # Workers read the metadata themselves, instead of receiving tens of thousands of episodes each.
        return self.__dict__ | {"_recording": None}

    @property
    def recording(self) -> Recording:
        """The metadata of all episodes."""
        if self._recording is None:
            self._recording = read_recording(self.folder, self.camera)
        return self._recording

    def settings(self) -> dict[str, Any]:
        """What was chosen."""
        names = ("camera", "view", "image_size", "encoding", "first", "last", "scene")
        joined = self.version == "v3.0" and any(episode.video for episode in self.recording.episodes)
        # Pairs of joined videos that were found by time stamps alone may be wrong, and are not to be added to.
        counted = {"frames": "counted"} if joined else {}
        return {name: getattr(self, name) for name in names} | counted | {"source": "lerobot"}

    def units(self) -> list[str]:
        """Ranges of episodes.

        Raises:
            ValueError: No instruction is read, so that there is nothing to build.
        """
        if not self.actions:
            some = next((repr(task) for task in self._tasks() if normalized(task)), "none")
            raise ValueError(
                f"None of the {len(self.recording.episodes)} episodes of {self.folder} has an instruction that the "
                f"rule covers (for example {some}); add verbs by --verbs, or fill in actions and objects in the file "
                "instructions.csv that --list_instructions writes into --output, and pass it by --instructions."
            )
        return sorted(self._ranges())

    def inputs(self, unit: str) -> Inputs:
        """Its episodes with the readings of their instructions, and their files with all episodes in these."""
        own = self._ranges()[unit]
        files = {episode.video or episode.data for episode in own if isinstance(episode, Episode)}
        found: Inputs = {name: file_stamp(self.folder / name) for name in files}
        # The place of an episode in a video follows from the lengths of the others.
        listed = [*own, *(episode for episode in self.recording.episodes if episode.video in files)]
        read = self.readings.sha256(task for episode in own if isinstance(episode, Episode) for task in episode.tasks)
        return found | {
            "its episodes": json_sha256([self.version, str(self.recording.fps), list(map(str, listed)), read]),
            "the class names": json_sha256([self.actions, self.objects]),
        }

    def build(self, unit: str) -> UnitRows:
        """The pairs of a range of episodes."""
        result = UnitRows([])
        frames: dict[Episode, tuple[int, ...]] = {}
        for episode in self._ranges()[unit]:
            if isinstance(episode, Fault):
                _reject(result, episode.reason, episode, episode.sentence)
                continue
            answer = self.readings.answer(episode.tasks)
            start, stop = self.first, episode.length - 1 - self.last
            if isinstance(answer, Unparsed):
                said = " / ".join(repr(task) for task in episode.tasks) or "none"
                sentence = f"instruction {said} not read: {answer.reason}"
                _reject(result, f"instruction: {answer.reason}", episode, sentence)
            elif start >= stop:
                sentence = f"{episode.length} frames are too few to take frame {start} and a later one"
                sentence += f", the {self.last} last ones skipped" if self.last else ""
                _reject(result, "too short", episode, sentence)
            else:
                frames[episode] = self._numbers(start, stop)
        notes: list[str] = []
        for episode, pictures in episode_pictures(self.recording, frames, notes):
            if isinstance(pictures, BadPairError):
                _reject(result, pictures.reason, episode, str(pictures))
                continue
            try:
                result.rows.append(self._row(episode, *pictures))
            except (BadPairError, BadPictureError) as error:
                _reject(result, error.reason, episode, str(error))
        result.problems += notes
        return result

    def summary(self) -> str:
        """How many episodes are understood, and the most common instructions that are not."""
        recording = self.recording
        unread: Counter[tuple[str, str]] = Counter()
        for episode in recording.episodes:
            answer = self.readings.answer(episode.tasks)
            if isinstance(answer, Unparsed):
                unread[" / ".join(episode.tasks), answer.reason] += 1
        total, missed = len(recording.episodes), sum(unread.values())
        lines = [
            f"{total} episodes of {self.folder.name} ({self.version}, {float(recording.fps):g} frames per second, "
            f"camera {self.camera}): the instructions of {total - missed} are read, as {len(self.actions)} actions on "
            f"{len(self.objects)} objects."
        ]
        if recording.faults:
            number, _, sentence = recording.faults[0]
            lines.append(f"{len(recording.faults)} more cannot be used; the first one, episode {number}: {sentence}.")
        if unread:
            shown = f", the {SHOWN} most common of {len(unread)}" if len(unread) > SHOWN else ""
            lines.append(f"{missed} of them are left out because of their instruction{shown}:")
            lines += [f"  {count:6d} x {task!r}: {reason}" for (task, reason), count in unread.most_common(SHOWN)]
        return "\n".join(lines)

    def write_instructions(self, path: Path) -> None:
        """Write how each instruction is read, see `Readings.write`."""
        self.readings.write(path, self._tasks())

    def _tasks(self) -> list[str]:
        return [task for episode in self.recording.episodes for task in episode.tasks]

    def _ranges(self) -> dict[str, list[Episode | Fault]]:
        episodes: list[Episode | Fault] = [*self.recording.episodes, *self.recording.faults]
        episodes.sort(key=lambda episode: episode.number)
        starts = range(0, len(episodes), EPISODES_PER_UNIT)
        parts = [episodes[start : start + EPISODES_PER_UNIT] for start in starts]
        return {f"episodes-{part[0].number:06d}-{part[-1].number:06d}": part for part in parts}

    def _numbers(self, first: int, last: int) -> tuple[int, ...]:
        """The frames that are read of an episode, from its first to its last that may be."""
        return first, last

    def _row(self, episode: Episode, *pictures: Any) -> dict[str, Any]:
        (before, after), answer = pictures, self._answer(episode)
        box = whole_box(before) if self.view == "single" else None
        stored = store_pair(before, after, box, view=self.view, image_size=self.image_size, encoding=self.encoding)
        return self.row(stored, answer.action, answer.object, self._scene(episode), f"episode-{episode.number:06d}")

    def _answer(self, episode: Episode) -> Instruction:
        answer = self.readings.answer(episode.tasks)
        assert isinstance(answer, Instruction)
        return answer

    def _scene(self, episode: Episode) -> str:
        scenes = {
            "episode": f"episode-{episode.number:06d}",
            "task": " / ".join(sorted({normalized(task) for task in self.readings.acts(episode.tasks)})),
            "file": episode.data,
        }
        return scenes[self.scene]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make before/after pairs of the first and last frames of the episodes of a data set in the LeRobot format."""
    from data_scripts.builds.build_commands import build_parser, plain_errors, stored_size

    parser = build_parser("episodes lerobot", main.__doc__, view="multi")
    parser.add_argument("--input", type=Path, required=True, help="folder with meta/info.json, v2.0, v2.1 or v3.0")
    parser.add_argument("--camera", help="key of the camera; not needed if there is only one")
    parser.add_argument("--encoding", choices=("png", "jpeg"), default="png", help="of the stored pictures")
    parser.add_argument("--first", type=int, default=0, help="frames to skip at the start of each episode")
    parser.add_argument("--last", type=int, default=0, help="frames to skip at the end of each episode")
    parser.add_argument(
        "--scene",
        choices=SCENES,
        default="episode",
        help="what --group_by scene keeps on one side: an episode, a task's episodes, a data file's (v3.0)",
    )
    parser.add_argument("--verbs", type=Path, help="CSV phrase,action: verbs besides the built-in ones")
    parser.add_argument("--instructions", type=Path, help="CSV instruction,action,object: your own readings")
    parser.add_argument("--list_instructions", action="store_true", help="print how instructions are read, and stop")
    parser.add_argument(
        "--whole_picture_is_target", action="store_true", help="needed for --view single: episodes have no boxes"
    )
    add_licence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        if options.view == "single" and not options.whole_picture_is_target:
            raise ValueError(
                "Episodes have no boxes around their targets, which the single view needs; use --view multi, or "
                "--whole_picture_is_target if the camera shows little else."
            )
        source = LeRobotSource(
            options.input,
            options.camera,
            view=options.view,
            image_size=stored_size(options),
            first=options.first,
            last=options.last,
            scene=options.scene,
            readings=Readings(
                read_verbs(options.verbs) if options.verbs else None,
                read_known(options.instructions) if options.instructions else None,
            ),
            encoding=options.encoding,
        )
        print(source.summary(), flush=True)
        source.write_instructions(options.output / "instructions.csv")
        print(f"How each instruction is read: {options.output / 'instructions.csv'}", flush=True)
        if options.list_instructions:
            return
        from modeling_cde.data.building.card import DatasetCard

        robot = f", robot {source.recording.robot}" if source.recording.robot else ""
        card = DatasetCard(
            title=f"First and last frames of {options.input.resolve().name}",
            description="Each pair is an early and a late frame of one robot episode. Action and object are read from "
            "the episode's instruction by rule; episodes that the rule does not cover are left out.",
            provenance=(
                f"Read from the episodes {options.input.resolve().name} in the LeRobot format {source.version}{robot}, "
                f"camera {source.camera}. Their publisher states the licence and whom to credit; the person who made "
                "the pairs gave what is said here.",
            ),
            limits=(
                "The robot itself has moved between the two pictures.",
                "An object is the last noun of its name: tomato sauce and apple sauce are both sauce.",
                "Other changes than those in an episode's instruction are not recorded.",
            ),
        )
        build_licensed(source, options, stated_card(options, card))


def _reject(result: UnitRows, reason: str, episode: Episode | Fault, sentence: str) -> None:
    result.reject(reason, f"Episode {episode.number}: {sentence}.")
