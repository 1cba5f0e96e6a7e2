"""The library's functions and the structs they take, field by field as in `source/kernels.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmd_repro.nn.compiled.build import Instructions, NotCompiled
from dmd_repro.nn.kernels.watch import causal_pairs, did

OF_MASKS = ("keys", "noise", "least", "scales")
OF_CALL = ("heads", "width", "queries", "keys_n", "causal", "offset", "encoders", "draws_s", "draws_e", "rows", "step",
           "pieces", "threads")  # fmt: skip
STEPS = tuple(f"{x}_{axis}" for x in "qkv" for axis in "gbt")  # between groups, clips and rows
PARAMETERS = (
    "norm1_w", "norm1_b", "in_w", "in_b", "out_w", "out_b", "norm2_w", "norm2_b", "fc1_w", "fc1_b", "fc2_w", "fc2_b",
)  # fmt: skip
PLACES = ("out", "relu", "last")  # of a layer's dropout behind its maps, in the order it is drawn
LANES = 16
Struct = type[ctypes.Structure]
WIDEST = 12  # of the heads that are compiled


def struct(name: str, tensors: Sequence[str], numbers: Sequence[str], reals: Sequence[str] = ()) -> Struct:
    """Return a struct of addresses, real numbers, then whole ones; what a call does not name is null or 0."""
    fields: list[tuple[str, Any]] = [*((n, ctypes.c_void_p) for n in tensors), *((n, ctypes.c_double) for n in reals)]
    fields += [(n, ctypes.c_int64) for n in numbers]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


AttentionCall = struct(
    "AttentionCall",
    ("q", "k", "v", "bias", *OF_MASKS, "out", "inverse", "shifts", "grad", "dq", "dk", "dv"),
    (*STEPS, "groups", "clips", *OF_CALL),
)
LayerCall = struct(
    "LayerCall",
    (
        "x", "key", "value", "bias", "read", *OF_MASKS, "drawn", *PARAMETERS, "kept", "y", "grad", "dx", "dkey",
        "dvalue", "dread", *(f"g_{name}" for name in PARAMETERS), "room",
    ),
    ("groups", "clips", "drawn_s", *(f"least_{place}" for place in PLACES), *OF_CALL),
    [f"scale_{place}" for place in PLACES],
)  # fmt: skip
TurnCall = struct("TurnCall", ("from", "to"), ("n", "rows", "columns", "to_lanes", "threads"))
BeginCall = struct(
    "BeginCall",
    ("x", "table", "noise", "keys0", "keys1", "y0", "y1", "rate0", "rate1", "grad0", "grad1", "dx"),
    ("groups", "clips", "steps", "width", "encoders", "draws_s", "least", "normed", "threads"),
    ("factor", "scale"),
)
FinishCall = struct(
    "FinishCall",
    ("x", "weight", "shift", "y", "stats", "grad", "dx", "g_weight", "g_shift", "sums"),
    ("groups", "clips", "steps", "width", "threads"),
)
STRUCTS = (AttentionCall, LayerCall, TurnCall, BeginCall, FinishCall)


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a struct that are given, tensors as addresses."""
    return {k: x.data_ptr() if isinstance(x, Tensor) else x for k, x in fields.items() if x is not None}


def product(how: Mapping[str, Any], d: int) -> float:
    """Return the operations of one product of visible queries and keys, of all heads together `d` wide."""
    pairs = causal_pairs(how["queries"], how["keys_n"], how["offset"] if how["causal"] else None)
    return 2.0 * how["groups"] * how["clips"] * d * pairs


def torch_threads() -> tuple[int, int] | None:
    """Return the addresses of GOMP_parallel and omp_get_num_threads in the OpenMP that torch loaded; None: not found.

    Several may be loaded (scikit-learn brings its own); only torch's knows torch's threads.
    """
    home = Path(torch.__file__).parent
    with suppress(OSError, AttributeError):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        places = sorted({"/" + line.partition("/")[2] for line in maps if "/" in line})
        for path in places:
            of_torch = path.startswith((f"{home}/", f"{home.parent}/torch.libs/"))
            if of_torch and Path(path).name.startswith(("libgomp", "libomp", "libiomp")):
                omp = ctypes.CDLL(path)
                found = [ctypes.cast(f, ctypes.c_void_p).value for f in (omp.GOMP_parallel, omp.omp_get_num_threads)]
                return (found[0], found[1]) if found[0] and found[1] else None
    return None


class Library:
    """The compiled functions."""

    def __init__(self, loaded: ctypes.CDLL, instructions: Instructions) -> None:
        """Raises NotCompiled if the library is not the one of this source."""
        self.loaded, self.instructions = loaded, instructions
        for one in (loaded.kernels_size, loaded.kernels_layer_room, loaded.kernels_layer_kept):
            one.restype = ctypes.c_int64
        if any(loaded.kernels_size(i) != ctypes.sizeof(one) for i, one in enumerate(STRUCTS)):
            raise NotCompiled("the library does not fit this version")
        if found := torch_threads():
            loaded.kernels_share_threads.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
            loaded.kernels_share_threads(*found)

    def run(self, name: str, struct: Struct, fields: Mapping[str, Any], flops: float = 0.0) -> None:
        """Call a function with a struct of tensors' addresses and numbers; `flops`: what its products take."""
        getattr(self.loaded, name)(ctypes.byref(struct(**plain(fields), threads=torch.get_num_threads())))
        did(flops, *(x for x in fields.values() if isinstance(x, Tensor)))

    def size(self, name: str, struct: Struct, fields: Mapping[str, Any]) -> int:
        """Return how many float32 a call needs; `name` says what for."""
        found: int = getattr(self.loaded, name)(ctypes.byref(struct(**plain(fields))))
        return found
