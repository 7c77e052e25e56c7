"""The flags of a benchmark's runs, checked as train.py checks them, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO

from benchmarks.paper.plan import Run


def check_flags(plan: Sequence[Run]) -> None:
    """Check the flags of all runs; of those that differ in seed and folders only, one.

    Raises:
        ValueError: if a flag is unknown or has a wrong value; one sentence that names the run.
    """
    # Here, because what these import takes seconds that --help should not cost.
    from modeling_cde.models.methods import METHODS
    from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
    from modeling_cde.training.model_selection import check_last_is_kept
    from modeling_cde.training.recipe import parse_recipe
    from modeling_cde.training.training_args import CDETrainingArguments

    kinds = (ModelArguments, DataArguments, CDETrainingArguments)
    checked: set[tuple[str, ...]] = set()
    for run in plan:
        if run.flags["method"] not in METHODS:
            raise ValueError(f"{run.name} has method={run.flags['method']!r}; the methods are {', '.join(METHODS)}.")
        flags = {name: value for name, value in run.flags.items() if name not in ("seed", "output_dir", "data")}
        arguments = tuple(replace(run, flags=flags).arguments())
        if arguments in checked:
            continue
        checked.add(arguments)
        said = StringIO()
        try:
            with redirect_stderr(said):  # argparse prints its usage, which is train.py's and not this command's
                *_, training = parse_recipe(kinds, arguments, BROUGHT)
            check_last_is_kept(training)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{run.name} could not be trained: {' '.join(str(error).split())}") from error
        except SystemExit as error:
            reason = (said.getvalue().strip() or "a flag cannot be read").splitlines()[-1].rpartition("error: ")[2]
            raise ValueError(f"{run.name} could not be trained: {reason}.") from error
