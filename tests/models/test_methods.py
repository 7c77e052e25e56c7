"""One row of `modeling_cde.models.methods` is all that the rest of the project knows of a method."""

import dataclasses
import json
import subprocess
import sys

import pytest
from transformers import AutoConfig, AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import modeling_cde
from modeling_cde.analysis.results import METHOD_TITLES
from modeling_cde.models.configuration_cde import CDEConfig
from modeling_cde.models.methods import METHODS, by_model_type
from modeling_cde.training.arguments import ModelArguments


@pytest.mark.parametrize("name", METHODS)
def test_a_row_fits_its_classes(name):
    method = METHODS[name]
    assert method.config_class.model_type == method.model_type and issubclass(method.config_class, CDEConfig)
    assert method.model_class.config_class is method.config_class
    assert method.needs_masks == ("masks" in method.model_class.extra_inputs)
    # What a checkpoint names as its code, and what is registered, are the same classes.
    auto_map = method.config_class._auto_map()
    assert auto_map["AutoModel"] == f"{method.file}.{method.auto_model or method.model}"
    assert CONFIG_MAPPING[method.model_type] is method.config_class
    assert type(AutoConfig.for_model(method.model_type)) is method.config_class
    assert AutoModel._model_mapping[method.config_class] is method.load(method.auto_model or method.model)
    for public in (method.model, method.config):
        assert getattr(modeling_cde, public) is method.load(public)
    assert METHOD_TITLES[name] == method.title


@pytest.mark.parametrize("name", METHODS)
def test_the_patch_mode_is_refused_where_a_method_has_none(name):
    options = {"backbone": "org/vit", "method": name, "delta_mode": "patch"}
    if METHODS[name].patch_mode:
        assert ModelArguments(**options).cde_options()["delta_mode"] == "patch"
        METHODS[name].config_class(delta_mode="patch")
        return
    with pytest.raises(ValueError, match=f"method='{name}' has no delta_mode='patch'"):
        ModelArguments(**options)
    with pytest.raises(ValueError, match="delta_mode"):
        METHODS[name].config_class(delta_mode="patch")


def test_methods_of_one_model_are_described_alike():
    for method in METHODS.values():
        one = by_model_type()[method.model_type]
        assert dataclasses.replace(method, title=one.title, flags=one.flags) == one


def test_titles_and_sentences_tell_methods_apart():
    for field, methods in (("title", METHODS), ("sentence", by_model_type()), ("explanation", by_model_type())):
        texts = [getattr(method, field) for method in methods.values()]
        assert len(set(texts)) == len(texts) and all(texts)


def test_the_rows_are_read_without_a_model():
    """The module itself, without the package that it is in."""
    code = "import sys, json, runpy; runpy.run_path(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
    file = modeling_cde.models.methods.__file__
    found = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "transformers", "numpy"} & set(json.loads(found))
