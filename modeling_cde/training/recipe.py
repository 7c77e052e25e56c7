"""Recipes: YAML files whose keys are the fields of the argument dataclasses, with command-line flags on top.

A recipe becomes the command line that it stands for, and the real flags follow it. So one place checks a value from
either source, and the last one wins.
"""

import argparse
import dataclasses
import datetime
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ..cli.project import find, find_recipe
from ..cli.verbs import command
from ..models.limits_cde import MOST_YAML_BYTES
from .gone_arguments import gone
from .recipe_parser import RecipeParser

# What only whoever types the command decides: where a run is sent, and where outside of this folder it writes.
_SENT = re.compile(r"(hub|push_to_hub|trackio)(_\w+)?")
_WRITTEN = ("output_dir", "rooms_folder", "feature_store")
_REPORTERS = ("none", "tensorboard")  # which tell nobody else
# Text fields that also accept true.
_TEXT_OR_TRUE = ("resume_from_checkpoint", "include_num_input_tokens_seen")


class _Loader(yaml.SafeLoader):
    """Plain values only: no tags, no aliases (ten lines of them can expand to gigabytes), no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias such as *name", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:  # also a standard one has values that PyYAML fails on
            raise yaml.MarkedYAMLError(problem="a tag such as !!set", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a number of thousands of digits, a 99th of January
            raise yaml.MarkedYAMLError(problem="an impossible number or date", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="a key that is not plain text", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def parse_recipe(
    dataclass_types: Sequence[type],
    arguments: Sequence[str],
    brought: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> tuple[Any, ...]:
    """Read `--config FILE`, `--push ORG/NAME` and flags into dataclasses.

    A method, and any other choice in `brought`, can have defaults of its own. They override a recipe that chooses
    otherwise, but never the values that are given together with the choice: the other keys of the recipe that names it,
    or the flags next to `--method`.

    Args:
        dataclass_types: the argument dataclasses; their field names are the keys and the flags.
        arguments: the command line without the program's name, for example
            ["--config", "configs/quickstart.yaml", "--seed", "1"].
        brought: the defaults that choices have: flag, such as "method" -> its value -> other flag -> value.

    Returns:
        One instance of each dataclass, in their order.

    Raises:
        ValueError: if the file is missing or not a mapping, or for an unknown key or flag; the message says what
            took the place of one of Transformers 4, and else suggests the nearest known one. Or if the file, and not a
            flag, has the run published or written elsewhere.
        SystemExit: if a value has the wrong type, after printing a sentence that names it.
    """
    parser = RecipeParser(list(dataclass_types))
    known = {
        field.name: (field, hints[field.name])
        for kind, hints in ((kind, get_type_hints(kind)) for kind in dataclass_types)
        for field in dataclasses.fields(kind)
        if field.init
    }
    arguments = list(arguments)
    from_file: list[str] = []
    brought = brought or {}
    while "--config" in arguments:
        at = arguments.index("--config")
        if at + 1 >= len(arguments):
            raise ValueError("--config needs a file, for example --config configs/quickstart.yaml.")
        from_file += _with_brought(flags_of(find_recipe(arguments[at + 1]), known), brought)
        del arguments[at : at + 2]
    arguments = _with_brought(_pushed(arguments), brought)
    *parsed, unknown = parser.parse_args_into_dataclasses(from_file + arguments, return_remaining_strings=True)
    if unknown:
        flag = unknown[0].split("=")[0]
        if (instead := gone(flag)) is not None:
            raise ValueError(f"{flag}{instead}")
        raise ValueError(f"unknown argument {flag!r}{_nearest(flag.lstrip('-'), set(known), '--')}")
    return tuple(parsed)


def _pushed(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--push ORG/NAME` in the words of Transformers' Trainer."""
    flags: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--push":
            flags.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("-"):
            raise ValueError("--push needs the name of a repository, ORG/NAME.")
        flags += ["--push_to_hub=true", f"--hub_model_id={value}"]
    return flags


