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
- For patches, only the projector's last layer does: an image has hundreds of them, and where bfloat16 is many times as
  fast, hidden layers in float32 would take a good part of a step. The backbone rounds more than they do.
"""

from contextlib import nullcontext
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import maybe_install_capturing_hooks

from .change_pooling_cde import pool_changed
from .checks_cde import check_clips, check_features, check_labels
from .configuration_cde import CDEConfig
from .outputs_cde import CDEActionClassifierOutput, CDEModelOutput
from .pretrained_cde import CDEPreTrainedModel, make_reader
from .projector_cde import CDEProjector, full_precision, largest_deltas
from .segmentation_cde import FindsSegments


class CDEModel(CDEPreTrainedModel):
    """Backbone, projector and subtraction: clips in, states and deltas out.

    Args:
        config: The CDE configuration.
        backbone: A backbone that already has its weights; default: a new one from `config.backbone_config`.

    Examples:
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
            config.projector_input_norm = not self.reader.layers
        self.backbone = self.reader.build() if backbone is None else backbone
        if self.reader.layers:  # else Transformers does it in the first forward, which torch.compile cannot trace
            maybe_install_capturing_hooks(self.backbone)
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
        if any(module is self.backbone for module in self._frozen) and not self.backbone.training:
            # Trainer calls this in every step: the walk through a frozen backbone would take a good part of one.
            self.training = mode
            for child in self.children():
                if child is not self.backbone:
                    child.train(mode)
            return self
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether the whole backbone is frozen, so that equal pictures always give equal features."""
        trained = any(parameter.requires_grad for parameter in self.backbone.parameters())
        return not trained and any(module is self.backbone for module in self._frozen)

    def with_classifier(self) -> "CDEForActionClassification":
        """Loads the whole model of the checkpoint that this encoder was loaded from.

        `pipeline` loads by an Auto class, and Transformers has none for this task, so that AutoModel gives the encoder
        without its classifier. The rest is read from the same files on disk: the Hub is not asked a second time, when
        it might have another commit.

        Raises:
            ValueError: The encoder was not loaded from the checkpoint of a `CDEForActionClassification`.
        """
        name, folder = self.name_or_path, self.loaded_from
        if folder is None or "CDEForActionClassification" not in (self.config.architectures or ()):
            raise ValueError(
                f"{name or 'The model'} is an encoder without an action classifier: give the pipeline a "
                "CDEForActionClassification, or the folder or repository that one was saved in."
            )
        model: CDEForActionClassification = CDEForActionClassification.from_pretrained(
            folder, config=self.config, dtype=self.dtype
        )
        model.config.name_or_path = model.name_or_path = name
        return model

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
            children = self.backbone.named_children()  # in the order of their registration
            before = takewhile(lambda child: child[0] != name.split(".")[0], children)
            frozen = [*blocks[:num_blocks], *(child for _, child in before)]
        for module in frozen:
            module.requires_grad_(False)
        self._frozen += frozen
        self.train(self.training)

    def encode(
        self,
        pixel_values: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        *,
        features: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, CDEModelOutput]:
        """Reads the backbone's features of all frames in one call; arguments and errors as in `forward`.

        Returns:
            Features (B*T, D_b), or (B*T, N, D_b) if the configuration reads patches; and an output with the backbone's
            `hidden_states` and `attentions`, each None unless asked for, and with `patch_weights`.
        """
        if features is not None:
            if pixel_values is not None or output_hidden_states or output_attentions:
                raise ValueError(
                    "features replace pixel_values, and the backbone does not run: leave out pixel_values, "
                    "output_hidden_states and output_attentions."
                )
            check_features(features, self.reader.feature_dim, self.reader.feature == "patches")
            return features.flatten(0, 1), CDEModelOutput()
        clips: Any = pixel_values  # None is answered by `check_clips`
        check_clips(clips, getattr(self.config.backbone_config, "num_channels", 3))
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        if output_attentions and self.backbone.config._attn_implementation != "eager":
            raise ValueError('output_attentions=True needs the eager attention: load with attn_implementation="eager".')
        options = {name: True for name, wanted in asked.items() if wanted}
        encoded, outputs = self.reader(self.backbone, clips.flatten(0, 1), **options)
        encoded, weights = self.pool(encoded, *clips.shape[:2])
        return encoded, CDEModelOutput(
            patch_weights=weights,
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=outputs.attentions if output_attentions else None,
        )

    def pool(self, encoded: torch.Tensor, batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pools what is read over whole clips: patches (B*T, N, D_b) where they changed; the rest stays as it is.

        Returns:
            Features (B*T, D_b), or (B*T, N, D_b) if patches are read; and `patch_weights`.
        """
        if self.reader.feature != "change":
            return encoded, None
        patches = encoded.reshape(batch, frames, *encoded.shape[1:])
        pooled, weights = pool_changed(patches, self.reader.layer_widths)
        return pooled.flatten(0, 1), weights

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CDEModelOutput:
        """Encodes clips.

        Args:
            pixel_values: Clips of T >= 2 frames, (B, T, C, H, W); a pair is [before, after].
            features: Instead of `pixel_values`, what `encode` made of them before: (B, T, D_b), or (B, T, N, D_b) if
                the configuration reads patches. The backbone does not run, and in patch mode `states` have no gradient.
            **kwargs: `output_hidden_states=True` and `output_attentions=True` (which needs
                `attn_implementation="eager"`) return those of the backbone too; `return_dict=False` returns a tuple.

        Raises:
            ValueError: The shape is not that of clips, the image size does not fit the backbone, `top_k_patches` is
                larger than the number of patches, or attention maps are asked of another implementation than eager;
                or both pictures and features are given, or features of another shape.
            TypeError: `pixel_values` is not a tensor, or an argument is unknown.
        """
        encoded, outputs = self.encode(pixel_values, features=features, **kwargs)
        given: Any = pixel_values if features is None else features
        batch, frames = given.shape[:2]
        patchwise = self.config.delta_mode == "patch"
        # If the backbone is not trained, a patch that is not kept needs no gradient. With dropout, projecting the kept
        # ones a second time would give other deltas than those that were compared.
        only_kept = features is not None and patchwise and self.config.projector_dropout == 0
        with torch.no_grad() if only_kept else nullcontext():
            states = self.projector(encoded) if patchwise else full_precision(self.projector, encoded)
        states = states.reshape(batch, frames, *states.shape[1:])  # (B, T, D) or (B, T, N, D)
        delta = states[:, 1:] - states[:, :-1]  # (B, T-1, D) or (B, T-1, N, D)
        patch_delta = patch_indices = None
        if patchwise:
            patch_delta, patch_indices = largest_deltas(delta, self.config.top_k_patches)
            if only_kept:
                patch_delta = self.projector.kept_deltas(given, patch_indices)
            delta = patch_delta.mean(dim=2)  # (B, T-1, D)
            states = states.mean(dim=2)  # (B, T, D)
        return CDEModelOutput(
            delta=delta, states=states, patch_delta=patch_delta, patch_indices=patch_indices, **outputs
        )


