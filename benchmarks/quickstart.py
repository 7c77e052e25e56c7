"""The quickstart recipe over several seeds, for CDE and for cross-entropy on a plain concatenation classifier.

    python -m benchmarks.quickstart --seeds 0 1 2

runs `accelerate launch train.py --config configs/quickstart.yaml` once per method and seed, one after another, skipping
runs that are already there; keeps what each run measured in benchmarks/results/quickstart/<method>-seed<n>.json; and
prints the table that README shows. `--table` only prints the table of the results that are there. The seed decides
initialisation, batches and augmentation; the rendered pairs and the split are those of the recipe in every run.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "quickstart"
# The baseline differs from the recipe in the classifier and in having no other term than the cross-entropy.
METHODS: dict[str, tuple[str, ...]] = {
    "cde": (),
    "concatenation": ("--method", "concatenation", "--contrastive_weight", "0", "--sparsity_weight", "0"),
}
NAMES = {"cde": "CDE, all three losses", "concatenation": "concatenation, cross-entropy"}
COLUMNS = {"test": "IID", "test_comp": "OOD compositional", "test_syst": "OOD systematic"}


def command(method: str, seed: int) -> list[str]:
    """The command line of one run, as a user would type it."""
    launch = ["accelerate", "launch", "train.py", "--config", "configs/quickstart.yaml"]
    return [*launch, "--seed", str(seed), "--output_dir", f"runs/{method}-seed{seed}", *METHODS[method]]


def measure(method: str, seed: int) -> Path:
    """Run one method with one seed and keep what it measured; an existing result is left alone."""
    kept = RESULTS / f"{method}-seed{seed}.json"
    if not kept.is_file():
        arguments = command(method, seed)
        print("+", " ".join(arguments), flush=True)
        subprocess.run([sys.executable, "-m", "accelerate.commands.launch", *arguments[2:]], cwd=ROOT, check=True)
        metrics = json.loads((ROOT / "runs" / f"{method}-seed{seed}" / "metrics.json").read_text())
        metrics["commit"] = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()
        metrics["machine"] = platform.machine()
        RESULTS.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return kept


def load(folder: Path = RESULTS) -> dict[str, list[dict[str, Any]]]:
    """The kept results by method, in the order of the seeds."""
    results: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS:
        files = sorted(folder.glob(f"{method}-seed*.json"))
        if files:
            results[method] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return results


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}"


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: accuracy in percent, mean ± standard deviation over the seeds."""
    lines = [f"| method | seeds | {' | '.join(COLUMNS.values())} |", "|---|---:|---:|---:|---:|"]
    for method, runs in results.items():
        figures = [mean_and_spread([run["splits"][name]["accuracy"] for run in runs]) for name in COLUMNS]
        lines.append(f"| {NAMES[method]} | {len(runs)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quickstart", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="only print the table of the results that are there")
    options = parser.parse_args(arguments)
    if not options.table:
        for seed in options.seeds:
            for method in METHODS:
                measure(method, seed)
    print(table(load()))


if __name__ == "__main__":
    main()
