"""`python -m data_scripts.epic_kitchens index --annotations EPIC_100_train.csv ... --output data/epic-index`"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_scripts.builds.build_commands import plain_errors
from data_scripts.epic_kitchens.annotations import Fault, Segment, read_segments
from data_scripts.epic_kitchens.csv_tables import TableError, read_classes, read_instances, read_videos
from data_scripts.epic_kitchens.filters import Choice, choose
from data_scripts.epic_kitchens.index_card import index_card
from data_scripts.epic_kitchens.listing import index_csv
from data_scripts.epic_kitchens.scores import FrameScore, ScoreFile
from data_scripts.epic_kitchens.verbs import CAUSAL_TRIPLET_VERBS, choose_verbs
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import file_sha256, write_text_whole

FAULTS_SHOWN = 20
MIN_SCORE = 0.5
DESCRIPTION = """\
Find the frames before and after each segment in EPIC-KITCHENS-100's official CSV tables: writes index.csv, a card, and
a report of what was left out and why. It needs no frames and contains none.
"""


@dataclass(frozen=True)
class Index:
    """An index and how it was made."""

    segments: list[Segment]  # chosen, sorted by video and frames
    rows: int  # of the annotations
    faults: list[Fault]  # rows that failed a check, in the order of the files
    left_out: dict[str, int]  # valid segments that were not chosen, by reason

    def counts(self) -> dict[str, Any]:
        """All numbers of the report."""
        s = self.segments
        return {
            "rows": self.rows,
            "faulty": dict(sorted(Counter(fault.reason for fault in self.faults).items())),
            "left_out": self.left_out,
            "segments": len(s),
            "videos": len({segment.video_id for segment in s}),
            "participants": len({segment.participant_id for segment in s}),
            "verbs": dict(sorted(Counter(segment.verb for segment in s).items())),
            "nouns": dict(sorted(Counter(segment.noun for segment in s).items())),
        }


def build_index(
    annotations: Sequence[Path],
    verb_classes: Path,
    noun_classes: Path,
    video_info: Path,
    *,
    verbs: Sequence[str] = CAUSAL_TRIPLET_VERBS,
    min_seconds: float = 0.0,
    min_frames: int = 1,
    max_overlap: float | None = None,
    score: FrameScore | None = None,
    min_score: float = MIN_SCORE,
    strict: bool = False,
) -> Index:
    """Read the official tables and choose segments.

    Args:
        annotations: EPIC_100_train.csv, EPIC_100_validation.csv or tables like them.
        verb_classes: EPIC_100_verb_classes.csv.
        noun_classes: EPIC_100_noun_classes.csv.
        video_info: EPIC_100_video_info.csv.
        verbs: Keys of verb classes, or `["all"]`.
        min_seconds, min_frames, max_overlap, min_score: See `filters.Choice`.
        score: Of the frames, for example a `ScoreFile`; None for none.
        strict: Stop at the first row that fails a check.

    Raises:
        TableError: A table cannot be used, or `strict` and a row fails a check.
        ValueError: An option is out of range.
    """
    verb_keys, noun_keys = read_classes(verb_classes, "take"), read_classes(noun_classes, "tap")
    choice = Choice(
        choose_verbs(verbs, set(verb_keys.values()), read_instances(verb_classes)),
        min_seconds,
        min_frames,
        max_overlap,
        min_score=min_score,
    )
    faults: list[Fault] = []
    sound: list[Segment] = []
    for row in read_segments(annotations, verb_keys, noun_keys, read_videos(video_info)):
        if isinstance(row, Segment):
            sound.append(row)
        elif strict:
            raise TableError(row.sentence)
        else:
            faults.append(row)
    segments, left_out = choose(sound, choice, score)
    return Index(segments, len(sound) + len(faults), faults, left_out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make an index, and publish it if asked."""
    parser = argparse.ArgumentParser(prog=command("data_scripts.epic_kitchens index"), description=DESCRIPTION)
    add = parser.add_argument
    add("--annotations", type=Path, nargs="+", required=True, metavar="CSV", help="EPIC_100_train.csv and similar")
    add("--verb_classes", type=Path, required=True, metavar="CSV", help="EPIC_100_verb_classes.csv")
    add("--noun_classes", type=Path, required=True, metavar="CSV", help="EPIC_100_noun_classes.csv")
    add("--video_info", type=Path, required=True, metavar="CSV", help="EPIC_100_video_info.csv")
    add("--output", type=Path, required=True, metavar="FOLDER", help="for index.csv, README.md and report.json")
    add(
        "--verbs",
        nargs="+",
        default=list(CAUSAL_TRIPLET_VERBS),
        metavar="KEY",
        help=f"keys of verb classes, or all ({' '.join(CAUSAL_TRIPLET_VERBS)})",
    )
    add("--min_seconds", type=float, default=0.0, help="least length of a segment (0)")
    add("--min_frames", type=int, default=1, help="least number of frames between before and after (1)")
    add(
        "--max_overlap",
        type=float,
        metavar="SHARE",
        help="leave out segments that share more than this, 0 to 1, with another action (all are kept)",
    )
    add("--scores", type=Path, metavar="CSV", help="narration_id,start_score,stop_score; none by default")
    add("--min_score", type=float, help="with --scores: both must be above it (0.5)")
    add("--strict", action="store_true", help="stop at the first row that fails a check instead of reporting it")
    add("--push", metavar="ORG/NAME", help="upload index, card and report to this data set repository")
    add("--private", action="store_true", help="make that repository private")
    options = parser.parse_args(arguments)
    with plain_errors():
        write_index(options)


