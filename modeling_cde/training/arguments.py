"""What a training run is told about its model and its data; the training itself is told by `CDETrainingArguments`."""

from dataclasses import dataclass, field
from typing import Any

from ..models.checks_cde import parse_json
from ..models.configuration_cde import check_backbone_fields

LARGEST_SIDE = 8192  # pixels; more is a slip


@dataclass
class ModelArguments:
    """Which method on which backbone.

    Raises:
        ValueError: if a choice is not among those named in its help, or no backbone is given.
    """

    method: str = field(
        default="cde",
        metadata={
            "help": "cde, or a method that it is compared with: see modeling_cde/methods.py; a baseline "
            "brings contrastive_weight 0 and sparsity_weight 0, which explicit flags override"
        },
    )
    method_options: str | None = field(
        default=None,
        metadata={"help": 'JSON of further fields of the method\'s configuration, such as {"critic_weight": 0.5}'},
    )
    backbone: str | None = field(
        default=None,
        metadata={"help": "repository id or folder of a pretrained vision backbone, such as facebook/dino-vits16"},
    )
    backbone_revision: str | None = field(default=None, metadata={"help": "commit of the backbone's repository"})
    backbone_config: str | None = field(
        default=None,
        metadata={
            "help": "JSON of a backbone to train from scratch, with its model_type; ignored if --backbone is given"
        },
    )
    delta_mode: str = field(default="global", metadata={"help": "global: one delta a pair; patch: the top-k patches"})
    delta_dim: int = field(default=256, metadata={"help": "dimensions of a delta"})
    global_feature: str = field(default="auto", metadata={"help": "auto, cls, mean (of the patches) or pooler"})
    num_prefix_tokens: int | None = field(
        default=None, metadata={"help": "tokens before the patches, for a backbone family that is not known"}
    )
    top_k_patches: int = field(default=8, metadata={"help": "patch mode: how many patches of largest change are kept"})
    patch_loss: str = field(
        default="per_patch", metadata={"help": "patch mode: per_patch (as published) or aggregated"}
    )
    projector_hidden_dim: int | None = field(default=None, metadata={"help": "width of the projector's hidden layers"})
    projector_num_layers: int = field(default=2, metadata={"help": "linear layers of the projector"})
    projector_dropout: float = field(default=0.0, metadata={"help": "dropout within the projector, in [0, 1)"})
    freeze_backbone: bool = field(default=False, metadata={"help": "train the projector and the classifier only"})
    cache_features: bool = field(
        default=False,
        metadata={
            "help": "compute a frozen backbone's features once and train on them; needs freeze_backbone and no augment"
        },
    )
    features_folder: str | None = field(
        default=None,
        metadata={"help": "where cached features are kept, also for other runs; default: features/ in output_dir"},
    )
    freeze_blocks: int = field(default=0, metadata={"help": "freeze the embeddings and this many first blocks"})
    lora_rank: int = field(
        default=0, metadata={"help": "train the backbone through LoRA adapters of this rank only; 0 for none"}
    )
    lora_alpha: float | None = field(default=None, metadata={"help": "scale of the adapters; default: 2 * lora_rank"})
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout on the inputs of the adapters, in [0, 1)"})
    lora_targets: str | None = field(
        default=None,
        metadata={"help": "linear layers with an adapter, such as q_proj,v_proj,fc1; default: query and value"},
    )

    def __post_init__(self) -> None:
        if self.backbone is None and self.backbone_config is None:
            raise ValueError(
                "no backbone: pass --backbone with a repository id or a folder, or start from a recipe of configs/."
            )
        if self.method not in ("cde", "difference") and self.delta_mode != "global":
            raise ValueError(f"method={self.method!r} has no delta_mode={self.delta_mode!r}; use --method cde.")
        for name in ("backbone", "backbone_revision", "features_folder"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty: give it, or leave it out.")
        if self.freeze_blocks < 0:
            raise ValueError(f"freeze_blocks={self.freeze_blocks} must be at least 0.")
        self._check_lora()
        self.parsed_method_options()
        if self.backbone_config is not None and self.backbone is None:
            self.parsed_backbone_config()

    def _check_lora(self) -> None:
        given = [name for name in ("lora_alpha", "lora_targets") if getattr(self, name) is not None]
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank={self.lora_rank} must be at least 1, or 0 for no LoRA.")
        if self.lora_rank == 0:
            if given or self.lora_dropout:
                raise ValueError(
                    f"{(given or ['lora_dropout'])[0]} needs lora_rank, the rank of the adapters: set it to 8."
                )
            return
        if self.backbone is None:
            raise ValueError("lora_rank needs --backbone: adapters change a pretrained backbone, not a random one.")
        if self.freeze_backbone or self.freeze_blocks:
            raise ValueError(
                "lora_rank freezes the backbone under its adapters: leave out freeze_backbone and freeze_blocks."
            )

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
        """Further fields of the method's configuration; empty where none are given."""
        options = parse_json(self.method_options or "{}", "method_options")
        if not isinstance(options, dict):
            raise ValueError('method_options must be a JSON object, for example {"critic_weight": 0.5}.')
        return options

    def cde_options(self) -> dict[str, Any]:
        """The fields that are fields of the model's configuration."""
        names = (
            "delta_dim",
            "global_feature",
            "num_prefix_tokens",
            "projector_hidden_dim",
            "projector_num_layers",
            "projector_dropout",
        )
        patch_names = ("delta_mode", "top_k_patches", "patch_loss")
        # The baselines have one delta a pair and no patches.
        of_patches = patch_names if self.method in ("cde", "difference") else ()
        return {name: getattr(self, name) for name in names + of_patches} | self.parsed_method_options()


@dataclass
class DataArguments:
    """Which pairs, seen how.

    Raises:
        ValueError: if a choice is not among those named in its help.
    """

    data: str | None = field(
        default=None,
        metadata={"help": "folder or repository of a data set of pairs; default: rooms, rendered here"},
    )
    view: str = field(default="single", metadata={"help": "single: crops of the target; multi: whole views"})
    shift: str = field(
        default="both",
        metadata={"help": "comp: unseen action-object combinations; syst: unseen objects; both, of one training part"},
    )
    image_size: int = field(default=96, metadata={"help": "side of the pictures that the model sees, in pixels"})
    augment: bool = field(
        default=True, metadata={"help": "the same random crop, flip and colour change on both images"}
    )
    train_pairs: int | None = field(default=None, metadata={"help": "train on so many pairs only"})
    train_objects: int | None = field(default=None, metadata={"help": "train on so many objects only"})
    num_actions: int | None = field(default=None, metadata={"help": "train and test on so many actions only"})
    streaming: bool = field(
        default=False,
        metadata={
            "help": "read training pairs on the way in place of a copy on this disk: shuffled within blocks, batches "
            "not class-aware; see docs/scale.md"
        },
    )
    stream_buffer: int = field(
        default=512, metadata={"help": "pairs that are put in a random order at a time, in each process and worker"}
    )
    rooms_folder: str = field(default="data/rooms", metadata={"help": "where rendered rooms are, or will be"})
    rooms_pairs: int = field(default=3000, metadata={"help": "how many pairs to render"})
    rooms_image_size: int = field(default=128, metadata={"help": "side of the rendered pictures, in pixels"})
    rooms_seed: int = field(default=0, metadata={"help": "seed of the rendered rooms and of their splits"})
    rooms_workers: int = field(default=2, metadata={"help": "processes that render"})

    def __post_init__(self) -> None:
        for name, choices in (
            ("view", ("single", "multi")),
            ("shift", ("comp", "syst", "both")),
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
            raise ValueError("data is empty: give a folder or a repository, or leave it out for the rooms.")
        if self.streaming and (given := [name for name, number in self.subsets().items() if number is not None]):
            raise ValueError(f"{given[0]} chooses among all pairs, and streaming reads no list of them: leave out one.")

    def subsets(self) -> dict[str, int | None]:
        """What `modeling_cde.data.subsets.take_subsets` is told."""
        return {name: getattr(self, name) for name in ("train_pairs", "train_objects", "num_actions")}

    @property
    def source(self) -> str:
        """The folder or repository that the pairs are read from."""
        return self.rooms_folder if self.data is None else self.data