class CDEForActionClassification(FindsSegments, CDEPreTrainedModel):
    """CDE with a linear action classifier on the delta; arguments as for `CDEModel`, `id2label` names the actions."""

    # Transformers has no Auto class for this task, so `auto_map` has a name of our own: see configuration_cde.py.
    _auto_class = "AutoModelForActionClassification"

    def __init__(self, config: CDEConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.cde = CDEModel(config, backbone=backbone)
        self.num_labels = config.num_labels
        self.classifier = nn.Linear(config.delta_dim, config.num_labels)
        self.supports_gradient_checkpointing = self.cde.supports_gradient_checkpointing
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CDEActionClassifierOutput:
        """Classifies what happened between the frames of clips.

        Arguments and errors are those of `CDEModel.forward`, and:

        Args:
            labels: Actions, int64 in [0, A), (B,) for pairs, else (B, T-1).

        Raises:
            ValueError: The labels have another shape.
        """
        outputs = self.cde(pixel_values, features=features, return_dict=True, **kwargs)
        frames = outputs.states.shape[1]
        logits = full_precision(self.classifier, outputs.delta)  # (B, T-1, A)
        patch_logits = None
        if outputs.patch_delta is not None:
            patch_logits = full_precision(self.classifier, outputs.patch_delta)  # (B, T-1, k, A)
        loss = None
        if labels is not None:
            scores = logits if patch_logits is None or self.config.patch_loss == "aggregated" else patch_logits
            loss = action_loss(scores, labels, frames=frames)
        return CDEActionClassifierOutput(
            loss=loss, logits=logits.squeeze(1) if frames == 2 else logits, patch_logits=patch_logits, **outputs
        )


def action_loss(logits: torch.Tensor, labels: torch.Tensor, frames: int) -> torch.Tensor:
    """Mean cross-entropy in float32; every kept patch of a pair has the pair's label.

    Logits are (B, T-1, A), or (B, T-1, k, A) for every kept patch; labels (B,) for T = 2 frames, else (B, T-1).

    Raises:
        ValueError: The labels have another shape, are not whole numbers or (checked on the CPU only) are out of range.
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
