"""Contact sheets: every object under every action, before beside after. README's is made by

`python -m data_scripts.rooms.sheet --output docs/images/rooms_sheet.png`
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_scripts.rooms.objects import ACTION_EFFECTS, ACTIONS, CHOICES, objects_of
from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.pairs import Pair, RejectedError, make_pair
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import NoRoomError, furnish
from modeling_cde.data.schema import VIEWS
from modeling_cde.whole_files import in_one_sentence

CAPTION = 12  # pixels above each pair
SHOWN = [action for action, (_, forth) in ACTION_EFFECTS.items() if forth]  # the others are these backwards


def example(renderer: RoomRenderer, action: str, name: str, view: str, seed: int) -> Pair:
    """The first accepted pair of an action on an object, from at most 60 rooms."""
    reasons: Counter[str] = Counter()
    for attempt in range(60):
        rng = np.random.default_rng([seed, attempt])
        try:
            return make_pair(renderer, furnish(rng, [(name, ACTION_EFFECTS[action][0])]), 0, action, view, rng)
        except (RejectedError, NoRoomError) as error:
            reasons[str(error)] += 1
    raise RuntimeError(f"60 rooms gave no acceptable pair of {action} on {name} in the view {view}: {dict(reasons)}.")


def contact_sheet(pairs: Sequence[Pair], columns: int) -> Image.Image:
    """Pairs in rows, each captioned with action and object."""
    side = pairs[0].before.shape[0]
    cell_x, cell_y = 2 * side + 6, side + CAPTION + 2
    rows = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (columns * cell_x, rows * cell_y), "white")
    draw = ImageDraw.Draw(sheet)
    for k, pair in enumerate(pairs):
        x, y = k % columns * cell_x, k // columns * cell_y
        draw.text((x + 1, y), f"{pair.action} {pair.object}", fill="black", font_size=10)
        sheet.paste(Image.fromarray(pair.before), (x, y + CAPTION))
        sheet.paste(Image.fromarray(pair.after), (x + side + 1, y + CAPTION))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Render a sheet of all objects and actions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="PNG or JPEG file to write")
    parser.add_argument("--view", choices=VIEWS, default="single")
    parser.add_argument("--image_size", type=int, default=72, help="side of a picture in pixels")
    parser.add_argument("--columns", type=int, default=7, help="pairs in a row")
    parser.add_argument("--actions", nargs="+", choices=ACTIONS, default=SHOWN, help="only these")
    parser.add_argument("--objects", nargs="+", help="only these kinds of things")
    parser.add_argument("--kinds", choices=CHOICES, default="all", help="only these, if no --objects are named")
    parser.add_argument("--examples", type=int, default=1, help="pairs of each action and object")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    check_opengl()
    renderer = RoomRenderer(options.image_size)
    shown = [
        (action, name)
        for action in options.actions
        for name in objects_of(action)
        if name in (options.objects or CHOICES[options.kinds])
        for _ in range(options.examples)
    ]
    pairs = [
        example(renderer, action, name, options.view, options.seed + 1000 * k) for k, (action, name) in enumerate(shown)
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(pairs, options.columns)
    # 256 colours, dithered, are a quarter of the bytes; this method keeps rare bright colours.
    sheet = sheet.quantize(palette=sheet.quantize(256, Image.Quantize.MAXCOVERAGE))
    sheet.save(options.output, optimize=True)
    print(f"Wrote {len(pairs)} pairs to {options.output}")


if __name__ == "__main__":
    with in_one_sentence("data_scripts.rooms.sheet"):
        main()
