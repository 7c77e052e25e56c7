"""Floating-point operations of a training step, by the precision that they are done in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.speed.training_steps import Case, training_loss

_ATEN = torch.ops.aten
_ATTENTION = flop_registry[_ATEN._scaled_dot_product_flash_attention]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the forward's: PyTorch's formula also counts the scores that the kernel computes a second time."""
    return 2 * int(_ATTENTION(query, key, value, out_val=value))


# PyTorch's table lacks the attention of the CPU, whose arguments are those of the GPU's.
_FORMULAS = flop_registry | {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _ATTENTION,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class _ByDtype(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of matrix products and convolutions by the dtype of what is multiplied."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is not None:  # in all of them the second argument is a factor
            self.found[args[1].dtype] += formula(*args, **(kwargs or {}), out_val=result)
        return result


def flops_by_dtype(step: Callable[[], Any]) -> dict[str, int]:
    """Operations of matrix products and convolutions in a function, a product and a sum counting as two.

    What is not counted (norms, softmax, sums) is bound by memory, not by operations.

    Returns:
        For example {"bfloat16": 123, "float32": 4}.
    """
    with _ByDtype() as counter:
        step()
    return {str(dtype).removeprefix("torch."): int(number) for dtype, number in counter.found.items()}


def step_flops(case: Case, bf16: bool) -> dict[str, int]:
    """`flops_by_dtype` of forward, loss and backward of a case; with `bf16` as under bf16 autocast on a CPU."""
    model, batch = case.model(), case.batch()
    return flops_by_dtype(lambda: torch.autograd.backward(training_loss(model, batch, bf16)["loss"]))
