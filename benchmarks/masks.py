"""The 16 masks of DMD at MOSI's sizes: parameters, loss terms and time of a step, into docs/deviations.md.

`python benchmarks/masks.py [--steps 12]`: work (floating-point operations of the matrix products) and processor time of
one thread, for forward, losses and backward on 16 clips; the time is the shortest of a few steps, taken in turns over
the masks. A test compares all columns but the time.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import torch
from sections import write_section

from dmd_repro.bench.roofline import count
from dmd_repro.nn import compiled
from dmd_repro.render.markdown import grid_lines
from dmd_repro.results.masks import all_masks, parts_on
from dmd_repro.results.sheet import TextGrid
from dmd_repro.spec import AblationMask
from dmd_repro.systems import losses
from dmd_repro.systems.base import Batch
from dmd_repro.systems.dmd.model import DMD

DEVIATIONS = Path(__file__).resolve().parents[1] / "docs" / "deviations.md"
DIMS = {"l": 300, "a": 5, "v": 20}  # MOSI with GloVe
STEPS = {"l": 50, "a": 50, "v": 50}  # aligned
CLIPS = 16


def model_of(off: tuple[str, ...]) -> DMD:
    """Build one mask with the authors' configuration for MOSI."""
    config = DMD.preset("mosi", aligned=True, protocol="official")
    return DMD(config, dims=DIMS, steps=STEPS, mask=AblationMask(off), seeds=(1111,))


def batch_of(seed: int = 0) -> Batch:
    """Random clips of MOSI's sizes."""
    draw = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(1, CLIPS, STEPS[m], DIMS[m], generator=draw) for m in DIMS}
    lengths = {m: torch.full((1, CLIPS), STEPS[m]) for m in DIMS}
    return Batch(inputs, torch.randint(-15, 16, (1, CLIPS), generator=draw) / 5.0, lengths)


def facts(off: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Return what a mask is made of: the parts on, its parameters, its loss terms by kind, GFLOP of a step."""
    model = model_of(off).train()
    model.stream.restart([1], torch.device("cpu"))
    batch = batch_of()
    terms: dict[str, torch.Tensor] = {}

    def step() -> None:
        terms.update(model.loss_terms(model(batch), batch))
        losses.total(terms, model.loss_weights()).sum().backward()

    with patch.object(compiled, "compiled_kernels", lambda x: None):  # the way that every machine has
        counted = count(step, lambda: None, 1)
    kinds = Counter(name.partition(".")[0] for name in terms)
    words = " + ".join(f"{count} {kind}" for kind, count in kinds.items())
    parameters = sum(p.numel() for p in model.parameters())
    return parts_on(off), f"{parameters:,}", words, f"{counted.flops / 1e9:.4f}"


def milliseconds(masks: list[tuple[str, ...]], steps: int) -> list[float]:
    """Return the processor time of a training step of each mask, without the optimizer's."""
    models, batch = [model_of(off).train() for off in masks], batch_of()
    found: list[list[float]] = [[] for _ in masks]
    for _ in range(steps + 1):  # the first round warms up
        for model, times in zip(models, found, strict=True):
            model.stream.restart([1], torch.device("cpu"))
            started = time.process_time()
            model.zero_grad()
            losses.total(model.loss_terms(model(batch), batch), model.loss_weights()).sum().backward()
            times.append(1000 * (time.process_time() - started))
    return [min(times[1:]) for times in found]


def main() -> None:
    """Measure all masks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    masks = all_masks()
    times = milliseconds(masks, steps)
    rows = tuple((*facts(off), f"{each:.0f}") for off, each in zip(masks, times, strict=True))
    headers = ("parts on", "parameters", "loss terms", "GFLOP a step", "ms a step")
    grid = TextGrid("", headers, "lrlrr", rows)
    words = (
        "The 16 masks at MOSI's sizes (GloVe, aligned, 16 clips) under `official`: forward, losses, backward. GFLOP: "
        "of the matrix products, exact. Time: processor milliseconds of one thread, the shortest of a few steps on a "
        "shared machine; a few per cent of it are noise, so that beside the crossmodal encoders (ca) the other parts "
        "hardly show. Made by `python benchmarks/masks.py`."
    )
    write_section(DEVIATIONS, "masks", "\n".join([words, "", *grid_lines(grid)]))


if __name__ == "__main__":
    main()
