"""One run of a benchmark: train.py as a process of its own, resumed where it stopped, and the result that is kept.

A run has a folder (train.py's output, with `log.txt` and `benchmark.json`) and, once it is finished, a result: one JSON
file with what it measured, from what, where and by which command.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.paper.forked_training import ForkedTraining
from benchmarks.paper.plan import Run
from modeling_cde.cli.project import find_recipe
from modeling_cde.whole_files import write_text_whole

ROOT = Path(__file__).resolve().parents[2]
TRAIN = (sys.executable, "-m", "accelerate.commands.launch", str(ROOT / "train.py"))
END_SECONDS = 20.0  # that a run has to end by itself when it is told to
# Where things are, or what --data overrides: two runs that differ in these only are the same run.
PLACES = "output_dir rooms_folder rooms_pairs rooms_image_size rooms_seed rooms_workers rooms.workers".split()
_STARTED, _ADVICE = "=== started ", "or run `accelerate config`."
# What decides a number: changes here that are not committed are named in the result.
CODE = ("train.py", "modeling_cde", "data_scripts", "configs")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `minutes` that it took in all, or the sentence and last lines that say why it failed."""

    name: str
    minutes: float = 0.0
    error: str = ""


def read_result(run: Run) -> dict[str, Any] | None:
    """The kept result of a run, or None if there is none.

    Raises:
        ValueError: if it cannot be read, or was made with other settings; names the first that differs.
    """
    if not run.result.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(run.result.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{run.result} is not valid JSON ({error}): delete it to make the run again.") from error
    _compare(run, result.get("settings", {}), str(run.result))
    return result


def execute(
    run: Run, train: Sequence[str] = TRAIN, tick: Callable[[], None] = lambda: None, cores: Sequence[int] = ()
) -> Outcome:
    """Train, evaluate, and keep the result.

    A run that was cut off goes on from its newest checkpoint. Whatever ends this call early (Ctrl-C) also ends the
    process that trains, and leaves everything to go on from.

    Args:
        run: what to do.
        train: the command that takes the arguments of train.py.
        tick: called about once a second while the run is going on.
        cores: those that train.py may use, in a forked process in place of the command; see `forked_training.py`.

    Returns:
        The outcome; a run that fails raises nothing.
    """
    folder = run.folder
    note = folder / "benchmark.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Outcome(run.name, error=f"{folder} is being trained by another process; end it or wait for it.")
            return _execute(run, train, tick, note, lock.fileno(), cores)
    except (ValueError, OSError) as error:
        return Outcome(run.name, error=str(error))


def _execute(
    run: Run, train: Sequence[str], tick: Callable[[], None], note: Path, lock: int, cores: Sequence[int]
) -> Outcome:
    state: dict[str, Any] = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if state:
        _compare(run, state["settings"], f"The unfinished run in {run.folder}")
    else:
        state = {"settings": settings(run), "minutes": 0.0, "finished": False, **_code()}
    if not state["finished"]:
        arguments = run.arguments()
        if any(run.folder.glob("checkpoint-*")):
            arguments += ["--resume_from_checkpoint", "true"]  # the newest complete one
        before, started, code = state["minutes"], time.monotonic(), -1
        try:
            write_json(note, state)
            code = _train(train, arguments, run.folder / "log.txt", tick, lock, cores)
        finally:
            state["minutes"] = round(before + (time.monotonic() - started) / 60, 2)
            state["finished"] = code == 0
            write_json(note, state)
        if code != 0:
            return Outcome(run.name, state["minutes"], _last_lines(run.folder / "log.txt", code))
    write_json(run.result, make_result(run, state))
    return Outcome(run.name, state["minutes"])


def _train(
    train: Sequence[str],
    arguments: Sequence[str],
    log: Path,
    tick: Callable[[], None],
    lock: int,
    cores: Sequence[int],
) -> int:
    """Run train.py with its output in a file; its exit status."""
    with log.open("a", encoding="utf-8") as output:
        output.write(f"\n{_STARTED}{datetime.datetime.now():%Y-%m-%d %H:%M}: {' '.join([*train, *arguments])}\n")
        output.flush()
        # A session of its own: Ctrl-C reaches what trains through this process, in order.
        process: Any
        if cores:
            process = ForkedTraining(arguments, log, cores)
        else:  # the command holds the lock, too, as long as it lives
            process = subprocess.Popen(
                [*train, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
        try:
            while True:
                try:
                    return int(process.wait(timeout=1.0))
                except subprocess.TimeoutExpired:
                    tick()
        finally:
            _end(process)


def _end(process: Any) -> None:
    """End a process and its children; nothing happens to one that has ended."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, kind)
            process.wait(timeout=END_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def settings(run: Run) -> dict[str, Any]:
    """What decides a run: the recipe of train.py, the flags that follow it, the rendered data and the split.

    Equal settings are the same run. What a method brings by itself is not here, but in `training.arguments`.
    """
    from modeling_cde.training.recipe import read_plain_yaml

    recipe = read_plain_yaml(find_recipe(run.train))
    parts = {"recipe": recipe, "flags": run.flags, "rooms": asdict(run.rooms) if run.rooms else {}}
    made = {name: {key: value for key, value in part.items() if key not in PLACES} for name, part in parts.items()}
    made["recipe"] = {key: value for key, value in made["recipe"].items() if key not in run.flags}
    plain: dict[str, Any] = json.loads(json.dumps({**made, "split_seed": run.split_seed}))
    return plain


def make_result(run: Run, state: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a finished run, from the files in its folder.

    Raises:
        ValueError: if train.py left no numbers.
    """
    folder = run.folder
    try:
        selected = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        ended = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        same = selected["training"]["selected"]["step"] == ended["global_step"]
        last = selected if same else json.loads((folder / "last" / "metrics.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{folder} lacks the numbers of its run ({error}): delete the folder, and run again."
        ) from error
    geometry, problem = _geometry(folder) if run.geometry else (None, None)
    training = selected["training"]
    told = ("benchmark", "method", "title", "setting", "view", "shift", "seed", "split_seed")
    return {
        "run": run.name,
        **{name: getattr(run, name) for name in told},
        "selected": {**training["selected"], "splits": selected["splits"], "gap": selected["gap"]},
        "last": {
            "step": ended["global_step"],
            "epoch": round(ended["epoch"], 2),
            "criterion": None,
            "splits": last["splits"],
            "gap": last["gap"],
        },
        "geometry": geometry,
        "geometry_problem": problem,
        "minutes": state["minutes"],
        "command": run.command(),
        "settings": state["settings"],
        "data": run.source,
        "manifests": {
            path.name.removeprefix("split_"): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.glob("split_*.json"))
        },
        "commit": state["commit"],
        "uncommitted": state["uncommitted"],
        "date": datetime.date.today().isoformat(),
        "machine": machine(selected["environment"]),
        "environment": selected["environment"],
        "training": {key: training[key] for key in ("pairs", "pairs_used_twice", "arguments") if key in training},
    }


def _geometry(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """What the analysis measures on the test splits, or why it could not: a training is not lost to that."""
    if not (folder / "deltas.safetensors").is_file():
        return None, f"{folder} has no deltas.safetensors"
    try:
        from modeling_cde.analysis.measures.geometry import measure

        geometry: dict[str, Any] = json.loads(json.dumps(measure(folder)))
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    geometry["splits"] = {name: values for name, values in geometry["splits"].items() if name[:4] == "test"}
    for values in geometry["splits"].values():
        # What is long and only drawn; the folder of the run keeps all of it.
        values.get("cosines", {}).pop("matrix", None)
        values.get("sparsity", {}).pop("profile", None)
    return geometry, None


def machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Processor, cores, and the device that was trained on."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # another system than Linux, or a processor without a name there
    device = str(environment.get("device", "cpu"))
    on_cpu = device in (platform.processor(), "CPU", "")
    return {"cpu": name, "cores": os.cpu_count(), "device": "cpu" if on_cpu else device}


def write_json(path: Path, content: Any) -> None:
    """Write aside and rename, so that no file is ever half there."""
    write_text_whole(path, json.dumps(content, indent=2) + "\n")


def _compare(run: Run, made_with: Mapping[str, Any], what: str) -> None:
    """Raise if something was made with other settings than the run has now."""
    now, then = _flat(settings(run)), _flat(made_with)
    for name in [*now, *then]:
        if now.get(name) != then.get(name):
            raise ValueError(
                f"{what} was made with {name}={then.get(name)!r}, and now it is {now.get(name)!r}: delete it to "
                "run it again, or give the changed benchmark another name."
            )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by one name each; a flag and a value of the recipe mean the same."""
    rooms = {f"rooms.{name}": value for name, value in settings.get("rooms", {}).items()}
    flags = {**settings.get("recipe", {}), **settings.get("flags", {})}
    return {**flags, **rooms, "split_seed": settings.get("split_seed")}


def _code() -> dict[str, Any]:
    """The commit, and the files of the code that differ from it."""

    def git(*arguments: str) -> str:
        made = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return made.stdout.rstrip() if made.returncode == 0 else ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", *CODE).splitlines()
    return {"commit": git("rev-parse", "--short", "HEAD") or None, "uncommitted": [line[3:] for line in changed]}


def _last_lines(log: Path, code: int, count: int = 8) -> str:
    """What a failed run said at its end, without what the launcher adds."""
    text = log.read_text(encoding="utf-8", errors="replace")
    text = text.rpartition(_STARTED)[2].partition("\n")[2].rpartition(_ADVICE)[2]
    said, mark, trace = text.rpartition("Traceback (most recent call last):")
    if mark and "accelerate/commands/launch.py" in trace and said.strip():
        text = said  # the launcher's own trace, which says only that train.py ended
    lines = [line for line in text.splitlines() if line.strip()]
    shown = "\n".join(f"    {line[-300:]}" for line in lines[-count:])
    return f"train.py ended with status {code}; the last lines of {log}:\n{shown}"
