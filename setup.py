"""What a wheel contains; everything else is in pyproject.toml.

Beside the library there are recipes, scripts, data sources, benchmarks and the demo. They are installed below our own
name, in `modeling_cde/_checkout`: names such as `data_scripts` and `benchmarks` belong to everybody. See
modeling_cde/cli/project.py for how they are found there.
"""

from typing import Any

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

FOLDERS = ("benchmarks", "configs", "data_scripts", "metric", "space")


def folders(*roots: str) -> list[str]:
    """The folders, and those below them, as setuptools names packages."""
    names = [pattern for root in roots for pattern in (root, f"{root}.*")]
    return find_namespace_packages(include=names, exclude=["*.__pycache__", "*.comparison", "*.comparison.*"])


class Build(build_py):
    """Takes train.py and fit.py from the repository's root, and not this file."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[Any, ...]]:
        """See setuptools."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    cmdclass={"build_py": Build},
    packages=[
        *folders("modeling_cde"),
        "modeling_cde._checkout",
        *(f"modeling_cde._checkout.{name}" for name in folders(*FOLDERS)),
    ],
    package_dir={"modeling_cde._checkout": "."},
    package_data={name: ["*"] for name in ("modeling_cde", *(f"modeling_cde.{one}" for one in ("analysis", "cards")))}
    | {f"modeling_cde._checkout.{name}": ["*"] for name in folders(*FOLDERS)},
)
