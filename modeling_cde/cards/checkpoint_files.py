"""Which files of a folder make a checkpoint that can be loaded on its own, and which are its results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..whole_files import read_object

# Patterns of a run's files; `*` does not match "/".
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
#: Published files of a run, besides its checkpoint.
REPORT = (
    "README.md", "metrics.json", "geometry.json", "deltas.safetensors", "gallery.parquet", "report.html",
    "training_curve.*", "split_*.json", "pictures/*", "adapter/*.json", "adapter/*.safetensors", "onnx/*",
)  # fmt: skip
# Files of an earlier upload that must go: weights and results of another model.
_STALE = (*_WEIGHTS, *REPORT, "pytorch_model*.bin*", "training_args.bin")


def model_files(folder: Path) -> dict[str, Path | bytes]:
    """The files, by name, that make a checkpoint which can be loaded on its own; checks them.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} has no checkpoint (config.json): give the output folder of a run.")
    config, processor = read_object(folder / "config.json"), {}
    wanted = ["config.json", "preprocessor_config.json"]
    if (folder / "preprocessor_config.json").is_file():
        processor = read_object(folder / "preprocessor_config.json")
    pipelines = [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
    references = [*config.get("auto_map", {}).values(), *processor.get("auto_map", {}).values(), *pipelines]
    code = {f"{reference.rpartition('--')[2].split('.')[0]}.py" for reference in references}
    while missing := {name for name in code if name not in wanted}:
        wanted += sorted(missing)
        for name in missing:
            text = (folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else ""
            code |= {f"{module}.py" for module in re.findall(r"^\s*from \.(\w+) import", text, flags=re.MULTILINE)}
    if (folder / "model.safetensors.index.json").is_file():
        index = read_object(folder / "model.safetensors.index.json")
        wanted += ["model.safetensors.index.json", *sorted(set(index["weight_map"].values()))]
    else:
        wanted.append("model.safetensors")
    lacking = [name for name in wanted if not (folder / name).is_file()]
    lacking += [f"{entry} in config.json" for entry in ("auto_map", "custom_pipelines") if not config.get(entry)]
    if lacking:
        again = "from modeling_cde.models.load_model import load_action_model as load; "
        again += f"[part.save_pretrained({str(folder)!r}) for part in load({str(folder)!r})]"
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(lacking)}, which others need to load it. If it has the weights and settings, "
            f'this writes the rest: python -c "{again}"'
        )
    for name in wanted:
        if name.endswith(".safetensors"):
            _check_weights(folder / name)
    return {name: folder / name for name in wanted}


def of_an_earlier_upload(theirs: Iterable[str]) -> list[str]:
    """The weights and results among the files in a model repository."""
    return [
        name
        for name in theirs
        if any(fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in _STALE)
    ]


def provisional_card(config: Mapping[str, Any], repo_id: str, state: str) -> bytes:
    """The card of a checkpoint that is not evaluated yet: how to load it, and that it has no results.

    `config` is its `config.json`, and `state` a sentence that says how far training is.
    """
    from .metadata import base_metadata
    from .model_card import pipeline_snippet

    actions = ", ".join(config.get("id2label", {}).values())
    return f"""---
{base_metadata(tags=[config["model_type"]]).to_yaml()}
---

# {repo_id.split("/")[-1]}

{state} This checkpoint is not evaluated yet, so there are no results. The finished model's card will replace this one.

It takes a picture before and a picture after an action, and names the action: {actions}.

```python
{pipeline_snippet(repo_id)}
```
""".encode()


def _check_weights(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as weights:  # compares the header with the file's length
            weights.keys()
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): write the checkpoint again.") from error
