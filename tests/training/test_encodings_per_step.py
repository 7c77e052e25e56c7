"""What a step may cost: T encodings for T frames, no wait for the device, one graph where it is compiled."""

import PIL.Image
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import pipeline

from modeling_cde import CDEImageProcessor
from modeling_cde.training.losses import CDELoss, TermMeans, weighted_sum
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import clips, tiny_cde
from tests.tiny_pairs import pairs, quick


@pytest.fixture
def counted():
    """A function that adds a list to a model: the number of images in each call of its backbone."""

    def count(model):
        calls = []
        model.cde.backbone.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
        return calls

    return count


@pytest.mark.parametrize("mode", ["global", "patch"])
@pytest.mark.parametrize("frames", [2, 3, 5])
def test_t_frames_are_encoded_once_each_in_one_call(counted, frames, mode):
    model = tiny_cde(delta_mode=mode)
    calls = counted(model)
    assert model(clips(4, frames)).delta.shape[:2] == (4, frames - 1)
    assert calls == [4 * frames]


@pytest.mark.parametrize("frames", [2, 3])
def test_training_and_evaluation_encode_each_frame_once(counted, frames, tmp_path):
    model = tiny_cde()
    calls = counted(model)
    data = pairs(12, frames=frames)
    args = quick(tmp_path, max_steps=2, class_aware_sampling=False)
    trainer = CDETrainer(model=model, args=args, train_dataset=data, eval_dataset=data)
    trainer.train()
    assert calls == [6 * frames] * 2
    calls.clear()
    trainer.evaluate()
    assert calls == [6 * frames] * 2


def test_the_pipeline_encodes_each_picture_once(counted):
    model = tiny_cde()
    calls = counted(model)
    pipe = pipeline("action-classification", model=model, image_processor=CDEImageProcessor(size=32))
    pictures = [PIL.Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in range(6)]
    pipe(list(zip(pictures[::2], pictures[1::2], strict=True)), batch_size=3)
    assert calls == [6]


@pytest.fixture
def train_blindly(monkeypatch):
    """A function that makes a step, all but the optimizer, on tensors without values: what wants to see one fails."""
    monkeypatch.setattr(
        "modeling_cde.models.modeling_cde.check_labels", lambda *_: None
    )  # looks at values on the CPU alone

    def train(family, mode, loss):
        model = tiny_cde(family, delta_mode=mode).train()
        with FakeTensorMode(allow_non_fake_inputs=True) as blind:
            weights = {name: blind.from_tensor(value) for name, value in model.state_dict(keep_vars=True).items()}
            x, labels = torch.empty(4, 2, 3, 32, 32), torch.empty(4, dtype=torch.int64)
            outputs = torch.func.functional_call(model, weights, (x, labels))
            weighted_sum(loss(outputs, labels), loss.weights).backward()
            return torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)

    return train


@pytest.mark.parametrize("mode", ["global", "patch"])
@pytest.mark.parametrize("family", ["vit", "dinov3_vit", "resnet"])
def test_nothing_in_a_step_waits_for_a_value(family, mode, train_blindly):
    assert train_blindly(family, mode, CDELoss()).shape == ()


def test_a_wait_would_be_seen(train_blindly):
    class Waiting(CDELoss):
        def forward(self, outputs, labels):
            return super().forward({**outputs, "loss": outputs.loss * float(outputs.loss.detach())}, labels)

    with pytest.raises(DataDependentOutputException):
        train_blindly("vit", "global", Waiting())


def test_adding_terms_up_copies_nothing_to_the_device():
    class Copies(TorchDispatchMode):
        found: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if getattr(result, "is_meta", False) and any(isinstance(x, torch.Tensor) and x.is_cpu for x in args):
                self.found.append(str(func))
            return result

    terms = {"sparsity": torch.zeros((), device="meta")}
    with Copies() as copies:
        TermMeans().add(terms, 0.5)
        assert copies.found == []
        torch.as_tensor(0.5).to("meta")
        assert len(copies.found) == 1  # it would be seen


def test_forward_and_loss_are_one_graph_that_is_compiled_once():
    torch._dynamo.reset()
    model, loss, graphs = tiny_cde(delta_mode="patch").train(), CDELoss(), []

    def step(x, labels):
        outputs = model(x, labels=labels)
        return weighted_sum(loss(outputs, labels), loss.weights)

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(step, fullgraph=True, backend=backend)
    for seed, labels in enumerate(([0, 1, 0, 1], [2, 2, 0, 0])):
        x, labels = clips(4, seed=seed), torch.tensor(labels)
        torch.testing.assert_close(compiled(x, labels), step(x, labels))
    assert len(graphs) == 1


def test_patches_under_autocast_keep_what_bfloat16_can_tell():
    model = tiny_cde("resnet", delta_mode="patch", top_k_patches=16)
    x = clips(8)
    with torch.no_grad():
        exact = model.cde(x)
        with torch.autocast("cpu", torch.bfloat16):
            low = model.cde(x)
            same = model.cde(torch.stack([x[:, 0], x[:, 0]], dim=1))
    assert low.patch_delta.dtype == torch.float32 and not same.patch_delta.any()
    assert (low.states - exact.states).norm() < 2**-7 * exact.states.norm()
    assert (low.patch_delta.norm(dim=-1) - exact.patch_delta.norm(dim=-1)).abs().max() < 2**-5 * exact.patch_delta.norm(
        dim=-1
    ).max()


def test_the_number_of_loader_processes_changes_no_bit(tmp_path):
    trained = []
    for workers in (0, 1):
        model = tiny_cde(projector_dropout=0.2)  # its numbers come from the generator that the loaders must leave alone
        args = quick(tmp_path, max_steps=5, eval_strategy="steps", eval_steps=2, dataloader_num_workers=workers)
        data = pairs(12, noise=0.5)  # drawn in the transform
        CDETrainer(model=model, args=args, train_dataset=data, eval_dataset=data).train()
        trained.append(model.state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
