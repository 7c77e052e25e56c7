"""Arguments of train.py about the model and the data; those of the training itself are `CDETrainingArguments`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers.hf_argparser import HfArg

from ..features.store import DEFAULT_GB
from ..models.checks_cde import parse_json
from ..models.methods import METHODS
from ..models.vision_config_cde import check_backbone_fields

# Flag -> its value -> values that it brings for other flags, where these are not given beside it; see `parse_recipe`.
BROUGHT: dict[str, dict[str, Mapping[str, Any]]] = {
    "method": {name: method.flags for name, method in METHODS.items()},
    "classifier": {"linear": {}, "lda": {"projector_num_layers": 1}},
}
LARGEST_SIDE = 8192  # pixels; more is a typing error


@dataclass
class ModelArguments:
    """The method and its backbone.

    Raises:
        ValueError: if a value is not one that its help names, or there is no backbone.
    """

    method: str = HfArg(
        default="cde",
        help="cde, or a method that it is compared with: see modeling_cde/models/methods.py; a baseline sets "
        "contrastive_weight and sparsity_weight to 0 unless a flag says otherwise",
    )
    compare_with: str = HfArg(
        default="",
        help="methods that are trained first, on the same pairs with the same settings, into folders of their names in "
        "output_dir, and printed beside this one, such as concatenation,difference",
    )
    method_options: str | None = HfArg(
        default=None, help='JSON of other fields of the method\'s configuration, such as {"critic_weight": 0.5}'
    )
    backbone: str | None = HfArg(
        default=None, help="repository id or folder of a pretrained vision backbone, such as facebook/dino-vits16"
    )
    backbone_revision: str | None = HfArg(default=None, help="commit of the backbone's repository")
    backbone_config: str | None = HfArg(
        default=None,
        help="JSON of a backbone to train from scratch, with its model_type; ignored if --backbone is given",
    )
    delta_mode: str = HfArg(default="global", help="global: one delta per pair; patch: deltas of the top-k patches")
    classifier: str = HfArg(
        default="linear",
        help="linear: starts at random; lda: starts from a discriminant analysis of kept features, or is it with "
        "--num_train_epochs 0; sets projector_num_layers to 1, and delta_dim to one less than actions if that is fewer",
    )
    delta_dim: int = HfArg(default=256, help="number of dimensions of a delta")
    pooling: str = HfArg(
        default="auto", help="auto, cls, mean (of the patches), pooler, or change (the patches that changed weigh more)"
    )
    feature_layers: list[int] | None = HfArg(
        default=None, help="layers of the backbone that are read side by side, such as 6 8 10 12; default: its output"
    )
    num_prefix_tokens: int | None = HfArg(
        default=None, help="number of tokens before the patches, for an unknown backbone family"
    )
    top_k_patches: int = HfArg(default=8, help="patch mode: how many of the patches that changed most are kept")
    patch_loss: str = HfArg(default="per_patch", help="patch mode: per_patch (as published) or aggregated")
    projector_hidden_dim: int | None = HfArg(default=None, help="width of the projector's hidden layers")
    projector_num_layers: int = HfArg(default=2, help="number of linear layers of the projector")
    projector_dropout: float = HfArg(default=0.0, help="dropout within the projector, in [0, 1)")
    freeze_backbone: bool = HfArg(default=False, help="train only the projector and the classifier")
    feature_store: str | None = HfArg(
        default=None,
        help="folder where the features of a frozen backbone are kept, for all runs; default: in the cache folder. "
        "They are kept where every epoch sees the same pictures: --freeze_backbone true --augment false",
    )
    feature_store_gb: float = HfArg(
        default=DEFAULT_GB,
        help="gigabytes that the store may take; 0: keep none, and encode the pictures in each epoch",
    )
    freeze_blocks: int = HfArg(default=0, help="freeze the embeddings and this many of the first blocks")
    lora_rank: int = HfArg(default=0, help="train only LoRA adapters of this rank in the backbone; 0 for none")
    lora_alpha: float | None = HfArg(default=None, help="scale of the adapters; default: 2 * lora_rank")
    lora_dropout: float = HfArg(default=0.0, help="dropout on the inputs of the adapters, in [0, 1)")
    lora_targets: str | None = HfArg(
        default=None, help="linear layers that get an adapter, such as q_proj,v_proj,fc1; default: query and value"
    )

    def __post_init__(self) -> None:
        if self.backbone is None and self.backbone_config is None:
            raise ValueError(
                "no backbone: pass --backbone with a repository id or a folder, or start from a recipe in configs/."
            )
        if not self._has_patch_mode and self.delta_mode != "global":
            raise ValueError(f"method={self.method!r} has no delta_mode={self.delta_mode!r}: use --method cde.")
        for name in ("backbone", "backbone_revision", "feature_store"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty: give it a value, or leave it out.")
        if unknown := [name for name in self.compared_methods() if name not in METHODS]:
            raise ValueError(f"compare_with={unknown[0]!r} is not known; choose of: {', '.join(METHODS)}.")
        if not 0 <= self.feature_store_gb < float("inf"):
            raise ValueError(f"feature_store_gb={self.feature_store_gb} must be at least 0.")
        if self.freeze_blocks < 0:
            raise ValueError(f"freeze_blocks={self.freeze_blocks} must be at least 0.")
        self._check_classifier()
        self._check_lora()
        self.parsed_method_options()
        if self.backbone_config is not None and self.backbone is None:
            self.parsed_backbone_config()

    @property
    def _has_patch_mode(self) -> bool:
        return self.method in METHODS and METHODS[self.method].patch_mode

    def _check_classifier(self) -> None:
        if self.classifier not in (known := BROUGHT["classifier"]):
            raise ValueError(f"classifier={self.classifier!r} is not known; choose one of: {', '.join(known)}.")
        if self.classifier == "lda":
            needed = {"method": "cde", "delta_mode": "global", "projector_num_layers": 1}
            for name, value in needed.items():
                if getattr(self, name) != value:
                    raise ValueError(f"classifier='lda' needs --{name} {value}, not {getattr(self, name)}.")

    def _check_lora(self) -> None:
        given = [name for name in ("lora_alpha", "lora_targets") if getattr(self, name) is not None]
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank={self.lora_rank} must be at least 1, or 0 for no LoRA.")
        if self.lora_rank == 0:
            if given or self.lora_dropout:
                raise ValueError(f"{(given or ['lora_dropout'])[0]} needs lora_rank, for example lora_rank=8.")
            return
        if self.backbone is None:
            raise ValueError("lora_rank needs --backbone: adapters change a pretrained backbone, not a random one.")
        if self.freeze_backbone or self.freeze_blocks:
            raise ValueError(
                "lora_rank already freezes all of the backbone: leave out freeze_backbone and freeze_blocks."
            )

    def compared_methods(self) -> list[str]:
        """The methods of `compare_with`, without this one."""
        named = [name.strip() for name in self.compare_with.split(",")]
        return [name for name in named if name and name != self.method]

    def parsed_backbone_config(self) -> dict[str, Any]:
        """The backbone's configuration as a dictionary with its `model_type`."""
        config = parse_json(self.backbone_config or "", "backbone_config")
        if not isinstance(config, dict) or "model_type" not in config:
            raise ValueError(
                'backbone_config needs a model_type, for example {"model_type": "vit", "hidden_size": 192}.'
            )
        check_backbone_fields(config)
        return config

    def parsed_method_options(self) -> dict[str, Any]:
        """Other fields of the method's configuration; empty if none are given."""
        options = parse_json(self.method_options or "{}", "method_options")
        if not isinstance(options, dict):
            raise ValueError('method_options must be a JSON object, for example {"critic_weight": 0.5}.')
        return options

    def cde_options(self) -> dict[str, Any]:
        """The fields of the model's configuration."""
        names = "delta_dim pooling feature_layers num_prefix_tokens"
        names += " projector_hidden_dim projector_num_layers projector_dropout"
        if self._has_patch_mode:  # the other methods have one delta per pair and no patches
            names += " delta_mode top_k_patches patch_loss"
        return {name: getattr(self, name) for name in names.split()} | self.parsed_method_options()


