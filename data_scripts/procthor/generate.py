"""Take before/after pairs in ProcTHOR houses with AI2-THOR 5.

python -m data_scripts.procthor generate --houses train.jsonl.gz --output data/procthor --view multi

Each worker runs one simulator; a house is a work unit. The houses come from the file `train.jsonl.gz` of the repository
`procthor-10k` at a pinned revision; the Unity build is downloaded by ai2thor when it first starts.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.build_commands import (
    build_parser,
    build_units,
    check_options,
    plain_errors,
    stored_size,
)
from data_scripts.builds.licensed_build import UNLICENSED, add_licence_arguments, build_licensed, stated_card
from data_scripts.builds.work_units import StopBuildError
from data_scripts.procthor.generator import Quota, candidates, reset_rng
from data_scripts.procthor.houses import KNOWN_FILES, REVISION, HouseFile, HouseReader, HousesError, scan_houses
from data_scripts.procthor.simulator import Camera, HouseError, Machine, Refusal, Simulator, SimulatorError
from data_scripts.procthor.source import GeneratedHouses, start_ai2thor
from data_scripts.procthor.thor import installed_build
from modeling_cde.cli.extras import install

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

#: Seconds after which a house counts as hung, including the first start with the download of the Unity build.
UNIT_TIMEOUT = 1800.0
_CITATION = """\
Causal Triplet: Y. Liu et al., "Causal Triplet: An Open Challenge for Intervention-centric Causal Representation \
Learning", CLeaR 2023. ProcTHOR: M. Deitke et al., "ProcTHOR: Large-Scale Embodied AI Using Procedural Generation", \
NeurIPS 2022. AI2-THOR: E. Kolve et al., "AI2-THOR: An Interactive 3D Environment for Visual AI", 2017."""

Start = Callable[[Camera, Machine], Simulator]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    quota, machine = Quota(), Machine()
    parser = build_parser("procthor generate", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(unit_timeout=UNIT_TIMEOUT)
    add = parser.add_argument
    add("--houses", type=Path, required=True, metavar="FILE", help=f"train.jsonl.gz of procthor-10k at {REVISION}")
    add("--houses_sha256", metavar="HEX", help="hash that the file must have; required for files of other revisions")
    add("--first", type=int, help="number of the first house, counted from 0")
    add("--last", type=int, help="number of the last house, inclusive")
    add("--only", type=int, nargs="+", metavar="NUMBER", help="only these houses")
    add("--gpu_device", type=int, nargs="+", default=[], metavar="NUMBER", help="GPUs to spread the simulators over")
    add("--platform", choices=("CloudRendering", "Linux64"), default=machine.platform, help="Linux64 needs X")
    add("--commit_id", help="Unity build; the default is the one that the installed ai2thor names")
    add("--server_timeout", type=float, default=machine.server_timeout, help="seconds allowed for one action")
    add(
        "--server_start_timeout", type=float, default=machine.server_start_timeout, help="seconds allowed for the start"
    )
    add("--pairs_per_house", type=int, default=quota.pairs_per_house, help="maximum of pairs kept of one house")
    add("--pairs_per_reset", type=int, default=quota.pairs_per_reset, help="maximum of pairs kept of one arrangement")
    add("--resets", type=int, default=quota.resets, help="arrangements to try in a house")
    add("--looks", type=int, default=quota.looks, help="positions to try in one arrangement")
    add("--check", action="store_true", help="start one simulator on one house, report what works, and build nothing")
    add_licence_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None, start: Start = start_ai2thor) -> None:
    """Command line: see `--help`. Tests pass another simulator as `start`."""
    with plain_errors():
        options = parser().parse_args(arguments)
        source = make_source(options, start)
        if options.check:
            check(source)
            return
        card = stated_card(options, make_card(source), known=source.houses.revision is not None)
        check_options(options, None if card.license else UNLICENSED)
        first_house(source, options)
        build_licensed(source, options, card)


def make_source(options: argparse.Namespace, start: Start = start_ai2thor) -> GeneratedHouses:
    """The source that the flags describe; reads the file of houses once.

    Raises:
        ValueError: AI2-THOR is missing or too old, a flag is out of range, or the file of houses cannot be used.
    """
    build_info = check_installed(options.commit_id) if start is start_ai2thor else {"ai2thor": "replaced"}
    quota = Quota(options.pairs_per_reset, options.pairs_per_house, options.resets, options.looks)
    for name, least in (("server_timeout", 1), ("server_start_timeout", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {getattr(options, name)}; give at least {least}.")
    if any(device < 0 for device in options.gpu_device):
        raise ValueError(f"--gpu_device is {options.gpu_device}; GPUs are counted from 0.")
    houses = read_houses(options.houses, options.houses_sha256)
    return GeneratedHouses(
        houses,
        select(houses, options.first, options.last, options.only),
        options.view,
        options.seed,
        stored_size(options),
        machine=Machine(
            options.platform, None, options.commit_id, options.server_timeout, options.server_start_timeout
        ),
        quota=quota,
        gpu_devices=tuple(options.gpu_device),
        build_info=build_info,
        start=start,
    )


def check_installed(commit_id: str | None = None) -> dict[str, str]:
    """Versions of ai2thor and its Unity build.

    Raises:
        ValueError: ai2thor is missing, or not version 5.
    """
    try:
        version = importlib.metadata.version("ai2thor")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"Generating pairs needs AI2-THOR, which is not installed: {install('procthor')}") from None
    if version.partition(".")[0] != "5":
        raise ValueError(f"ai2thor {version} is installed, but version 5 is needed: {install('procthor')}")
    return {"ai2thor": version, "unity_build": commit_id or installed_build()}


def read_houses(path: Path, sha256: str | None) -> HouseFile:
    """Scan the file of houses, with a progress bar.

    Raises:
        HousesError: The file cannot be used, or its revision is unknown and it is not pinned by `sha256`.
    """
    from tqdm import tqdm

    with tqdm(desc="reading the houses", unit="house", leave=False, disable=None) as bar:
        houses = scan_houses(path, sha256, bar.update)
    if sha256 is None and houses.revision is None:
        raise HousesError(
            f"{path} is not a file of procthor-10k at revision {REVISION}: fetch one, or, to use this file anyway, pin "
            f"it with --houses_sha256 {houses.sha256}."
        )
    bad = f", {len(houses.problems)} of them bad" if houses.problems else ""
    known = f"{KNOWN_FILES[houses.sha256]} of revision {REVISION}" if houses.revision else "of another revision"
    print(f"{path}: {houses.count} houses{bad}, {known}, SHA-256 {houses.sha256}", flush=True)
    return houses


def select(
    houses: HouseFile, first: int | None = None, last: int | None = None, only: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Numbers of the houses that the flags choose, ascending; by default all.

    Raises:
        ValueError: No house is left, some do not exist, or the flags exclude each other.
    """
    if only is not None and (first is not None or last is not None):
        raise ValueError("--only names houses, --first and --last give a range: use one or the other.")
    numbers = sorted(set(only)) if only is not None else []
    if only is None:
        low, high = first if first is not None else 0, last if last is not None else houses.count - 1
        if low > high:
            raise ValueError(f"--first {low} is larger than --last {high}: swap them.")
        numbers = [low, high] if low != high else [low]
    if numbers[0] < 0 or numbers[-1] >= houses.count:
        raise ValueError(f"{houses.path} has the houses 0 to {houses.count - 1}, but {numbers} were asked for.")
    return tuple(numbers if only is not None else range(numbers[0], numbers[-1] + 1))


