"""The library's functions and the structs they take, field by field as in `source/kernels.cpp`."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from dmd_repro.nn.compiled.build import NotCompiled

TENSORS = (
    "q", "k", "v", "bias", "keys", "noise", "least", "scales", "out", "inverse", "shifts", "grad", "dq", "dk", "dv",
)  # fmt: skip
NUMBERS = (
    "q_g", "q_b", "q_t", "k_g", "k_b", "k_t", "v_g", "v_b", "v_t", "groups", "clips", "heads", "width", "queries",
    "keys_n", "causal", "offset", "encoders", "draws_s", "draws_e", "rows", "step", "pieces", "threads",
)  # fmt: skip
WIDEST = 12  # of the heads that are compiled


class AttentionCall(ctypes.Structure):
    """One call of attention: addresses of tensors, then numbers; what is not named is null or 0."""

    _fields_ = [*((n, ctypes.c_void_p) for n in TENSORS), *((n, ctypes.c_int64) for n in NUMBERS)]


class Library:
    """The compiled functions."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        """Raises NotCompiled if the library is not the one of this source."""
        self.loaded = loaded
        loaded.kernels_size.restype = ctypes.c_int64
        if loaded.kernels_size(0) != ctypes.sizeof(AttentionCall):
            raise NotCompiled("the library does not fit this version")

    def run(self, name: str, struct: type[ctypes.Structure], **fields: Any) -> None:
        """Call a function with a struct of tensors' addresses and numbers; the tensors live until it returns."""
        plain = {k: x.data_ptr() if isinstance(x, Tensor) else x for k, x in fields.items() if x is not None}
        getattr(self.loaded, name)(ctypes.byref(struct(**plain, threads=torch.get_num_threads())))
