"""The two pictures that a person gives: opened, checked, and refused in one sentence where they do not do."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from modeling_cde.models.pictures_cde import BadPictureError, open_picture, upright_rgb

#: In place of a path that is none of an uploaded file.
NOT_UPLOADED = ""
#: Two shapes (width / height) that differ by more than this factor are not two pictures of one view.
MOST_STRETCH = 1.02


class WrongPicture(ValueError):
    """What is wrong with a picture, in a sentence for the person who gave it."""


def uploaded(path: str | None, folder: str) -> str | None:
    """The path of a file below Gradio's upload folder; `NOT_UPLOADED` for any other, whether or not it exists.

    Examples are below that folder, too. A request can name any path of the server, and Gradio does not check all.
    """
    if path is None:
        return None
    try:
        real = Path(path).resolve(strict=True)
        return str(real) if real.is_relative_to(Path(folder).resolve()) and real.is_file() else NOT_UPLOADED
    except (OSError, ValueError, RuntimeError):  # no such file, a name that no file can have, links in a circle
        return NOT_UPLOADED


def open_pair(before: str | None, after: str | None) -> tuple[Image.Image, Image.Image, str | None]:
    """Opens the pictures before and after the action.

    Args:
        before, after: Paths from `uploaded`, or None where no picture was given.

    Returns:
        Both pictures, RGB and upright, and a sentence that the person should read, or None.

    Raises:
        WrongPicture: One is missing, not uploaded, not a picture, broken or too large, or their shapes differ.
    """
    missing = [name for name, path in (("before", before), ("after", after)) if path is None]
    if before is None or after is None:
        told = " is" if len(missing) == 1 else " and the picture after are"
        raise WrongPicture(f"The picture {missing[0]}{told} missing: give two pictures, then run.")
    first, second = _open(before, "before"), _open(after, "after")
    stretch = (first.width * second.height) / (first.height * second.width)
    sizes = f"before has {first.width} x {first.height} pixels, after {second.width} x {second.height}"
    if max(stretch, 1 / stretch) > MOST_STRETCH:
        raise WrongPicture(f"The pictures differ in shape: {sizes}. Take both from one place with one camera.")
    note = f"The pictures differ in size: {sizes}. Both were scaled to what the model sees."
    return first, second, note if first.size != second.size else None


def box_of(picture: Image.Image, edges: Sequence[float]) -> list[int] | None:
    """Left, top, right and bottom in percent of a picture as a box of inclusive pixels; None for the whole picture.

    Raises:
        WrongPicture: The box is empty.
    """
    left, top, right, bottom = edges
    if not (left < right and top < bottom):
        raise WrongPicture("The crop is empty: move left below right, and top below bottom.")
    if (left, top, right, bottom) == (0, 0, 100, 100):
        return None
    width, height = picture.size
    x0, y0 = int(width * left / 100), int(height * top / 100)
    x1, y1 = math.ceil(width * right / 100) - 1, math.ceil(height * bottom / 100) - 1
    return [x0, y0, max(x0, x1), max(y0, y1)]


def _open(path: str, name: str) -> Image.Image:
    if path == NOT_UPLOADED:
        raise WrongPicture(f"The picture {name} was not uploaded here: choose a picture.")
    try:
        with open_picture(path, f"The picture {name}") as opened:
            return upright_rgb(opened, f"The picture {name}")
    except BadPictureError as error:
        raise WrongPicture(f"{error} Choose another picture.") from error
