"""`python -m data_scripts.epic_kitchens extract --index INDEX.csv --frames FOLDER --output data/epic`"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_scripts.builds.build_commands import build_parser, build_steps, check_options, plain_errors, stored_size
from data_scripts.epic_kitchens import terms
from data_scripts.epic_kitchens.frames import FRAMES, VIDEOS
from data_scripts.epic_kitchens.source import SCENES, EpicSource
from modeling_cde.cli.extras import install

DESCRIPTION = """\
Extract the frames before and after each segment of an index, out of EPIC-KITCHENS-100's tars or folders of frames
(P01/rgb_frames/P01_01.tar) or out of its videos (P01/videos/P01_01.MP4), and divide the pairs into splits. A video is
a work unit, and finished units are never repeated.
"""
_SHOWN = 12


def main(arguments: Sequence[str] | None = None) -> None:
    """Extract the frames of an index as a data set of pairs."""
    parser = build_parser("epic_kitchens extract", DESCRIPTION, view="multi")
    parser.add_argument("--index", type=Path, required=True, metavar="CSV", help="index.csv of the command index")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--frames", type=Path, metavar="FOLDER", help="with the tars or folders of frames")
    where.add_argument("--videos", type=Path, metavar="FOLDER", help="with the videos")
    parser.add_argument(
        "--scene", choices=SCENES, default="participant", help="what counts as one scene: a kitchen, or a video"
    )
    parser.add_argument("--skip_missing", action="store_true", help="continue without videos that are missing or wrong")
    parser.add_argument("--strict", action="store_true", help="stop at the first segment that gives no pair")
    parser.add_argument(
        "--licence_allows_frames",
        action="store_true",
        help="you state that the licence (CC BY-NC 4.0) and your agreement allow these frames to be published",
    )
    options = parser.parse_args(arguments)
    with plain_errors():
        extract(options)


def extract(options: argparse.Namespace) -> None:
    """Run the command; ValueError if options, the index or the folder cannot be used, or videos are missing."""
    publishable = None if options.licence_allows_frames else terms.NOT_PUBLISHABLE
    if options.licence_allows_frames:
        from modeling_cde.data.building.publishing import allow_publishing

        allow_publishing(options.output, terms.NOT_PUBLISHABLE)
    check_options(options, publishable)
    if options.view != "multi":
        raise ValueError("EPIC-KITCHENS-100 has no boxes of its objects to crop to: use --view multi.")
    if (options.output / "index.csv").exists():
        raise ValueError(f"{options.output} contains an index, whose card would be replaced: choose another --output.")
    kind = "frames" if options.frames else "videos"
    source = EpicSource(
        options.index,
        options.frames or options.videos,
        kind,
        stored_size(options),
        scene=options.scene,
        strict=options.strict,
    )
    if kind == "videos":
        check_decoder()
    print(found_text(source), flush=True)
    check_wrong(source, options.skip_missing)
    check_missing(source, options.skip_missing)

    from modeling_cde.data.building.card import DatasetCard

    size = "in their original size" if options.originals else f"scaled down to {options.image_size} pixels at most"
    came = "the official frames" if kind == "frames" else "the videos, by the numbering of the official frames"
    card = DatasetCard(
        title="Before/after pairs from EPIC-KITCHENS-100",
        description="Frames of kitchen videos at the start and the end of one action, with the classes of its verb "
        f"and noun; out of {came}, {size} (shorter side).",
        license=terms.LICENSE,
        license_terms=terms.TERMS,
        credit=f"{terms.CREDIT}\n\nChanges to the original: two frames of each chosen segment were extracted, "
        "scaled down if they were larger, encoded as JPEG if they were changed or came from videos, and divided into "
        "splits.",
        provenance=terms.PROVENANCE,
        citation=terms.CITATION,
        tags=("epic-kitchens",),
        limits=(
            "The frames are those at a segment's annotated start and end; nothing checks that the object is in view, "
            "unless the index was made with scores.",
            "Cameras move and several things change at once: before and after differ in more than the action.",
            "In low light the cameras of 2018 repeat frames.",
        ),
    )
    report = build_steps(source, options, card, publishable=publishable)
    if report.problems:
        print("Videos whose frames are downloaded again are read again by the same command.", flush=True)


def found_text(source: EpicSource) -> str:
    """What was found for the videos of the index, on one line."""
    kinds = Counter("folder" if path.is_dir() else path.suffix for path in source.paths.values())
    found = ", ".join(f"{count} as {kind}" for kind, count in sorted(kinds.items())) or "none"
    pairs = sum(len(segments) for segments in source.segments.values())
    return (
        f"{pairs} segments in {len(source.segments)} videos: {len(source.actions)} verbs, {len(source.objects)} nouns. "
        f"Found below {source.root}: {found}."
    )


def check_wrong(source: EpicSource, skip: bool) -> None:
    """Name the videos whose official frames are wrong; ValueError without `skip`, or if the index has no others."""
    if not source.wrong:
        return
    segments = sum(len(source.segments[video_id]) for video_id in source.wrong)
    told = (
        f"The official frames of {' and '.join(source.wrong)}, with {segments} segments, are wrong, says EPIC-KITCHENS-"
        "100's erratum; their videos are right"
    )
    alone = len(source.wrong) == len(source.segments)
    if alone or not skip:
        other = "" if alone else ", or add --skip_missing to continue without them"
        raise ValueError(f"{told}: extract from the videos with --videos FOLDER{other}.")
    print(f"{told}. Continuing without them.", flush=True)


def check_missing(source: EpicSource, skip: bool) -> None:
    """Name the missing videos; ValueError if all are missing, or some are without `skip`."""
    missing = source.missing
    if not missing:
        return
    segments = sum(len(source.segments[video_id]) for video_id in missing)
    listed = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    told = f"{len(missing)} of {len(source.segments)} videos, with {segments} segments, are missing: {listed}."
    if not source.paths:
        patterns = FRAMES if source.kind == "frames" else VIDEOS
        looked = ", ".join(p.format(participant=missing[0].split("_")[0], video=missing[0]) for p in patterns)
        raise ValueError(f"{told} Searched in {source.root}: {looked}. Give the folder that contains them.")
    if not skip:
        raise ValueError(f"{told} Download them, or add --skip_missing to continue without them.")
    print(f"{told} Continuing without them.", flush=True)


def check_decoder() -> None:
    """Raise ValueError if PyAV is missing, before any work starts."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ValueError(f"Reading videos needs PyAV: extract from frames instead, or {install('video')}") from error
