"""Film strips: the sequences of a data set in rows, each step captioned with what happens in it.

`python -m data_scripts.sequence_sheet data/sequences --output strips.png`
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from data_scripts.builds.build_commands import plain_errors
from modeling_cde.whole_files import in_one_sentence

CAPTION = 13  # pixels above each row
SHORTEST_BAR = 3  # pixels below a frame, per action, that show how much of it is done


def film_strip(
    frames: Sequence[Image.Image], captions: Sequence[str], amount: Sequence[Sequence[float]], side: int
) -> Any:
    """T frames beside each other; T - 1 captions stand between a frame and the next, bars below show the amounts."""
    strip = Image.new("RGB", (len(frames) * (side + 2), CAPTION + side + SHORTEST_BAR * max(1, len(amount))), "white")
    draw = ImageDraw.Draw(strip)
    for t, frame in enumerate(frames):
        left = t * (side + 2)
        strip.paste(frame.resize((side, side)), (left, CAPTION))
        for k, line in enumerate(amount):
            top = CAPTION + side + k * SHORTEST_BAR
            draw.rectangle((left, top, left + round(line[t] * side), top + SHORTEST_BAR - 2), fill="#2166ac")
    last = ""
    for t, caption in enumerate(captions):
        if caption and caption != last:
            draw.text((t * (side + 2) + side // 2, 0), caption, fill="black", font_size=10)
        last = caption
    return strip


def sheet(rows: Sequence[Mapping[str, Any]], actions: Sequence[str], objects: Sequence[str], side: int) -> Any:
    """The strips of decoded rows, one below the other."""
    strips = []
    for row in rows:
        named = [
            "" if action is None else f"{actions[action]} {objects[thing]}"
            for action, thing in zip(row["actions"], row["objects"], strict=True)
        ]
        strips.append(film_strip(row["frames"], named, row["amount"] or (), side))
    whole = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw sequences as film strips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="data set of sequences")
    parser.add_argument("--output", type=Path, required=True, help="PNG or JPEG file to write")
    parser.add_argument("--rows", type=int, nargs=2, default=(0, 12), metavar=("FIRST", "STOP"), help="(0 12)")
    parser.add_argument("--side", type=int, default=96, help="of a frame in pixels")
    options = parser.parse_args(arguments)
    with plain_errors():
        from modeling_cde.data.sequences import load_sequences

        loaded = load_sequences(options.folder, decode=True)
        first, stop = options.rows
        if not 0 <= first < min(stop, len(loaded)):
            raise ValueError(f"{options.folder} has {len(loaded)} sequences: there is none from {first} to {stop}.")
        features: Any = loaded.features
        names = (features["actions"].feature.names, features["objects"].feature.names)
        picture = sheet([loaded[k] for k in range(first, min(stop, len(loaded)))], *names, options.side)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        picture.save(options.output)
        print(f"Wrote {options.output}")


if __name__ == "__main__":
    with in_one_sentence("data_scripts.sequence_sheet"):
        main()
