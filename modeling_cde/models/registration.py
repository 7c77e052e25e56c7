"""Makes the models known to Transformers' Auto classes and pipelines, without importing Transformers before its user.

`import modeling_cde` calls `register_with_transformers`. If the Auto classes are loaded already, it registers at once;
otherwise when they are. Registering imports every model, and so needs whole modules: it waits for the end of the
outermost import of a module of Transformers or of `modeling_cde.models`, inside which some are only half executed.

Which files travel with a checkpoint as remote code: `remote_code_cde`.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def register_with_transformers() -> None:
    """Register now if Transformers' Auto classes are loaded, otherwise as soon as they are."""
    if "transformers.models.auto" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Watcher())


class _Watcher(MetaPathFinder):
    """Finds modules as Python does, and registers the models after the import that loads the Auto classes."""

    depth = 0  # imports of watched modules that are under way, each within the one before

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "transformers" and not name.startswith(f"{__package__}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._counted(spec.loader.exec_module)  # type: ignore[assignment, method-assign]
        return spec

    def _counted(self, execute: Callable[[ModuleType], Any]) -> Callable[[ModuleType], None]:
        def counted(module: ModuleType) -> None:
            self.depth += 1
            try:
                execute(module)
            finally:
                self.depth -= 1
            if not self.depth and self in sys.meta_path and "transformers.models.auto" in sys.modules:
                sys.meta_path.remove(self)
                _register()

        return counted


def _register() -> None:
    from transformers import AutoConfig, AutoImageProcessor, AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    from .image_processing_cde import CDEImageProcessor
    from .methods import by_model_type
    from .pipeline_cde import TASK, ActionClassificationPipeline

    for method in by_model_type().values():
        AutoConfig.register(method.model_type, method.config_class)
        AutoModel.register(method.config_class, method.load(method.auto_model or method.model))
        AutoImageProcessor.register(method.config_class, image_processor_classes={"pil": CDEImageProcessor})
    PIPELINE_REGISTRY.register_pipeline(TASK, ActionClassificationPipeline, pt_model=AutoModel, type="image")
