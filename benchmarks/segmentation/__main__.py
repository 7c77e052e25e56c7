"""`python -m benchmarks.segmentation --config configs/segmentation.yaml`: question 3 of docs/open_questions.md.

Renders clips of rooms that are missing, reads them with models that were trained on pairs alone, and measures which
actions are found, when, and how well the state says how much of one is done. `--table` only prints the tables of the
results that are there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from modeling_cde.whole_files import in_one_sentence, write_text_whole

RESULTS = Path("benchmarks/results/segmentation")


def read_recipe(path: Path, clips: str | None = None, models: Sequence[str] = ()) -> Any:
    """The recipe in a YAML file.

    Args:
        path: Of the file.
        clips: Folder of clips in place of the recipe's.
        models: NAME=FOLDER of models in place of the recipe's.

    Raises:
        ValueError: It lacks a key or has one too many, or a model is not named.
    """
    import yaml

    from benchmarks.segmentation.experiment import Recipe

    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Recipe)}
    if not isinstance(told, dict) or told.keys() != names:
        raise ValueError(f"{path} must have the keys {', '.join(sorted(names))}, each once.")
    if wrong := [model for model in models if "=" not in model]:
        raise ValueError(f"--model {wrong[0]} has no name: give NAME=FOLDER.")
    if models:
        told["models"] = dict(model.split("=", 1) for model in models)
    if clips is not None:
        told["clips"] = clips
    return Recipe(**told)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=Path("configs/segmentation.yaml"), help="recipe (%(default)s)")
    parser.add_argument("--clips", help="folder of clips, in place of the recipe's")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="in place of the recipe's")
    parser.add_argument("--results", type=Path, default=RESULTS, help="kept there (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--table", action="store_true", help="only print the tables of what is there")
    options = parser.parse_args(arguments)
    recipe = read_recipe(options.config, options.clips, options.model)
    if not options.table:
        from benchmarks.segmentation.experiment import measure

        for name in recipe.models:
            if not (options.results / f"{name}.json").exists():
                text = json.dumps(measure(recipe, name, options.workers), separators=(",", ":"))
                options.results.mkdir(parents=True, exist_ok=True)
                write_text_whole(options.results / f"{name}.json", text + "\n")
                print(f"Measured {name}.", flush=True)
    found = [options.results / f"{name}.json" for name in recipe.models]
    found = [path for path in found if path.exists()]
    if not found:
        raise FileNotFoundError(f"{options.results} has no results of {', '.join(recipe.models)}: run without --table.")
    from benchmarks.segmentation.tables import tables

    print(tables([json.loads(path.read_text(encoding="utf-8")) for path in found]))


if __name__ == "__main__":
    with in_one_sentence("benchmarks.segmentation"):
        main()
