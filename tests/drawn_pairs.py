"""A small data set of drawn pairs: no simulator, real PNGs, the full schema, in a second."""

import io
import random
from pathlib import Path

from PIL import Image, ImageDraw

from modeling_cde.data.building.build import assemble, write_shard
from modeling_cde.data.schema import pair_features

ACTIONS = ["clean", "close", "dirty", "open"]
OBJECTS = ["bed", "box", "cabinet", "drawer", "fridge", "microwave", "mirror", "plate", "safe", "table"]
OPENED = ["box", "cabinet", "drawer", "fridge", "microwave", "safe"]


def draw_data_set(
    folder: Path, pairs_of_each: int = 10, side: int = 32, seed: int = 0, mechanisms: bool = False
) -> Path:
    """Draw pairs of every object and action and assemble them into `folder`, view "single".

    An opened object gets a dark gap, a dirty one brown spots; colour and place vary. Objects take turns in three
    `mechanisms`, which nothing in the pictures shows.
    """
    generator = random.Random(seed)
    features = pair_features(ACTIONS, OBJECTS, mechanisms)
    rows = []
    for name in OBJECTS:
        for action, opposite in (("open", "close"), ("dirty", "clean")):
            if (name in OPENED) != (action == "open"):
                continue
            for count in range(2 * pairs_of_each):
                plain, changed, box = _draw(generator, OBJECTS.index(name), action, side)
                done = action if count % 2 else opposite
                before, after = (plain, changed) if done == action else (changed, plain)
                rows.append(
                    {
                        "before": {"bytes": before, "path": None},
                        "after": {"bytes": after, "path": None},
                        "action": ACTIONS.index(done),
                        "object": OBJECTS.index(name),
                        "scene": f"scene-{len(rows):04d}",
                        "pair_id": f"pair-{len(rows):04d}",
                        "box": box,
                        "mask_before": None,
                        "mask_after": None,
                    }
                    | ({"mechanism": f"way {OBJECTS.index(name) % 3}"} if mechanisms else {})
                )
    generator.shuffle(rows)
    write_shard(folder / "shards" / "single" / "unit-00000.parquet", rows, features)
    assemble(folder, "single", seed=seed)
    return folder


def _draw(generator: random.Random, kind: int, action: str, side: int) -> tuple[bytes, bytes, list[int]]:
    image = Image.new("RGB", (side, side), tuple(generator.randrange(150, 220) for _ in range(3)))
    x0, y0 = generator.randrange(2, side // 4), generator.randrange(2, side // 4)
    box = [x0, y0, side - 3, side - 3 - kind % 4]
    ImageDraw.Draw(image).rectangle(box, fill=(40 + 20 * kind, 120, 200 - 15 * kind))
    changed = image.copy()
    draw = ImageDraw.Draw(changed)
    if action == "open":
        draw.rectangle([x0 + 3, y0 + 3, side // 2 + generator.randrange(4), side - 8], fill=(10, 10, 10))
    else:
        for _ in range(6):
            x, y = generator.randrange(x0, side - 8), generator.randrange(y0, side - 8)
            draw.ellipse([x, y, x + 4, y + 4], fill=(110, 70, 20))
    return _png(image), _png(changed), box


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
