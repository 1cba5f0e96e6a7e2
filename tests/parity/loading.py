"""Read the reference arrays and put their parameters into our layers."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dmd_repro.nn.layers import named_slices

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference"
VARIANTS = ("", "p/")
DEVICE = torch.device(os.environ.get("DMD_TEST_DEVICE", "cpu"))  # "cuda": the same comparison on a card
INERT = ("version", "embed_positions._float_tensor")  # buffers of the authors' encoders that nothing reads

# key -> (ours, relative tolerance, absolute tolerance)
Computed = dict[str, tuple[Any, Any, Any]]


def keys(name: str) -> list[str]:
    """Return the keys of a reference file, whose arrays are not read for it; ["absent"] where there is no file."""
    if not (path := FOLDER / f"{name}.npz").exists():
        return ["absent"]
    with np.load(path, allow_pickle=False) as file:
        return list(file.files)


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """Return every array of a reference file by key."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def state(reference: dict[str, np.ndarray], variant: str) -> dict[str, np.ndarray]:
    """Return the parameters of a variant by the authors' names; "p/" replaces the constant-initialised ones."""
    found = {k[6:]: v.astype(np.float32) for k, v in reference.items() if k.startswith("state/")}
    if variant:
        found |= {k[5:]: v.astype(np.float32) for k, v in reference.items() if k.startswith("pert/")}
    return found


def load(module: nn.Module, values: dict[str, np.ndarray], prefix: str = "") -> None:
    """Copy parameters by name; a parameter of ours without a value raises KeyError."""
    with torch.no_grad():
        for name, parameter, e in named_slices(module):
            parameter[0, e].copy_(torch.from_numpy(values[name.removeprefix(prefix)]))
