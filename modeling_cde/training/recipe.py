"""Recipes: YAML files whose keys are the fields of the argument dataclasses, with command-line flags on top.

A recipe is turned into the command line that it stands for, and the real flags follow it, so a value is checked in one
place, whichever way it came, and the last one wins.
"""

import argparse
import dataclasses
import datetime
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from transformers import HfArgumentParser

LARGEST_RECIPE = 2**20  # bytes
# Fields of text that take true, too.
_TEXT_OR_TRUE = ("resume_from_checkpoint", "include_num_input_tokens_seen")


class _Parser(HfArgumentParser):  # type: ignore[misc]
    """A parser that says what is wrong in one sentence, without the list of all flags."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}.\n")
        raise AssertionError  # exit does not come back


class _Loader(yaml.SafeLoader):
    """Plain values only: no tags of Python's, no anchors (ten lines of them can make gigabytes), no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="*names of other values", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a number of thousands of digits, a 99th of January
            raise yaml.MarkedYAMLError(problem="no such number or date", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="keys that are no words", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def parse_recipe(
    dataclass_types: Sequence[type],
    arguments: Sequence[str],
    brought_by_method: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Any, ...]:
    """Read `--config FILE` and flags into dataclasses.

    A method may bring values of its own. They win over a recipe that names another method, and never over what is
    said together with the method: the other keys of the recipe that names it, or the flags beside `--method`.

    Args:
        dataclass_types: the argument dataclasses; their field names are the keys and the flags.
        arguments: the command line without the program's name, for example
            ["--config", "configs/quickstart.yaml", "--seed", "1"].
        brought_by_method: the value of `--method` -> flag -> value.

    Returns:
        One instance of each dataclass, in their order.

    Raises:
        ValueError: if the file is missing, is no mapping or has an unknown key (the nearest known one is named); also
            for an unknown flag.
        SystemExit: if a value has the wrong type; a sentence that says which is then printed.
    """
    parser = _Parser(list(dataclass_types), allow_abbrev=False)
    known = {
        field.name: (field, get_type_hints(kind)[field.name])
        for kind in dataclass_types
        for field in dataclasses.fields(kind)
        if field.init
    }
    arguments = list(arguments)
    from_file: list[str] = []
    brought = brought_by_method or {}
    while "--config" in arguments:
        at = arguments.index("--config")
        if at + 1 >= len(arguments):
            raise ValueError("--config needs a file: for example --config configs/quickstart.yaml.")
        from_file += _with_brought(flags_of(Path(arguments[at + 1]), known), brought)
        del arguments[at : at + 2]
    arguments = _with_brought(arguments, brought)
    *parsed, unknown = parser.parse_args_into_dataclasses(from_file + arguments, return_remaining_strings=True)
    if unknown:
        flag = unknown[0].split("=")[0]
        raise ValueError(f"unknown argument {flag!r}{_nearest(flag.lstrip('-'), set(known), '--')}")
    return tuple(parsed)


def flags_of(path: Path, known: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """The command-line flags that a recipe stands for.

    Args:
        path: a YAML file holding one mapping.
        known: the keys that it may have, each with its dataclass field and that field's type.

    Returns:
        Flags and values, ready for argparse; mappings are written as JSON.

    Raises:
        ValueError: see `parse_recipe`.
    """
    flags: list[str] = []
    for key, value in read_plain_yaml(path).items():
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}{_nearest(str(key), set(known))}")
        field, kind = known[key]
        if value is None:
            if field.default not in (None, dataclasses.MISSING):
                raise ValueError(f"{path}: {key} has no value; give one, or leave the line out for {field.default!r}.")
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
                raise ValueError(f"{path}: {key} holds a value that JSON does not have ({error}).") from error
        elif isinstance(value, bool) and kind in (str, str | None) and key not in _TEXT_OR_TRUE:
            raise ValueError(f"{path}: {key} takes text; in YAML yes, no, on and off are true and false: quote it.")
        else:
            # One token, so that a negative number or a leading dash is a value and not a flag.
            flags.append(f"--{key}={_word(path, key, value)}")
    return flags


def read_plain_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a recipe holds: plain values, no references, each key once.

    Raises:
        ValueError: there is no such file, it is too large, in another encoding, or holds anything else.
    """
    if not path.is_file():
        raise ValueError(f"--config {path}: there is no such file; the recipes are in configs/.")
    if path.stat().st_size > LARGEST_RECIPE:
        raise ValueError(f"--config {path}: a recipe has at most {LARGEST_RECIPE >> 20} MiB, this file has more.")
    try:
        recipe = _Loader(path.read_text(encoding="utf-8-sig")).get_single_data()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" at line {mark.line + 1}" if mark else ""
        what = f" ({problem})" if problem else ""
        raise ValueError(f"{path}{line}: not plain YAML{what}; a recipe holds `key: value` lines only.") from error
    if not isinstance(recipe, dict):
        found = "nothing" if recipe is None else type(recipe).__name__
        raise ValueError(f"{path}: expected `key: value` lines, found {found}.")
    return recipe


def _word(path: Path, key: str, value: Any) -> str:
    """A single value as it is written on the command line."""
    if not isinstance(value, (str, int, float, datetime.date)):
        raise ValueError(f"{path}: {key} holds {value!r}, which is no text, number, true or false.")
    return str(value)


def _with_brought(flags: list[str], brought: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The flags, after those that the method among them brings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=None, exit_on_error=False)
    parser.add_argument("--method", nargs="?")
    method = parser.parse_known_args(flags)[0].method
    return [*(f"--{name}={value}" for name, value in brought.get(method, {}).items()), *flags]


def _nearest(key: str, known: set[str], prefix: str = "") -> str:
    matches = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix + matches[0]!r}?" if matches else "; see python train.py --help"