@dataclass
class DataArguments:
    """The pairs, and what the model sees of them.

    Raises:
        ValueError: if a value is not one that its help names.
    """

    data: str | None = HfArg(
        default=None, help="folder or repository of a data set of pairs; default: rooms, rendered on this machine"
    )
    view: str = HfArg(default="single", help="single: crops around the target; multi: whole views")
    shift: str = HfArg(
        default="both",
        help="comp: unseen action-object combinations; syst: unseen objects; both, of one training part; mech: unseen "
        "mechanisms of actions; none: a data set that holds nothing out",
    )
    image_size: int = HfArg(default=96, help="side of the pictures that the model sees, in pixels")
    augment: bool = HfArg(default=True, help="the same random crop, flip and colour change on both images")
    swap_opposites: bool = HfArg(
        default=False,
        help="train on each pair once more, swapped and under the opposite action; not where the action has no "
        "opposite (break), nor on combinations of action and object that are held out for a test",
    )
    train_pairs: int | None = HfArg(default=None, help="train on this many pairs only")
    train_objects: int | None = HfArg(default=None, help="train on this many objects only")
    num_actions: int | None = HfArg(default=None, help="train and test on this many actions only")
    streaming: bool = HfArg(
        default=False,
        help="read the training pairs during training, without a copy on this disk: shuffled within blocks, batches "
        "not class-aware; see docs/scale.md",
    )
    stream_buffer: int = HfArg(default=512, help="number of pairs that each process and worker shuffles at a time")
    rooms_folder: str = HfArg(default="data/rooms", help="folder of the rendered rooms")
    rooms_pairs: int = HfArg(default=3000, help="number of pairs to render")
    rooms_image_size: int = HfArg(default=128, help="side of the rendered pictures, in pixels")
    rooms_kinds: str = HfArg(default="all", help="kinds of things in the rooms: all, or classic (docs/data.md)")
    rooms_seed: int = HfArg(default=0, help="seed of the rendered rooms and of their splits")
    rooms_workers: int = HfArg(default=2, help="number of processes that render")

    def __post_init__(self) -> None:
        for name, choices in (
            ("view", ("single", "multi")),
            ("shift", ("comp", "syst", "mech", "both", "none")),
            ("rooms_kinds", ("all", "classic")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known; choose one of: {', '.join(choices)}.")
        for name in ("image_size", "stream_buffer", "rooms_pairs", "rooms_image_size", "rooms_workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        for name in ("image_size", "rooms_image_size"):
            if getattr(self, name) > LARGEST_SIDE:
                raise ValueError(f"{name}={getattr(self, name)} must be at most {LARGEST_SIDE} pixels.")
        if self.rooms_seed < 0:
            raise ValueError(f"rooms_seed={self.rooms_seed} must be at least 0.")
        if self.data == "":
            raise ValueError("data is empty: give a folder or a repository, or leave it out to use the rooms.")
        if self.streaming and (given := [name for name, number in self.subsets().items() if number is not None]):
            raise ValueError(
                f"{given[0]} needs a list of all pairs, which streaming never reads: leave out one of them."
            )
        if self.streaming and self.swap_opposites:
            raise ValueError("swap_opposites needs pairs that are loaded as a whole: leave out streaming.")

    def subsets(self) -> dict[str, int | None]:
        """The arguments of `modeling_cde.data.subsets.take_subsets`."""
        return {name: getattr(self, name) for name in ("train_pairs", "train_objects", "num_actions")}

    @property
    def source(self) -> str:
        """The folder or repository that the pairs are read from."""
        return self.rooms_folder if self.data is None else self.data
