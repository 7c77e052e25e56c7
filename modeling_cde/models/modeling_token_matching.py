"""Token matching: each patch is matched with its most similar patch of the other image; the pairs are pooled.

It reads the features of all patches of any backbone, including the map of a ResNet; `pooling` is not read.
"""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .field_rules_cde import NOT_NEGATIVE, one_of, or_none, whole
from .modeling_baseline import BaselineConfig, BaselineOutput, BaselinePreTrainedModel, nearest_grid
from .projector_cde import full_precision, take


class TokenMatchingConfig(BaselineConfig):
    """Configuration of token matching. All defaults are ours.

    Args:
        match_pooling: What the classifier reads of the matched pairs: their `"mean"`, their `"max"`, or `"mean_max"`,
            both.
        match_back: Whether the patches of the later image are matched with those of the earlier one too. Otherwise
            something that only appears in the later image may remain unmatched, and so unseen.
        position_weight: The cost of a match at the distance of one image side, in cosine similarity, >= 0; smaller
            distances cost proportionally less. 0: only similarity counts. Large: a patch matches the one at its place.
        head_hidden_dim: Width of the embedding of a matched pair; `None`: `delta_dim`.
    """

    model_type = "cde-token-matching"
    match_pooling: Annotated[str, one_of("mean", "max", "mean_max")] = "mean_max"
    match_back: bool = True
    position_weight: Annotated[float, NOT_NEGATIVE] = 0.0
    head_hidden_dim: Annotated[int | None, or_none(whole(1))] = None

    @property
    def reads_patches(self) -> bool:
        return True

    @classmethod
    def _todays_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "global_feature" in given and "pooling" in given:  # saved before that field was called pooling
            given = {{"pooling": "match_pooling"}.get(name, name): value for name, value in given.items()}
        return super()._todays_names(given)


class TokenMatchingForActionClassification(BaselinePreTrainedModel):
    """Differences of matched patches, so that something that moved within the picture is compared with itself.

    With patch features f_n, f̃_m of the two images (as the backbone gives them), their projections p_n, p̃_m and their
    distance d(n, m) in image sides

        m(n) = argmax_m cos(f_n, f̃_m) - position_weight · d(n, m)
        e_n  = GELU(W [p_n, p̃_m(n) - p_n] + b)

    and, with `match_back`, the pairs [p_n(m), p̃_m - p_n(m)] of the match in the other direction too. A linear
    classifier reads mean and maximum of all e over the pairs. `delta` is the mean of the matched differences: zero for
    equal images, and, with `match_back`, of the opposite sign if the images are exchanged.

    The benchmark's public code pools tokens of the same index (of GroupViT and slot attention) in this way, by mean
    or by maximum; a backbone's patches have no such index, so they are matched here. The choice of a match has no
    gradient.
    """

    config: TokenMatchingConfig

    def __init__(self, config: TokenMatchingConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config, backbone)
        hidden = config.head_hidden_dim or config.delta_dim
        self.pair_layer = nn.Sequential(nn.Linear(2 * config.delta_dim, hidden), nn.GELU())
        self.classifier = nn.Linear(hidden * (2 if config.match_pooling == "mean_max" else 1), config.num_labels)
        self.post_init()

    @property
    def reads_places(self) -> bool:
        return self.config.position_weight > 0

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *,
        features: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaselineOutput:
        patches, encoder = self._encode(pixel_values, features, **kwargs)  # (B, T, N, D_b)
        tokens = full_precision(self.cde.projector, patches)  # (B, T, N, D)
        grid = nearest_grid(patches.shape[2], pixel_values)
        similarity = self._similarity(patches, grid)  # (B, T-1, N, N)
        earlier, later = tokens[:, :-1], tokens[:, 1:]  # (B, T-1, N, D)
        first, difference = earlier, take(later, similarity.argmax(dim=3)) - earlier
        if self.config.match_back:
            origin = take(earlier, similarity.argmax(dim=2))
            first = torch.cat([first, origin], dim=2)  # (B, T-1, 2N, D)
            difference = torch.cat([difference, later - origin], dim=2)
        pairs = full_precision(self.pair_layer, torch.cat([first, difference], dim=-1))  # (B, T-1, pairs, hidden)
        pooled = {"mean": [pairs.mean(dim=2)], "max": [pairs.amax(dim=2)]}
        read = (
            pooled["mean"] + pooled["max"]
            if self.config.match_pooling == "mean_max"
            else pooled[self.config.match_pooling]
        )
        return self._output(
            full_precision(self.classifier, torch.cat(read, dim=-1)),
            tokens.mean(dim=2),
            labels,
            delta=difference.mean(dim=2),
            encoder=encoder,
        )

    @torch.no_grad()
    def _similarity(self, patches: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Returns what a match maximises, for each patch (dim 2) and each patch of the next frame (dim 3), float32."""
        with torch.autocast(device_type=patches.device.type, enabled=False):
            unit = F.normalize(patches.float(), dim=-1)  # (B, T, N, D_b)
            similarity = unit[:, :-1] @ unit[:, 1:].transpose(2, 3)  # (B, T-1, N, N)
            if self.config.position_weight > 0:
                rows, columns = grid
                y, x = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
                places = torch.stack([y.flatten(), x.flatten()], dim=1).to(unit)  # (N, 2), in image sides
                similarity = similarity - self.config.position_weight * torch.cdist(places, places)
        return similarity
