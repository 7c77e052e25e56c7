"""Recipes: YAML files whose keys are the fields of the argument dataclasses, with command-line flags on top.

A recipe is turned into the command line that it stands for, and the real flags follow it, so a value is checked in one
place, whichever way it came, and the last one wins.
"""

import argparse
import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser


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
        SystemExit: if a value has the wrong type; argparse has then printed which.
    """
    parser = HfArgumentParser(list(dataclass_types), allow_abbrev=False)
    known = {field.name for kind in dataclass_types for field in dataclasses.fields(kind) if field.init}
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
        raise ValueError(f"unknown argument {flag!r}{_nearest(flag.lstrip('-'), known, '--')}")
    return tuple(parsed)


def flags_of(path: Path, known: set[str]) -> list[str]:
    """The command-line flags that a recipe stands for.

    Args:
        path: a YAML file holding one mapping.
        known: the keys that it may have.

    Returns:
        Flags and values, ready for argparse; mappings are written as JSON.

    Raises:
        ValueError: see `parse_recipe`.
    """
    if not path.is_file():
        raise ValueError(f"--config {path}: there is no such file; the recipes are in configs/.")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ValueError(f"{path}{line}: not plain YAML; a recipe holds `key: value` lines only.") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path}: expected `key: value` lines, found {type(recipe).__name__}.")
    flags: list[str] = []
    for key, value in recipe.items():
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}{_nearest(str(key), known)}")
        if value is None:
            continue
        if isinstance(value, list):
            flags += [f"--{key}", *(str(item) for item in value)]
        else:
            # One token, so that a negative number or a leading dash is a value and not a flag.
            flags.append(f"--{key}={json.dumps(value) if isinstance(value, dict) else value}")
    return flags


def _with_brought(flags: list[str], brought: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The flags, after those that the method among them brings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=None, exit_on_error=False)
    parser.add_argument("--method", nargs="?")
    method = parser.parse_known_args(flags)[0].method
    return [*(f"--{name}={value}" for name, value in brought.get(method, {}).items()), *flags]


def _nearest(key: str, known: set[str], prefix: str = "") -> str:
    matches = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix + matches[0]!r}?" if matches else "; see python train.py --help"
