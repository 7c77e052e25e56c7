"""The recordings that tests of episodes read and damage: what is in them, and what has to come of it."""

import io
import json

from PIL import Image

from tests.data_scripts.tiny_video import number_of

EPISODES = [
    (["open the drawer"], 7),
    (["close the drawer"], 9),
    (["do a dance"], 5),
    (["pick up the book and place it in the caddy"], 12),
    (["open the door"], 1),
    (["Open the drawer.", "open the top drawer"], 6),
    (["open the drawer", "close the drawer"], 4),
]
PARSED = {0: ("open", "drawer"), 1: ("close", "drawer"), 3: ("put_in", "book"), 5: ("open", "drawer")}


def numbers(row):
    """The numbers in the two pictures of a row."""
    return tuple(number_of(Image.open(io.BytesIO(row[name]["bytes"]))) for name in ("before", "after"))


def first_frames(version, kind):
    """The number that the first frame of each episode carries, by the description of `tiny_lerobot`."""
    starts, total = {}, 0
    for i, (_, length) in enumerate(EPISODES):
        if kind == "video" and (version != "v3.0" or i == 4):  # v2: a video each; v3.0: four episodes in the first
            total = 0
        starts[i] = total
        total += length
    return starts


def edit(folder, **changes):
    """Set keys of info.json."""
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
