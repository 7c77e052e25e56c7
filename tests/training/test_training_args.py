"""CDETrainingArguments: defaults, what is refused, precision, parameter groups."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from transformers import HfArgumentParser, SchedulerType, TrainingArguments

from modeling_cde.training import training_args
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.training_args import CDETrainingArguments, is_test_split
from tests.tiny_models import tiny_cde

LAUNCHER_FILES = sorted((Path(__file__).parents[2] / "configs" / "accelerate").glob("*.yaml"))


def make(tmp_path, **options):
    return CDETrainingArguments(str(tmp_path), use_cpu=True, **options)


def test_defaults(tmp_path):
    args = make(tmp_path)
    assert (args.contrastive_weight, args.sparsity_weight, args.temperature) == (2.0, 1.0, 0.1)
    assert (args.sparsity_warmup_ratio, args.sparsity_reduction) == (0.0, "sum")
    assert args.backbone_learning_rate == args.learning_rate / 10
    assert args.lr_scheduler_type == SchedulerType.COSINE
    assert args.remove_unused_columns is False and args.label_names == ["labels"]
    assert args.class_aware_sampling and args.min_samples_per_class == 2 and args.dataloader_drop_last
    assert args.report_to == []


def test_every_field_of_ours_has_help_and_a_flag(tmp_path):
    own = [f for f in dataclasses.fields(CDETrainingArguments) if f.name in CDETrainingArguments.__annotations__]
    assert all(f.metadata["help"] for f in own)
    parser = HfArgumentParser([CDETrainingArguments])
    assert "--contrastive_weight" in parser.format_help()
    flags = (
        "--use_cpu --no_class_aware_sampling --sparsity_reduction mean --backbone_learning_rate 0.5 --label_names a b"
    )
    (args,) = parser.parse_args_into_dataclasses(["--output_dir", str(tmp_path), *flags.split()])
    assert not args.class_aware_sampling and args.sparsity_reduction == "mean"
    assert args.backbone_learning_rate == 0.5 and args.label_names == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrastive_weight": -1.0}, "contrastive_weight"),
        ({"sparsity_weight": float("nan")}, "sparsity_weight"),
        ({"temperature": 0.0}, "temperature"),
        ({"backbone_learning_rate": -1e-3}, "backbone_learning_rate"),
        ({"sparsity_warmup_ratio": 1.5}, "sparsity_warmup_ratio"),
        ({"sparsity_reduction": "max"}, "sparsity_reduction must be one of sum, mean"),
        ({"precision": "half"}, "precision must be one of auto"),
        ({"min_samples_per_class": 0}, "min_samples_per_class"),
        ({"min_samples_per_class": 9}, "min_samples_per_class=9 does not fit in per_device_train_batch_size=8"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor"),
        ({"metric_for_best_model": "test_accuracy"}, "test split"),
        ({"metric_for_best_model": "eval_test_ood_loss"}, "test split"),
        ({"precision": "fp16"}, "precision='fp16' needs a GPU"),
        ({"precision": "float32", "bf16": True}, "contradicts bf16=True"),
    ],
)
def test_what_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)


@pytest.mark.parametrize("name", training_args._RANGES)
def test_numbers_out_of_range_are_named(tmp_path, name):
    least, _ = training_args._RANGES[name]
    for value in (least - 1, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be a (finite )?number of at least {least}.*got {value}"):
            make(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("name", "is_test"),
    [
        ("test", True),
        ("test_ood", True),
        ("eval_test_comp_accuracy", True),
        ("ood-test", True),
        ("test[:50%]", True),
        ("validation", False),
        ("validation_ood", False),
        ("latest_accuracy", False),
        ("contest", False),
        ("loss", False),
    ],
)
def test_names_of_test_splits(name, is_test):
    assert is_test_split(name) is is_test


@pytest.mark.parametrize(
    ("metric", "data", "refused"),
    [
        ("loss", None, False),
        ("loss", SimpleNamespace(split="validation"), False),
        ("loss", SimpleNamespace(split="test"), True),
        ("validation_loss", {"validation": object(), "test_ood": object()}, False),
        ("eval_validation_ood_loss", {"validation": object(), "validation_ood": SimpleNamespace(split="test")}, True),
        ("validation_ood_loss", {"validation": SimpleNamespace(split="test"), "validation_ood": object()}, False),
        (None, {"test": object()}, False),
    ],
)
def test_selection_only_on_validation_splits(tmp_path, metric, data, refused):
    args = make(tmp_path, metric_for_best_model=metric)
    if refused:
        with pytest.raises(ValueError, match="test split"):
            args.refuse_selection_on_test(data)
    else:
        args.refuse_selection_on_test(data)


@pytest.mark.parametrize("native", [True, False])
def test_precision(tmp_path, monkeypatch, native):
    monkeypatch.setattr(training_args, "native_bf16", lambda use_cpu: native)
    assert make(tmp_path).bf16 is native
    assert make(tmp_path).mixed_precision == ("bf16" if native else "no")
    assert make(tmp_path, precision="bf16").mixed_precision == "bf16"
    assert make(tmp_path, bf16=True).mixed_precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert make(tmp_path).bf16 and make(tmp_path).mixed_precision == "bf16"
    assert make(tmp_path, precision="float32").mixed_precision == "no"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="precision='fp16' needs a GPU"):
        make(tmp_path)


def test_arguments_survive_being_written_and_read(tmp_path):
    args = make(tmp_path, precision="bf16", learning_rate=0.5)
    fields = {f.name for f in dataclasses.fields(CDETrainingArguments) if f.init}
    again = CDETrainingArguments(**{key: value for key, value in args.to_dict().items() if key in fields})
    assert again.bf16 and again.backbone_learning_rate == 0.05


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is another device than the CPU")
def test_bf16_without_a_gpu_means_the_cpu(tmp_path):
    assert CDETrainingArguments(str(tmp_path), precision="bf16").use_cpu


def test_native_bf16_is_what_the_cpu_says(monkeypatch):
    monkeypatch.delenv("CDE_NATIVE_BF16")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert training_args.native_bf16(use_cpu=True) is True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training_args.native_bf16() is True
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # accelerate launch --cpu on a machine with a GPU
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert training_args.native_bf16(use_cpu=True) is training_args.native_bf16() is False
    monkeypatch.setenv("CDE_NATIVE_BF16", "1")
    assert training_args.native_bf16() is True


@pytest.mark.parametrize(
    "family", ["vit", "vit_mae", "clip_vision_model", "dinov2_with_registers", "siglip", "beit", "resnet"]
)
def test_parameter_groups(tmp_path, family):
    model = tiny_cde(family)
    args = make(tmp_path, learning_rate=1.0, backbone_learning_rate=0.25, weight_decay=0.5)
    groups = args.parameter_groups(model)
    of = {id(p): group for group in groups for p in group["params"]}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(of) == len(trainable)
    for name, parameter in trainable.items():
        group = of[id(parameter)]
        assert group["lr"] == (0.25 if ".backbone." in name else 1.0), name
        bare = any(word in name for word in ("token", "position", "bias", "norm", "lambda", "layer_scale", "probe"))
        assert (group["weight_decay"] == 0.0) is (bare or parameter.ndim == 1), name


def test_frozen_parameters_and_empty_groups_are_left_out(tmp_path):
    model = tiny_cde("vit")
    model.freeze_backbone()
    groups = make(tmp_path).parameter_groups(model)
    assert {group["name"] for group in groups} == {"head", "head, no decay"}


def test_plain_training_arguments_are_the_base():
    assert issubclass(CDETrainingArguments, TrainingArguments)


@pytest.mark.parametrize(
    ("start", "free", "gpu", "cores", "local", "expected"),
    [
        ("fork", 2**33, False, 16, "1", 1),  # it shares the cores that train
        ("fork", 2**33, True, 16, "1", 8),
        ("fork", 2**33, True, 16, "4", 3),
        ("fork", 2**33, True, 1, "1", 1),
        ("spawn", 2**33, True, 16, "1", 0),  # would import the main script again
        ("fork", 64 * 2**20, False, 16, "1", 0),  # a container's shared memory, if nobody asks for more
    ],
)
def test_loader_processes_where_they_can_be_started(start, free, gpu, cores, local, expected, monkeypatch):
    monkeypatch.setattr(training_args.multiprocessing, "get_all_start_methods", lambda: [start, "other"])
    monkeypatch.setattr(training_args.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(training_args.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(training_args.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    assert training_args.loader_processes() == expected


def test_a_stated_number_of_loader_processes_stays(tmp_path):
    assert make(tmp_path, dataloader_num_workers=0).dataloader_num_workers == 0
    assert make(tmp_path, dataloader_num_workers=3).dataloader_num_workers == 3
    assert isinstance(make(tmp_path).dataloader_num_workers, int)


@pytest.mark.parametrize("options", [{}, {"deepspeed": "ds.json"}])
def test_deepspeed_is_refused(monkeypatch, tmp_path, options):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false" if options else "true")
    with pytest.raises(ValueError, match="DeepSpeed is not supported: use FSDP2"):
        make(tmp_path, **options)


@pytest.mark.parametrize("path", LAUNCHER_FILES, ids=lambda path: path.stem)
def test_files_for_the_launcher(path):
    """Accelerate reads each, and the command in its head names it, a recipe that exists and flags that train.py has."""
    settings = load_config_from_file(str(path))
    assert (settings.num_processes, settings.mixed_precision) == (2, "no")
    head = " ".join(line.lstrip("# ").rstrip("\\ ") for line in path.read_text().splitlines() if line.startswith("#"))
    command = head[head.index("accelerate launch") :].split()
    assert command[:5] == ["accelerate", "launch", "--config_file", f"configs/accelerate/{path.name}", "train.py"]
    flags = dict(zip(command[5::2], command[6::2], strict=True))
    assert (path.parents[2] / flags["--config"]).is_file()
    known = {f.name for kind in (ModelArguments, DataArguments, CDETrainingArguments) for f in dataclasses.fields(kind)}
    assert {flag.removeprefix("--") for flag in flags} <= known | {"config"}