def flags_of(path: Path, known: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """The flags and values, ready for argparse, that a recipe stands for; mappings are written as JSON.

    `known` has the allowed keys, each with its dataclass field and the field's type. Errors: see `parse_recipe`.
    """
    flags: list[str] = []
    for key, value in read_plain_yaml(path).items():
        if key not in known:
            if (instead := gone(str(key))) is not None:
                raise ValueError(f"{path}: {key}{instead}")
            raise ValueError(f"{path}: unknown key {key!r}{_nearest(str(key), set(known))}")
        field, kind = known[key]
        check_stays_here(path, key, value)
        if value is None:
            if field.default not in (None, dataclasses.MISSING):
                raise ValueError(f"{path}: {key} has no value: give one, or remove the line to use {field.default!r}.")
        elif isinstance(value, list):
            if "list" not in str(kind):
                raise ValueError(f"{path}: {key} takes one value, not the list {value!r}.")
            flags += [f"--{key}", *(_word(path, key, item) for item in value)]
        elif isinstance(value, dict):
            if "dict" not in str(kind) and not str(field.metadata.get("help", "")).startswith("JSON"):
                raise ValueError(f"{path}: {key} takes one value, not the mapping {value!r}.")
            try:
                flags.append(f"--{key}={json.dumps(value)}")
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: {key} has a value that JSON cannot express ({error}).") from error
        elif isinstance(value, bool) and kind in (str, str | None) and key not in _TEXT_OR_TRUE:
            raise ValueError(
                f"{path}: {key} takes text, but YAML reads yes, no, on and off as true and false: quote it."
            )
        else:
            # One token, so that argparse takes a leading dash for a value and not for a flag.
            flags.append(f"--{key}={_word(path, key, value)}")
    return flags


def check_stays_here(path: Path | str, key: str, value: Any) -> None:
    """Raise ValueError if an entry of a recipe, which may be a stranger's, sends or writes a run elsewhere."""
    shown = f"--{key} {'...' if 'token' in key else ' '.join(map(str, value if isinstance(value, list) else [value]))}"
    reporters = value if isinstance(value, list) else [value]
    if key == "report_to" and not all(item is None or item in _REPORTERS for item in reporters):
        raise ValueError(
            f"{path}: report_to names a service, which a recipe may not choose: add {shown} to the command."
        )
    if _SENT.fullmatch(key) and value not in (None, False):
        raise ValueError(f"{path}: {key} publishes the run, which a recipe may not choose: add {shown} to the command.")
    if key in _WRITTEN and isinstance(value, str):
        here = Path.cwd()
        # By name, too: a link that the user has put here, from data/ to a larger disk say, is the user's own choice.
        by_name = ".." not in Path(value).parts and (here / value).is_relative_to(here)
        if value.startswith("~") or not (by_name or (here / value).resolve().is_relative_to(here)):
            raise ValueError(
                f"{path}: {key} is outside of the folder that the command runs in, where a recipe may not write: add "
                f"{shown} to the command."
            )


def read_plain_yaml(path: Path) -> dict[Any, Any]:
    """Read a recipe: a mapping of plain values, without aliases, each key once.

    Raises:
        ValueError: the file is missing, too large, in another encoding, or not such a mapping.
    """
    if not path.is_file():
        raise ValueError(f"--config {path}: there is no such file. The recipes are in {find('configs')}/.")
    if path.stat().st_size > MOST_YAML_BYTES:
        raise ValueError(
            f"--config {path}: the file is larger than {MOST_YAML_BYTES >> 10} KiB, the limit for a recipe."
        )
    try:
        recipe = _Loader(path.read_text(encoding="utf-8-sig")).get_single_data()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" at line {mark.line + 1}" if mark else ""
        what = f" ({problem})" if problem else ""
        raise ValueError(f"{path}{line}: not plain YAML{what}. A recipe has only `key: value` lines.") from error
    if not isinstance(recipe, dict):
        found = "nothing" if recipe is None else type(recipe).__name__
        raise ValueError(f"{path}: expected `key: value` lines, found {found}.")
    return recipe


def _word(path: Path, key: str, value: Any) -> str:
    """A single value as written on the command line."""
    if not isinstance(value, (str, int, float, datetime.date)):
        raise ValueError(f"{path}: {key} has the value {value!r}: give text, a number, true or false.")
    return str(value)


def _with_brought(flags: list[str], brought: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The flags, preceded by the defaults of the choices that they make."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=None, exit_on_error=False)
    for flag in brought:
        parser.add_argument(f"--{flag}", nargs="?")
    chosen = vars(parser.parse_known_args(flags)[0])
    defaults = [item for flag, kinds in brought.items() for item in kinds.get(chosen[flag], {}).items()]
    return [*(f"--{name}={value}" for name, value in defaults), *flags]


def _nearest(key: str, known: set[str], prefix: str = "") -> str:
    matches = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix + matches[0]!r}?" if matches else f"; see {command('train.py')} --help"
