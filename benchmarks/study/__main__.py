"""The study: why an action is recognised on things never seen. Each experiment trains heads on a frozen DINOv2.

    python -m benchmarks.study methods [--data data/rooms] [--seeds 20] [--first_seed 40] [--table]

Features are kept: the first experiment on a data set encodes it, and each head then takes seconds. All heads are
trained as train.py trains them. Every seed has a split of its own, by the data set's own protocol. What an experiment
measured is kept in benchmarks/results/study/<data>/<experiment>.json, and what is there is not measured again.
Choices are made on validation objects of the seeds from 100 on (`--first_seed 100 --on validation_syst`). Reports are
on test objects of the seeds from 40 on: those below 20 were looked at while the rooms' kinds were drawn, and those from
20 to 39 gave the idea of training without the L1 term.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.study.experiments import EXPERIMENTS
from benchmarks.study.results import Results, show_table
from benchmarks.study.worker import measure, open_in_worker
from modeling_cde.whole_files import in_one_sentence


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=EXPERIMENTS, help="the question")
    parser.add_argument("--data", default="data/rooms", help="folder of a built data set (%(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="how many (%(default)s)")
    parser.add_argument("--first_seed", type=int, default=40, help="the first of them (%(default)s)")
    parser.add_argument("--elsewhere", default="data/simulators", help="pairs that transfer is tested on (%(default)s)")
    parser.add_argument("--on", default="test_syst", help="the part that the table is about (%(default)s)")
    parser.add_argument("--results", default="benchmarks/results/study", help="where results are kept (%(default)s)")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    options = parser.parse_args(arguments)
    results = Results.load(Path(options.results, Path(options.data).name, f"{options.experiment}.json"))
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if not options.table:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            elsewhere = options.elsewhere if options.experiment.startswith("transfer") else None
            run(options.experiment, options.data, elsewhere, seeds, results)
        except (ValueError, OSError) as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            print("\nStopped. The same command goes on where it stopped.", file=sys.stderr)
            sys.exit(130)
    print(show_table(results, seeds, "elsewhere" if options.experiment.startswith("transfer") else options.on))


def run(experiment: str, folder: str, elsewhere: str | None, seeds: Sequence[int], results: Results) -> None:
    """Train the heads that have no result, as many at once as there are cores."""
    from tqdm import tqdm

    from benchmarks.study.pairs import READINGS, open_pairs
    from modeling_cde.training.distributed import use_all_cores

    use_all_cores()
    fits = EXPERIMENTS[experiment](open_pairs(folder, readings=()), seeds)
    todo = [fit for fit in fits if not results.has(fit)]
    if not todo:
        return
    readings = list(dict.fromkeys(fit.reading for fit in fits))
    for each in (folder, elsewhere) if elsewhere else (folder,):
        open_pairs(each, readings=list(READINGS))  # one pass of the backbone for all experiments and processes
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    started = time.monotonic()
    with ProcessPoolExecutor(
        min(cores, len(todo)), multiprocessing.get_context("spawn"), open_in_worker, (folder, elsewhere, readings)
    ) as pool:
        waiting = {pool.submit(measure, fit): fit for fit in todo}
        try:
            for future in tqdm(as_completed(waiting), total=len(todo), desc=experiment, unit="head"):
                results.add(waiting[future], future.result())
        finally:
            pool.shutdown(cancel_futures=True)
            results.save(fits)
    print(f"{len(todo)} heads took {(time.monotonic() - started) / 60:.1f} minutes on {cores} cores.")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.study"):
        main()
