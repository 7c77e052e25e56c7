"""Houses in the layout of Causal Triplet, drawn and written without the code under test."""

import io
import random
from pathlib import Path

from PIL import Image, ImageDraw

NOUNS = ["Drawer", "Safe", "DeskLamp", "Mug", "Potato"]
VERBS = ["open", "close", "turnon", "dirty", "slice"]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def draw_pair(seed: int, side: int = 64) -> tuple[dict[str, bytes], tuple[int, ...], tuple[int, ...]]:
    """Pictures and masks before and after, and the inclusive boxes of the masks."""
    generator = random.Random(seed)
    plain = Image.frombytes("RGB", (side, side), generator.randbytes(3 * side * side))
    made, boxes = {}, []
    x, y = generator.randrange(side // 2), generator.randrange(side // 2)
    for when in ("before", "after"):
        box = (x, y, x + generator.randrange(6, side // 2), y + generator.randrange(6, side // 2))
        picture, mask = plain.copy(), Image.new("L", (side, side))
        ImageDraw.Draw(picture).rectangle(box, fill=tuple(generator.randrange(256) for _ in range(3)))
        ImageDraw.Draw(mask).rectangle(box, fill=255)
        made[when], made[f"mask_{when}"] = png(picture), png(mask)
        boxes.append(box)
    return made, boxes[0], boxes[1]


def draw_houses(root: Path, houses: int = 2, pairs: int = 3, side: int = 64, masks: bool = True) -> Path:
    """Write houses proc_00000 ...; nouns and verbs take turns, the last house has one pair more."""
    count = 0
    for house in range(houses):
        scene = f"proc_{house:05d}"
        lines = []
        for folder in ("color", "mask", "bbox") if masks else ("color",):
            (root / scene / folder).mkdir(parents=True)
        for number in range(1, pairs + 1 + (house == houses - 1)):
            noun, verb = NOUNS[count % len(NOUNS)], VERBS[(count * 2 + count // len(NOUNS)) % len(VERBS)]
            made, before, after = draw_pair(count, side)
            first, second = f"{number:05d}_first", f"{number:05d}_second_{noun}_{verb}"
            for figure, when in ((first, "before"), (second, "after")):
                (root / scene / "color" / f"{figure}.png").write_bytes(made[when])
                if masks:
                    (root / scene / "mask" / f"{figure}.png").write_bytes(made[f"mask_{when}"])
            lines.append(",".join(map(str, (scene, number, first, noun, "none", *before))))
            lines.append(",".join(map(str, (scene, number, second, noun, verb, *after))))
            count += 1
        (root / scene / "annotations.csv").write_bytes("".join(line + "\r\n" for line in lines).encode())
    return root
