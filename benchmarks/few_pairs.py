"""How far a few pairs go: `CDEClassifier` on rendered rooms, beside plain heads on the same features.

    python -m benchmarks.few_pairs [--data data/rooms] [--table]
    python -m benchmarks.few_pairs choose [--table]

The first command repeats the table of docs/fit.md. A draw takes 12 kinds of things with one of four actions (open,
close, turnon, turnoff), n of their pairs at random (drawn again until each action occurs), and three other kinds.
Tested are all other pairs of the 12 kinds, and all pairs of the three. Heads: `CDEClassifier` as it comes, and on the
same features a logistic regression on the difference (its C was chosen on seeds from 100 on), and the paper's baseline,
which reads both embeddings side by side.

The second command is what `FEW` in modeling_cde/fit/heads.py rests on: both heads of `CDEClassifier` by the number
of pairs, on the four actions and on all ten (24 kinds, six others). Its draws have seeds from 100 on; those that are
reported are below. Results are kept as JSON, and what is there is not measured again. The features are those of
`benchmarks.study`: the first command on a data set encodes it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from modeling_cde.cli.project import find
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import in_one_sentence

FOUR = ("open", "close", "turnon", "turnoff")
PAIRS = (12, 24, 48)
CHOOSE_PAIRS = {"four": (48, 96, 192, 384), "ten": (48, 96, 192, 384, 768, 1440)}
_PARTS = ("known kinds", "unseen kinds")
_NAMES = {
    "classifier": "CDEClassifier",
    "logistic": "logistic regression on the difference",
    "concatenation": "concatenation",
    "closed_form": "closed form",
    "trained": "CDE's losses",
}


def draw(
    action: Sequence[str], kind: Sequence[str], n: int, seed: int, actions: Sequence[str], kinds: int, unseen: int
) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the pairs to fit to, of other pairs of the same kinds, and of pairs of unseen kinds."""
    generator = random.Random(f"few pairs {seed}")
    rows = [i for i, name in enumerate(action) if name in actions]
    present = sorted({kind[i] for i in rows})
    while True:
        chosen = generator.sample(present, kinds + unseen)
        known = [i for i in rows if kind[i] in chosen[:kinds]]
        train = sorted(generator.sample(known, n))
        if {action[i] for i in train} == set(actions):
            break
    taken = set(train)
    return train, [i for i in known if i not in taken], [i for i in rows if kind[i] in chosen[kinds:]]


def measure(pairs: Any, features: Any, heads: Sequence[str], seed: int, n: int, task: str) -> dict[str, Any]:
    """What heads answer in one draw: `accuracy` (head -> by part, as shares) and `seconds` (head -> of its fit)."""
    actions, kinds, unseen = (FOUR, 12, 3) if task == "four" else (sorted(set(pairs.action)), 24, 6)
    train, *parts = draw(pairs.action, pairs.object, n, seed, actions, kinds, unseen)
    accuracy, seconds = {}, {}
    for name in heads:
        started = time.perf_counter()
        answers_of = _predicting(name, pairs, features, train, seed)
        seconds[name] = round(time.perf_counter() - started, 2)
        answers = [answers_of(rows) for rows in parts]
        accuracy[name] = [
            round(sum(a == pairs.action[i] for a, i in zip(found, rows, strict=True)) / len(rows), 4)
            for found, rows in zip(answers, parts, strict=True)
        ]
    return {"task": task, "n": n, "seed": seed, "accuracy": accuracy, "seconds": seconds}


