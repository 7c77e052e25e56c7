"""`python -m benchmarks.composition --config configs/composition.yaml`: question 1 of docs/open_questions.md.

Renders the squares that are missing, trains heads on single actions, and measures

(a) whether steps add up: the parallelogram defect of states and of the backbone's features, beside unrelated steps;
(b) whether two actions can be named from the end points: matching pursuit on action means, the two largest logits,
    other methods, and an upper bound that is trained on pairs of actions;
(c) the same for pairs of actions that the upper bound did not see;
(d) whether a state and an action lead to the true picture: retrieval;
(e) the order of two actions, which end points cannot tell.

`--table` only prints the tables of the results that are there. `--picture FILE` draws parallelograms of a seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from modeling_cde.whole_files import in_one_sentence, write_text_whole

RESULTS = Path("benchmarks/results/composition")


def read_recipe(path: Path, changes: dict[str, Any]) -> Any:
    """The recipe in a YAML file; ValueError if it lacks a key or has one too many."""
    import yaml

    from benchmarks.composition.experiment import Recipe

    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Recipe)}
    if not isinstance(told, dict) or told.keys() != names:
        raise ValueError(f"{path} must have the keys {', '.join(sorted(names))}, each once.")
    told |= {name: value for name, value in changes.items() if value is not None}
    return Recipe(**told | {"readings": tuple(told["readings"]), "seeds": tuple(told["seeds"])})


def run(recipe: Any, results: Path, workers: int) -> None:
    """Measure the seeds that have no result."""
    todo = [seed for seed in recipe.seeds if not (results / f"seed{seed}.json").exists()]
    if not todo:
        return
    from benchmarks.composition.experiment import measure, render
    from benchmarks.composition.squares import open_training

    render(recipe, workers)
    pairs = open_training(recipe.data, recipe.pairs, recipe.readings)
    for seed in todo:
        text = json.dumps(measure(recipe, pairs, seed), separators=(",", ":"))
        results.mkdir(parents=True, exist_ok=True)
        write_text_whole(results / f"seed{seed}.json", text + "\n")
        print(f"Measured seed {seed}.", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.composition",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=Path("configs/composition.yaml"), help="recipe (%(default)s)")
    parser.add_argument("--data", help="folder of pairs, in place of the recipe's")
    parser.add_argument("--squares", help="folder of squares, in place of the recipe's")
    parser.add_argument("--results", type=Path, default=RESULTS, help="kept there (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--table", action="store_true", help="only print the tables of what is there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw parallelograms of the first seed")
    options = parser.parse_args(arguments)
    recipe = read_recipe(options.config, {"data": options.data, "squares": options.squares})
    if not options.table:
        run(recipe, options.results, options.workers)
    found = [json.loads(path.read_text()) for path in sorted(options.results.glob("seed*.json"))]
    if options.picture:
        from benchmarks.composition.picture import draw

        draw(recipe, options.picture)
    from benchmarks.composition.tables import tables

    print(tables(found))


if __name__ == "__main__":
    with in_one_sentence("benchmarks.composition"):
        main()
