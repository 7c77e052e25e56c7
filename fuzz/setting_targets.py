"""Settings: recipes, configurations of models, and values of flags that are JSON."""

import contextlib
import dataclasses
import hashlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fuzz.case import Finding, Target, json_seeds, written

ROOT = Path(__file__).resolve().parents[1]
_YAML = (
    b"---\n|... |%YAML 1.1\n|!!python/object/apply:os.system ['x']|!!binary |&a [*a]|*a|<<: *a|? |: |- |{|}|[|]|#|'|\""
    b"|\t|\n|\r\n|\xef\xbb\xbf|\xff\xfe|null|.nan|.inf|1e-3|0x1f|0o17|1_000|12:30|~|yes|seed: |method: |--seed|=|,"
)


def recipe(data: bytes, folder: Path) -> object:
    """A recipe of train.py, read into the arguments of model and data."""
    return _parsed(["--config", str(written(data, folder / "recipe.yaml"))])


def configuration(data: bytes, folder: Path) -> object:
    """`config.json` of a model, then the same once more after saving it."""
    from modeling_cde import CDEConfig

    (folder / "config.json").write_bytes(data)
    config = CDEConfig.from_pretrained(str(folder))
    config.save_pretrained(folder / "again")
    again = CDEConfig.from_pretrained(str(folder / "again"))
    assert again.to_dict().keys() == config.to_dict().keys(), "a saved configuration has other fields"
    return config


def flag(data: bytes, folder: Path) -> object:
    """The value of a flag that holds JSON: `--backbone_config`."""
    text = data.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ValueError("no command line holds a zero byte.")
    return _parsed([f"--backbone_config={text}"])


def _parsed(arguments: list[str]) -> object:
    from modeling_cde.training.arguments import DataArguments, ModelArguments
    from modeling_cde.training.recipe import parse_recipe

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse_recipe((ModelArguments, DataArguments), arguments)
    except SystemExit as error:  # argparse has said why
        raise ValueError(said.getvalue().rstrip("\n")) from error


def state(data: bytes, folder: Path) -> object:
    """The optimizer's state in a checkpoint of a training."""
    from modeling_cde.training.checkpoints.state_file import read_state

    return read_state(written(data, folder / "optimizer.safetensors"))


def checkpoint(data: bytes, folder: Path) -> object:
    """The manifest of a checkpoint, by which complete ones are told from others."""
    from modeling_cde.training.checkpoints.checkpoint_folder import MANIFEST, newest_complete

    written(b"abc", folder / "checkpoint-3" / "model.safetensors")
    written(data, folder / "checkpoint-3" / MANIFEST)
    step, passed_over = newest_complete(folder)
    if any(len(sentence.splitlines()) != 1 for sentence in passed_over):
        raise Finding(f"no one sentence: {passed_over}")
    return step


def _recipes() -> Mapping[str, bytes]:
    from modeling_cde.training.arguments import DataArguments, ModelArguments

    fields = {field.name for kind in (ModelArguments, DataArguments) for field in dataclasses.fields(kind)}
    seeds = {}
    for path in sorted((ROOT / "configs").glob("*.yaml"))[:4]:
        lines = [line for line in path.read_text().splitlines() if line.partition(":")[0] in fields]
        seeds[path.stem] = "\n".join([*lines, ""]).encode()
    shared = b"a: &a {model_type: vit}\nb: &b [*a, *a, *a]\nmethod: cde\nbackbone_config: [*b, *b, *b, *b]\n"
    json_too = b'{"method": "cde", "image_size": 96, "backbone_config": {"model_type": "vit"}}'
    return seeds | {"references": shared, "json": json_too}


def _configurations() -> Mapping[str, bytes]:
    tiny = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
    common = {"model_type": "cde", "id2label": {"0": "open", "1": "close"}, "backbone_config": tiny, "delta_dim": 16}
    more = {"delta_mode": "patch", "top_k_patches": 3, "patch_loss": "aggregated", "projector_dropout": 0.1}
    mapped = {"auto_map": {"AutoModel": "evil--code.Model"}, "label2id": {"open": 0, "close": 1}, "dtype": "float32"}
    clip = {"model_type": "clip", "vision_config": {"hidden_size": 16, "num_attention_heads": 2, "projection_dim": 8}}
    with_clip = common | {"backbone_config": clip, "pooling": "cls"}
    return json_seeds(whole=common, patch=common | more | mapped, clip=with_clip)


def _flags() -> Mapping[str, bytes]:
    tiny = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return json_seeds(resnet=tiny) | {"repeated": b'{"model_type": "vit", "model_type": "vit"}'}


def _states() -> Mapping[str, bytes]:
    import torch

    from modeling_cde.training.checkpoints.state_file import write_state

    state = {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}}
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder, "x"), {"state": state, "param_groups": [{"betas": (0.9, 1)}]})
        return {"adam": Path(folder, "x").read_bytes()}


def _manifests() -> Mapping[str, bytes]:
    files = {"model.safetensors": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    return json_seeds(one={"files": files, "world_size": 1})


TARGETS = (
    Target("recipe", recipe, (ValueError, OSError), _recipes, tuple(_YAML.split(b"|")), 0.5),
    Target("configuration", configuration, (ValueError, OSError, TypeError), _configurations, (b"NaN", b"{", b'"')),
    Target("flag", flag, (ValueError, OSError), _flags, (b"{", b"NaN", b"1e999", b"[]"), 0.5),
    Target("state", state, (ValueError,), _states, (b"<tensor>", b"<tuple>", b"[" * 2000, b"F32", b"data_offsets")),
    Target("checkpoint", checkpoint, (), _manifests, (b"../", b"/etc/passwd")),
)
