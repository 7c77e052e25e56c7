"""The actions and objects of a data set's instructions: read by the rule, or entered by a human in a CSV file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_scripts.builds.work_units import json_sha256
from data_scripts.episodes.instruction import BUILT_IN, Instruction, Unparsed, normalized, parse_instruction
from data_scripts.episodes.verbs import CLASS_NAME, VerbTable, read_rows
from data_scripts.names import is_name
from modeling_cde.whole_files import csv_cell, csv_text, write_whole


class Readings:
    """The readings of instructions, each parsed once; `known` are a human's by `normalized` text, see `read_known`."""

    def __init__(self, verbs: VerbTable | None = None, known: Mapping[str, Instruction] | None = None) -> None:
        self.verbs, self.known = verbs or BUILT_IN, dict(known or {})
        self._read: dict[str, Instruction | Unparsed] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_read": {}}

    def read(self, task: str) -> Instruction | Unparsed:
        """The reading of one instruction."""
        if task not in self._read:
            answer = parse_instruction(task, self.verbs, self.known)
            named = isinstance(answer, Unparsed) or all(map(is_name, answer))
            self._read[task] = answer if named else Unparsed("no name")
        return self._read[task]

    def answer(self, tasks: Sequence[str]) -> Instruction | Unparsed:
        """What an episode shows: all its instructions must agree, except empty ones and marks such as "valid"."""
        answers = {self.read(task) for task in self.acts(tasks)}
        if not answers:
            return self.read(tasks[0]) if tasks else Unparsed("no words")
        return answers.pop() if len(answers) == 1 else Unparsed("several tasks")

    def acts(self, tasks: Sequence[str]) -> list[str]:
        """The instructions that may name an act."""
        return [task for task in tasks if self.read(task) not in (Unparsed("no words"), Unparsed("no act"))]

    def sha256(self, tasks: Iterable[str]) -> str:
        """The hash of how instructions are read, by whatever rule, verbs and readings."""
        return json_sha256([(task, repr(self.read(task))) for task in sorted(set(tasks))])

    def write(self, path: Path, tasks: Iterable[str]) -> None:
        """Write every instruction as CSV, with its reading or why there is none, and how often it occurs.

        Fill in empty actions and objects, and `read_known` reads the file.

        Raises:
            ValueError: The file exists and has readings, entered by hand, that would be lost.
        """
        if path.exists():
            lost = next((text for text in read_known(path) if isinstance(self.read(text), Unparsed)), None)
            if lost is not None:
                raise ValueError(
                    f"{path} has a reading of {lost[:80]!r}, which this run lacks and would overwrite: pass the file "
                    "by --instructions, or move it away."
                )
        with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["instruction", "action", "object", "episodes", "reason"])
            for task, count in sorted(Counter(tasks).items(), key=lambda item: (-item[1], item[0])):
                answer = self.read(task)
                if isinstance(answer, Instruction):
                    writer.writerow([csv_cell(task), answer.action, answer.object, count, ""])
                else:
                    writer.writerow([csv_cell(task), "", "", count, answer.reason])


def read_known(path: Path) -> dict[str, Instruction]:
    """Read a human's readings from a CSV file `instruction,action,object`; rows without action and object are skipped.

    Raises:
        ValueError: The file cannot be read, fills only one of the two, has an invalid class name, or reads one
            instruction in two ways.
    """
    known: dict[str, Instruction] = {}
    texts: dict[str, str] = {}
    for row in read_rows(path, ("instruction", "action", "object"), open_rows=True):
        text, names = csv_text(row["instruction"]), Instruction(row["action"].lower(), row["object"].lower())
        for name in names:
            if not CLASS_NAME.fullmatch(name) or not is_name(name):
                raise ValueError(f"{path}: {name!r} cannot name a class; use the letters a to z, digits, _ and -.")
        key = normalized(text)
        if not key:
            raise ValueError(f"{path}: the instruction {text!r} has no words; remove the row.")
        if known.setdefault(key, names) != names:
            raise ValueError(
                f"{path} reads {texts[key]!r} as {', '.join(known[key])} and {text!r}, which is the same instruction, "
                f"as {', '.join(names)}; keep one of the two rows."
            )
        texts.setdefault(key, text)
    return known
