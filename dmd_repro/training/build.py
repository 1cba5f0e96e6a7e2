"""The model of a spec on its device, as a run starts with it, and the precision it computes in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.nn.bert import Bert
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import RunSpec
from dmd_repro.systems.base import EmotionModel, as_module
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.build import construct
from dmd_repro.systems.plain import plain_of
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.resolve import PRECISIONS


def build(
    spec: RunSpec, features: Features, device: torch.device, bert: Bert | None = None, seeds: Sequence[int] = ()
) -> EmotionModel:
    """Construct the model of a spec with its own initial parameters, on the device; before it, a BERT to be trained.

    `seeds` are those of a stack (default: the spec's own, alone).
    """
    system = find_system(spec.model)
    config = system.config.from_dict(spec.config)
    dims = features.dims if bert is None else {**features.dims, "l": bert.width}
    try:
        model = construct(
            system, config, dims=dims, steps=features.steps, mask=spec.mask, seeds=tuple(seeds) or (spec.seed,)
        )
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise SpecError.at(
            f"model '{spec.model}'", expected="one that fits in memory", got="one that does not", do="Lower --set d"
        ) from None
    return as_module(model if bert is None else WithBert(model, bert)).to(device)  # type: ignore[return-value,arg-type]


def fit_inputs(model: EmotionModel, features: Features) -> None:
    """Let a plain system take its statistics of the training split; nothing else is shown to it."""
    if (plain := plain_of(as_module(model))) is not None:
        plain.fit_inputs({m: np.asarray(features.splits["train"].array(m)) for m in MODALITIES})


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Compute matrix products in a precision; what was set before comes back, since the setting is the process's."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
