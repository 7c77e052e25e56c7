"""Opens a folder, zip or tar as files by name."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from data_scripts.archives.archive import ArchiveError, Files
from data_scripts.archives.folder_files import FolderFiles
from data_scripts.archives.tar_files import COMPRESSED, CompressedTarFiles, TarFiles
from data_scripts.archives.zip_files import ZipFiles


def open_files(path: str | os.PathLike[str]) -> Files:
    """The files of a folder, zip, tar or compressed tar (gzip, bzip2, xz), recognised by content, not by name.

    Raises:
        ArchiveError: The path does not exist or is something else. `Files.names` checks the list of members.
    """
    path = Path(path).absolute()
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise ArchiveError(f"{path} does not exist; give a folder, zip or tar.")
    if not path.is_file():
        raise ArchiveError(f"{path} is neither a folder nor a file; give a folder, zip or tar.")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(tuple(COMPRESSED)):
        return CompressedTarFiles(path)
    if head.startswith(b"PK"):
        return ZipFiles(path)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise ArchiveError(f"{path} is neither a zip nor a tar (plain, gzip, bzip2 or xz); repack it as one.") from None
    return TarFiles(path)
