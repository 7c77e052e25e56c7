"""The instructions of episodes whose entries lack them: by the `task_index` of their frames in the data files.

`meta/tasks.parquet` (v3.0) or `meta/tasks.jsonl` (v2) names each task_index. A pair spans its whole episode, so that an
episode whose frames have several tasks has none; it becomes a `Fault`, as one without a name does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from data_scripts.episodes.entries import Episode, Fault, RecordingError, absent, brief, is_pointer, read_lines
from data_scripts.episodes.instruction import normalized

Tasks = dict[int, str]


def fill_tasks(folder: Path, episodes: Sequence[Episode]) -> tuple[list[Episode], list[Fault]]:
    """The episodes, those without tasks with what the data files say, and why some of these still have none.

    Raises:
        RecordingError: The names of the tasks are needed, and broken.
    """
    if all(episode.tasks for episode in episodes):
        return list(episodes), []
    tasks = _read_tasks(folder)
    files: dict[str, dict[int, set[Any]] | Fault] = {}
    filled: list[Episode | Fault] = []
    for episode in episodes:
        if not episode.tasks:
            if episode.data not in files:
                files[episode.data] = _indices(folder, episode.data)
            filled.append(_filled(episode, files[episode.data], tasks))
        else:
            filled.append(episode)
    return [one for one in filled if isinstance(one, Episode)], [one for one in filled if isinstance(one, Fault)]


def _filled(episode: Episode, found: dict[int, set[Any]] | Fault, tasks: Tasks | None) -> Episode | Fault:
    if tasks is None:
        sentence = "its entry has no tasks, and there is no meta/tasks.parquet that names those of its frames"
        return Fault(episode.number, "unknown task", sentence)
    if isinstance(found, Fault):
        return found._replace(number=episode.number)
    indices = found.get(episode.number, set())
    if not indices:
        return Fault(episode.number, "missing frame", f"its task is unknown, as {episode.data} has no frames of it")
    unknown = sorted(str(index) for index in indices if index not in tasks)
    if unknown:
        sentence = f"frames of it in {episode.data} have the task_index {unknown[0]}, which has no name in meta"
        return Fault(episode.number, "unknown task", sentence)
    names = sorted(tasks[index] for index in indices)
    if len({normalized(name) for name in names}) > 1:
        said = " / ".join(map(repr, names))
        return Fault(episode.number, "several tasks", f"its frames belong to several tasks: {said}")
    return episode._replace(tasks=(names[0],))


def _indices(folder: Path, name: str) -> dict[int, set[Any]] | Fault:
    """The values of task_index of the frames of each episode in a data file."""
    if (why := absent(folder, name)) is not None:
        return Fault(0, "missing data file", f"its task is unknown, as {why}")
    columns = ["episode_index", "task_index"]
    try:
        with parquet.ParquetFile(folder / name) as file:
            if lacking := set(columns) - set(file.schema_arrow.names):
                said = ", ".join(sorted(lacking))
                return Fault(0, "broken data file", f"its task is unknown, as {name} has no column {said}")
            pairs = file.read(columns=columns).group_by(columns).aggregate([]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        return Fault(0, "broken data file", f"its task is unknown, as {name} cannot be read ({brief(error)})")
    found: dict[int, set[Any]] = {}
    for pair in pairs:
        found.setdefault(pair["episode_index"], set()).add(pair["task_index"])
    return found


def _read_tasks(folder: Path) -> Tasks | None:
    """The name of each task_index, or None if no file has them."""
    path = folder / "meta" / "tasks.parquet"
    rows: list[tuple[Any, Any]] = []
    if path.is_file():
        if is_pointer(path):
            raise RecordingError(f"{path} is a Git LFS pointer; download the file itself.")
        try:
            table = parquet.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(f"{path} cannot be read ({brief(error)}); download it again.") from error
        # The index of the frame that pandas wrote: "task", or without a name.
        texts = [field.name for field in table.schema if pa.types.is_string(field.type) or _is_large(field.type)]
        name = "task" if "task" in texts else texts[0] if len(texts) == 1 else None
        if name is not None and "task_index" in table.schema.names:
            rows = list(zip(table.column("task_index").to_pylist(), table.column(name).to_pylist(), strict=True))
    elif (path := folder / "meta" / "tasks.jsonl").is_file():
        for _, row in read_lines(path):
            rows.append((row.get("task_index"), row.get("task")) if isinstance(row, dict) else (None, None))
    else:
        return None
    tasks: Tasks = {}
    for index, task in rows:
        if isinstance(index, int) and isinstance(task, str) and tasks.setdefault(index, task) != task:
            raise RecordingError(f"{path} gives the task_index {index} to {tasks[index]!r} and {task!r}; correct it.")
    if not tasks:
        raise RecordingError(f"{path} does not give a task to each task_index; download it again.")
    return tasks


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))