def write_index(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ValueError: Options or tables cannot be used.
        OSError: The output cannot be written, or the Hub cannot be reached.
    """
    output: Path = options.output
    if (output / "shards").exists() or (output / "manifests").exists():
        raise ValueError(
            f"{output} contains a build of pairs, whose card the index would replace: choose another folder."
        )
    if options.min_score is not None and not options.scores:
        raise ValueError("--min_score only works with --scores: give both or neither.")
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file: give a folder.")
    index = build_index(
        options.annotations,
        options.verb_classes,
        options.noun_classes,
        options.video_info,
        verbs=options.verbs,
        min_seconds=options.min_seconds,
        min_frames=options.min_frames,
        max_overlap=options.max_overlap,
        score=ScoreFile(options.scores) if options.scores else None,
        min_score=MIN_SCORE if options.min_score is None else options.min_score,
        strict=options.strict,
    )
    print(report_text(index), flush=True)
    if not index.segments:
        raise ValueError("No segments are left, so no index was written: choose other verbs or weaker conditions.")
    report = {"settings": _settings(options), **index.counts(), "faults": [fault.sentence for fault in index.faults]}
    output.mkdir(parents=True, exist_ok=True)
    table = index_csv(index.segments)
    files = {
        "index.csv": table,
        "report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        "README.md": index_card(report, table),
    }
    for name, text in files.items():
        write_text_whole(output / name, text)
    extract = f"{command('data_scripts.epic_kitchens extract')} --index {output / 'index.csv'}"
    print(
        f"Index: {output / 'index.csv'}; card and report are next to it. Extract its frames with: {extract} --frames "
        "FOLDER --output FOLDER"
    )
    if options.push:
        from data_scripts.epic_kitchens.index_card import push_index

        print(f"Published: {push_index(files, options.push, private=options.private)}", flush=True)


def report_text(index: Index) -> str:
    """The content of the index and what was left out, in lines; the first faults by name."""
    counts = index.counts()
    lines = [
        f"{counts['segments']} of {counts['rows']} segments, in {counts['videos']} videos of {counts['participants']} "
        f"participants: {len(counts['verbs'])} verbs, {len(counts['nouns'])} nouns."
    ]
    for what, reasons in (("Rows that failed a check", counts["faulty"]), ("Left out", counts["left_out"])):
        if reasons:
            lines.append(f"{what}: {', '.join(f'{reason} {count}' for reason, count in reasons.items())}.")
    lines += [f"  {fault.sentence}" for fault in index.faults[:FAULTS_SHOWN]]
    if len(index.faults) > FAULTS_SHOWN:
        lines.append(f"  and {len(index.faults) - FAULTS_SHOWN} more, in report.json.")
    return "\n".join(lines)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the index depends on, files by name and hash."""
    tables = [*options.annotations, options.verb_classes, options.noun_classes, options.video_info]
    tables += [options.scores] if options.scores else []
    return {
        "tables": {path.name: file_sha256(path) for path in tables},
        "verbs": options.verbs,
        "min_seconds": options.min_seconds,
        "min_frames": options.min_frames,
        "max_overlap": options.max_overlap,
        "min_score": None if not options.scores else MIN_SCORE if options.min_score is None else options.min_score,
    }
