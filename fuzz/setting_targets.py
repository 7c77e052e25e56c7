"""Settings: recipes, configurations of models, values of flags that are JSON, and the job that a worker is sent."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from fuzz.case import Target

ROOT = Path(__file__).resolve().parents[1]
_YAML = (
    b"---\n|... |%YAML 1.1\n|!!python/object/apply:os.system ['x']|!!binary |&a [*a]|*a|<<: *a|? |: |- |{|}|[|]|#|'|\""
    b"|\t|\n|\r\n|\xef\xbb\xbf|\xff\xfe|null|.nan|.inf|1e-3|0x1f|0o17|1_000|12:30|~|yes|seed: |method: |--seed|=|,"
)


def recipe(data: bytes, folder: Path) -> object:
    """A recipe of train.py, read into the arguments of model and data."""
    from modeling_cde.arguments import DataArguments, ModelArguments
    from modeling_cde.recipe import parse_recipe

    path = folder / "recipe.yaml"
    path.write_bytes(data)
    return parse_recipe((ModelArguments, DataArguments), ["--config", str(path)])


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
    from modeling_cde.arguments import DataArguments, ModelArguments
    from modeling_cde.recipe import parse_recipe

    text = data.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ValueError("no command line holds a zero byte.")
    model, _ = parse_recipe((ModelArguments, DataArguments), [f"--backbone_config={text}"])
    return model


def job(data: bytes, folder: Path) -> object:
    """What a worker is sent."""
    from data_scripts.packing import unpack_job

    return unpack_job(data)


def _recipes() -> Mapping[str, bytes]:
    from modeling_cde.arguments import DataArguments, ModelArguments

    fields = {field.name for kind in (ModelArguments, DataArguments) for field in dataclasses.fields(kind)}
    seeds = {}
    for path in sorted((ROOT / "configs").glob("*.yaml"))[:4]:
        lines = [line for line in path.read_text().splitlines() if line.partition(":")[0] in fields]
        seeds[path.stem] = "\n".join([*lines, ""]).encode()
    return {
        **seeds,
        "json": b'{"method": "cde", "image_size": 96, "lora_rank": 4, "backbone_config": {"model_type": "vit"}}',
    }


def _configurations() -> Mapping[str, bytes]:
    tiny = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
    common = {"model_type": "cde", "id2label": {"0": "open", "1": "close"}, "backbone_config": tiny, "delta_dim": 16}
    more = {"delta_mode": "patch", "top_k_patches": 3, "patch_loss": "aggregated", "projector_dropout": 0.1}
    mapped = {"auto_map": {"AutoModel": "evil--code.Model"}, "label2id": {"open": 0, "close": 1}, "dtype": "float32"}
    clip = {"model_type": "clip", "vision_config": {"hidden_size": 16, "num_attention_heads": 2, "projection_dim": 8}}
    return {
        "global": json.dumps(common).encode(),
        "patch": json.dumps(common | more | mapped).encode(),
        "clip": json.dumps(common | {"backbone_config": clip, "global_feature": "cls"}).encode(),
    }


def _flags() -> Mapping[str, bytes]:
    tiny = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return {"resnet": json.dumps(tiny).encode(), "repeated": b'{"model_type": "vit", "model_type": "vit"}'}


def _jobs() -> Mapping[str, bytes]:
    import pyarrow as pa

    from data_scripts.packing import pack_job
    from data_scripts.rooms.units import RoomsSource, Settings

    return {"rooms": pack_job(RoomsSource(Settings("multi", 3, 64, 0, 2)), pa.schema({"a": pa.int32()}))}


TARGETS = (
    Target("recipe", recipe, (ValueError, OSError, SystemExit), _recipes, tuple(_YAML.split(b"|")), 2.0),
    Target(
        "configuration", configuration, (ValueError, OSError, TypeError), _configurations, (b"NaN", b"{", b'"'), 1.0
    ),
    Target("flag", flag, (ValueError, OSError, SystemExit), _flags, (b"{", b"NaN", b"1e999", b"[]"), 1.0),
    Target("job", job, (ValueError,), _jobs, (b"object", b"function", b"os:system", b"data_scripts.workers:work")),
)
