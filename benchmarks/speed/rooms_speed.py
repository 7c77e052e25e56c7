"""How fast rooms are rendered: pairs per second, and the share of the time that goes into OpenGL proper.

`python benchmarks/speed/rooms_speed.py --image_size 128 --workers 2`

Each worker renders whole work units as the build does, PNG and Parquet included; the start of the processes and of
their renderers is timed apart, because a data set pays for it once. CPU time per pair is printed beside the wall time:
on a machine that others use too, it says what an idle machine would do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from data_scripts.builds.worker import build_outcome
from data_scripts.rooms.objects import CHOICES
from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.units import RoomsSource, Settings
from modeling_cde.whole_files import in_one_sentence

_source: RoomsSource | None = None


def start(settings: Settings) -> None:
    """Give this worker its renderer."""
    global _source
    _source = RoomsSource(settings)
    assert _source.renderer


def render(folder: Path, schema: Any, unit: str) -> tuple[int, int, float, float, float]:
    """Build and write a unit: pairs, rejected tries, seconds, CPU seconds, seconds in OpenGL."""
    assert _source is not None
    began, cpu, drawn = time.perf_counter(), time.process_time(), _source.renderer.seconds
    outcome = build_outcome(_source, schema, unit)
    (folder / unit).write_bytes(outcome.shard)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return outcome.rows, sum(outcome.rejected.values()), seconds, used, _source.renderer.seconds - drawn


def main() -> None:
    """Time some units and print the speed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--view", choices=("single", "multi"), default="single")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--units", type=int, default=6, help="units of 60 pairs to render")
    parser.add_argument("--kinds", choices=CHOICES, default="all", help="which kinds of things")
    options = parser.parse_args()
    check_opengl()
    pairs = 60 * (options.units + options.workers)
    settings = Settings(options.view, pairs, options.image_size, 0, 60, kinds=options.kinds)
    source = RoomsSource(settings)
    schema, units = source.features.arrow_schema, source.units()
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(options.workers, get_context("spawn"), start, (settings,)) as pool,
    ):
        work = partial(render, Path(name), schema)
        began = time.perf_counter()
        list(pool.map(work, units[options.units :]))  # the start
        started = time.perf_counter()
        results = list(pool.map(work, units[: options.units]))
        wall = time.perf_counter() - started
    pairs, rejected, seconds, cpu, drawing = (sum(column) for column in zip(*results, strict=True))
    print(f"start and one unit a worker   {started - began:8.1f} s")
    print(f"pairs                         {pairs:8d}  ({rejected} tries rejected)")
    print(f"pairs per second              {pairs / wall:8.1f}  on {options.workers} workers, wall time")
    idle = options.workers * pairs / cpu
    print(f"CPU time per pair             {1000 * cpu / pairs:8.1f} ms, so {idle:.1f} pairs/s if nothing else ran")
    print(f"share of time in OpenGL       {drawing / seconds:8.0%}")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.rooms_speed"):
        main()
