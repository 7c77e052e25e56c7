"""Build a data set of rooms: work units on several processes, resumable, then the splits."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.units import Settings, UnitReport, build_unit, report_path
from data_scripts.rooms.writers import shard_schema

PAIRS_PER_SECOND = 20.0  # of one worker at 128 pixels, for the estimate only
_worker: tuple[RoomRenderer, pa.Schema] | None = None  # of this worker process


def build_rooms(
    output: str | Path,
    view: str = "single",
    num_pairs: int = 3000,
    image_size: int = 128,
    seed: int = 0,
    workers: int = 2,
    noise: Noise | None = None,
    layout: str = "datasets",
    pairs_per_unit: int = 60,
) -> Path:
    """Render pairs of rooms and, in the layout "datasets", divide them into the splits of both shifts.

    What is finished already is left as it is: a build that was cut off goes on where it stopped.

    Args:
        output: folder of the data set.
        view: "single" or "multi".
        num_pairs: pairs in all; every 130 or so hold each action on each object about once.
        image_size: side of the pictures in pixels.
        seed: of everything that is drawn; the files depend on it and not on the number of workers.
        workers: processes; 1 renders in this one.
        noise: what changes besides the target; nothing by default.
        layout: "datasets" or "causal_triplet" (folders `proc_00000` and so on in `<output>/<view>`).
        pairs_per_unit: pairs of a work unit, what is lost at most when a worker is cut off.

    Returns:
        `output`.

    Raises:
        RenderingUnavailableError: MuJoCo or OpenGL is missing.
        ValueError: the folder holds units of other settings, or a setting is out of range.
        UnitError: a unit failed.
    """
    settings = Settings(view, num_pairs, image_size, seed, pairs_per_unit, layout, noise or Noise())
    if workers < 1:
        raise ValueError(f"The number of workers is {workers}; give at least 1.")
    output = Path(output)
    folder = output / "shards" / view if layout == "datasets" else output / view
    todo = [unit for unit in range(settings.num_units) if not report_path(folder, unit).exists()]
    if todo:
        check_opengl()
    _claim(folder, settings)
    assembled = (output / "manifests" / f"{view}_syst.json").exists()  # what `assemble` writes last
    if not todo and (layout != "datasets" or assembled):
        return output
    _announce(settings, folder, len(todo), workers)
    if todo:
        _render(folder, todo, settings, min(workers, len(todo)))
    rejected = rejections(folder)
    print(f"Rejected tries by reason: {dict(rejected) or 'none'}", flush=True)
    if layout == "datasets":
        from modeling_cde.data.build import assemble

        assemble(output, view, seed=seed)
    return output


def rejections(folder: Path) -> Counter[str]:
    """Rejected tries of all finished units, by reason."""
    total: Counter[str] = Counter()
    for path in sorted(folder.glob("unit-*.json")):
        total += Counter(json.loads(path.read_text())["rejected"])
    return total


def _claim(folder: Path, settings: Settings) -> None:
    """Store the settings, or compare them with those that are stored."""
    path, wanted = folder / "settings.json", json.loads(json.dumps(settings.to_dict()))
    if path.exists():
        stored = json.loads(path.read_text())
        unlike = sorted(key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key))
        if unlike:
            listed = ", ".join(f"{key} {stored.get(key)} there, {wanted.get(key)} asked for" for key in unlike)
            raise ValueError(f"{folder} holds rooms of other settings ({listed}): delete it or choose another folder.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".settings.json.tmp")
    temporary.write_text(json.dumps(wanted, indent=2) + "\n")
    os.replace(temporary, path)


def _announce(settings: Settings, folder: Path, units: int, workers: int) -> None:
    done = settings.num_units - units
    seconds = (
        units * settings.pairs_per_unit / (PAIRS_PER_SECOND * workers) * max(1.0, settings.image_size / 128) ** 1.5
    )
    print(
        f"Rendering {settings.num_pairs} pairs of rooms ({settings.view} view, {settings.image_size} pixels) into "
        f"{folder}: {done} of {settings.num_units} units are there, the rest takes about {seconds / 60:.1f} minutes "
        f"on {workers} workers.",
        flush=True,
    )


def _render(folder: Path, todo: list[int], settings: Settings, workers: int) -> None:
    done = settings.num_pairs - sum(_unit_pairs(unit, settings) for unit in todo)
    with tqdm(total=settings.num_pairs, initial=done, unit="pair", desc=f"rooms, {settings.view}") as bar:
        for report in _reports(folder, todo, settings, workers):
            bar.update(report.pairs)


def _unit_pairs(unit: int, settings: Settings) -> int:
    return min(settings.pairs_per_unit, settings.num_pairs - unit * settings.pairs_per_unit)


def _reports(folder: Path, todo: list[int], settings: Settings, workers: int) -> Iterator[UnitReport]:
    if workers == 1:
        renderer = RoomRenderer(settings.image_size)
        try:
            for unit in todo:
                yield build_unit(renderer, folder, unit, settings, shard_schema())
        finally:
            renderer.close()
        return
    # Fresh processes: an OpenGL context does not survive a fork.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(settings.image_size, shard_schema()),
    ) as pool:
        futures = [pool.submit(_work, folder, unit, settings) for unit in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker(image_size: int, schema: pa.Schema) -> None:
    global _worker
    _worker = (RoomRenderer(image_size), schema)


def _work(folder: Path, unit: int, settings: Settings) -> UnitReport:
    assert _worker is not None
    return build_unit(_worker[0], folder, unit, settings, _worker[1])
