"""Small inputs of the real shapes for `benchmarks.speed.build_costs`: houses, tars of frames, a video, an index."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from data_scripts.causal_triplet_layout import first_figure, house_name, second_figure
from data_scripts.epic_kitchens.annotations import Segment
from data_scripts.epic_kitchens.listing import index_csv
from data_scripts.procthor.annotations import read_annotations

SIDE = 672
VIDEO_SIZE = (1920, 1080)
VIDEO_FPS = Fraction(60_000, 1001)

Pair = tuple[bytes, bytes, str, str, tuple[int, int, int, int]]


def sample_pictures(sample: Path | None) -> list[Pair]:
    """Pairs of PNGs with noun, verb and box: real ones, or drawn ones that compress about as well."""
    if sample is None:
        return [_drawn(seed) for seed in range(4)]
    pairs: list[Pair] = []
    for path in sorted(sample.glob("**/annotations.csv")):
        for pair in read_annotations(path.read_bytes(), path.parent.name).pairs:
            before, after = (
                (path.parent / "color" / f"{figure}.png").read_bytes() for figure in (pair.first, pair.second)
            )
            pairs.append((before, after, pair.noun, pair.verb, pair.box))
    if not pairs:
        sys.exit(f"{sample} holds no houses with pairs; give the folder that holds proc_XXXXX.")
    return pairs


def _drawn(seed: int) -> Pair:
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((SIDE, SIDE), 3)
    pixels = np.asarray(coarse).astype(np.int16) + generator.normal(0, 1.2, (SIDE, SIDE, 3)).round().astype(np.int16)
    left, top = (int(place) for place in generator.integers(40, 300, 2))
    side = int(generator.integers(80, 300))
    changed = pixels.copy()
    changed[top : top + side, left : left + side] = changed[top : top + side, left : left + side][::-1]
    before, after = (_png(Image.fromarray(each.clip(0, 255).astype(np.uint8))) for each in (pixels, changed))
    return before, after, "Drawer", "open", (left, top, left + side - 1, top + side - 1)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def house_files(pictures: Sequence[Pair], houses: int, pairs: int) -> dict[str, bytes]:
    """The files of houses with masks, by name."""
    files: dict[str, bytes] = {}
    for house in range(houses):
        scene, lines = house_name(house), []
        for number in range(1, pairs + 1):
            before, after, noun, verb, box = pictures[(house * pairs + number) % len(pictures)]
            with Image.open(io.BytesIO(before)) as image:
                mask = Image.new("L", image.size)
            mask.paste(255, (box[0], box[1], box[2] + 1, box[3] + 1))
            figure = second_figure(number, noun, verb)
            for name, content, shown in ((first_figure(number), before, "none"), (figure, after, verb)):
                files[f"{scene}/color/{name}.png"] = content
                files[f"{scene}/mask/{name}.png"] = _png(mask)
                lines.append(",".join(map(str, (scene, number, name, noun, shown, *box))))
        files[f"{scene}/annotations.csv"] = "".join(f"{line}\r\n" for line in lines).encode()
    return files


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    """A tar of files; "w:gz" for a compressed one."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_index(path: Path, last: int, seconds: float, pairs: int) -> Path:
    """An index of `pairs` segments of two seconds, evenly spread over a video."""
    length = min(120, last // 2)
    starts = np.linspace(1, last - length, pairs).astype(int).tolist()
    segments = [
        Segment(
            f"P01_01_{number}", "P01", "P01_01", start, start + length, 60, "open", "drawer", seconds, float(VIDEO_FPS)
        )
        for number, start in enumerate(starts)
    ]
    path.write_text(index_csv(segments), encoding="utf-8")
    return path


def frame(image: Image.Image, size: tuple[int, int]) -> bytes:
    """A JPEG of a size."""
    buffer = io.BytesIO()
    image.convert("RGB").resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_video(path: Path, pictures: Sequence[Pair], seconds: float, key_interval: int) -> None:
    """A 1080p H.264 video that pans over a picture."""
    import av

    image = Image.open(io.BytesIO(pictures[0][0])).convert("RGB").resize((VIDEO_SIZE[0] + 400, VIDEO_SIZE[1] + 100))
    wide = np.asarray(image)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = key_interval
        stream.options = {"preset": "ultrafast", "crf": "20"}
        for number in range(int(seconds * VIDEO_FPS)):
            x, y = number % 400, number % 100
            shown = np.ascontiguousarray(wide[y : y + VIDEO_SIZE[1], x : x + VIDEO_SIZE[0]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