def first_house(source: GeneratedHouses, options: argparse.Namespace) -> None:
    """Build the first good house by itself, unless others are finished: what fails there fails everywhere.

    Raises:
        StopBuildError: The house failed; says why.
    """
    folder = options.output / "shards" / options.view
    good = [number for number in source.numbers if number not in source.houses.problems]
    if not good:
        raise ValueError(f"No house is usable; the first one: {source.houses.problems[source.numbers[0]]}")
    if options.allow_failures or any(folder.glob("proc_*.parquet")):
        return
    print(f"Trying one house first; the simulator's first start can take minutes. Output: {folder}", flush=True)
    report = build_units(replace(source, numbers=(good[0],)), folder, options, workers=1, progress=False)
    if report.failed:
        reason = next(iter(report.failed.values()))
        raise StopBuildError(
            f"The first house failed, so no other was tried: {reason} (--check shows how far it gets; "
            "--allow_failures goes on anyway.)"
        )


def check(source: GeneratedHouses) -> None:
    """Start one simulator on the first house and print what works, with the seconds of each step.

    Raises:
        ValueError: The first step that fails, with a remedy if one is known.
    """
    simulator: Simulator | None = None
    number = source.numbers[0]
    reader = HouseReader(source.houses)
    try:
        house = reader.read(number)
        with _step("start the simulator"):
            simulator = source.start(source.camera, source.machine_for(number))
        with _step(f"build house {number}"):
            simulator.open_house(house)
        with _step("rearrange it") as notes:
            notes += [f"{name} was refused" for name in simulator.rearrange(source.seed)]
        with _step("ask where the agent can stand") as notes:
            positions = sorted(simulator.positions())
            notes.append(f"{len(positions)} positions")
            if not positions:
                raise HouseError("the agent cannot stand anywhere in this house: try another one with --only")
        rng = reset_rng(source.seed, number, 0)
        looks = min(20, len(positions))
        seen = usable = 0
        with _step(f"look from {looks} of them") as notes:
            for index in rng.permutation(len(positions))[:looks]:
                view = simulator.look(positions[index], int(rng.integers(360)))
                if not isinstance(view, Refusal):
                    seen += 1
                    usable += len(candidates(view)) >= 2
            notes.append(f"{seen} views, {usable} of them with at least 2 candidates")
    except (SimulatorError, HouseError) as error:
        raise ValueError(str(error)) from error
    finally:
        reader.close()
        if simulator is not None:
            simulator.stop()
    print("Everything needed for pairs works.")


