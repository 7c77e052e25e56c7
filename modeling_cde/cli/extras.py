"""What to install for a part of this project that needs more than its library: the extras of pyproject.toml."""

import importlib.metadata
import os
import re
import shlex
from pathlib import Path

from .project import PACKAGE, in_clone


def install(extra: str) -> str:
    """The command that installs what an extra names, from where the user is.

    In a clone that is the extra itself, in the tested versions. Elsewhere it is the packages by their names, since no
    package index need have this project.
    """
    if in_clone():
        root = os.path.relpath(PACKAGE.parent)
        where = "" if root == "." else str(PACKAGE.parent)
        return f'pip install -c {shlex.quote(str(Path(where, "constraints.txt")))} -e "{where or "."}[{extra}]"'
    packages = named(extra)
    return f"pip install {shlex.join(packages)}" if packages else f"install the extra {extra} of modeling-cde"


def named(extra: str) -> list[str]:
    """The requirements of an extra of the installed package; empty if only its files are there, as in a Space."""
    try:
        requirements = importlib.metadata.requires("modeling-cde") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    pattern = re.compile(rf"\s*([^;]+?)\s*;.*\bextra\s*==\s*['\"]{re.escape(extra)}['\"]")
    return [found[1] for requirement in requirements if (found := pattern.match(requirement))]
