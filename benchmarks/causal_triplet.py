"""The benchmark: every method, shift and seed of a recipe, each trained, tested and kept; then the table.

    python -m benchmarks.causal_triplet --config configs/benchmark_rooms.yaml [--seeds 0 1] [--methods cde] [--dry_run]

Each run is a training by train.py in a folder of its own (runs/<benchmark>/<run>/) and leaves one result
(benchmarks/results/<benchmark>/<run>.json); as many are made at once as there is room for. Runs that have a result are
not made again; one that was cut off goes on where it stopped; one that fails is named at the end, and the others are
made all the same. `--dry_run` checks the recipe and shows what would be done. `--table` only prints the table of the
results that are there.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper.flags import check_flags
from benchmarks.paper.plan import Run, make_plan
from benchmarks.paper.recipe import Recipe, load_recipe, redirect
from benchmarks.paper.run import TRAIN, Outcome, read_result
from benchmarks.paper.run_engines import ENGINES, LocalEngine, RayEngine, open_engine
from modeling_cde.cli.project import find
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import in_one_sentence


def estimate(
    recipe: Recipe, todo: Sequence[Run], done: Sequence[dict[str, Any]], parallel: int = 1
) -> tuple[float, str]:
    """Minutes that the runs `todo` take, so many in parallel, and a phrase on how that is known.

    What finished runs of the same method took counts, else what any took, else what the recipe guesses.
    """
    default = statistics.mean(result["minutes"] for result in done) if done else recipe.minutes_per_run
    minutes = 0.0
    for run in todo:
        known = [result["minutes"] for result in done if result["method"] == run.method]
        minutes += (statistics.mean(known) if known else default) / max(1, parallel)
    if done:
        return minutes, f"from the {len(done)} runs that are done"
    where = f" on {recipe.hardware}" if recipe.hardware else ""
    return minutes, f"{recipe.minutes_per_run:g} minutes a run{where}, as the recipe guesses"


def as_time(minutes: float) -> str:
    """Minutes as a person says them."""
    if minutes < 1.5:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def show_plan(recipe: Recipe, plan: Sequence[Run], done: dict[str, dict[str, Any]]) -> None:
    """Print what will be done."""
    todo = [run for run in plan if run.name not in done]
    minutes, how = estimate(recipe, todo, list(done.values()))
    print(f"{recipe.title} ({recipe.path}): {len(plan)} runs, {len(done)} done, {len(todo)} to do.")
    for run in plan:
        print(f"  {'done ' if run.name in done else 'to do'}  {run.name}")
    if todo:
        print(f"About {as_time(minutes)} if they are made one after another ({how}).")
        print(f"The first: {todo[0].command()}", flush=True)


def run_all(
    recipe: Recipe,
    plan: Sequence[Run],
    done: dict[str, dict[str, Any]],
    engine: LocalEngine | RayEngine,
    train: Sequence[str] = TRAIN,
) -> list[Outcome]:
    """Make the runs that have no result, with a bar over them.

    Returns:
        The outcomes of those that failed.
    """
    from tqdm import tqdm

    left = {run.name: run for run in plan if run.name not in done}
    failed: list[Outcome] = []
    finished = list(done.values())
    bar = tqdm(
        total=len(plan),
        initial=len(done),
        disable=None,  # where nobody watches, the lines that are written are enough
        dynamic_ncols=True,
        bar_format="{desc} |{bar:20}| {n}/{total} runs, {elapsed}{postfix}",
        desc=recipe.name,
    )
    since = time.monotonic()

    def time_left() -> str:
        minutes, _ = estimate(recipe, list(left.values()), finished, engine.slots)
        return f"about {as_time(max(0.0, minutes - (time.monotonic() - since) / 60))} left"

    def tick(names: list[str]) -> None:
        bar.set_postfix_str(f"{time_left()}; {', '.join(names)}")

    with bar:
        for outcome in engine.outcomes(list(left.values()), tick, train):
            run = left.pop(outcome.name)
            since = time.monotonic()
            if outcome.error:
                failed.append(outcome)
                bar.write(f"{outcome.name} failed: {outcome.error}")
            else:
                finished.append(read_result(run) or {})
                remaining = f"; {len(left)} to do, {time_left()}" if left else ""
                bar.write(f"{outcome.name}: {accuracies(finished[-1])}; {outcome.minutes:.1f} minutes{remaining}")
            bar.update()
    return failed


def accuracies(result: dict[str, Any]) -> str:
    """The accuracies on the test splits of the selected checkpoint."""
    splits = result["selected"]["splits"]
    return ", ".join(f"{name} {values['accuracy']:.3f}" for name, values in splits.items() if name[:4] == "test")


def show_table(recipe: Recipe, folder: Path) -> None:
    """Print the table of the results and write it with its pictures and report."""
    from modeling_cde.analysis.compare import comparison

    if not any(find(folder).glob("*.json")):
        print(f"{folder} holds no results yet.")
        return
    comparison.main([str(folder), "--reference", recipe.reference])


def main(arguments: Sequence[str] | None = None, train: Sequence[str] = TRAIN) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=command("benchmarks.causal_triplet"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, help="the benchmark: configs/benchmark_*.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the recipe's")
    parser.add_argument("--methods", nargs="+", help="these of the recipe's methods")
    parser.add_argument(
        "--train", help="a recipe of train.py instead of the benchmark's, such as configs/finetune.yaml"
    )
    parser.add_argument("--data", help="a folder of pairs instead of the benchmark's data")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="on this machine, or on Ray")
    parser.add_argument(
        "--ray_address", help="of a running Ray cluster, such as auto or HOST:6379; none starts Ray here"
    )
    parser.add_argument("--runs", default="runs", help="folder of the runs (%(default)s)")
    parser.add_argument("--results", default="benchmarks/results", help="folder of the results (%(default)s)")
    parser.add_argument("--dry_run", action="store_true", help="check the recipe and show the plan, run nothing")
    parser.add_argument("--table", action="store_true", help="only print the table of the results that are there")
    options = parser.parse_args(arguments)
    try:
        recipe = redirect(load_recipe(options.config), options.train, options.data)
        plan = make_plan(recipe, options.seeds, options.methods, options.runs, options.results)
        folder = Path(options.results, recipe.name)
        if options.table:
            show_table(recipe, folder)
            return
        check_flags(plan)
        done = {run.name: result for run in plan if (result := read_result(run)) is not None}
        show_plan(recipe, plan, done)
        from benchmarks.paper.data import missing_data, prepare_data
        from benchmarks.paper.features import keep_all_features

        problem = missing_data(recipe)
        if options.dry_run:
            print(f"Before it can run: {problem}" if problem else "The recipe is sound; nothing was run.")
            return
        if problem:
            raise ValueError(problem)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        engine = open_engine(options.engine, recipe.resources, options.ray_address)
        try:
            todo = [run for run in plan if run.name not in done]
            prepare_data(todo)
            keep_all_features(todo)
            failed = run_all(recipe, plan, done, engine, train)
        finally:
            engine.close()
        show_table(recipe, folder)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where it stopped.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
    if failed:
        sys.exit(f"{len(failed)} of {len(plan)} runs failed: {', '.join(outcome.name for outcome in failed)}.")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.causal_triplet"):
        main()
