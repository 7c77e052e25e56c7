"""Reads a thing's MuJoCo model out of the packages, and tidies what MuJoCo would refuse or nobody should see."""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_scripts.archives.archive import Files
from data_scripts.archives.open_files import open_files
from data_scripts.packages import kept_package
from data_scripts.simulators.things import Simulator, Thing

LIMIT = 64 * 2**20  # bytes of one file
#: The robot, which is in files of its own; a tag that MuJoCo does not know; what we have of our own; physics.
DROPPED = ("include", "region", "camera", "light", "visual", "size", "option", "sensor", "actuator", "equality")


class ModelFiles:
    """The files of the simulators' packages, by the name that they have in them."""

    def __init__(self, simulators: Iterable[Simulator], parent: Path | None = None) -> None:
        """Download what is missing, see `kept_package`; `parent` is the folder that keeps the packages."""
        self._files: dict[str, Files] = {}
        for simulator in simulators:
            for package in simulator.packages:
                files = open_files(kept_package(package, "models", parent))
                self._files |= {name: files for name in files.names() if "/assets/" in name}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return self._files[name].read(name, LIMIT)

    def named(self, beginning: str, ends: tuple[str, ...]) -> list[str]:
        """Files by the beginning of their name and any of its ends, sorted."""
        return sorted(name for name in self._files if name.startswith(beginning) and name.endswith(ends))

    def close(self) -> None:
        """Close the packages."""
        for files in set(self._files.values()):
            files.close()


def read_model(files: ModelFiles, thing: Thing) -> tuple[str, dict[str, bytes]]:
    """The model of a thing as XML, and the files that it names.

    Left out are the elements of `DROPPED`, those whose name is taken, and the simulator's floor.
    """
    path = f"{thing.simulator.folder}/{thing.file}"
    root = ElementTree.fromstring(files.read(path))
    _tidy(root)
    assets: dict[str, bytes] = {}
    for element in root.iter():
        if relative := element.get("file"):
            full = posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))
            name = full.replace("/", "-")  # MuJoCo keeps files by the last part of their name
            assets[name] = files.read(full)
            element.set("file", name)
    return ElementTree.tostring(root, encoding="unicode"), assets


def _tidy(root: Any) -> None:
    for compiler in root.findall("compiler"):
        # The files get other names; and some bodies have no solid in the groups that are to give them their weight.
        for attribute in ("meshdir", "texturedir", "assetdir", "inertiafromgeom", "inertiagrouprange"):
            compiler.attrib.pop(attribute, None)
    for parent in list(root.iter()):
        names: set[tuple[str, str]] = set()
        for child in list(parent):
            name = (child.tag, child.get("name", ""))
            if child.tag in DROPPED or (name[1] and name in names):
                parent.remove(child)
            elif child.tag == "geom" and child.get("type") == "plane":
                parent.remove(child)  # the simulator's floor
            names.add(name)
