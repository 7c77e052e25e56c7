"""What all models with a CDE configuration share: making one on a backbone, loading, saving, freezing."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from .backbones_cde import BackboneReader
from .composition_cde import ComposesActions, reserve_means
from .configuration_cde import CDEConfig
from .loading_cde import (
    check_backbone,
    check_backbone_files,
    check_floats,
    check_indices,
    check_loaded,
    check_options,
    check_shapes,
    check_shards,
    explained,
    read_backbone_config,
    unreadable,
)
from .rejection_cde import reserve_directions
from .vision_config_cde import check_backbone_fields, vision_config

Model = TypeVar("Model", bound="CDEPreTrainedModel")


class CDEPreTrainedModel(ComposesActions, PreTrainedModel):  # type: ignore[misc]
    """What all models with a CDE configuration share: initialisation, freezing, saving."""

    config: CDEConfig
    base_model_prefix = "cde"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    extra_inputs: tuple[str, ...] = ()  # columns of a batch that forward takes beside pixel_values and labels
    loaded_from: Path | None = None  # the folder with the weights; for a Hub repository, of its commit in the cache
    # The loss is a mean over the batch that forward sees, so Trainer has to divide it by the accumulation steps.
    accepts_loss_kwargs = False

    def post_init(self) -> None:
        """Finishes the making of a model; see `transformers.PreTrainedModel.post_init`."""
        reserve_directions(self)
        reserve_means(self)
        super().post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialises the projector and the heads; a backbone is initialised by its own class.

        Linear layers get variance 1/fan_in (LeCun) instead of the usual std 0.02. With 0.02 each layer of a narrow
        encoder shrinks its input (a factor 0.28 at width 192), and a delta, already a small difference, would
        start another ten times smaller: the cross-entropy would see almost nothing for the first epochs.
        """
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
            if "directions" in module._buffers:  # of other actions, they could not be loaded
                init.zeros_(module.directions)
        else:
            super()._init_weights(module)

    @classmethod
    def from_backbone(
        cls: type[Model],
        backbone: str | os.PathLike[str] | PreTrainedConfig | dict[str, Any],
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        attn_implementation: str | None = None,
        **config_options: Any,
    ) -> Model:
        """Makes a new model on a vision backbone with its pretrained weights.

        A saved model contains the backbone's weights: `from_pretrained` never asks for them again.

        Args:
            backbone: Hub id or local folder of a vision model (a two-tower CLIP or SigLIP gives its vision tower), or
                a configuration, which gives random weights. Weights are read from safetensors only.
            revision: Branch, tag or commit of the Hub repository. All files are taken from the commit that it points
                to at the start, and `config.backbone_revision` keeps that commit.
            dtype: Of the new model, whatever the checkpoint's: training needs float32 weights.
            attn_implementation: `"sdpa"` (default if the backbone supports it), `"eager"` for attention maps, ...
            **config_options: Fields of the CDE configuration, for example `id2label`, `delta_mode`, `top_k_patches`.

        Raises:
            ValueError: The folder or repository is a CDE checkpoint or needs code of its own, or an option is out of
                range.
            TypeError: An option is not a field of the configuration.
            OSError: The folder or repository does not exist, or it has no safetensors.
        """
        check_options(cls.config_class, config_options)
        found: Any = backbone
        if isinstance(backbone, dict):
            check_backbone_fields(backbone)
        if isinstance(backbone, (str, os.PathLike)):
            found, revision = read_backbone_config(cls.__name__, backbone, revision)
        config = cls.config_class(backbone_config=vision_config(found), **config_options)
        if attn_implementation is not None:
            config._attn_implementation = attn_implementation
        config.dtype = config.backbone_config.dtype = dtype
        if not isinstance(backbone, (str, os.PathLike)):
            model: Model = cls._from_config(config)
            return model
        check_backbone_files(config.backbone_config, backbone, revision)
        try:
            encoder = AutoModel.from_pretrained(
                backbone,
                config=config.backbone_config,
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                **make_reader(config).build_options(),
            )
        except OSError as error:
            advice = "if you trust its source, convert it once by AutoModel.from_pretrained"
            advice += f'("{backbone}").save_pretrained("folder").'
            raise explained(error, backbone, advice, revision=revision) from error
        except SafetensorError as error:
            raise unreadable(backbone, error) from error
        check_backbone(encoder, backbone, revision)
        config.backbone_revision = None if os.path.isdir(backbone) else revision
        if os.path.isdir(backbone):
            encoder.config._name_or_path = Path(backbone).name  # a path on this machine means nothing elsewhere
        config.backbone_config = encoder.config
        return cls(config, backbone=encoder)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads a saved model, from safetensors only; see `transformers.PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: The folder or repository belongs to another model, for example a bare backbone, or has weights
                that do not fit the configuration, for example other labels, or that are no floats, NaN, infinite or
                huge.
            OSError: The folder or repository does not exist, or its safetensors are missing or damaged.
        """
        path = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        check_indices(path, kwargs.get("subfolder", ""))
        kwargs["use_safetensors"] = True
        info_wanted = kwargs.pop("output_loading_info", False)
        try:
            model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        except SafetensorError as error:
            raise unreadable(path, error) from error
        except OSError as error:
            advice = "save the model again by save_pretrained, or load another revision."
            where = {name: kwargs[name] for name in ("revision", "token", "cache_dir") if name in kwargs}
            raise explained(error, path, advice, **where) from error
        check_loaded(model, path, info)
        model.base_model.reader.freeze_unused(model.base_model.backbone)  # loading makes every parameter trainable
        return (model, info) if info_wanted else model

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, **kwargs: Any
    ) -> Any:
        """Loads safetensors only, and without renaming if the backbone's weights already have today's names.

        Transformers renames the older names of some families; its pattern for DINOv3 also breaks current names
        (`layer_scale`) unless they match exactly, which they do not when a `CDEModel` reads a task checkpoint.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        kinds: dict[str, str] = {}
        files = checkpoint_files or []
        check_shards(files, model.name_or_path)
        if files and model.loaded_from is None:  # else they are those of adapters, which come on top
            model.loaded_from = Path(files[0]).parent
        for file in files:
            with safe_open(file, framework="pt") as weights:
                slices = {name: weights.get_slice(name) for name in weights.keys()}
                shapes |= {name: tuple(one.get_shape()) for name, one in slices.items()}
                kinds |= {name: one.get_dtype() for name, one in slices.items()}
        if load_config.hf_quantizer is None:
            check_floats(model, model.name_or_path, kinds)
        if not load_config.ignore_mismatched_sizes:
            check_shapes(model, model.name_or_path, shapes)
        saved = {name.removeprefix("cde.") for name in {*(state_dict or ()), *shapes} if "backbone." in name}
        if saved and saved <= {name.removeprefix("cde.") for name in model.state_dict()}:
            load_config = replace(load_config, weight_mapping=[])
        return PreTrainedModel._load_pretrained_model(model, state_dict, checkpoint_files, load_config, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves weights, configuration and code; see `transformers.PreTrainedModel.save_pretrained`.

        The weights keep the names that the parameters have here. For some families Transformers would write older
        names, which loaders that do not rename (`load_state_dict`, Trainer's resume) silently skip.
        """
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **kwargs)
        if (config := Path(save_directory, "config.json")).is_file():
            for file in Path(save_directory).glob("*.safetensors"):  # which safetensors makes private
                file.chmod(config.stat().st_mode & 0o666)

    def freeze_backbone(self, num_blocks: int | None = None) -> None:
        """Freezes the backbone: no gradients, and evaluation mode (fixed batch norm, no dropout).

        Args:
            num_blocks: Freeze only this many first blocks and what comes before them; `None`: everything.

        Raises:
            ValueError: `num_blocks` is negative, or the backbone has fewer blocks.
        """
        self.base_model._freeze(num_blocks)


def make_reader(config: CDEConfig) -> BackboneReader:
    """Makes the reader of backbone features that a CDE configuration describes."""
    return BackboneReader(
        config.backbone_config,
        patches=config.reads_patches,
        pooling=config.pooling,
        num_prefix_tokens=config.num_prefix_tokens,
        layers=config.feature_layers,
    )
