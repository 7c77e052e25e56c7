"""Causal Delta Embeddings: the change of a scene as the difference of two states.

    pixel_values (B, T, C, H, W)
      -> backbone, one call on B*T images  -> features (B*T, D_b) or (B*T, N, D_b)
      -> projector                         -> states z (B, T, D), per patch (B, T, N, D)
      -> subtract neighbours               -> delta (B, T-1, D); patch mode: mean of the k deltas of largest norm
      -> one linear layer                  -> logits

Notable:
- T frames cost T encodings and give T-1 deltas; a pair is T = 2.
- The projector, the subtraction and the classifier run in the dtype of the weights, also under autocast: a delta is a
  small difference of large states, and bfloat16 would round much of it away. The cross-entropy is float32.
- Of the projector of patches this holds for the last layer alone: there are hundreds an image, and where bfloat16 is
  many times as fast their hidden layers in float32 would take a good part of a step. The backbone has rounded more.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .backbones_cde import BackboneReader
from .checks_cde import check_clips, check_features, check_labels
from .configuration_cde import CDEConfig, check_backbone_fields, vision_config
from .loading_cde import (
    check_backbone_shards,
    check_finite,
    check_loaded,
    check_options,
    check_shapes,
    check_shards,
    copy_code,
    explained,
    read_backbone_config,
    unreadable,
)

__all__ = [
    "CDEActionClassifierOutput",
    "CDEForActionClassification",
    "CDEModel",
    "CDEModelOutput",
    "CDEPreTrainedModel",
    "CDEProjector",
    "action_loss",
    "copy_code",
    "full_precision",
    "largest_deltas",
    "make_reader",
]


@dataclass
class CDEModelOutput(ModelOutput):  # type: ignore[misc]
    """States and deltas of a batch of clips.

    Attributes:
        delta: What happened from each frame to the next, (B, T-1, D). Patch mode: mean of `patch_delta` over k.
        states: The projected frames, (B, T, D). Patch mode: mean over all patches.
        patch_delta: Patch mode: the k patch deltas of largest norm, in falling order, (B, T-1, k, D).
        patch_indices: Patch mode: their places in the row-major patch grid, (B, T-1, k), int64.
        hidden_states: On request: the backbone's hidden states, each of B*T images.
        attentions: On request: the backbone's attention maps, each (B*T, heads, tokens, tokens).
    """

    delta: torch.Tensor | None = None
    states: torch.Tensor | None = None
    patch_delta: torch.Tensor | None = None
    patch_indices: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class CDEActionClassifierOutput(ModelOutput):  # type: ignore[misc]
    """Actions, states and deltas of a batch of clips.

    Attributes:
        loss: Cross-entropy, a float32 scalar; only with `labels`.
        logits: Action scores, (B, A) for pairs (T = 2), else (B, T-1, A).
        delta: See `CDEModelOutput`, (B, T-1, D).
        states: See `CDEModelOutput`, (B, T, D).
        patch_delta: Patch mode: (B, T-1, k, D).
        patch_indices: Patch mode: (B, T-1, k).
        patch_logits: Patch mode: the action scores of every kept patch, (B, T-1, k, A).
        hidden_states: On request: the backbone's hidden states, each of B*T images.
        attentions: On request: the backbone's attention maps, each (B*T, heads, tokens, tokens).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    delta: torch.Tensor | None = None
    states: torch.Tensor | None = None
    patch_delta: torch.Tensor | None = None
    patch_indices: torch.Tensor | None = None
    patch_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class CDEProjector(nn.Sequential):
    """The causal projector: [LayerNorm] then linear layers with GELU between them, (..., D_b) -> (..., D).

    Args:
        config: The CDE configuration.
        feature_dim: Dimensions D_b of the features.
    """

    def __init__(self, config: CDEConfig, feature_dim: int) -> None:
        hidden = config.projector_hidden_dim or feature_dim
        layers: list[nn.Module] = [nn.LayerNorm(feature_dim)] if config.projector_input_norm else []
        width = feature_dim
        for _ in range(config.projector_num_layers - 1):
            layers += [nn.Linear(width, hidden), nn.GELU()]
            if config.projector_dropout > 0:
                layers.append(nn.Dropout(config.projector_dropout))
            width = hidden
        # No bias: it would cancel in every delta, and the optimizer would only drift it along rounding noise.
        layers.append(nn.Linear(width, config.delta_dim, bias=False))
        super().__init__(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """States of features; under autocast all but the last layer runs in its precision."""
        *hidden, last = self
        for layer in hidden:
            features = layer(features)
        return full_precision(last, features)


Model = TypeVar("Model", bound="CDEPreTrainedModel")


class CDEPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What all models with a CDE configuration share: initialisation, freezing, saving."""

    config: CDEConfig
    config_class = CDEConfig
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
    loaded_from: Path | None = None  # the folder with the weights; of a Hub repository the one commit in the cache
    # The loss is a mean over the batch that forward sees: Trainer has to divide it by the accumulation steps.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialises the projector and the heads; a backbone is initialised by its own class.

        Linear layers get variance 1/fan_in (LeCun) in place of the usual std 0.02. With 0.02 each layer of a narrow
        encoder shrinks its input (a factor 0.28 at width 192), and a delta, already a small difference, would
        start another ten times smaller: the cross-entropy would see almost nothing for the first epochs.
        """
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
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
        """Makes a new model on a vision backbone, whose pretrained weights are taken once.

        A saved model holds the backbone's weights: `from_pretrained` never asks for them again.

        Args:
            backbone: Hub id or local folder of a vision model (a two-tower CLIP or SigLIP gives its vision tower), or
                a configuration, which gives random weights. Weights are read from safetensors only.
            revision: Branch, tag or commit of the Hub repository. All files are taken from the commit that it is at
                the start, and `config.backbone_revision` keeps it.
            dtype: Of the new model, whatever the checkpoint's: training wants float32 weights.
            attn_implementation: `"sdpa"` (default where the backbone has it), `"eager"` for attention maps, ...
            **config_options: Fields of the CDE configuration, for example `id2label`, `delta_mode`, `top_k_patches`.

        Raises:
            ValueError: The folder or repository is a CDE checkpoint or needs code of its own, or an option is out of
                range.
            TypeError: An option is no field of the configuration.
            OSError: There is no such folder or repository, or it has no safetensors.
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
        check_backbone_shards(backbone, revision)
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
            advice = "if you trust where it is from, convert it once by AutoModel.from_pretrained"
            advice += f'("{backbone}").save_pretrained("folder").'
            raise explained(error, backbone, advice, revision=revision) from error
        except SafetensorError as error:
            raise unreadable(backbone, error) from error
        check_finite(encoder, backbone)
        config.backbone_revision = None if os.path.isdir(backbone) else revision
        if os.path.isdir(backbone):
            encoder.config._name_or_path = Path(backbone).name  # a path on this machine means nothing elsewhere
        config.backbone_config = encoder.config
        return cls(config, backbone=encoder)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads a saved model, from safetensors only; see `transformers.PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: The folder or repository is that of another model, for example a bare backbone, or has weights
                that do not fit the configuration, for example to other labels, or that are NaN or infinite.
            OSError: There is no such folder or repository, or it has no safetensors, or damaged ones.
        """
        path = args[0] if args else kwargs.get("pretrained_model_name_or_path")
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
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise ValueError(
                f"{path} has weights of other shapes than the configuration asks for (they are listed above): leave "
                "out id2label and other fields, or add ignore_mismatched_sizes=True to train new weights for them."
            ) from error
        check_loaded(model, path, info)
        model.base_model.reader.freeze_unused(model.base_model.backbone)  # loading makes every parameter trainable
        return (model, info) if info_wanted else model

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, **kwargs: Any
    ) -> Any:
        """Loads safetensors only, and without renaming where the backbone's weights already have the names of today.

        Transformers renames the older names of some families; its pattern for DINOv3 also breaks current names
        (`layer_scale`) unless they match exactly, which they do not where a `CDEModel` reads a task checkpoint.
        """
        names = set(state_dict or ())
        shapes: dict[str, tuple[int, ...]] = {}
        files = checkpoint_files or []
        check_shards(files, model.name_or_path)
        if files and model.loaded_from is None:  # else they are those of adapters, which come on top
            model.loaded_from = Path(files[0]).parent
        for file in files:
            with safe_open(file, framework="pt") as weights:
                names.update(weights.keys())
                shapes |= {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}
        if not load_config.ignore_mismatched_sizes:
            check_shapes(model, model.name_or_path, shapes)
        saved = {name.removeprefix("cde.") for name in names if "backbone." in name}
        if saved and saved <= {name.removeprefix("cde.") for name in model.state_dict()}:
            load_config = replace(load_config, weight_mapping=[])
        return PreTrainedModel._load_pretrained_model(model, state_dict, checkpoint_files, load_config, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves weights, configuration and code; see `transformers.PreTrainedModel.save_pretrained`.

        The weights keep the names that the parameters have here: the older names that Transformers would write for
        some families are lost silently by loaders that do not rename (`load_state_dict`, Trainer's resume).
        """
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, **kwargs)

    def freeze_backbone(self, num_blocks: int | None = None) -> None:
        """Takes the backbone out of training: no gradients, and evaluation mode (fixed batch norm, no dropout).

        Args:
            num_blocks: Freeze only what comes before the blocks, and the first blocks; `None`: everything.

        Raises:
            ValueError: `num_blocks` is negative, or the backbone has fewer.
        """
        self.base_model._freeze(num_blocks)


class CDEModel(CDEPreTrainedModel):
    """Backbone, projector and subtraction: clips in, states and deltas out.

    Args:
        config: The CDE configuration.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.

    Example:
        >>> model = CDEModel.from_backbone("facebook/dino-vits16")
        >>> model(torch.rand(8, 2, 3, 224, 224)).delta.shape
        torch.Size([8, 1, 256])
    """

    _auto_class = "AutoModel"
    _keys_to_ignore_on_load_unexpected = (r"^classifier\.", r"^head\.")  # of a model for a task

    def __init__(self, config: CDEConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        config.check()  # fields may have been changed after they were first checked
        self.reader = make_reader(config)
        if config.projector_input_norm is None:
            config.projector_input_norm = self.reader.needs_input_norm
        self.backbone = self.reader.build() if backbone is None else backbone
        self.projector = CDEProjector(config, self.reader.feature_dim)
        self.supports_gradient_checkpointing = self.backbone.supports_gradient_checkpointing
        self._frozen: list[nn.Module] = []
        self.post_init()
        self.reader.freeze_unused(self.backbone)

    def get_input_embeddings(self) -> nn.Module | None:
        """The backbone's patch embedding, which Transformers, PEFT and Accelerate ask for; None if it has none."""
        try:
            return self.backbone.get_input_embeddings()  # type: ignore[no-any-return]
        except NotImplementedError:
            return None

    def train(self, mode: bool = True) -> "CDEModel":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether the whole backbone is out of training, so that equal pictures always give equal features."""
        trained = any(parameter.requires_grad for parameter in self.backbone.parameters())
        return not trained and any(module is self.backbone for module in self._frozen)

    def _freeze(self, num_blocks: int | None) -> None:
        if num_blocks is None:
            frozen: list[nn.Module] = [self.backbone]
        else:
            name, blocks = next(
                ((name, m) for name, m in self.backbone.named_modules() if isinstance(m, nn.ModuleList)),
                ("", nn.ModuleList()),
            )
            if not 0 <= num_blocks <= len(blocks):
                raise ValueError(f"num_blocks={num_blocks} must be in [0, {len(blocks)}], the backbone's blocks.")
            frozen = list(blocks[:num_blocks])
            first = name.split(".")[0]
            for child_name, child in self.backbone.named_children():  # in the order of their registration
                if child_name == first:
                    break
                frozen.append(child)
        for module in frozen:
            module.requires_grad_(False)
        self._frozen += frozen
        self.train(self.training)

    def encode(
        self,
        pixel_values: torch.Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> tuple[torch.Tensor, Any]:
        """Reads the backbone's features of all frames in one call.

        Args:
            pixel_values: Clips of T >= 2 frames, (B, T, C, H, W).
            output_hidden_states: Ask the backbone for its hidden states too.
            output_attentions: Ask the backbone for its attention maps too.

        Returns:
            Features (B*T, D_b), or (B*T, N, D_b) where the configuration reads patches, and the backbone's output.

        Raises:
            ValueError: See `forward`.
        """
        check_clips(pixel_values, getattr(self.config.backbone_config, "num_channels", 3))
        options: dict[str, Any] = {}
        if output_hidden_states:
            options["output_hidden_states"] = True
        if output_attentions:
            if self.backbone.config._attn_implementation != "eager":
                raise ValueError(
                    'output_attentions=True needs the eager attention: load with attn_implementation="eager".'
                )
            options["output_attentions"] = True
        return self.reader(self.backbone, pixel_values.flatten(0, 1), **options)

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        *,
        features: torch.Tensor | None = None,
    ) -> CDEModelOutput | tuple[Any, ...]:
        """Encodes clips.

        Args:
            pixel_values: Clips of T >= 2 frames, (B, T, C, H, W); a pair is [before, after].
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too; needs `attn_implementation="eager"`.
            return_dict: `False`: a tuple in place of `CDEModelOutput`.
            features: In place of `pixel_values`, what `encode` made of them before: (B, T, D_b), or (B, T, N, D_b)
                where the configuration reads patches. The backbone is not run, then, and in patch mode `states` have
                no gradient.

        Raises:
            ValueError: The shape is not that of clips, the image size does not fit the backbone, `top_k_patches` is
                larger than the number of patches, or attention maps are asked of another implementation than eager;
                or both pictures and features are given, or neither, or features of another shape.
        """
        outputs: Any = None
        if features is None:
            given: Any = pixel_values  # None is answered by `encode` in one sentence
            features, outputs = self.encode(given, output_hidden_states, output_attentions)
            batch, frames = given.shape[:2]
        else:
            if pixel_values is not None or output_hidden_states or output_attentions:
                raise ValueError(
                    "features stand in place of pixel_values, and the backbone is not run: leave out pixel_values, "
                    "output_hidden_states and output_attentions."
                )
            check_features(features, self.reader.feature_dim, self.reader.feature == "patches")
            batch, frames = features.shape[:2]
            features = features.flatten(0, 1)  # (B*T, D_b) or (B*T, N, D_b)
        # Where the backbone is not trained, a patch that is not kept has no gradient to bring back. Dropout would make
        # the kept ones others than those that were compared.
        only_kept = outputs is None and self.config.delta_mode == "patch" and self.config.projector_dropout == 0
        if only_kept:
            with torch.no_grad():
                states = self._project(features)
        else:
            states = self._project(features)
        states = states.reshape(batch, frames, *states.shape[1:])  # (B, T, D) or (B, T, N, D)
        delta = states[:, 1:] - states[:, :-1]  # (B, T-1, D) or (B, T-1, N, D)
        patch_delta = patch_indices = None
        if self.config.delta_mode == "patch":
            patch_delta, patch_indices = largest_deltas(delta, self.config.top_k_patches)
            if only_kept:
                patch_delta = self._project_kept(features.reshape(batch, frames, *features.shape[1:]), patch_indices)
            delta = patch_delta.mean(dim=2)  # (B, T-1, D)
            states = states.mean(dim=2)  # (B, T, D)
        output = CDEModelOutput(
            delta=delta,
            states=states,
            patch_delta=patch_delta,
            patch_indices=patch_indices,
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=outputs.attentions if output_attentions else None,
        )
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        """Features (..., D_b) -> states (..., D)."""
        if self.config.delta_mode == "patch":
            projected: torch.Tensor = self.projector(features.to(self.dtype))
            return projected
        return full_precision(self.projector, features)

    def _project_kept(self, features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """The deltas of kept patches, with gradient: (B, T, N, D_b) and (B, T-1, k) -> (B, T-1, k, D)."""
        places = indices.unsqueeze(-1).expand(-1, -1, -1, features.shape[-1])  # (B, T-1, k, D_b)
        kept = torch.stack([part.gather(2, places) for part in (features[:, :-1], features[:, 1:])])
        before, after = self._project(kept)  # (B, T-1, k, D) each
        delta: torch.Tensor = after - before
        return delta


class CDEForActionClassification(CDEPreTrainedModel):
    """CDE with a linear action classifier on the delta.

    Args:
        config: The CDE configuration; `id2label` names the actions.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.
    """

    # No Auto class of Transformers means this task: a name of our own in `auto_map`, see configuration_cde.py.
    _auto_class = "AutoModelForActionClassification"

    def __init__(self, config: CDEConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.cde = CDEModel(config, backbone=backbone)
        self.num_labels = config.num_labels
        self.classifier = nn.Linear(config.delta_dim, config.num_labels)
        self.supports_gradient_checkpointing = self.cde.supports_gradient_checkpointing
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        *,
        features: torch.Tensor | None = None,
    ) -> CDEActionClassifierOutput | tuple[Any, ...]:
        """Classifies what happened between the frames of clips.

        Args:
            pixel_values: Clips of T >= 2 frames, (B, T, C, H, W); a pair is [before, after].
            labels: Actions, int64 in [0, A), (B,) for pairs, else (B, T-1).
            output_hidden_states: Return the backbone's hidden states too.
            output_attentions: Return the backbone's attention maps too; needs `attn_implementation="eager"`.
            return_dict: `False`: a tuple in place of `CDEActionClassifierOutput`.
            features: In place of `pixel_values`; see `CDEModel.forward`.

        Raises:
            ValueError: See `CDEModel.forward`; or the labels have another shape.
        """
        outputs = self.cde(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
            features=features,
        )
        frames = outputs.states.shape[1]
        logits = full_precision(self.classifier, outputs.delta)  # (B, T-1, A)
        patch_logits = None
        if outputs.patch_delta is not None:
            patch_logits = full_precision(self.classifier, outputs.patch_delta)  # (B, T-1, k, A)
        loss = None
        if labels is not None:
            scores = logits if patch_logits is None or self.config.patch_loss == "aggregated" else patch_logits
            loss = action_loss(scores, labels, frames=frames)
        output = CDEActionClassifierOutput(
            loss=loss,
            logits=logits.squeeze(1) if frames == 2 else logits,
            delta=outputs.delta,
            states=outputs.states,
            patch_delta=outputs.patch_delta,
            patch_indices=outputs.patch_indices,
            patch_logits=patch_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


def make_reader(config: CDEConfig) -> BackboneReader:
    """Returns what reads features from the backbone as a CDE configuration says."""
    return BackboneReader(
        config.backbone_config,
        patches=config.reads_patches,
        global_feature=config.global_feature,
        num_prefix_tokens=config.num_prefix_tokens,
    )


def full_precision(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Calls a module in the dtype of its weights, also under autocast; shapes are those of the module."""
    dtype = next(module.parameters()).dtype
    with torch.autocast(device_type=inputs.device.type, enabled=False):
        outputs: torch.Tensor = module(inputs.to(dtype))
    return outputs


def largest_deltas(delta: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keeps the k patches that moved most.

    Args:
        delta: Deltas of all patches, (B, S, N, D).
        k: Number of patches to keep.

    Returns:
        The kept deltas (B, S, k, D), largest Euclidean norm (in float32) first, and their patches (B, S, k).

    Raises:
        ValueError: k is larger than the number of patches.
    """
    num_patches = delta.shape[2]
    if k > num_patches:
        raise ValueError(
            f"top_k_patches={k}, but an image of this size has only {num_patches} patches: lower top_k_patches or "
            "use larger images."
        )
    norms = delta.detach().float().norm(dim=-1)  # (B, S, N)
    indices = norms.topk(k, dim=-1).indices  # (B, S, k)
    kept = delta.gather(2, indices.unsqueeze(-1).expand(-1, -1, -1, delta.shape[-1]))  # (B, S, k, D)
    return kept, indices


def action_loss(logits: torch.Tensor, labels: torch.Tensor, frames: int) -> torch.Tensor:
    """Mean cross-entropy in float32; every kept patch of a pair has the pair's label.

    Args:
        logits: (B, T-1, A), or (B, T-1, k, A) for every kept patch.
        labels: (B,) for T = 2, else (B, T-1).
        frames: Number T of frames.

    Raises:
        ValueError: The labels have another shape, are no whole numbers or, which is looked at on the CPU only, name
            no action.
    """
    expected = logits.shape[:1] if frames == 2 else logits.shape[:2]
    if labels.shape != expected and labels.shape != logits.shape[:2]:
        raise ValueError(
            f"labels must have the shape {tuple(expected)} for {frames} frames, not {tuple(labels.shape)}."
        )
    check_labels(labels, logits.shape[-1])
    targets = labels.reshape(logits.shape[:2])  # (B, T-1)
    if logits.ndim == 4:
        targets = targets.unsqueeze(-1).expand(logits.shape[:3])  # (B, T-1, k)
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
