"""Which files travel with every checkpoint, so that it loads with `trust_remote_code=True` without this package.

`save_pretrained` copies the file of a model's class, and flat beside it every file of this folder that the text of its
relative imports names, and of theirs. So the `*_cde` files import only each other. A baseline adds its own file
(`BaselineConfig`), and `cards.checkpoint_files` finds the same files when a run is published.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only for its words: Transformers copies a file together with those that the text of its imports names, so every
    # model takes along the pipeline that CUSTOM_PIPELINES names, and with the pipeline the image processor.
    from .pipeline_cde import ActionClassificationPipeline as ActionClassificationPipeline

# Written into every saved `config.json`, so that a checkpoint loads with `trust_remote_code=True` where this package
# is not installed. The task class has no Auto class of its own in Transformers: it is found by this entry.
AUTO_MAP = {
    "AutoConfig": "configuration_cde.CDEConfig",
    "AutoModel": "modeling_cde.CDEModel",
    "AutoModelForActionClassification": "modeling_cde.CDEForActionClassification",
}

# The pipeline of every model here, for the same purpose. Transformers asks for `trust_remote_code` if a loaded
# configuration has this entry: saved ones have it, and those whose class came with a checkpoint, but not ours.
CUSTOM_PIPELINES = {
    "action-classification": {
        "impl": "pipeline_cde.ActionClassificationPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
}
