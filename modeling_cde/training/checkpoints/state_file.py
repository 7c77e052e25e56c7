"""The state of an optimizer, a schedule or random generators in one safetensors file, without pickle.

Tensors are the file's tensors, named by their path, and everything else is JSON in the file's header. Both are restored
bit for bit.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_KEY = "state"
# An object with this single key stands for something that JSON cannot express.
_TENSOR, _TUPLE, _ITEMS = "<tensor>", "<tuple>", "<items>"


def write_state(path: str | Path, value: Any) -> None:
    """Write a state: tensors, NumPy arrays, numbers, text, booleans and None, in dicts, lists and tuples of any depth.

    Raises:
        TypeError: it contains something else; the message says where.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = json.dumps(_take_apart(value, "", tensors))
    written: set[int] = set()
    for name, tensor in tensors.items():  # safetensors cannot record that two share memory
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in written else tensor
        written.add(storage)
    save_file(tensors, path, metadata={_KEY: structure})


def read_state(path: str | Path) -> Any:
    """Read a file of `write_state`: arrays become tensors, and all tensors are on the CPU.

    Raises:
        ValueError: the file was not written by `write_state`, or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            structure = json.loads(file.metadata()[_KEY])
            return _put_together(structure, file)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no readable state of a training: resume from another checkpoint.") from error


def _take_apart(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, torch.Tensor):
        name = path if path not in tensors else f"{path} {len(tensors)}"  # a key may contain a dot
        tensors[name] = value.detach().to("cpu").contiguous()
        return {_TENSOR: name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        items = [_take_apart(item, f"{path}.{i}" if path else str(i), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if isinstance(value, dict):
        parts = {key: _take_apart(item, f"{path}.{key}" if path else str(key), tensors) for key, item in value.items()}
        if all(isinstance(key, str) for key in parts) and not parts.keys() & {_TENSOR, _TUPLE, _ITEMS}:
            return parts
        if all(key is None or isinstance(key, str | bool | int | float) for key in parts):
            return {_ITEMS: [[key, item] for key, item in parts.items()]}  # JSON's keys are strings
    raise TypeError(f"{path or 'the state'} is a {type(value).__name__}, which cannot be saved without pickle.")


def _put_together(part: Any, file: Any) -> Any:
    if isinstance(part, list):
        return [_put_together(item, file) for item in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {_TENSOR}:
        return file.get_tensor(part[_TENSOR])
    if part.keys() == {_TUPLE}:
        return tuple(_put_together(item, file) for item in part[_TUPLE])
    if part.keys() == {_ITEMS}:
        return {key: _put_together(item, file) for key, item in part[_ITEMS]}
    return {key: _put_together(item, file) for key, item in part.items()}
