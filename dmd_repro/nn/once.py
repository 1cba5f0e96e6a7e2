"""Tensors that depend on plain values alone, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def made_once(size: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function of plain values returns. Whoever asks first, its tensors serve training too.

    Made under `torch.inference_mode`, as an evaluation would, they could not be saved for a backward pass.
    """

    def keep(function: Callable[P, T]) -> Callable[P, T]:
        return lru_cache(maxsize=size)(torch.inference_mode(mode=False)(function))  # type: ignore[return-value]

    return keep