@contextmanager
def _step(name: str) -> Iterator[list[str]]:
    print(f"{name} ...", end=" ", flush=True)
    began, notes = time.perf_counter(), []  # type: tuple[float, list[str]]
    try:
        yield notes
    except BaseException:
        print("failed", flush=True)
        raise
    print("; ".join([f"{time.perf_counter() - began:.1f} s", *notes]), flush=True)


def make_card(source: GeneratedHouses) -> DatasetCard:
    """What the data set's README.md says about its pairs; of houses of an unknown revision it claims no origin."""
    from modeling_cde.data.building.card import DatasetCard

    renderer = ", ".join(f"{name} {version}" for name, version in source.build_info.items())
    known = source.houses.revision is not None
    file = f"{source.houses.path.name} with SHA-256 {source.houses.sha256}"
    houses = "ProcTHOR-10K houses" if known else f"the houses of {source.houses.path.name}"
    return DatasetCard(
        title=f"Before/after pairs in {houses}",
        description=(
            f"Pairs of pictures before and after one action on one object, taken with AI2-THOR in {houses} by the "
            "rules of Causal Triplet: the camera stands still, the action succeeded, more than 1000 pixels changed "
            "where the object is and fewer than 20 elsewhere. Rendered at "
            f"{source.camera.size}x{source.camera.size} pixels with a field of view of {source.camera.field_of_view:g} "
            "degrees. `box` is the object's after the action; masks are the simulator's own."
        ),
        license="apache-2.0" if known else None,
        credit=f"{'ProcTHOR-10K and ' * known}AI2-THOR by the Allen Institute for AI; the procedure is that of Causal "
        "Triplet.",
        provenance=(
            f"houses: ProcTHOR-10K, https://github.com/allenai/procthor-10k, revision {source.houses.revision}, file "
            f"{file}, Apache-2.0"
            if known
            else f"houses: file {file}, which is not of revision {REVISION} of ProcTHOR-10K",
            f"rendered by AI2-THOR, https://github.com/allenai/ai2thor, {renderer}, Apache-2.0",
        ),
        citation=_CITATION,
        tags=(*["procthor"] * known, "ai2thor", "synthetic"),
        limits=(
            "Synthetic pictures: materials and light are drawn at random, and nothing moves but the target.",
            "Objects and actions are as frequent as the simulator lets them be, which is far from balanced.",
        ),
    )
