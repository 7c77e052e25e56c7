"""Train the head first, the backbone later: the backbone's learning rate stays 0 for a share of the steps.

A new head's first gradients are large and would change pretrained features; see *Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution* (Kumar et al., 2022), which trains the head to its end before.
"""

from collections.abc import Callable
from typing import Any


def begin_later(scheduler: Any, steps: int) -> None:
    """Keep the rate of the groups whose name begins with "backbone" at 0 for the first `steps` steps.

    Args:
        scheduler: a `LambdaLR` on named groups, before the first step; changed in place. Afterwards its own schedule
            holds, which is that of the head.
        steps: number of optimizer steps.

    Raises:
        ValueError: if the scheduler has no factor for each group, as `reduce_lr_on_plateau` has none.
    """
    if not hasattr(scheduler, "lr_lambdas"):
        raise ValueError(
            f"head_first_ratio does not work with {type(scheduler).__name__}: use --lr_scheduler_type cosine or linear."
        )
    for index, group in enumerate(scheduler.optimizer.param_groups):
        if group.get("name", "").startswith("backbone"):
            scheduler.lr_lambdas[index] = _after(steps, scheduler.lr_lambdas[index])
            group["lr"] = group["initial_lr"] * scheduler.lr_lambdas[index](0)


def _after(steps: int, factor: Callable[[int], float]) -> Callable[[int], float]:
    return lambda step: factor(step) if step >= steps else 0.0
