"""What the methods that CDE is compared with share: their output, their configuration and their encoder."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_cde import CDEConfig
from .modeling_cde import CDEModel, action_loss
from .outputs_cde import CDEActionClassifierOutput, CDEModelOutput
from .pretrained_cde import CDEPreTrainedModel


@dataclass
class BaselineOutput(CDEActionClassifierOutput):
    """Actions, states and deltas of a batch of clips; see `CDEActionClassifierOutput`.

    Attributes:
        loss: Cross-entropy plus `auxiliary_loss`, a float32 scalar; only with `labels`.
        auxiliary_loss: What a method adds to the cross-entropy, already weighted, a float32 scalar; `None` if it adds
            nothing.
    """

    auxiliary_loss: torch.Tensor | None = None


class BaselineConfig(CDEConfig):
    """What the configurations of all baselines share: the fields of `CDEConfig` without the patch mode.

    Raises:
        ValueError: `delta_mode` is `"patch"`, or a value is out of range.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = [*CDEConfig.keys_to_ignore_at_inference, "auxiliary_loss"]

    @classmethod
    def _auto_map(cls) -> dict[str, str]:
        """Pairs `ICMConfig` with `ICMForActionClassification` of the same file."""
        file, model = cls.__module__.rpartition(".")[2], cls.__name__.removesuffix("Config")
        return {"AutoConfig": f"{file}.{cls.__name__}", "AutoModel": f"{file}.{model}ForActionClassification"}

    def check(self) -> None:
        super().check()
        if self.delta_mode != "global":
            name = type(self).__name__
            raise ValueError(f'{name}.delta_mode must be "global": the baselines have no patch-wise form.')


class BaselinePreTrainedModel(CDEPreTrainedModel):
    """What all baselines share: the encoder of CDE, the arguments of `forward`, and how the output is put together.

    Arguments as for `CDEForActionClassification`.
    """

    config: BaselineConfig
    _auto_class = "AutoModel"

    @property
    def reads_places(self) -> bool:
        """Whether the model reads where patches are, which the shape of the picture decides; see `nearest_grid`."""
        return False

    def __init__(self, config: BaselineConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.cde = CDEModel(config, backbone=backbone)
        self.num_labels = config.num_labels
        self.supports_gradient_checkpointing = self.cde.supports_gradient_checkpointing

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        """Classifies what happened between the frames of clips.

        Arguments and errors are those of `CDEForActionClassification.forward`. A method that reads patches takes
        `features` of patches, (B, T, N, D_b), whatever `pooling` is.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it classifies: write its forward.")

    def _encode(
        self, pixel_values: torch.Tensor | None, features: torch.Tensor | None, **kwargs: Any
    ) -> tuple[torch.Tensor, CDEModelOutput]:
        """The features of clips, (B, T, D_b) or (B, T, N, D_b), and the encoder's output; see `CDEModel.encode`."""
        encoded, encoder = self.cde.encode(pixel_values, features=features, **kwargs)
        given: Any = pixel_values if features is None else features
        return encoded.reshape(*given.shape[:2], *encoded.shape[1:]), encoder

    def _output(
        self,
        logits: torch.Tensor,
        states: torch.Tensor,
        labels: torch.Tensor | None,
        *,
        encoder: Any,
        delta: torch.Tensor | None = None,
        auxiliary_loss: torch.Tensor | None = None,
    ) -> BaselineOutput:
        """Puts the output together, of logits (B, T-1, A) and states (B, T, D).

        Args:
            labels: As in `forward`.
            encoder: The output of the encoder, with `hidden_states` and `attentions`.
            delta: (B, T-1, D); default: the difference of neighbouring states.
            auxiliary_loss: Weighted, a scalar; only counted with labels.
        """
        frames = states.shape[1]
        loss = None if labels is None else action_loss(logits, labels, frames=frames)
        if loss is not None and auxiliary_loss is not None:
            loss = loss + auxiliary_loss
        return BaselineOutput(
            loss=loss,
            logits=logits.squeeze(1) if frames == 2 else logits,
            delta=states[:, 1:] - states[:, :-1] if delta is None else delta,
            states=states,
            hidden_states=encoder.hidden_states,
            attentions=encoder.attentions,
            patch_weights=encoder.patch_weights,
            auxiliary_loss=None if labels is None else auxiliary_loss,
        )


def nearest_grid(num_patches: int, pixel_values: torch.Tensor | None) -> tuple[int, int]:
    """Rows and columns of the grid of patches whose shape is nearest to that of the images (..., H, W).

    Features that are given in place of images do not say what shape these had: for None they are taken as square.
    """
    height, width = (1, 1) if pixel_values is None else pixel_values.shape[-2:]
    grids = [(rows, num_patches // rows) for rows in range(1, num_patches + 1) if num_patches % rows == 0]

    def mismatch(grid: tuple[int, int]) -> float:
        ratio = grid[0] * width / (grid[1] * height)  # 1 where the patches are square
        return max(ratio, 1 / ratio)

    return min(grids, key=mismatch)
