"""Run cases: `python -m fuzz --cases 10000 [--seed N] [--target NAME ...] [--json FILE]`, or one target by atheris."""

import argparse
import contextlib
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeling_cde.whole_files import in_one_sentence

BATCH = 2000  # cases that Hypothesis draws in one go
BY_HYPOTHESIS = 0.2  # of the cases; it makes small what fails, and is slow. The others are drawn plainly


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--target", action="append", metavar="NAME", help="these alone; can be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the counts of this run to this file")
    parser.add_argument("--atheris", metavar="TARGET", help="let atheris drive one target, led by what it covers")
    parser.add_argument("--seconds", type=int, default=60, help="of --atheris")
    options = parser.parse_args(arguments)
    from fuzz.targets import TARGETS

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.dont_write_bytecode = True
    unknown = [name for name in [*(options.target or []), *filter(None, [options.atheris])] if name not in TARGETS]
    if unknown:
        sys.exit(f"Unknown target {unknown[0]!r}; choose from {', '.join(TARGETS)}.")
    if options.cases < 1 or options.seconds < 1:
        sys.exit(f"--cases {options.cases} --seconds {options.seconds}: give at least 1 of each.")
    if options.atheris:
        return drive(TARGETS[options.atheris], options.seconds)
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    shares = sum(target.share for target in chosen)
    counts = {}
    for target in chosen:
        wanted = max(1, round(options.cases * target.share / shares))
        counts[target.name] = run(target, wanted, options.seed)
        found = counts[target.name]
        print(f"{target.name}: {found['cases']} cases, {found['taken']} taken, {found['found']} found", flush=True)
    if options.json:
        only = "".join(f" --target {name}" for name in options.target or [])
        _add(options.json, f"python -m fuzz --cases {options.cases} --seed {options.seed}{only}", counts)
    return 1 if any(count["found"] for count in counts.values()) else 0


def run(target: Any, wanted: int, seed: int) -> dict[str, Any]:
    """Draw and run cases of a target; what fails is printed and kept in its corpus.

    Returns:
        `cases` that were run, how many were `taken`, how many `found` something, `seconds`.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as with_seed

    from fuzz.case import Finding, check
    from fuzz.edits import cases, drawn

    counts: Counter[str] = Counter()
    began = time.monotonic()
    settled = settings(
        max_examples=max(1, min(BATCH, round(wanted * BY_HYPOTHESIS))), phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck), deadline=None, database=None, report_multiple_bugs=False,
        print_blob=False,
    )  # fmt: skip
    smallest: dict[str, bytes] = {}

    def case(data: bytes) -> None:
        counts["cases"] += 1
        try:
            counts["taken"] += check(target, data)
        except Finding as found:
            smallest.pop(str(found), None)
            smallest[str(found)] = data
            raise

    def report(sentence: str, data: bytes) -> None:
        print(f"  {sentence}\n  {data[:300]!r}", flush=True)
        keep(target, data)

    examples = [*target.seeds().values(), *target.kept.values()]
    warm_up(target)
    strategy = cases(examples, target.tokens)
    rng = random.Random(f"{target.name} {seed}")
    told: set[str] = set()
    while counts["cases"] < wanted * (1 - BY_HYPOTHESIS):
        data = drawn(rng, examples, target.tokens)
        try:
            case(data)
        except Finding as found:
            counts["found"] += 1
            if str(found) not in told and len(told) < 20:
                told.add(str(found))
                report(str(found), data)
    smallest.clear()
    batch = 0
    while counts["cases"] < wanted:
        try:
            with_seed(hash((seed, batch)))(settled(given(strategy)(case)))()
        except Exception:  # a Finding, or a group of it and what Hypothesis says of it
            if not smallest:
                raise
            counts["found"] += 1
            sentence, data = smallest.popitem()  # the last is the smallest
            report(sentence, data)
            smallest.clear()
        batch += 1
    done = {name: counts[name] for name in ("cases", "taken", "found")}
    return {**done, "seconds": round(time.monotonic() - began, 1)}


def warm_up(target: Any) -> None:
    """Read the examples once without limits: a first import may write and start all kinds of things."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        for number, data in enumerate(target.seeds().values()):
            (folder := Path(name, str(number))).mkdir()
            with contextlib.suppress(*target.errors):
                target.read(data, folder)


def keep(target: Any, data: bytes) -> Path:
    """Put a case into the target's corpus."""
    path: Path = target.corpus / target.name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def drive(target: Any, seconds: int) -> int:
    """Let atheris run a target for some time; it ends the process itself where something is found."""
    try:
        import atheris
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: pip install atheris, or leave --atheris out for Hypothesis.")
    from fuzz.case import Finding, check

    warm_up(target)

    def case(data: bytes) -> None:
        try:
            check(target, data)
        except Finding as found:
            print(f"  {found}\n  kept as {keep(target, data)}", flush=True)
            raise

    atheris.instrument_all()
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as folder:
        for name, data in {**target.seeds(), **target.kept}.items():
            Path(folder, name).write_bytes(data)
        limits = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=30", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], *limits, folder], case)
        atheris.Fuzz()
    return 0


def _add(path: Path, command: str, counts: dict[str, Any]) -> None:
    """Add the counts of a run to those of earlier runs in a file."""
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    runs.append({"command": command, "targets": counts})
    total = sum(count["cases"] for run in runs for count in run["targets"].values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cases": total, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with in_one_sentence("fuzz"):
        sys.exit(main())
