"""The verbs of `cde`, each with the script or module that it runs, and the name under which a command was called.

A command says in its usage line, its errors and its advice how it is called: `cde evaluate` after `cde`, and
`python -m modeling_cde.evaluation` after that.
"""

import shlex
import sys
from collections.abc import Mapping

#: Verb -> what it runs, with the words that precede the user's; or its own verbs. Targets are looked up backwards, too.
VERBS: Mapping[str, str | Mapping[str, str]] = {
    "fit": "fit.py",
    "train": "train.py",
    "evaluate": "modeling_cde.evaluation",
    "analyze": "modeling_cde.analysis",
    "compare": "modeling_cde.analysis compare",
    "doctor": "modeling_cde.analysis.doctor",
    "demo": "space/app.py",
    "export": "modeling_cde.evaluation.export",
    "action_means": "modeling_cde.evaluation.action_means",
    "card": "modeling_cde.cards",
    "push": {
        "run": "modeling_cde.cards push",
        "data": "data_scripts.publish",
        "space": "modeling_cde.cards.publishing space",
        "metric": "modeling_cde.cards.publishing metric",
    },
    "data": {
        "rooms": "data_scripts.rooms",
        "simulators": "data_scripts.simulators",
        "episodes": "data_scripts.episodes",
        "procthor": "data_scripts.procthor",
        "epic_kitchens": "data_scripts.epic_kitchens",
        "splits": "data_scripts.splits",
        "publish": "data_scripts.publish",
        "dinov2_weights": "data_scripts.dinov2_weights",
        "rooms_sheet": "data_scripts.rooms.sheet",
        "sequence_sheet": "data_scripts.sequence_sheet",
        "simulators_sheet": "data_scripts.simulators.sheet",
    },
    "benchmark": {
        "causal_triplet": "benchmarks.causal_triplet",
        "few_pairs": "benchmarks.few_pairs",
        "rejection": "benchmarks.rejection",
        "composition": "benchmarks.composition",
        "segmentation": "benchmarks.segmentation",
        "study": "benchmarks.study",
    },
}

#: A line for the help on each verb, and on each verb of a verb.
ABOUT: Mapping[str, str] = {
    "fit": "fit a classifier to a few pairs of your own, and test it",
    "train": "train and test a model by a recipe",
    "evaluate": "test a checkpoint on a data set",
    "analyze": "measure and draw a run's deltas; writes report.html",
    "compare": "compare the results of several runs",
    "doctor": "look for known signs of trouble in a run",
    "demo": "try a checkpoint in the browser",
    "export": "write a checkpoint as ONNX",
    "action_means": "let a checkpoint name several actions of one pair",
    "card": "write a run's model card",
    "push": "publish a run, a data set, the demo or the metric",
    "data": "make a data set of pairs",
    "benchmark": "run a benchmark, or print its table",
    "push run": "a finished run, with its card",
    "push data": "a finished build of pairs",
    "push space": "the demo, showing one checkpoint",
    "push metric": "the metric, for evaluate.load",
    "data rooms": "render furnished rooms",
    "data simulators": "render things out of robotics simulators",
    "data episodes": "your own pairs, from a table, folders or LeRobot episodes",
    "data procthor": "read or generate ProcTHOR pairs",
    "data epic_kitchens": "frames of EPIC-KITCHENS videos",
    "data splits": "divide a data set into splits again",
    "data publish": "publish a data set (also: cde push data)",
    "data dinov2_weights": "fetch DINOv2 where there is no Hub",
    "data rooms_sheet": "draw a page of rooms",
    "data sequence_sheet": "draw sequences as strips of film",
    "data simulators_sheet": "draw a page of simulators' things",
    "benchmark causal_triplet": "every method, shift and seed of a recipe (configs/benchmark_*.yaml)",
    "benchmark few_pairs": "how far a few pairs go",
    "benchmark rejection": "whether it is noticed that nothing, or something unknown, happened",
    "benchmark composition": "whether the deltas of two actions add up",
    "benchmark segmentation": "what a model of pairs finds in clips",
    "benchmark study": "what decides the accuracy on frozen features",
}


def calls() -> dict[str, str]:
    """What follows `cde ` -> the target that it runs; the first call of a target is the one to show."""
    flat: dict[str, str] = {}
    for verb, runs in VERBS.items():
        flat |= {verb: runs} if isinstance(runs, str) else {f"{verb} {name}": target for name, target in runs.items()}
    return flat


def called_by_cde() -> bool:
    """Whether this process runs a verb of `cde`."""
    return sys.argv[:1] == ["cde"] or sys.argv[0].startswith("cde ")


def program(target: str) -> str:
    """The name of a command for its messages: `cde evaluate`, or the target itself."""
    return called(target) or target


def command(target: str, *arguments: str) -> str:
    """How a user calls a script or module of this project, the way that this process was called.

    Args:
        target: Such as `train.py`, `modeling_cde.analysis` or `data_scripts.episodes table`.
        *arguments: Words that follow it, which are quoted for a shell.
    """
    name = target.partition(" ")[0]
    plain = {"train.py": f"accelerate launch {target}"}.get(
        name, f"python {target}" if name.endswith(".py") else f"python -m {target}"
    )
    return " ".join([called(target) or plain, *([shlex.join(arguments)] if arguments else [])])


def called(target: str) -> str | None:
    """The call of `cde` that runs a target, or its first words; None if `cde` was not called or has no verb for it."""
    if not called_by_cde():
        return None
    words = target.split()
    for length in range(len(words), 0, -1):
        for call, runs in calls().items():
            if runs.split() == words[:length]:
                return " ".join(["cde", call, *words[length:]])
    return None
