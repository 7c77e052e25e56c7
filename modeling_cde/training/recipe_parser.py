"""The parser of train.py's flags: errors in one sentence, and a help that a reader can take in."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from transformers import HfArgumentParser

from ..cli.verbs import command, program

# Of Transformers' own flags, those that most runs are given.
_OFTEN = "output_dir num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps seed".split()
_OFTEN += "logging_steps eval_strategy save_strategy save_total_limit resume_from_checkpoint report_to".split()
_OFTEN += "disable_tqdm use_cpu hub_private_repo".split()


class RecipeParser(HfArgumentParser):  # type: ignore[misc]
    """The flags of argument dataclasses, those of `--config` and `--push`, which `parse_recipe` reads, and the help."""

    def __init__(self, dataclass_types: Sequence[type]) -> None:
        usage = f"{command('train.py')} --config RECIPE [--FLAG VALUE ...]"
        super().__init__(dataclass_types, prog=program("train.py"), usage=usage, allow_abbrev=False)
        self.description = "Train and test a model. A flag, shown with its default, overrides a key of the recipe."
        for flag, metavar, text in (
            ("--config", "RECIPE", "a YAML file, or the name of one that comes with the project, such as quickstart"),
            ("--push", "ORG/NAME", "publish the run as this repository: --push_to_hub true --hub_model_id ORG/NAME"),
        ):
            self.add_argument(flag, metavar=metavar, help=text, default=argparse.SUPPRESS)
        self.add_argument("--help-all", action=_HelpAll, help="show all flags of Transformers' Trainer, too")

    def error(self, message: str) -> NoReturn:
        """Ends with one sentence, without the list of all flags."""
        self.exit(2, f"{self.prog}: {message.rstrip('.')}.\n")
        raise AssertionError  # exit does not return

    def format_help(self, everything: bool = False) -> str:
        """The help; unless `everything` is asked for, of the flags that this project defines, and few others."""
        formatter = _Formatter(self.prog, max_help_position=36, width=110)
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        told = ["config", "push", "help", "help_all"]
        self._section(formatter, "start", told)
        for kind in self.dataclass_types:
            own = [name for name in vars(kind)["__annotations__"] if not name.startswith("_")]
            self._section(formatter, kind.__name__.removeprefix("CDE").removesuffix("Arguments").lower(), own)
            told += own
        known = {action.dest for action in self._actions}
        often = [name for name in _OFTEN if name in known and name not in told]
        self._section(formatter, "of Transformers' Trainer, often used", often)
        told += often
        if everything:
            rest = sorted(known - set(told))
            self._section(formatter, "of Transformers' Trainer, all others", rest)
        return formatter.format_help()

    def _section(self, formatter: argparse.HelpFormatter, title: str, names: Sequence[str]) -> None:
        formatter.start_section(title)
        for name in names:
            # A switch has a second flag, --no_NAME, which says nothing new.
            formatter.add_arguments([next(action for action in self._actions if action.dest == name)])
        formatter.end_section()


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=kwargs["help"])

    def __call__(self, parser: Any, *args: Any) -> None:
        print(parser.format_help(everything=True), end="")
        parser.exit()


class _Formatter(argparse.HelpFormatter):
    """One name for each flag, where Transformers adds one with dashes, and its default behind it."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        default = None if action.default is argparse.SUPPRESS else action.default
        shown = action.metavar or ("" if default is None else str(getattr(default, "value", default)))
        return f"{action.option_strings[-1 if action.nargs == 0 else 0]} {shown}".rstrip()
