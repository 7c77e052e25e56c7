"""What whole builds cost in hours, cores and bytes, from rates measured on this machine.

    python -m benchmarks.speed.build_costs --procthor_sample FOLDER --json costs.json

writes small inputs of the real shapes, builds them with the sources' own code (shards included), each in a process of
its own, and takes the CPU time per pair, the bytes per pair and the peak memory to the size of the whole:

- ProcTHOR: 10,000 houses of at most 25 pairs, 672x672 PNGs with masks; from a folder, a zip, a tar and a tar.gz.
- EPIC-KITCHENS-100: 700 videos, 100 hours; from tars of frames (456x256) and from 1920x1080 video.

Not measured, and said so in the table: a simulator's time for generating pairs, disks and networks (inputs here are in
the page cache), and waiting for other processes. How well PNG compresses decides a large part, so give
`--procthor_sample` a folder of real houses (color/ and annotations.csv); without it synthetic pictures stand in.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from benchmarks.speed.build_inputs import Pair, frame, house_files, sample_pictures, write_index, write_tar, write_video
from data_scripts.builds.build_commands import IMAGE_SIZE
from data_scripts.builds.packing import pack_job, unpack_job
from data_scripts.builds.work_units import Source
from data_scripts.epic_kitchens.source import EpicSource
from data_scripts.procthor.reader import HousesSource

HOUSES, PAIRS_PER_HOUSE = 10_000, 25
VIDEOS, VIDEO_HOURS = 700, 100.0
#: 67,217 training and 9,668 validation segments, of which 2,347 of the 9,668 are of the 25 verbs.
EPIC_PAIRS = round((67_217 + 9_668) * 2_347 / 9_668)
FRAME_SIZE = (456, 256)
GIB = 2**30


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.build_costs", description=__doc__.split("\n")[0])
    parser.add_argument("--procthor_sample", type=Path, help="folder of real houses to take the pictures from")
    parser.add_argument("--houses", type=int, default=3, help="houses to measure with")
    parser.add_argument("--pairs_per_house", type=int, default=PAIRS_PER_HOUSE, help="pairs of each of them")
    parser.add_argument("--frames", type=int, default=7200, help="frames of the tar to measure with (60 a second)")
    parser.add_argument("--video_seconds", type=float, default=8.0, help="of the 1080p video; 0 leaves it out")
    parser.add_argument("--key_interval", type=int, default=30, help="frames between the video's key frames")
    parser.add_argument("--cores", type=int, default=16, help="cores that hours are given for, besides one")
    parser.add_argument(
        "--simulator_seconds", type=float, help="of a GPU machine per generated pair; NOT measured here"
    )
    parser.add_argument("--json", type=Path, help="write what was measured and worked out to this file")
    options = parser.parse_args(arguments)
    for name, least in (("houses", 1), ("pairs_per_house", 1), ("frames", 600), ("video_seconds", 0), ("cores", 1)):
        if getattr(options, name) < least:
            sys.exit(f"--{name} is {getattr(options, name)}; give at least {least}.")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = sample_pictures(options.procthor_sample)
        measured = [*measure_procthor(folder, pictures, options), *measure_epic(folder, pictures, options)]
    rows = [extrapolate(one) for one in measured]
    origin = str(options.procthor_sample) if options.procthor_sample else "synthetic; real ones compress otherwise"
    print(table(rows, options.cores, options.simulator_seconds))
    print(f"Pictures: {origin}. Python {platform.python_version()}, {os.cpu_count()} cores here.")
    if options.json:
        result = {
            "pictures": "real sample" if options.procthor_sample else "synthetic",
            "machine": platform.machine(),
            "python": platform.python_version(),
            "measured": measured,
            "whole": rows,
            "simulator_seconds_per_pair_not_measured": options.simulator_seconds,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


# Measurements


def measure_procthor(folder: Path, pictures: Sequence[Pair], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every way to read houses."""
    files = house_files(pictures, options.houses, options.pairs_per_house)
    print(f"Writing {len(files)} files of {options.houses} houses ...", flush=True)
    root = folder / "houses"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    with zipfile.ZipFile(folder / "houses.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    write_tar(folder / "houses.tar", files)
    write_tar(folder / "houses.tar.gz", files, "w:gz")
    whole = {
        "pairs": HOUSES * PAIRS_PER_HOUSE,
        "input_bytes": sum(map(len, files.values()))
        * HOUSES
        * PAIRS_PER_HOUSE
        / (options.houses * options.pairs_per_house),
    }
    ways = [
        ("folder", "single", IMAGE_SIZE),
        ("folder", "multi", IMAGE_SIZE),
        ("folder", "multi", None),
        ("zip", "single", IMAGE_SIZE),
        ("tar", "single", IMAGE_SIZE),
        ("tar.gz", "single", IMAGE_SIZE),
    ]
    found = []
    for kind, view, size in ways:
        path = root if kind == "folder" else folder / f"houses.{kind}"
        name = f"ProcTHOR, {kind}, {view}, {f'{size} px' if size else 'originals'}"
        found.append({"name": name, **run_apart(partial(HousesSource, path, view, size, progress=False)), **whole})
    return found


def measure_epic(folder: Path, pictures: Sequence[Pair], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Frames from a tar, and from a video."""
    found = []
    share = EPIC_PAIRS / (VIDEO_HOURS * 3600)  # pairs a second of video: listing a tar costs by its frames
    frames = options.frames
    root = folder / "frames"
    (root / "P01" / "rgb_frames").mkdir(parents=True)
    with Image.open(io.BytesIO(pictures[0][0])) as image:  # moved along, so that no two frames of a pair are the same
        content = [frame(ImageChops.offset(image.convert("RGB"), 30 * step), FRAME_SIZE) for step in range(7)]
    print(f"Writing a tar of {frames} frames ...", flush=True)
    write_tar(
        root / "P01/rgb_frames/P01_01.tar",
        {f"frame_{number:010d}.jpg": content[number % len(content)] for number in range(1, frames + 1)},
    )
    index = write_index(folder / "frames.csv", frames, frames / 60, max(2, round(share * frames / 60)))
    whole = {"pairs": EPIC_PAIRS, "videos_seconds": VIDEO_HOURS * 3600}
    result = run_apart(partial(EpicSource, index, root, "frames", IMAGE_SIZE))
    input_bytes = sum(map(len, content)) / len(content) * VIDEO_HOURS * 3600 * 60
    found.append({"name": "EPIC, tars of frames", **result, **whole, "input_bytes": input_bytes})
    if options.video_seconds:
        seconds = options.video_seconds
        print(f"Encoding {seconds:g} s of 1080p video ...", flush=True)
        (folder / "videos").mkdir()
        path = folder / "videos" / "P01_01.mp4"
        write_video(path, pictures, seconds, options.key_interval)
        index = write_index(folder / "videos.csv", int(seconds * 60) - 2, seconds, 8)
        result = run_apart(partial(EpicSource, index, folder / "videos", "videos", IMAGE_SIZE))
        input_bytes = path.stat().st_size / seconds * VIDEO_HOURS * 3600
        found.append({"name": "EPIC, 1080p videos", **result, **whole, "input_bytes": input_bytes})
    return found


def run_apart(make: Callable[[], Source]) -> dict[str, Any]:
    """Make a source, and build all of its units in a fresh process, as a worker does.

    Returns:
        `listing_seconds` (CPU) of making it; `measured_pairs`, `cpu_seconds` and `wall_seconds` of building,
        `stored_bytes`, and `peak_bytes` of the process.
    """
    began = time.process_time()
    source = make()
    listing = time.process_time() - began
    message = pack_job(source, source.features.arrow_schema)
    with get_context("spawn").Pool(1) as pool:
        return {"listing_seconds": listing, **pool.apply(_build_all, (message,))}


def _build_all(message: bytes) -> dict[str, Any]:
    from data_scripts.builds.workers import build_outcome

    source, schema = unpack_job(message)
    cpu, wall = time.process_time(), time.perf_counter()
    pairs = stored = 0
    for unit in source.units():
        outcome = build_outcome(source, schema, unit)
        if outcome.error or outcome.problems:
            raise RuntimeError(f"{unit}: {outcome.error or outcome.problems[0]}")
        pairs, stored = pairs + outcome.rows, stored + len(outcome.shard)
    source.close()
    return {
        "measured_pairs": pairs,
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "stored_bytes": stored,
        "peak_bytes": peak_memory(),
    }


def peak_memory() -> int:
    """The most bytes that this process ever had in memory."""
    try:
        # Not getrusage: that begins with what the parent had, which imported more.
        status = Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# The whole


def extrapolate(measured: dict[str, Any]) -> dict[str, Any]:
    """Core hours and bytes of the whole build, in proportion to the pairs that were measured.

    Args:
        measured: `name`, `pairs` of the whole, `input_bytes` of the whole, and what `run_apart` returns.
    """
    times = measured["pairs"] / measured["measured_pairs"]
    return {
        "name": measured["name"],
        "pairs": measured["pairs"],
        "pairs_per_core_second": measured["measured_pairs"] / measured["cpu_seconds"],
        "listing_hours": measured["listing_seconds"] * times / 3600,
        "core_hours": measured["cpu_seconds"] * times / 3600,
        "input_bytes": measured["input_bytes"],
        "stored_bytes": measured["stored_bytes"] * times,
        "peak_bytes": measured["peak_bytes"],
    }


def table(rows: Sequence[dict[str, Any]], cores: int, simulator_seconds: float | None) -> str:
    """The whole builds as a Markdown table, with a line for the simulator."""
    lines = [
        f"| build | pairs | pairs/s a core | listing h | build h, 1 core | {cores} cores | input | shards | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['pairs']:,} | {row['pairs_per_core_second']:.1f} | {row['listing_hours']:.2f} "
            f"| {row['core_hours']:.1f} "
            f"| {row['core_hours'] / cores:.2f} | {row['input_bytes'] / GIB:.0f} GiB "
            f"| {row['stored_bytes'] / GIB:.1f} GiB | {row['peak_bytes'] / 2**20:.0f} MiB |"
        )
    pairs = HOUSES * PAIRS_PER_HOUSE
    if simulator_seconds is None:
        simulator = "not measured: no simulator here; --simulator_seconds works it out"
    else:
        hours = pairs * simulator_seconds / 3600
        simulator = f"{hours:,.0f} h of one simulator at {simulator_seconds:g} s a pair, which was given, NOT measured"
    return "\n".join(
        [
            *lines,
            "",
            f"Generating {pairs:,} ProcTHOR pairs: {simulator}.",
            "Listing is done once, by one process; memory is a worker's peak, to which it adds the list of an archive.",
            "Hours are CPU time over cores: units are independent, so they hold if the disk gives the input as fast.",
            "The divided data set holds the pictures of the shards again: until shards are deleted, twice the bytes.",
        ]
    )


if __name__ == "__main__":
    main()
