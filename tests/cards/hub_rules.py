"""What the Hub checks in the YAML header of a README.md, as far as it is documented or known, without a network.

It refuses: a licence that it does not know (or `other` without a name), model-index results without task type, data set
type and name, metric type and value, null or repeated entries in lists of names, ids of repositories that no repository
can have, and colours, names or kits of a Space that it does not have. It warns of tasks that it does not have.
"""

import math
import re
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from modeling_cde.data.building.card import LICENSES

TASKS = {"image-classification", "video-classification", "image-feature-extraction", "other"}
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
HARDWARE = {"cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "a10g-small", "a100-large", "zero-a10g"}
LIBRARIES = {"transformers", "peft", "timm"}
_LISTS = ("tags", "datasets", "metrics", "task_categories", "size_categories", "language")


def problems(header: dict[str, Any], kind: str = "model") -> list[str]:
    """What the Hub would refuse or warn of in a header; empty where it is fine.

    Args:
        header: the YAML as a dictionary.
        kind: "model", "dataset" or "space".
    """
    found = [f"{key} is null" for key, value in header.items() if value is None]
    if kind != "space" and header.get("license") not in LICENSES:
        found.append(f"license {header.get('license')!r} is not known")
    if header.get("license") == "other" and not header.get("license_name"):
        found.append("license other has no license_name")
    for key in _LISTS:
        names = header.get(key, [])
        if not isinstance(names, list) or any(not isinstance(name, str) or not name.strip() for name in names):
            found.append(f"{key} is no list of names: {names!r}")
        elif len(set(names)) < len(names):
            found.append(f"{key} has a name twice")
        found += [f"{key} has a name that no tag may have: {name!r}" for name in names if _bad_tag(key, name)]
    for key in ("base_model", "datasets"):
        ids = header.get(key, [])
        found += [
            f"{key}: {name!r} can be no repository" for name in ([ids] if isinstance(ids, str) else ids) if _no_id(name)
        ]
    if kind == "model":
        found += [f"{key} is missing" for key in ("pipeline_tag", "library_name", "tags") if not header.get(key)]
        if header.get("pipeline_tag") not in TASKS:
            found.append(f"pipeline_tag {header.get('pipeline_tag')!r} is no task of the Hub")
        if header.get("library_name") not in LIBRARIES:
            found.append(f"library_name {header.get('library_name')!r} is not known")
        found += [text for entry in header.get("model-index", []) for text in _index_problems(entry)]
    if kind == "dataset":
        found += _dataset_problems(header)
    if kind == "space":
        found += _space_problems(header)
    return found


def _bad_tag(key: str, name: Any) -> bool:
    return key == "tags" and isinstance(name, str) and (len(name) > 96 or not re.fullmatch(r"[\w .:+/-]+", name))


def _no_id(name: Any) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    return False


def _index_problems(entry: dict[str, Any]) -> list[str]:
    found = [] if isinstance(entry.get("name"), str) and entry["name"] else ["model-index has no name"]
    if not entry.get("results"):
        found.append("model-index has no results")
    for result in entry.get("results", []):
        wanted = [("task", "type"), ("dataset", "type"), ("dataset", "name")]
        found += [
            f"a result has no {part}.{key}"
            for part, key in wanted
            if not isinstance(result.get(part, {}).get(key), str) or not result[part][key]
        ]
        if result.get("task", {}).get("type") not in TASKS:
            found.append(f"a result has the task {result.get('task')}")
        found += ["a result has no metrics"] * (not result.get("metrics"))
        for metric in result.get("metrics", []):
            value = metric.get("value")
            if not metric.get("type") or not isinstance(value, (int, float)) or not math.isfinite(value):
                found.append(f"a metric is {metric}")
    return found


def _dataset_problems(header: dict[str, Any]) -> list[str]:
    found = [
        f"{key} is missing" for key in ("pretty_name", "task_categories", "size_categories") if not header.get(key)
    ]
    if not set(header.get("task_categories", [])) <= TASKS:
        found.append(f"task_categories {header['task_categories']} are no tasks of the Hub")
    for size in header.get("size_categories", []):
        if not re.fullmatch(r"n<1K|(1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M)", size):
            found.append(f"size_categories has {size}")
    infos = header.get("dataset_info", [])
    infos = [infos] if isinstance(infos, dict) else infos
    configs = header.get("configs", [])
    names = [config.get("config_name") for config in configs]
    if not configs or any(not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) for name in names):
        found.append(f"configs are named {names}")
    if sorted(info.get("config_name", "default") for info in infos) not in (sorted(names), ["default"] * len(names)):
        found.append("dataset_info and configs name different configurations")
    for info in infos:
        if not info.get("features") or not info.get("splits"):
            found.append("a dataset_info has no features or no splits")
        for split in info.get("splits", []):
            if not all(isinstance(split.get(key), int) for key in ("num_bytes", "num_examples")):
                found.append(f"a split is {split}")
    return found


def _space_problems(header: dict[str, Any]) -> list[str]:
    found = [f"{key} is missing" for key in ("title", "emoji", "sdk", "app_file") if not header.get(key)]
    found += [
        f"{key} {header.get(key)!r} is no colour" for key in ("colorFrom", "colorTo") if header.get(key) not in COLOURS
    ]
    if header.get("sdk") not in ("gradio", "docker", "static"):
        found.append(f"sdk {header.get('sdk')!r} is not known")
    if header.get("suggested_hardware", "cpu-basic") not in HARDWARE:
        found.append(f"suggested_hardware {header['suggested_hardware']!r} is not known")
    if not isinstance(header.get("pinned", False), bool) or len(header.get("short_description", "")) > 60:
        found.append("pinned is no truth value, or short_description has more than 60 letters")
    if "sdk_version" in header and not isinstance(header["sdk_version"], str):
        found.append("sdk_version is no text: quote it")
    return found
