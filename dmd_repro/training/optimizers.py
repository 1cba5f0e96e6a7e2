"""The optimizers a system may name: torch's Adam, and Keras' form of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dmd_repro.systems.config import TrainConfig


def make_optimizer(
    groups: list[dict[str, Any]], config: TrainConfig, *, captured: bool, on_gpu: bool
) -> torch.optim.Optimizer:
    """Return the optimizer of one seed; a group's own `lr` and `weight_decay` win over the configuration's."""
    shared: dict[str, Any] = {
        "lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_eps,
        "weight_decay": config.weight_decay,
    }  # fmt: skip
    if config.optimizer == "adam_keras":
        return KerasAdam(groups, **shared)
    return torch.optim.Adam(groups, **shared, capturable=captured, fused=on_gpu or None)


class KerasAdam(torch.optim.Optimizer):
    """Adam as Keras 2 computes it: p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), eps not corrected."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                grad: Tensor = p.grad if not group["weight_decay"] else p.grad + group["weight_decay"] * p
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] += 1
                t = int(state["step"])
                state["exp_avg"].lerp_(grad, 1 - first)
                state["exp_avg_sq"].mul_(second).addcmul_(grad, grad, value=1 - second)
                rate = float(group["lr"]) * (1 - second**t) ** 0.5 / (1 - first**t)
                p.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(group["eps"]), value=-rate)
        return None
