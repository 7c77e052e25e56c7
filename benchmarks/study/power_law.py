"""How the error falls with the number of training kinds, or of training pairs: a power law with an interval.

    python -m benchmarks.study.power_law [--results benchmarks/results/study/rooms]

prints, for each row of `kinds` and of `numbers`, what twice as many do to the error on kinds never seen.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.study.results import Results
from modeling_cde.whole_files import in_one_sentence

_DRAWS = 2000


@dataclass(frozen=True)
class PowerLaw:
    """error = scale * number ** -exponent, in percent; `low` and `high` bound the exponent at 95 %."""

    scale: float
    exponent: float
    low: float
    high: float

    def at(self, number: float) -> float:
        """The error at a number, in percent."""
        return self.scale * math.pow(number, -self.exponent)

    def sentence(self) -> str:
        """What twice as many do to the error."""
        less, least, most = (100 * (2**-exponent - 1) for exponent in (self.exponent, self.low, self.high))
        return f"error {less:+.0f} % by doubling [{most:+.0f}, {least:+.0f}]"


def errors_by_number(results: Results) -> dict[str, dict[int, dict[int, float]]]:
    """Row -> number of kinds or pairs -> seed -> error on kinds never seen, in percent."""
    found: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for head in results.heads:
        row, _, number = head["fit"]["row"].rpartition(", ")
        found[row][int(number.split()[0])][head["fit"]["seed"]] = 100 - 100 * head["accuracy"]["test_syst"]
    return found


def power_law(errors: Mapping[int, Mapping[int, float]]) -> PowerLaw:
    """Least squares of the logarithm of the mean error on the logarithm of the number.

    The interval is a percentile bootstrap over the seeds, which all numbers share.

    Args:
        errors: number -> seed -> error in percent; at least two numbers, the same seeds for each.
    """
    seeds = sorted(next(iter(errors.values())))
    draw = random.Random(0)
    exponents = sorted(_fit(errors, draw.choices(seeds, k=len(seeds)))[1] for _ in range(_DRAWS))
    low, high = exponents[int(0.025 * _DRAWS)], exponents[int(0.975 * _DRAWS) - 1]
    scale, exponent = _fit(errors, seeds)
    return PowerLaw(scale, exponent, low, high)


def _fit(errors: Mapping[int, Mapping[int, float]], seeds: Sequence[int]) -> tuple[float, float]:
    """Scale and exponent from these seeds; an error of 0 counts as a tenth of a percent."""
    x = [math.log(number) for number in errors]
    y = [math.log(max(mean(of_seed[seed] for seed in seeds), 0.1)) for of_seed in errors.values()]
    middle = mean(x)
    slope = sum((a - middle) * b for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)
    return math.exp(mean(y) - slope * middle), -slope


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study.power_law",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/study/rooms"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    for name in ("kinds", "numbers"):
        for row, errors in errors_by_number(Results.load(options.results / f"{name}.json")).items():
            print(f"{name}, {row}: {power_law(errors).sentence()}")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.study.power_law"):
        main()
