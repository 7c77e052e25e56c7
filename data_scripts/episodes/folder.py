"""Pairs in folders, without a table: the folders' names are the classes.

    FOLDER/<action>/<object>/<group>/<name>_before.png      <group> is optional: without it each pair is its own;
    FOLDER/<action>/<object>/<group>/<name>_after.png       the same name below two objects is one group
    FOLDER/<action>/<object>/<group>/<name>_before_mask.png optional, also _after_mask

The picture formats below can be mixed. Hidden files and files that are no pictures are ignored; a picture in another
format, without a partner or outside this layout is refused by name.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.formats import ListingError
from data_scripts.episodes.listing import Listed, Listing, Refused, refuse_repeated
from data_scripts.names import class_name, normalized
from modeling_cde.models.limits_cde import LONGEST_NAME

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif")
OTHER_PICTURES = (
    ".avif",
    ".jxl",
    ".jp2",
    ".jfif",
    ".svg",
    ".psd",
    ".eps",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
)
ROLES = ("before_mask", "after_mask", "before", "after")


def list_folder(folder: Path) -> Listing:
    """The pairs of a folder, in the order of their paths.

    Raises:
        ListingError: The folder is missing, or contains no pictures.
    """
    if not folder.is_dir():
        raise ListingError(f"There is no folder {folder}.")
    found: dict[str, list[tuple[str, str]]] = {}
    rows: list[Listed | Refused] = []
    for name in _pictures(folder):
        path = PurePosixPath(normalized(name))
        role = next((role for role in ROLES if path.stem.endswith(f"_{role}")), None)
        stem = path.stem.removesuffix(f"_{role}")
        if path.suffix.lower() not in PICTURES:
            said = f"pictures in {path.suffix.lower()} are not read; save it as PNG or JPEG"
            rows.append(Refused(name, "other picture format", said))
        elif len(path.parts) not in (3, 4):
            said = "it is not in <action>/<object>/ or <action>/<object>/<group>/; one word for all objects will do"
            rows.append(Refused(name, "misplaced picture", said))
        elif role is None or not stem:
            said = "its name does not end in _before, _after, _before_mask or _after_mask"
            rows.append(Refused(name, "misnamed picture", said))
        elif max(len(part) for part in (*path.parts, name)) > LONGEST_NAME or not name.isprintable():
            rows.append(Refused(name, "misnamed picture", "its path is too long or contains control characters"))
        else:
            found.setdefault(str(path.parent / stem), []).append((role, name))
    if not found and not rows:
        raise ListingError(f"{folder} contains neither a table (pairs.csv, metadata.csv, ...) nor pictures.")
    rows += [_pair(pair_id, pictures) for pair_id, pictures in found.items()]
    rows.sort(key=lambda row: row.where)
    grouped = any(len(PurePosixPath(pair_id).parts) == 4 for pair_id in found)
    return Listing(folder.name, refuse_repeated(rows), grouped)


def _pair(pair_id: str, pictures: list[tuple[str, str]]) -> Listed | Refused:
    roles = dict(pictures)
    for role, name in pictures:
        if roles[role] != name:
            return Refused(pair_id, "duplicate picture", f"{name} and {roles[role]} are the same picture of this pair")
    for role in ("before", "after"):
        if role not in roles:
            said = f"there is {pictures[0][1]} but no picture _{role} next to it"
            return Refused(pair_id, "picture without partner", said)
    action, name, *group = PurePosixPath(pair_id).parts[:-1]
    try:
        class_name(action, "the folder of the action"), class_name(name, "the folder of the object")
    except BadPairError as error:
        return Refused(pair_id, error.reason, str(error))
    scene, masks = (group or [pair_id])[0], (roles.get("before_mask", ""), roles.get("after_mask", ""))
    return Listed(pair_id, roles["before"], roles["after"], action, name, scene, pair_id, None, *masks)


def _pictures(folder: Path) -> list[str]:
    """Paths of all pictures below a folder, sorted; without hidden files, hidden folders and linked folders.

    A file whose name ends in a role, `cup_before.xyz`, is a picture, whatever its format is.
    """
    names = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            stem, ending = os.path.splitext(name.lower())
            given = ending and stem.endswith(tuple(f"_{role}" for role in ROLES))
            if not name.startswith(".") and (ending in (*PICTURES, *OTHER_PICTURES) or given):
                names.append((Path(where) / name).relative_to(folder).as_posix())
    return sorted(names)