def _predicting(name: str, pairs: Any, features: Any, train: Sequence[int], seed: int) -> Any:
    """Fits a head to these pairs, and gives a function from numbers of pairs to names of actions."""
    y, objects = [pairs.action[i] for i in train], [pairs.object[i] for i in train]
    if name == "concatenation":  # as train.py trains it
        from benchmarks.study import heads

        model = heads.fit(pairs, "change", train, "concatenation", seed, max_steps=200)
        return lambda rows: heads.answers(model, pairs, "change", rows)
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        difference = features[:, 1] - features[:, 0]
        fitted = LogisticRegression(C=100, max_iter=2000).fit(difference[train], y)
        return lambda rows: fitted.predict(difference[rows])
    classifier = _classifier().set_params(head="auto" if name == "classifier" else name, seed=seed)
    classifier.fit(features[train], y, objects)
    return lambda rows: classifier.predict(features[rows])


@cache
def _classifier() -> Any:
    """One for all draws: its backbone is loaded once."""
    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEClassifier

    return CDEClassifier(str(reachable_backbone(HUB_MODEL)), image_size=126)


def run(folder: str, path: Path, plan: Sequence[tuple[str, int, int]], heads: Sequence[str]) -> None:
    """Measure the draws (task, n, seed) that have no result."""
    found = _load(path)
    done = {(one["task"], one["n"], one["seed"]) for one in found}
    todo = [draw for draw in plan if draw not in done]
    if not todo:
        return
    import numpy as np
    import torch
    from tqdm import tqdm

    from benchmarks.study.pairs import open_pairs

    torch.set_num_threads(1)  # more gain nothing for heads of this size, and on a busy machine wait for each other
    pairs = open_pairs(folder, readings=("change",))
    rows = pairs.rows["change"].select(range(len(pairs)))
    features = np.concatenate([torch.stack(rows[i : i + 512]["features"]).numpy() for i in range(0, len(rows), 512)])
    _classifier().encode(features[:1])  # loads the backbone, which no head's time should have
    try:
        for task, n, seed in tqdm(todo, unit="draw"):
            found.append(measure(pairs, features, heads, seed, n, task))
    finally:
        found.sort(key=lambda one: (one["task"], one["n"], one["seed"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n", encoding="utf-8")


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: a row for each task and number of pairs, accuracies as mean ± standard deviation in percent."""
    if not found:
        return "There are no results yet."
    heads = list(found[0]["accuracy"])
    lines = [f"| actions | pairs | draws | tested on | {' | '.join(_NAMES[head] for head in heads)} |"]
    lines.append("|---|---:|---:|---|" + "---:|" * len(heads))
    for task, n in sorted({(one["task"], one["n"]) for one in found}):
        draws = [one for one in found if (one["task"], one["n"]) == (task, n)]
        for place, part in enumerate(_PARTS):
            cells = []
            for head in heads:
                values = [100 * one["accuracy"][head][place] for one in draws]
                spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.1f}{spread}")
            lines.append(f"| {task} | {n} | {len(draws)} | {part} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _load(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=command("benchmarks.few_pairs"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("report", "choose"), default="report", help="default: report")
    parser.add_argument("--data", default="data/rooms", help="folder of a built data set (%(default)s)")
    parser.add_argument("--draws", type=int, help="how many for each number of pairs (report: 20, choose: 3)")
    parser.add_argument("--results", default="benchmarks/results/few_pairs", help="kept there (%(default)s)")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    options = parser.parse_args(arguments)
    path = Path(options.results, f"{options.what}.json")
    if options.what == "report":
        heads: tuple[str, ...] = ("classifier", "logistic", "concatenation")
        plan = [("four", n, seed) for n in PAIRS for seed in range(options.draws or 20)]
    else:
        heads = ("closed_form", "trained")
        seeds = range(100, 100 + (options.draws or 3))
        plan = [(task, n, seed) for task, numbers in CHOOSE_PAIRS.items() for n in numbers for seed in seeds]
    if not options.table:
        try:
            run(options.data, path, plan, heads)
        except KeyboardInterrupt:
            sys.exit("\nStopped. The same command goes on where it stopped.")
    print(table(_load(find(path))))


if __name__ == "__main__":
    with in_one_sentence("benchmarks.few_pairs"):
        main()
