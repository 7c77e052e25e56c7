"""How the instructions of a data set's episodes are read: by the rule, or as a human wrote them down in a CSV file."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_scripts.episodes.instruction import BUILT_IN, Instruction, Unparsed, normalized, parse_instruction
from data_scripts.episodes.verbs import CLASS_NAME, VerbTable, read_rows
from modeling_cde.whole_files import write_whole


class Readings:
    """Instructions and what they are read as; each is parsed once.

    Args:
        verbs: Verb phrases; by default the built-in ones.
        known: Instructions read by a human, by their `normalized` text; see `read_known`.
    """

    def __init__(self, verbs: VerbTable | None = None, known: Mapping[str, Instruction] | None = None) -> None:
        self.verbs, self.known = verbs or BUILT_IN, dict(known or {})
        self._read: dict[str, Instruction | Unparsed] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_read": {}}

    def read(self, task: str) -> Instruction | Unparsed:
        """What one instruction says."""
        if task not in self._read:
            self._read[task] = parse_instruction(task, self.verbs, self.known)
        return self._read[task]

    def answer(self, tasks: Sequence[str]) -> Instruction | Unparsed:
        """What an episode shows: all its instructions (but empty ones) have to say the same."""
        answers = {self.read(task) for task in tasks if normalized(task)}
        if not answers:
            return Unparsed("no words")
        return answers.pop() if len(answers) == 1 else Unparsed("several tasks")

    def sha256(self) -> str:
        """Of all that a reading depends on besides the rule."""
        content = [sorted(self.verbs.phrases.items()), sorted(self.known.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def write(self, path: Path, tasks: Iterable[str]) -> None:
        """Write every instruction, how it is read or why not, and how often it occurs, as CSV.

        With action and object filled in where they are empty, `read_known` takes the file back.

        Raises:
            ValueError: The file is there and has readings, filled in by hand, that would be lost.
        """
        if path.exists():
            self._check_kept(path)
        with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["instruction", "action", "object", "episodes", "reason"])
            for task, count in sorted(Counter(tasks).items(), key=lambda item: (-item[1], item[0])):
                answer = self.read(task)
                if isinstance(answer, Instruction):
                    writer.writerow([task, answer.action, answer.object, count, ""])
                else:
                    writer.writerow([task, "", "", count, answer.reason])

    def _check_kept(self, path: Path) -> None:
        lost = next((text for text in read_known(path) if isinstance(self.read(text), Unparsed)), None)
        if lost is not None:
            raise ValueError(
                f"{path} reads {lost[:80]!r}, which this run cannot, and would be overwritten: give the file with "
                "--instructions, or move it away."
            )


def read_known(path: Path) -> dict[str, Instruction]:
    """Instructions read by a human: a CSV file `instruction,action,object`; rows without action and object are skipped.

    Raises:
        ValueError: The file cannot be read, fills only one of the two, or a class name is of no use.
    """
    known = {}
    for row in read_rows(path, ("instruction", "action", "object"), open_rows=True):
        names = Instruction(row["action"].lower(), row["object"].lower())
        for name in names:
            if not CLASS_NAME.fullmatch(name):
                raise ValueError(f"{path}: {name!r} cannot name a class; use letters, digits, _ and -.")
        known[normalized(row["instruction"])] = names
    return known
