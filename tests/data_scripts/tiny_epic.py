"""Small tables, frames and videos in EPIC-KITCHENS-100's formats."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from data_scripts.epic_kitchens.verbs import CAUSAL_TRIPLET_VERBS
from tests.data_scripts.tiny_video import numbered

VERBS = {0: "take", 3: "open", 4: "close", 36: "wrap", 41: "hang"}
VERBS |= {50 + i: key for i, key in enumerate(CAUSAL_TRIPLET_VERBS) if key not in VERBS.values()}
RAW = {"open": ("pull-open",), "close": ("shut", "close's")}
NOUNS = {0: "tap", 3: "drawer", 8: "cupboard", 24: "bottle"}
NOUNS |= {30 + i: key for i, key in enumerate(("fridge", "oven", "bin", "bag", "box", "jar", "tin", "window"))}
HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
).split(",")


def row(video: str, number: int, start: float, stop: float, verb: int = 3, noun: int = 3, **changes: Any) -> list[str]:
    """A row of the annotations, sound unless changes say otherwise; times in seconds, hundredths at most."""
    rate = 50 if len(video) == 7 else 60

    def clock(seconds: float) -> str:
        hundredths = round(seconds * 100)
        minutes, rest = divmod(hundredths, 6000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"

    values = {
        "narration_id": f"{video}_{number}",
        "participant_id": video[:3],
        "video_id": video,
        "narration_timestamp": "",
        "start_timestamp": clock(start),
        "stop_timestamp": clock(stop),
        "start_frame": str(max(1, int(start * rate))),
        "stop_frame": str(int(stop * rate)),
        "narration": "open the drawer, slowly",
        "verb": "pull-open",
        "verb_class": str(verb),
        "noun": "drawer",
        "noun_class": str(noun),
        "all_nouns": "['drawer']",
        "all_noun_classes": f"[{noun}]",
    }
    return [str((values | changes)[name]) for name in HEADER]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], encoding: str = "utf-8") -> Path:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_tables(folder: Path, rows: Sequence[Sequence[str]], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The four tables; gives the arguments of `build_index`."""
    classes = {
        kind: [(i, key, [key, *RAW.get(key, ())], "x") for i, key in keys.items()]
        for kind, keys in (("v", VERBS), ("n", NOUNS))
    }
    videos = [(v, s, 50.0 if len(v) == 7 else 59.9400599400599, "128x64") for v, s in seconds.items()]
    return {
        "annotations": [write_csv(folder / "EPIC_100_validation.csv", HEADER, rows)],
        "verb_classes": write_csv(folder / "verbs.csv", ("id", "key", "instances", "category"), classes["v"]),
        "noun_classes": write_csv(folder / "nouns.csv", ("id", "key", "instances", "category"), classes["n"]),
        "video_info": write_csv(folder / "videos.csv", ("video_id", "duration", "fps", "resolution"), videos),
    }


def flags(tables: Mapping[str, Any]) -> list[str]:
    """The tables as flags of the command line."""
    found = ["--annotations", *map(str, tables["annotations"])]
    for name in ("verb_classes", "noun_classes", "video_info"):
        found += [f"--{name}", str(tables[name])]
    return found


def frame(number: int, size: tuple[int, int] = (128, 64)) -> bytes:
    """JPEG bytes of a frame that carries its number."""
    buffer = io.BytesIO()
    Image.fromarray(numbered(number, *size)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_frames(folder: Path, numbers: Iterable[int]) -> Path:
    """A folder of frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"frame_{number:010d}.jpg").write_bytes(frame(number))
    return folder


def write_tar(path: Path, numbers: Iterable[int]) -> Path:
    """An official tar: members ./frame_0000000001.jpg, no folder but the root."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        root = tarfile.TarInfo("./")
        root.type = tarfile.DIRTYPE
        tar.addfile(root)
        for number in numbers:
            content = frame(number)
            member = tarfile.TarInfo(f"./frame_{number:010d}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
