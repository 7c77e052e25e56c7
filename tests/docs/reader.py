"""What a reader does with a block: Python is executed, commands are run in this process, whose imports are paid once.

    run_python(code, page, line)
    run_bash(text, small, not_run)

`python -m X`, `python FILE` and `accelerate launch FILE` become calls of X's or FILE's own `main`; everything else that
is known is a program of the shell. What must not run here is still read by the command's own parser.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest import mock

from tests.docs.blocks import ROOT

_SHELL = ("ls", "cat", "cp", "mkdir", "rm", "head")
_ELSEWHERE = ("hf", "export", "pytest")  # other programs: nothing of ours reads their flags
_scopes: dict[str, dict[str, Any]] = {}


def stand_in(folder: str, small: Mapping[str, Sequence[str]]) -> None:
    """Make the reader's files in a folder, stand there, and train the checkpoint that other guides start from."""
    import torch
    from matplotlib.figure import Figure

    sys.path[:0] = [folder]  # before any import of the package, of which the folder has a copy
    sys.path.append(str(ROOT))
    from modeling_cde.analysis.plots import overlays
    from modeling_cde.fit import heads
    from tests.docs.reader_folder import draw_files, save_checkpoints

    heads.STEPS = 2  # of a trained head

    # Threads that wait for each other cost models of this size more than they bring; train.py would take all cores.
    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None
    # Pictures are made up to where they would be drawn, which takes longer than all else; tests/analysis draws them.
    overlays.MOST_EXAMPLES = 2
    Figure.savefig = lambda self, path, **options: Path(path).write_text("<svg/>")
    os.chdir(folder)
    draw_files(Path(folder))
    save_checkpoints()
    quickstart = "accelerate launch train.py --config configs/quickstart.yaml"
    run_bash(f"{quickstart} --data data/rooms --backbone hub/dinov2", small, {})


def run_python(code: str, page: str, line: int) -> str:
    """Execute a block after the other blocks of its page, or save and import the file that its first line names.

    Returns:
        What it printed.
    """
    file = re.match(r"# (\S+)\.py\n", code)
    if file:
        Path(f"{file[1]}.py").write_text(code + "\n", encoding="utf-8")
        code = f"import {file[1].replace('/', '.')}"
    scope = _scopes.setdefault(page, {"__name__": "__main__"})
    try:
        with _output() as printed:
            exec(compile("\n" * (line - 1) + code, page, "exec"), scope)
    except Exception as error:
        at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == page]
        raise RuntimeError(f"{page}:{at[-1] if at else line}: {type(error).__name__}: {error}") from error
    return printed.getvalue()


def run_bash(text: str, small: Mapping[str, Sequence[str]], not_run: Mapping[str, str]) -> str:
    """Run the commands of a block.

    Args:
        text: The block.
        small: Command, `*` standing for anything -> flags that are added to make it small.
        not_run: Command -> why it is not run; its flags are checked all the same.

    Returns:
        What the commands printed.

    Raises:
        ValueError: A command is none that is known here.
        SystemExit: A command ended with an error.
    """
    answers = []
    for words in commands(text):
        line = " ".join(words)
        with _output() as printed:  # one a command: a `main` may end by sys.exit(0)
            if any(fnmatchcase(line, like) for like in not_run):
                check_flags(words)
            else:
                added = [flag for like, flags in small.items() if fnmatchcase(line, like) for flag in flags]
                _run([*words, *added])
        answers.append(printed.getvalue())
    return "".join(answers)


