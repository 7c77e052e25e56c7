"""Small data sets in the LeRobot format, written from its description and without the code that is tested.

Every frame carries a number as squares (`tiny_video.numbered`): the frame's place in its video file, or, where pictures
lie in the data files, its place in the whole data set.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from datasets import Features, Image, Value
from PIL import Image as Pictures

from tests.data_scripts.tiny_video import numbered, write_video

CAMERA = "observation.images.image"
Episodes = Sequence[tuple[list[str], int]]  # instructions and number of frames of each


def png(number: int, size: tuple[int, int] = (128, 64)) -> bytes:
    """A numbered picture as PNG."""
    buffer = io.BytesIO()
    Pictures.fromarray(numbered(number, *size)).save(buffer, "PNG")
    return buffer.getvalue()


def write_recording(
    folder: Path,
    version: str,
    episodes: Episodes,
    *,
    kind: str = "video",
    fps: int = 10,
    files: int = 2,
    **changes: Any,
) -> Path:
    """Write a data set of one camera (and a second one that is only named).

    Args:
        folder: to be made.
        version: "v2.0", "v2.1" or "v3.0".
        episodes: instructions and lengths.
        kind: "video" or "image".
        fps: frames per second.
        files: of v3.0, which the episodes are shared out to.
        changes: keys of info.json to set otherwise.
    """
    (folder / "meta").mkdir(parents=True)
    info = {
        "codebase_version": version,
        "robot_type": "panda",
        "total_episodes": len(episodes),
        "total_frames": sum(length for _, length in episodes),
        "chunks_size": 1000,
        "fps": fps,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            CAMERA: {"dtype": kind, "shape": [64, 128, 3], "names": ["height", "width", "channel"]},
            "observation.images.wrist": {"dtype": kind, "shape": [64, 128, 3], "names": None},
            "action": {"dtype": "float32", "shape": [7], "names": None},
        },
    }
    if kind == "video":
        info["features"][CAMERA]["info"] = {"video.fps": float(fps), "video.codec": "h264"}  # type: ignore[index]
    if version == "v3.0":
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        _write_v3(folder, episodes, kind, fps, files)
    else:
        _write_v2(folder, episodes, kind, fps)
    (folder / "meta" / "info.json").write_text(json.dumps(info | changes, indent=4))
    return folder


def _write_v2(folder: Path, episodes: Episodes, kind: str, fps: int) -> None:
    tasks = sorted({task for names, _ in episodes for task in names})
    _lines(folder / "meta" / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(tasks)])
    rows = [{"episode_index": i, "tasks": names, "length": length} for i, (names, length) in enumerate(episodes)]
    _lines(folder / "meta" / "episodes.jsonl", rows)
    start = 0
    for i, (names, length) in enumerate(episodes):
        path = folder / f"data/chunk-000/episode_{i:06d}.parquet"
        _write_data(path, [(i, length, tasks.index(names[0]))], start, kind, fps)
        if kind == "video":
            path = folder / f"videos/chunk-000/{CAMERA}/episode_{i:06d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, length, fps)
        start += length


def _write_v3(folder: Path, episodes: Episodes, kind: str, fps: int, files: int) -> None:
    tasks = sorted({task for names, _ in episodes for task in names})
    # As pandas writes a frame whose index are the instructions.
    table = pa.table({"task_index": list(range(len(tasks))), "__index_level_0__": tasks})
    parquet.write_table(table, folder / "meta" / "tasks.parquet")
    share = -(-len(episodes) // files)
    start = 0
    for number in range(files):
        part = list(enumerate(episodes))[number * share : (number + 1) * share]
        lengths = [(i, length, tasks.index(names[0])) for i, (names, length) in part]
        _write_data(folder / f"data/chunk-000/file-{number:03d}.parquet", lengths, start, kind, fps)
        rows, seconds = [], 0.0
        for i, (names, length) in part:
            row = {
                "episode_index": i,
                "tasks": names,
                "length": length,
                "data/chunk_index": 0,
                "data/file_index": number,
                "dataset_from_index": start,
                "dataset_to_index": start + length,
                "stats/action/mean": [0.0] * 7,
            }
            if kind == "video":
                row |= {f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": number}
                row |= {f"videos/{CAMERA}/from_timestamp": seconds}
                row |= {f"videos/{CAMERA}/to_timestamp": seconds + length / fps}
            seconds += length / fps
            start += length
            rows.append(row)
        path = folder / f"meta/episodes/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), path)
        if kind == "video":
            path = folder / f"videos/{CAMERA}/chunk-000/file-{number:03d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, sum(length for _, length, _ in lengths), fps, key_interval=7)


def _write_data(path: Path, lengths: list[tuple[int, int, int]], start: int, kind: str, fps: int) -> None:
    """`lengths` are the number, the frames and the task_index of each episode."""
    features = {"timestamp": Value("float32")}
    features |= {name: Value("int64") for name in ("frame_index", "episode_index", "task_index")}
    rows: list[dict[str, Any]] = [
        {"timestamp": frame / fps, "frame_index": frame, "episode_index": i, "task_index": task}
        for i, length, task in lengths
        for frame in range(length)
    ]
    if kind == "image":
        features = {CAMERA: Image()} | features
        for number, row in enumerate(rows, start=start):
            row[CAMERA] = {"bytes": png(number), "path": f"frame-{row['frame_index']:06d}.png"}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=Features(features).arrow_schema)
    parquet.write_table(table, path, row_group_size=5)  # so that an episode spans several


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
