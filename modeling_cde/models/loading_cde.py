"""What is checked when a model or its backbone is loaded, and how the errors are worded."""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import extract_commit_hash, is_offline_mode

from .limits_cde import MOST_CONFIG_BYTES, check_file_size
from .vision_config_cde import check_attention, check_counts

FLOATS = ("F64", "F32", "F16", "BF16")
HUGE = 1e15


def read_backbone_config(
    kind: str, backbone: str | os.PathLike[str], revision: str | None
) -> tuple[PreTrainedConfig, str | None]:
    """Reads the configuration of a backbone; messages name the class `kind` that is built on it.

    Returns:
        The configuration, and the commit that the revision points to now (`revision` itself for a folder).

    Raises:
        ValueError: It is a CDE checkpoint, is quantized, or needs code of its own.
        OSError: The folder or repository does not exist.
    """
    try:
        options, revision = read_config_fields(backbone, revision)
    except OSError as error:
        raise explained(error, backbone, "") from error
    check_attention(str(backbone), options)
    check_counts(str(backbone), options)
    if options.get("quantization_config") is not None:
        raise ValueError(
            f"{backbone} has quantized weights, which {kind} is not trained on: choose the repository or folder with "
            "the weights from before the quantization."
        )
    model_type = str(options.get("model_type", ""))
    if model_type.startswith("cde"):
        raise ValueError(f"{backbone} is a CDE checkpoint: load it by {kind}.from_pretrained.")
    if options.get("auto_map") and model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"{backbone} needs code of its own, which {kind} never runs: choose a backbone that Transformers "
            f"includes ({model_type!r} is not one of them)."
        )
    return AutoConfig.from_pretrained(backbone, revision=revision, trust_remote_code=False), revision


def read_config_fields(path: str | os.PathLike[str], revision: str | None) -> tuple[dict[str, Any], str | None]:
    """Reads a model's config.json as it was saved, without making a configuration of it.

    Returns:
        The fields, and the commit that the revision points to now (`revision` itself for a folder).

    Raises:
        ValueError: The file is too large, or does not hold the fields of a model.
        OSError: The folder or repository does not exist, or has no such file.
    """
    file = cached_file(path, "config.json", revision=revision)
    if file is None:
        raise OSError(f"{path} has no config.json: give the folder or repository of a vision model.")
    check_file_size(file, MOST_CONFIG_BYTES)
    revision = extract_commit_hash(file, None) or revision
    options, _ = PreTrainedConfig.get_config_dict(path, revision=revision)
    if not isinstance(options, dict):
        raise ValueError(f"{path}: its config.json does not hold the fields of a model.")
    return options, revision


def check_index(file: str | os.PathLike[str], path: object) -> None:
    """Raises OSError if an index of weights, `file` in the checkpoint `path`, names others than the files beside it.

    Transformers would read those, wherever they are, and pickled ones, too.
    """
    check_file_size(file, MOST_CONFIG_BYTES)
    try:
        index = json.loads(Path(file).read_text(encoding="utf-8"))
        names, _ = sorted(index["weight_map"].values()), {**index["metadata"]}  # Transformers reads both
        elsewhere = [name for name in names if Path(name).name != name]
        names[0]  # Transformers takes at least one for granted
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise OSError(f"{path} has a damaged {Path(file).name}: download or save the weights again.") from error
    check_shards(names, path)
    if elsewhere:
        raise OSError(
            f"{path} names weights outside of its folder ({elsewhere[0][:200]!r}): put them into it, or save it again."
        )


def check_shards(files: Iterable[str | os.PathLike[str]], path: object) -> None:
    """Raises OSError if files of weights are of another format than safetensors, which Transformers would read."""
    pickled = [Path(file).name for file in files if not str(file).endswith(".safetensors")]
    if pickled:
        raise OSError(
            f"{path} has weights in {pickled[0][:200]!r}, and only safetensors are read: other formats can run code."
        )


def check_indices(folder: object, subfolder: str = "") -> None:
    """`check_index` for all indices in a folder; of a repository, the Hub's client asks for files of it alone."""
    if isinstance(folder, (str, os.PathLike)):
        for file in sorted(Path(folder, subfolder).glob("*.safetensors.index*.json")):
            check_index(file, folder)


def check_backbone_files(config: PreTrainedConfig, backbone: str | os.PathLike[str], revision: str | None) -> None:
    """Raises OSError if the files of a backbone, which Transformers loads by itself, are not its own safetensors."""
    if getattr(config, "transformers_weights", None) is not None:
        raise OSError(
            f"{backbone} names its file of weights in config.json: rename the file to model.safetensors and delete "
            "the field transformers_weights."
        )
    check_indices(backbone)
    index = _found(backbone, SAFE_WEIGHTS_INDEX_NAME, revision)
    if index is not None:
        check_index(index, backbone)


def check_backbone(encoder: Any, backbone: str | os.PathLike[str], revision: str | None) -> None:
    """Raises ValueError if weights of a loaded backbone are no floats in its files, not finite or huge."""
    check_finite(encoder, backbone)
    index = _found(backbone, SAFE_WEIGHTS_INDEX_NAME, revision)
    names = {SAFE_WEIGHTS_NAME}
    if index is not None:
        names |= set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    for file in filter(None, (_found(backbone, name, revision) for name in sorted(names))):
        with safe_open(file, framework="pt") as weights:
            kinds = {name: weights.get_slice(name).get_dtype() for name in weights.keys()}
        check_floats(encoder, backbone, kinds)


