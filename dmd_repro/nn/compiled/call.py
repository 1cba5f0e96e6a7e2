"""The library's functions and the structs they take, field by field as in `source/kernels.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dmd_repro.nn.compiled.build import NotCompiled

OF_MASKS = ("keys", "noise", "least", "scales")
OF_CALL = ("heads", "width", "queries", "keys_n", "causal", "offset", "encoders", "draws_s", "draws_e", "rows", "step",
           "pieces", "threads")  # fmt: skip
STEPS = tuple(f"{x}_{axis}" for x in "qkv" for axis in "gbt")  # between groups, clips and rows
PARAMETERS = (
    "norm1_w", "norm1_b", "in_w", "in_b", "out_w", "out_b", "norm2_w", "norm2_b", "fc1_w", "fc1_b", "fc2_w", "fc2_b",
)  # fmt: skip
KEPT = ("stats", "q", "k", "v", "attended", "inverse", "shifts", "middle", "hidden")
LANES = 16
WIDEST = 12  # of the heads that are compiled


def struct(name: str, tensors: Sequence[str], numbers: Sequence[str]) -> type[ctypes.Structure]:
    """Return a struct of addresses, then numbers; what a call does not name is null or 0."""
    fields = [*((n, ctypes.c_void_p) for n in tensors), *((n, ctypes.c_int64) for n in numbers)]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


AttentionCall = struct(
    "AttentionCall",
    ("q", "k", "v", "bias", *OF_MASKS, "out", "inverse", "shifts", "grad", "dq", "dk", "dv"),
    (*STEPS, "groups", "clips", *OF_CALL),
)
LayerCall = struct(
    "LayerCall",
    (
        "x", "key", "value", "bias", *OF_MASKS, *PARAMETERS, *KEPT, "y", "grad", "dx", "dkey", "dvalue",
        *(f"g_{name}" for name in PARAMETERS), "room",
    ),
    ("groups", "clips", *OF_CALL),
)  # fmt: skip
TurnCall = struct("TurnCall", ("from", "to"), ("n", "rows", "columns", "to_lanes", "threads"))
STRUCTS = (AttentionCall, LayerCall, TurnCall)


class Library:
    """The compiled functions."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        """Raises NotCompiled if the library is not the one of this source."""
        self.loaded = loaded
        loaded.kernels_size.restype = loaded.kernels_layer_room.restype = ctypes.c_int64
        if any(loaded.kernels_size(i) != ctypes.sizeof(one) for i, one in enumerate(STRUCTS)):
            raise NotCompiled("the library does not fit this version")

    def run(self, name: str, struct: type[ctypes.Structure], **fields: Any) -> int:
        """Call a function with a struct of tensors' addresses and numbers; the tensors live until it returns."""
        plain = {k: x.data_ptr() if isinstance(x, Tensor) else x for k, x in fields.items() if x is not None}
        found: int = getattr(self.loaded, name)(ctypes.byref(struct(**plain, threads=torch.get_num_threads())))
        return found
