"""Files of a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_scripts.archives.archive import ArchiveError, Files, is_junk, safe_name
from data_scripts.builds.work_units import file_stamp
from data_scripts.names import find_file, normalized


class FolderFiles(Files):
    """Files of a folder. Links are followed only to files inside the folder."""

    def names(self) -> list[str]:
        found: list[str] = []
        self._walk(self.path, "", os.path.realpath(self.path), found)
        for one, other in zip(found := sorted(found), found[1:], strict=False):
            if one == other:
                raise ArchiveError(f"{self.path} has two files {one!r}, spelt in NFC and in NFD; keep one.")
        return found

    def _walk(self, folder: Path, prefix: str, root: str, found: list[str]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ArchiveError(f"The folder {folder} cannot be read ({error.strerror}).") from error
        for entry in entries:
            name = prefix + normalized(entry.name)
            if is_junk(name):
                continue
            if entry.is_symlink():
                self._check_link(entry.path, root)
            if entry.is_dir(follow_symlinks=False):
                self._walk(Path(entry.path), name + "/", root, found)
            elif entry.is_file():
                found.append(name)
            else:
                raise ArchiveError(f"{entry.path} is neither a file nor a folder; remove it.")

    @staticmethod
    def _check_link(path: str, root: str) -> None:
        target = os.path.realpath(path)
        if not target.startswith(root + os.sep):
            raise ArchiveError(f"{path} is a link that leaves {root}; replace it by the files themselves.")
        if not os.path.isfile(target):
            raise ArchiveError(f"{path} is a link to a folder or to nothing; replace it by the files themselves.")

    def stamps(self, folder: str, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for where, _, names in os.walk(self.path / folder):
            prefix = os.path.relpath(where, self.path / folder) + "/"
            found |= {
                f"{prefix}{name}".removeprefix("./"): file_stamp(os.path.join(where, name))
                for name in names
                if wanted(name)
            }
        return found

    def read(self, name: str, limit: int) -> bytes:
        path = find_file(self.path, safe_name(name, self.path))
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise FileNotFoundError(f"{path} is not a file.")
            root = os.path.realpath(self.path)
            if not os.path.realpath(path).startswith(root + os.sep):
                raise ArchiveError(f"{path} is behind a link that leaves {root}; replace it by the files themselves.")
            with open(path, "rb") as file:
                content = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path} does not exist.") from error
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read ({error.strerror}).") from error
        if len(content) > limit:
            raise ArchiveError(f"{path} has more than {limit} bytes, which is too large for such a file.")
        return content