def _found(repository: str | os.PathLike[str], name: str, revision: str | None) -> str | None:
    """A file of a folder or repository, or None."""
    silent = dict.fromkeys(("gated_repo", "missing_entries", "connection_errors"), False)
    options = {f"_raise_exceptions_for_{what}": value for what, value in silent.items()}
    found: str | None = cached_file(repository, name, revision=revision, **options)
    return found


def explained(error: OSError, path: object, advice: str, **where: Any) -> OSError:
    """Returns the error to raise if a configuration or weights could not be loaded.

    Transformers reports a file as missing also if the Hub fails for a moment, so the Hub is asked again, with the
    `revision`, `token` and `cache_dir` of the call. `advice` is for weights that exist only in an unsafe format.
    """
    if str(error).startswith("Repo id must"):
        return OSError(f"There is no folder {path}, and a repository on the Hub would be named ORG/NAME.")
    if "Can't load the model" in str(error) and error.__cause__ is not None:
        return OSError(f"{path} was not loaded because the connection broke ({error.__cause__}): try again.")
    if not re.search(r"(no|a) file named \S*safetensors|cannot be loaded with `safetensors`", str(error)):
        return error  # no such repository, no connection, ...: the message is clear already
    if not os.path.isdir(str(path)) and not is_offline_mode():
        try:
            cached_file(str(path), "model.safetensors", **where)
            return OSError(f"{path} was not loaded because the Hub failed for a moment: try again.")
        except OSError as second:
            if "file named" not in str(second):
                return second
    return OSError(f"{path} has no model.safetensors, and pickled weights, which can run code, are not read: {advice}")


def check_loaded(model: Any, path: object, info: dict[str, Any]) -> None:
    """Raises ValueError if weights are missing, left over or not finite; Transformers warns at most.

    From the checkpoint of an encoder, a task model gets a new head that has to be trained. `info` is the loading
    information of Transformers: `missing_keys`, `unexpected_keys`, ...
    """
    whole = model.base_model is model or type(model).__name__ in (model.config.architectures or ())
    prefix = "" if whole else f"{model.base_model_prefix}."
    missing = sorted(name for name in info["missing_keys"] if name.startswith(prefix))
    # A pooler that another `pooling` does not read may be left over.
    over = sorted(n for n in info["unexpected_keys"] if re.search(r"\b(backbone|projector)\.(?!pooler\.)", n))
    for names, what in ((missing, "lacks the weight"), (over, "has no place in its configuration for the weight")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"{path} {what} {names[0]}{more}: config.json and model.safetensors belong to different models, or are "
                "damaged; take both from where the model was saved."
            )
    check_finite(model, path)


def check_shapes(model: Any, path: object, saved: dict[str, tuple[int, ...]]) -> None:
    """Raises ValueError for the first weight whose `saved` shape is not the one that the configuration asks for."""
    prefix = f"{model.base_model_prefix}."
    own = {name.removeprefix(prefix): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in saved.items():
        wanted = own.get(name.removeprefix(prefix), shape)
        if wanted != shape:
            raise ValueError(
                f"{path} has weights of other shapes than the configuration asks for ({name} is {shape}, not "
                f"{wanted}): leave out id2label and other fields, or add ignore_mismatched_sizes=True to "
                "train new weights for them."
            )


def check_floats(model: Any, path: object, saved: dict[str, str]) -> None:
    """Raises ValueError for the first weight that is a float in the model and none in the file.

    Of others, such as whole numbers, Transformers would silently make floats. `saved` has the type of each tensor in
    the file, as safetensors names it. Names are compared by their ends ("weight"), since those before them vary.
    """
    ends = {name.rpartition(".")[2] for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    for name, kind in saved.items():
        if kind not in FLOATS and name.rpartition(".")[2] in ends:
            raise ValueError(
                f"{path}: the weight {name} holds {kind} in place of floats ({', '.join(FLOATS)}): save the model "
                "again in one of these."
            )


def check_finite(model: Any, path: object) -> None:
    """Raises ValueError for the first parameter or running statistic that holds NaN or infinity, or for a huge weight.

    `HUGE` is far above any trained weight. Norms square their inputs: with much larger ones every score is NaN.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in [*parameters.items(), *model.named_buffers()]:
        if not tensor.is_floating_point() or tensor.device.type == "meta" or not tensor.numel():
            continue
        largest = float(tensor.detach().abs().max())  # NaN if there is one
        if not math.isfinite(largest):
            raise ValueError(
                f"{path}: the weight {name} holds NaN or infinity, which spreads to every output: use a checkpoint "
                "from before the training diverged."
            )
        if name in parameters and largest > HUGE:
            raise ValueError(
                f"{path}: the weight {name} holds {largest:.0e}, far more than any training gives, and every output "
                "would overflow: use another checkpoint."
            )


def unreadable(path: object, error: Exception) -> OSError:
    """Returns the error to raise if safetensors cannot be read."""
    said = str(error).strip().rstrip(".")
    return OSError(f"{path} has damaged or truncated weights ({said}): download or save them again.")


def check_options(config_class: Any, options: dict[str, Any]) -> None:
    """Raises TypeError for an option that the configuration lacks; Transformers would silently store it."""
    for name in options:
        if not hasattr(config_class, name) and name not in config_class.option_names():
            known = ", ".join(sorted(config_class.option_names()))
            raise TypeError(f"{config_class.__name__} has no field {name!r}; its own fields are {known}.")
