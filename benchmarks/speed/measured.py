"""How the benchmarks measure: alternatives in turns, ratios between neighbours in time, results as JSON.

Absolute times do not hold on shared machines, whose speed drifts by the minute. So whatever is compared is run in
turns within one process, a ratio is taken within each turn, and the median of the turns' ratios counts; the quartiles
beside it say how quiet the machine was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from modeling_cde.evaluation.evaluate import environment
from modeling_cde.features.encoder import native_bf16

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parents[1] / "results" / "speed"
Name = TypeVar("Name")
Found = TypeVar("Found")


@dataclass
class Target:
    """One figure that has to hold.

    Attributes:
        what: What is measured, in words.
        bound: For example "<= 1.05", ">= 50" or "exactly 3".
        value: What was measured; None where it cannot be measured here.
        met: Whether it holds; None where it was not measured.
        limit: What limits the value, or why it could not be measured.
    """

    what: str
    bound: str
    value: float | None
    met: bool | None
    limit: str = ""

    @classmethod
    def of(cls, what: str, bound: str, value: float | None, limit: str = "") -> Target:
        """A target whose `met` follows from the bound and the value."""
        comparison, number = bound.split()
        met = None
        if value is not None:
            limits = {"<=": value <= float(number), ">=": value >= float(number), "exactly": value == float(number)}
            met = limits[comparison]
        return cls(what, bound, value, met, limit)


def seconds_in_turns(
    steps: Mapping[Name, Callable[[], Any]], seconds: float = 1.0, turns: int = 9, settle: bool = False
) -> dict[Name, list[float]]:
    """Seconds of one call of each step, measured in turns.

    Args:
        steps: Name -> function of no arguments; on a GPU it has to wait for its result.
        seconds: At least so long each step is repeated in each turn; one call at the least.
        turns: Measurements of each step. In each turn another step comes first.
        settle: Call a step once before each measurement, to wait for threads that the step before left at work.

    Returns:
        Name -> the mean seconds of a call in each turn, (turns,).
    """

    def mean_seconds(step: Callable[[], Any]) -> float:
        if settle:
            step()
        calls, began = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - began < seconds:
            step()
            calls += 1
        return (time.perf_counter() - began) / calls

    for step in steps.values():
        step()  # allocates, compiles, fills caches
    return in_turns({name: partial(mean_seconds, step) for name, step in steps.items()}, turns)


def in_turns(measurements: Mapping[Name, Callable[[], Found]], turns: int) -> dict[Name, list[Found]]:
    """What each function returns in each turn, (turns,); in each turn another one comes first."""
    order = list(measurements)
    found: dict[Name, list[Found]] = {name: [] for name in order}
    for _ in range(turns):
        for name in order:
            found[name].append(measurements[name]())
        order.append(order.pop(0))
    return found


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """The ratios of two lists of equal length, turn by turn: `median`, and the quartiles `low` and `high`."""
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {"median": round(median, 4), "low": round(low, 4), "high": round(high, 4)}


def write_result(
    name: str, command: str, targets: Sequence[Target], details: Mapping[str, Any], folder: Path = RESULTS
) -> Path:
    """Write `<folder>/<name>.json`: the command, its targets, details, and what it was measured on."""
    told = {"command": command, "targets": [asdict(target) for target in targets]}
    return write_json(folder / f"{name}.json", {**told, **details, "environment": measured_on()})


def measured_on() -> dict[str, Any]:
    """Versions, hardware, the precision of training here, and the commit."""
    commit = ["git", "rev-parse", "--short", "HEAD"]
    return environment() | {
        "precision": "bf16" if native_bf16() else "float32",
        "commit": subprocess.run(commit, cwd=ROOT, capture_output=True, text=True).stdout.strip(),
    }


def write_json(path: Path, result: Mapping[str, Any]) -> Path:
    """Write a result, and make its folder where it is absent; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def targets_table(targets: Sequence[Target]) -> str:
    """The targets as a Markdown table."""
    lines = ["| what | target | measured | |", "|---|---|---:|---|"]
    for target in targets:
        value = "not measured" if target.value is None else f"{target.value:.4g}"
        verdict = {True: "met", False: "**missed**", None: ""}[target.met]
        remark = "; ".join(filter(None, (verdict, target.limit)))
        lines.append(f"| {target.what} | {target.bound} | {value} | {remark} |")
    return "\n".join(lines)


def script_parser(name: str, description: str | None, **defaults: tuple[float, str]) -> argparse.ArgumentParser:
    """The command line that all speed scripts share: some numbers, `--quick` and `--output`.

    Args:
        name: Of the script in `benchmarks.speed`.
        description: Its docstring.
        **defaults: Flag -> default and help; the default's type is the flag's.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.speed.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag, (default, meaning) in defaults.items():
        parser.add_argument(f"--{flag}", type=type(default), default=default, help=f"{meaning} (%(default)s)")
    parser.set_defaults(script=name)
    parser.add_argument("--quick", action="store_true", help="a tiny model: only shows that the script runs")
    parser.add_argument("--output", type=Path, help=f"folder of the JSON ({RESULTS.relative_to(ROOT)}; quick: none)")
    return parser


def keep_result(options: argparse.Namespace, targets: Sequence[Target], details: Any, *flags: str) -> None:
    """Write the result where `script_parser`'s options say, and print where; `flags` are part of its command."""
    told = [f" --{flag} {getattr(options, flag):g}" for flag in flags]
    command = f"python -m benchmarks.speed.{options.script}{''.join(told)}{' --quick' * options.quick}"
    if folder := options.output or (None if options.quick else RESULTS):
        print(f"\nWritten to {write_result(options.script, command, targets, details, folder)}.")


def conclude(name: str, command: str, targets: Sequence[Target], details: Any, folder: Path) -> None:
    """Print the table and write the result; exits with status 1 where a target is missed."""
    print(targets_table(targets))
    print(write_result(name, command, targets, details, folder))
    if not all(target.met for target in targets):
        sys.exit(1)
