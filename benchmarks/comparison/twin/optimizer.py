"""AdamW as in emi_jax: warm-up and cosine, decay by parameter path, clipping by the global norm."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn


def schedule(learning_rate: float, final_rate: float, warmup_steps: int, steps: int) -> Callable[[int], float]:
    """Linear warm-up from 0, then a cosine down to `final_rate` at the last step."""

    def rate(step: int) -> float:
        if step < warmup_steps:
            return learning_rate * step / warmup_steps
        done = min((step - warmup_steps) / (steps - warmup_steps), 1.0)
        return final_rate + (learning_rate - final_rate) * (1 + math.cos(math.pi * done)) / 2

    return rate


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is weight-decayed by the usual rule of PyTorch recipes."""
    del name
    return parameter.ndim > 1


def adamw(
    module: nn.Module, weight_decay: float, decays: Callable[[str, nn.Parameter], bool] = is_matrix
) -> torch.optim.AdamW:
    """Fused AdamW in two groups.

    Args:
        module: its parameters with `requires_grad` are trained.
        weight_decay: weight decay of the first group.
        decays: whether a parameter belongs to the first group.
    """
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    groups = [
        {"params": [value for name, value in trained.items() if decays(name, value) == kind], "weight_decay": decay}
        for kind, decay in ((True, weight_decay), (False, 0.0))
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def make_step(
    model: Callable, optimizer: torch.optim.AdamW, rate: Callable[[int], float], clip_norm: float
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    """One training step: a function of a batch that returns the loss."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    taken = 0

    def step(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        nonlocal taken
        for group in optimizer.param_groups:
            group["lr"] = rate(taken)
        taken += 1
        optimizer.zero_grad(set_to_none=True)
        loss, _ = model(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, clip_norm, foreach=True)
        optimizer.step()
        return loss.detach()

    return step
