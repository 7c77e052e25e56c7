"""`cde VERB ...`: every command of this project under one name.

A verb runs the script or module that `verbs.py` names for it, as `python train.py` or `python -m modeling_cde.analysis`
would in a clone. Nothing of it is imported before that, so that the list of verbs is there at once.
"""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from .project import project_root
from .verbs import ABOUT, VERBS


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see `cde --help`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    known: Mapping[str, str | Mapping[str, str]] = VERBS
    called = ["cde"]
    while words and words[0] in known:
        called.append(words.pop(0))
        runs = known[called[-1]]
        if isinstance(runs, str):
            run(runs.split(), " ".join(called), words)
            return
        known = runs
    if words and words[0] == "--version" and called == ["cde"]:
        from .. import __version__

        print(f"cde {__version__}")
    elif words and words[0] in ("-h", "--help"):
        print(overview(called, known))
    elif words:
        near = get_close_matches(words[0], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"see {' '.join(called)} --help."
        sys.exit(f"{' '.join(called)}: there is no {words[0]!r}; {hint}")
    else:
        print(overview(called, known), file=sys.stderr)
        sys.exit(2)


def overview(called: Sequence[str], known: Mapping[str, object]) -> str:
    """The usage line of `cde` or of a verb that has verbs of its own, and what each of them does."""
    name = " ".join(called)
    width = max(map(len, known)) + 2
    lines = [f"  {verb:<{width}}{ABOUT[' '.join([*called[1:], verb])]}" for verb in known]
    what = ABOUT.get(" ".join(called[1:]), "causal delta embeddings: what happened between two pictures")
    last = f"{name} VERB --help shows the flags of a verb."
    return "\n".join([f"usage: {name} VERB ...", "", f"{what[0].upper()}{what[1:]}.", "", *lines, "", last])


def run(target: Sequence[str], called: str, words: Sequence[str]) -> None:
    """Runs a script or module as the main program, with the project's own folder first on the path.

    Args:
        target: The script or module, and the words that precede the user's.
        called: Such as `cde train`; takes the place of the script's name, and says how this process was called.
        words: The user's.
    """
    root = str(project_root())
    sys.path.insert(0, root)
    # Processes that it starts, and those that these start, find the same modules.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    folder, _, file = target[0].rpartition("/")
    if file.endswith(".py"):  # run as a module, because runpy would put the path of a script in place of `called`
        sys.path.insert(0, os.path.join(root, folder))  # as Python does for a script
    sys.argv = [called, *target[1:], *words]
    runpy.run_module(file.removesuffix(".py"), run_name="__main__")


if __name__ == "__main__":
    main()