def commands(text: str) -> list[list[str]]:
    """The commands of a block as words: lines that end in a backslash joined, `&&` divided, comments left out."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return [_written_out(words) for words in found if words]


def _written_out(words: list[str]) -> list[str]:
    """A command of `cde` as the one that it stands for."""
    from modeling_cde.cli.verbs import calls

    for call, runs in sorted(calls().items(), key=lambda item: -len(item[0])):
        verbs, target = call.split(), runs.split()
        if words[: 1 + len(verbs)] == ["cde", *verbs]:
            script = target[0].endswith(".py")
            start = ["accelerate", "launch"] if target[0] == "train.py" else ["python"] if script else ["python", "-m"]
            return [*start, *target, *words[1 + len(verbs) :]]
    return words


def program(words: Sequence[str]) -> str:
    """The file or the module that a command runs, else its first word."""
    if words[:2] == ["accelerate", "launch"]:
        return _launched(words)[0]
    if words[0] == "python":
        return words[2] if words[1] == "-m" else words[1]
    return words[0]


def check_bash(text: str) -> None:
    """`check_flags` of each command of a block."""
    for words in commands(text):
        with _output():
            check_flags(words)


def check_python(code: str) -> None:
    """Do the imports of a block, and nothing else of it."""
    imports = [node for node in ast.parse(code).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec(compile(ast.Module(imports, type_ignores=[]), "imports", "exec"), {})


def listed(table: str) -> str:
    """Action, object and group of each row of a table of pictures, as its reader takes them."""
    from data_scripts.episodes.listing import read_listing

    Path("shown.csv").write_text(table, encoding="utf-8")
    return str([(row.action, row.object, row.scene) for row in read_listing(Path("shown.csv")).rows])


def check_flags(words: Sequence[str]) -> None:
    """Have a command's own parser read its flags, and stop there.

    Raises:
        SystemExit, ValueError: The parser does not take them, or the command is none that is known here.
    """
    if words[0] == "pip":
        _check_pip(words)
    elif words[0] in _ELSEWHERE or words[0] in _SHELL:
        return
    elif program(words) == "train.py":
        _check_train(_arguments(words))
    else:
        light = {} if "gradio" in sys.modules else {"gradio": mock.MagicMock()}  # seconds, and no flag is read by it
        stop = mock.patch.object(argparse.ArgumentParser, "parse_args", _parse_and_stop)
        with stop, contextlib.suppress(_Parsed), mock.patch.dict(sys.modules, light if _is_file(words) else {}):
            _run(words)
            raise ValueError(f"{shlex.join(words)}: it has no parser that could be asked.")


def _is_file(words: Sequence[str]) -> bool:
    return program(words).endswith(".py")


def _run(words: Sequence[str]) -> None:
    if words[0] == "pip":
        _check_pip(words)
    elif words[0] in _SHELL:
        print(subprocess.run(words, capture_output=True, text=True, check=True).stdout, end="")
    elif words[0] in ("python", "accelerate"):
        _main_of(words)(_arguments(words))
    else:
        raise ValueError(f"{shlex.join(words)}: a test has to know how this is run; see tests/docs/reader.py.")


def _main_of(words: Sequence[str]) -> Callable[[list[str]], Any]:
    """The function that a command calls with its arguments."""
    name = program(words)
    if not _is_file(words):
        found = importlib.util.find_spec(name)
        if found is None:
            raise ValueError(f"python -m {name}: there is no such module.")
        module = importlib.import_module(f"{name}.__main__" if found.submodule_search_locations else name)
        return module.main  # type: ignore[no-any-return]
    sys.path.insert(0, str(Path(name).parent))  # as Python does for a script
    scope = runpy.run_path(name)
    if "main" in scope:
        return scope["main"]  # type: ignore[no-any-return]

    def script(arguments: list[str]) -> None:
        with mock.patch.object(sys, "argv", [name, *arguments]):
            runpy.run_path(name, run_name="__main__")

    return script


def _arguments(words: Sequence[str]) -> list[str]:
    if words[:2] == ["accelerate", "launch"]:
        return _launched(words)[1]
    return list(words[3:] if words[1] == "-m" else words[2:])


def _launched(words: Sequence[str]) -> tuple[str, list[str]]:
    """Script and arguments of `accelerate launch`, as accelerate's own parser reads them."""
    from accelerate.commands.launch import launch_command_parser

    parsed = launch_command_parser().parse_args(list(words[2:]))
    return parsed.training_script, parsed.training_script_args


def _check_train(arguments: Sequence[str]) -> None:
    from modeling_cde.models.methods import METHODS
    from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
    from modeling_cde.training.recipe import parse_recipe
    from modeling_cde.training.training_args import CDETrainingArguments

    here = ["--use_cpu=true"] if "--fp16" not in " ".join(arguments) else []
    model, *_ = parse_recipe((ModelArguments, DataArguments, CDETrainingArguments), [*arguments, *here], BROUGHT)
    if model.method not in METHODS:
        raise ValueError(f"--method {model.method}: there is no such method.")


def _check_pip(words: Sequence[str]) -> None:
    """Extras and files that an installation names are there; nothing is installed."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    extras = re.findall(r"^(\w+) = \[", project.partition("\n[")[0], flags=re.MULTILINE)
    for word in words:
        named = re.fullmatch(r"\.\[(.+)\]", word)
        for extra in named[1].split(",") if named else ():
            if extra not in extras:
                raise ValueError(f"{shlex.join(words)}: there is no extra {extra!r}.")
        if word.endswith(".txt") and not (ROOT / word).is_file():
            raise ValueError(f"{shlex.join(words)}: there is no file {word}.")


class _Parsed(Exception):
    """The flags are right."""


_real_parse = argparse.ArgumentParser.parse_args


def _parse_and_stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
    _real_parse(self, *args, **kwargs)
    raise _Parsed


@contextlib.contextmanager
def _output() -> Iterator[io.StringIO]:
    """What is printed meanwhile; the reader's own standard output carries answers."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()) as complaints:
        try:
            yield printed
        except SystemExit as stopped:
            if stopped.code not in (None, 0):
                raise SystemExit(f"{stopped.code}: {complaints.getvalue()[-2000:]}") from stopped
