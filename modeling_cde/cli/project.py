"""Where the parts of this project are that are no library: recipes, scripts, data sources, benchmarks and the demo.

In a clone they lie in the repository. A wheel has them in `modeling_cde/_checkout`, in the same folders, so that one
name finds them in both: `configs/quickstart.yaml`, `space/app.py`.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = PACKAGE / "_checkout"


def in_clone() -> bool:
    """Whether this package lies in a clone of the project."""
    return (PACKAGE.parent / "pyproject.toml").is_file() and (PACKAGE.parent / "train.py").is_file()


def project_root() -> Path:
    """The folder of train.py, `configs`, `data_scripts`, `benchmarks`, `space` and `metric`."""
    return PACKAGE.parent if in_clone() else SHIPPED


def find(path: str | Path) -> Path:
    """The file or folder of this name here, or else the one that comes with the project; the name if there is none."""
    path = Path(path)
    shipped = project_root() / path
    return shipped if not path.exists() and shipped.exists() else path


def find_recipe(path: str | Path) -> Path:
    """As `find`; `quickstart` and `quickstart.yaml` also find `configs/quickstart.yaml`."""
    path = Path(path)
    names = [path, Path(f"{path}.yaml")]
    names += [Path("configs", name) for name in names if len(path.parts) == 1]
    return next((found for name in names if (found := find(name)).is_file()), path)
