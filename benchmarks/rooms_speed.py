"""How fast rooms are rendered: pairs per second, and the share of the time that goes into OpenGL proper.

`python benchmarks/rooms_speed.py --image_size 128 --workers 2`

Each worker renders whole work units as the build does, PNG and Parquet included; the start of the processes and of
their renderers is timed apart, because a data set pays for it once. CPU time per pair is printed beside the wall time:
on a machine that others use too, it says what an idle machine would do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.units import Settings, build_unit
from data_scripts.rooms.writers import shard_schema

_renderer: RoomRenderer | None = None


def start(image_size: int) -> None:
    """Give this worker its renderer, and draw once so that OpenGL has compiled what it compiles."""
    global _renderer
    _renderer = RoomRenderer(image_size)


def render(folder: Path, unit: int, settings: Settings, schema: object) -> tuple[int, int, float, float, float]:
    """Build a unit: pairs, rejected tries, seconds, CPU seconds, seconds in OpenGL."""
    assert _renderer is not None
    cpu = time.process_time()
    report = build_unit(_renderer, folder, unit, settings, schema)
    return (
        report.pairs,
        sum(report.rejected.values()),
        report.seconds,
        time.process_time() - cpu,
        report.rendering_seconds,
    )


def main() -> None:
    """Time some units and print the speed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--view", choices=("single", "multi"), default="single")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--units", type=int, default=6, help="units of 60 pairs to render")
    options = parser.parse_args()
    check_opengl()
    settings = Settings(options.view, 60 * (options.units + options.workers), options.image_size, 0, 60)
    schema, began = shard_schema(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(options.workers, get_context("spawn"), start, (options.image_size,)) as pool,
    ):
        arguments = (Path(name), settings, schema)
        warm = [pool.submit(render, arguments[0], options.units + k, *arguments[1:]) for k in range(options.workers)]
        for future in warm:
            future.result()
        started = time.perf_counter()
        futures = [pool.submit(render, arguments[0], unit, *arguments[1:]) for unit in range(options.units)]
        results = [future.result() for future in futures]
        wall = time.perf_counter() - started
    pairs, rejected, seconds, cpu, drawing = (sum(column) for column in zip(*results, strict=True))
    print(f"start and one unit a worker   {started - began:8.1f} s")
    print(f"pairs                         {pairs:8d}  ({rejected} tries rejected)")
    print(f"pairs per second              {pairs / wall:8.1f}  on {options.workers} workers, wall time")
    idle = options.workers * pairs / cpu
    print(f"CPU time per pair             {1000 * cpu / pairs:8.1f} ms, so {idle:.1f} pairs/s if nothing else ran")
    print(f"share of time in OpenGL       {drawing / seconds:8.0%}")


if __name__ == "__main__":
    main()
