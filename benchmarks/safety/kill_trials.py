"""Kill trainings at random moments, resume them, and compare the end with a training that nobody has killed.

    python -m benchmarks.safety.kill_trials --trials 30

A trial is one `train.py`, a small one with many evaluations and checkpoints, that is killed (SIGKILL) and started again
by the same command until it is done. Moments are drawn by the seed: seconds over the whole run, from the start of the
program to its last file, or one of the operations by which it changes files (see kill_switch.py): in checkpoints, in
their rotation and in the files that a run ends with. Every third trial is killed again while it resumes. After each
kill the newest checkpoint has to load; in the end the weights, the deltas and all numbers have to be those of the
training that was left alone, bit for bit. Writes `benchmarks/results/speed/kill_trials.json`.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.speed.measured import RESULTS, ROOT, Target, conclude
from benchmarks.speed.training_steps import RESNET
from modeling_cde.whole_files import in_one_sentence

# A checkpoint and an evaluation every two of 18 steps, the best of them kept beside the last.
RECIPE = {
    "backbone_config": json.dumps(RESNET), "image_size": 32, "delta_dim": 16, "rooms_pairs": 150,
    "rooms_image_size": 48, "use_cpu": True, "precision": "float32", "num_train_epochs": 3,
    "per_device_train_batch_size": 16, "learning_rate": 3e-3, "backbone_learning_rate": 3e-3, "sparsity_weight": 0.01,
    "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
    "save_total_limit": 2, "load_best_model_at_end": True, "metric_for_best_model": "eval_validation_cross_entropy",
    "greater_is_better": False, "disable_tqdm": True, "resume_from_checkpoint": "true",
}  # fmt: skip
PLACES = ("seconds", "checkpoint", "rotation", "end")


@dataclass
class Trial:
    """What was done to one training, and how it ended.

    Attributes:
        number: From 0.
        kills: One for each: `place` (of `PLACES`), `moment` (seconds, or the number of the operation), `operation` (the
            last one that was begun), `newest` (the newest complete checkpoint, or None), `loads` and `damaged` (the
            folders called checkpoint-N that are not complete).
        starts: How often train.py was started.
        differs: What was not equal in the end; empty where all was.
    """

    number: int
    kills: list[dict[str, Any]] = field(default_factory=list)
    starts: int = 0
    differs: list[str] = field(default_factory=list)


def place_of(operation: str) -> str:
    """Where an operation on files belongs: to a checkpoint, the rotation, or the end of a run."""
    path = operation.split(" ", 1)[1]
    if path.startswith("tmp-old") or operation.startswith("os.rename checkpoint-"):
        return "rotation"
    return "checkpoint" if path.startswith(("tmp-checkpoint", "checkpoint-")) else "end"


def run(
    arguments: Sequence[str], output: Path, operation: int = 0, seconds: float | None = None
) -> tuple[int, list[str]]:
    """Start train.py once, and kill it before an operation on files (0: none) or after some seconds (None: never).

    Returns:
        Its exit status, negative for a signal, and the operations.
    """
    trace, log = output.with_suffix(".trace"), output.with_suffix(".log")
    trace.unlink(missing_ok=True)
    switch = [sys.executable, "-m", "benchmarks.safety.kill_switch", str(output), str(operation), str(trace)]
    command = [*switch, "train.py", *arguments]
    with log.open("ab") as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    return status, trace.read_text(encoding="utf-8").splitlines() if trace.is_file() else []


def outcome(output: Path) -> dict[str, str]:
    """What a training ends with, by name, as a digest; durations and paths are left out."""
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    metrics["training"].pop("minutes")
    metrics["training"].pop("command")  # names the output folder
    metrics["training"].get("arguments", {}).pop("output_dir", None)
    history = json.loads((output / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    timed = ("runtime", "per_second", "total_flos")
    logs = [{key: value for key, value in entry.items() if not key.endswith(timed)} for entry in history]
    parts = {"metrics.json": json.dumps(metrics).encode(), "log": json.dumps(logs).encode()}
    for name in ("model.safetensors", "deltas.safetensors", "gallery.parquet", "config.json"):
        parts[name] = (output / name).read_bytes()
    return {name: sha256(content).hexdigest() for name, content in parts.items()}


def examine(output: Path) -> dict[str, Any]:
    """The checkpoints that a killed training has left."""
    from modeling_cde.models.load_model import load_action_model
    from modeling_cde.training.checkpoints.checkpoint_folder import checkpoints, find_damage, newest_complete

    step, _ = newest_complete(output)
    loads = step is None or load_action_model(str(output / f"checkpoint-{step}")) is not None
    damaged = [path.name for path in checkpoints(output).values() if find_damage(path)]
    return {"newest": step, "loads": loads, "damaged": damaged}


def try_one(number: int, seed: int, folder: Path, recipe: Mapping[str, Any], whole: Mapping[str, Any]) -> Trial:
    """Kill one training, once or twice, and let it end.

    `seed` is that of all trials, and `whole` has `operations`, `seconds` and `outcome` of the undisturbed training.
    """
    generator, trial = random.Random(f"{seed} {number}"), Trial(number)
    output = folder / f"trial-{number}"
    arguments = flags(recipe, output)
    places = [PLACES[number % len(PLACES)], *(["seconds"] if number % 3 == 0 else [])]
    while places:
        place = places[0]
        if place == "seconds":
            moment: float = round(generator.uniform(0, whole["seconds"]), 2)
            status, done = run(arguments, output, seconds=moment)
        else:
            there = [i for i, line in enumerate(whole["operations"], 1) if place_of(line) == place]
            moment = generator.choice(there)
            status, done = run(arguments, output, operation=int(moment))
        trial.starts += 1
        if status == 0:  # it was done before the moment came
            if trial.kills:
                break
            shutil.rmtree(output)  # a trial is a training that was killed: it begins anew, with another moment
            continue
        places.pop(0)
        last = done[-1] if done else None
        trial.kills.append({"place": place, "moment": moment, "operation": last, **examine(output)})
        if status != -9:
            trial.differs.append(f"exit status {status} where it was to be killed; see {output.with_suffix('.log')}")
    status, _ = run(arguments, output)
    trial.starts += 1
    if status:
        trial.differs.append(f"exit status {status}; see {output.with_suffix('.log')}")
    else:
        trial.differs += [name for name, digest in outcome(output).items() if digest != whole["outcome"][name]]
    return trial


def flags(recipe: Mapping[str, Any], output: Path) -> list[str]:
    """A recipe as flags of train.py."""
    return [*(f"--{name}={value}" for name, value in recipe.items()), f"--output_dir={output}"]


def measure(trials: int, seed: int, folder: Path, recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[Trial]]:
    """Train once undisturbed, and then do the trials; prints a line for each.

    Returns:
        What is known of the training that was left alone, and the trials.
    """
    began = time.monotonic()
    status, operations = run(flags(recipe, folder / "whole"), folder / "whole")
    if status:
        sys.exit(f"benchmarks.safety.kill_trials: train.py ended with status {status}; see {folder / 'whole.log'}.")
    whole = {"seconds": time.monotonic() - began, "operations": operations, "outcome": outcome(folder / "whole")}
    again = run(flags(recipe, folder / "again"), folder / "again")[0] or outcome(folder / "again") != whole["outcome"]
    if again:
        problem = "two trainings that nobody has killed differ, so nothing can be compared."
        sys.exit(f"benchmarks.safety.kill_trials: {problem}")
    done = []
    for number in range(trials):
        trial = try_one(number, seed, folder, recipe, whole)
        done.append(trial)
        killed = "; ".join(f"{kill['place']} {kill['moment']} ({kill['operation']})" for kill in trial.kills)
        print(f"trial {number}: killed at {killed}: {trial.differs or 'equal'}", flush=True)
    return whole, done


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety.kill_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=30, help="how many trainings are killed (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--data", help="folder of a data set in place of rendered rooms")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="kill_trials_") as place:
        data = {"data": options.data} if options.data else {"rooms_folder": str(Path(place, "rooms"))}
        whole, trials = measure(options.trials, options.seed, Path(place), {**RECIPE, **data})
    kills = [kill for trial in trials for kill in trial.kills]
    lost = [kill for kill in kills if not kill["loads"] or kill["damaged"]]
    equal = sum(bool(trial.kills) and not trial.differs for trial in trials)
    targets = [
        Target.of("killed trainings that end bit for bit as if left alone", f">= {len(trials)}",
                  equal, f"{len(kills)} kills in {len(trials)} trials"),
        Target.of("kills after which a checkpoint is damaged or does not load", "<= 0", len(lost)),
    ]  # fmt: skip
    places = {place: sum(kill["place"] == place for kill in kills) for place in PLACES}
    command = f"python -m benchmarks.safety.kill_trials --trials {options.trials} --seed {options.seed}"
    details = {
        "kills": places,
        "recipe": RECIPE,
        "undisturbed": {"seconds": round(whole["seconds"], 1), "operations": len(whole["operations"])},
        "trials": [asdict(trial) for trial in trials],
    }
    conclude("kill_trials", command, targets, details, options.results)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.safety.kill_trials"):
        main()
