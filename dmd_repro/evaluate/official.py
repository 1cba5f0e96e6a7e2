"""The authors' checkpoints: a state_dict under their names, read without executing anything, and ours written as one.

A state_dict holds tensors and no settings. NetSizes are read from the tensors; the number of attention heads, which no
tensor tells, is the data set's preset unless it is given. Graph units are not in these files: they only teach.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate.state_file import StateFile, read_state, refuse_names
from dmd_repro.nn.layers import named_slices
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES
from dmd_repro.spec import AblationMask
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.state import BERT_PREFIX, write_weights

SYSTEM = "dmd"
NOT_SAVED = ("homogd", "heterogd")  # the graph units: no prediction passes through them
_PARTS = {"fd": ("encoder_s_", "encoder_c.", "decoder_", "align_c_", "proj_cosine_"), "ca": ("trans_",)}


@dataclass(frozen=True, slots=True)
class NetSizes:
    """What the tensors tell of the model they belong to."""

    config: DMDConfig
    dims: Mapping[str, int]  # feature width of l, a, v
    steps: Mapping[str, int]  # time steps of l, a, v
    mask: AblationMask


@dataclass(frozen=True, slots=True)
class OfficialState:
    """A state_dict as it was read."""

    where: str
    weights: Mapping[str, NDArray[Any]]  # by the authors' name behind "dmd/"
    bert: Mapping[str, Tensor]  # names below text_model.model.; empty without BERT
    file: StateFile  # the tensors by the names in the file, and where they lay in it


def read_official(source: Path | io.BytesIO, where: str = "") -> OfficialState:
    """Read a state_dict file in whatever wrapping, by torch's restricted unpickler: nothing in it is executed.

    Raises DataError for anything else: another pickle, a damaged file, tensors without plain values.
    """
    found = read_state(source, reference_names(), where or str(source))
    kept = found.tensors
    return OfficialState(
        where=found.where,
        weights={f"{SYSTEM}/{n}": v.numpy() for n, v in kept.items() if not n.startswith(BERT_PREFIX)},
        bert={n.removeprefix(BERT_PREFIX): v for n, v in kept.items() if n.startswith(BERT_PREFIX)},
        file=found,
    )


@cache
def reference_names() -> frozenset[str]:
    """Return the names the authors' code gives its tensors, of the smallest model there is: enough to know it by."""
    preset = DMD.preset("mosi", aligned=True, protocol="official")
    return frozenset(_names(replace(preset, d=1, heads=1, layers=1, kernel_l=1, kernel_a=1, kernel_v=1), NOT_SAVED))


def _names(config: DMDConfig, off: Sequence[str]) -> set[str]:
    model = DMD(
        config, dims=dict.fromkeys(MODALITIES, 2), steps=dict.fromkeys(MODALITIES, 1), mask=AblationMask(tuple(off))
    )
    return {name.removeprefix(f"{SYSTEM}/") for name, _, _ in named_slices(model)}


def sizes_of(state: OfficialState, dataset: str, heads: int | None = None) -> NetSizes:
    """Read every size from the tensors; `heads` is the preset's of the data set unless given.

    Raises DataError listing the names that are missing or unknown.
    """
    preset = cast(DMDConfig, find_system(SYSTEM).preset_for(dataset, aligned=True, protocol="official"))
    names = {name.removeprefix(f"{SYSTEM}/") for name in state.weights}
    off = [part for part, begins in _PARTS.items() if not any(_of(part, name, begins) for name in names)]
    mask = AblationMask((*off, *NOT_SAVED))
    layers = _layers(names) or preset.layers
    wanted = _names(replace(preset, d=1, heads=1, layers=layers, kernel_l=1, kernel_a=1, kernel_v=1), mask.off)
    refuse_names(state.file, names, wanted, "a DMD")

    def shape(name: str) -> tuple[int, ...]:
        return tuple(state.weights[f"{SYSTEM}/{name}.weight"].shape)

    d, heads = next(iter(shape("proj1_l_low")), 0), heads or preset.heads
    if d < 1 or any(
        len(shape(f"proj_{m}")) != 3 or len(shape(f"proj1_{m}_low")) != 2 or not all(shape(f"proj_{m}"))
        for m in MODALITIES
    ):
        raise DataError.at(
            state.where, expected="the shapes of a DMD", got="others", do="Check which model wrote this file"
        )
    if d % heads:
        raise SpecError.at(
            f"{state.where} (width {d})", expected=f"a multiple of {heads} attention heads, which no tensor tells",
            got=str(d), do="Give its heads: --heads N",
        )  # fmt: skip
    dims, steps, kernels = {}, {}, {}
    for m in MODALITIES:
        _, dims[m], kernels[m] = shape(f"proj_{m}")
        if dims[m] == d:  # the convolution is in the file, but skipped
            kernels[m] = 1
        steps[m] = shape(f"proj1_{m}_low")[1] // d + kernels[m] - 1  # the homo heads take d * T', T' = T - kernel + 1
    config = replace(
        preset, d=d, heads=heads, layers=layers,
        kernel_l=kernels["l"], kernel_a=kernels["a"], kernel_v=kernels["v"],
    )  # fmt: skip
    return NetSizes(config, dims, steps, mask)


def _of(part: str, name: str, begins: Sequence[str]) -> bool:
    return name.startswith(tuple(begins)) and not (part == "ca" and "_mem." in name)


def _layers(names: set[str]) -> int:
    return len({n.split(".")[2] for n in names if n.startswith("self_attentions_c_l.layers.")})


def build_official(state: OfficialState, sizes: NetSizes) -> DMD:
    """Return the model a state_dict belongs to, with its weights; raises DataError where a tensor has another shape."""
    model = DMD(sizes.config, dims=sizes.dims, steps=sizes.steps, mask=sizes.mask)
    known = {name for name, _, _ in named_slices(model)}
    weights = {n: v for n, v in state.weights.items() if n in known or not n.startswith(f"{SYSTEM}/proj_")}
    for name, p, _ in named_slices(model):
        if (got := tuple(weights[name].shape)) != (wanted := tuple(p.shape[2:])):
            raise DataError.at(
                f"{state.where}, {state.file.in_file(name.removeprefix(f'{SYSTEM}/'))}",
                expected=f"shape {wanted}, as its other tensors have it", got=str(got),
                do="Check that one model wrote the whole file",
            )  # fmt: skip
    write_weights(model, weights, SYSTEM, state.where)
    return model


def misfit(
    where: str,
    dims: Mapping[str, int],
    steps: Mapping[str, int],
    features_dims: Mapping[str, int],
    features_steps: Mapping[str, int],
    name: str,
) -> DataError | None:
    """Return why a checkpoint cannot read these features: a width or a length that its tensors are not made for."""
    for m in MODALITIES:
        for what, ours, theirs in (
            ("channels", dims.get(m), features_dims.get(m)), ("time steps", steps[m], features_steps[m])
        ):  # fmt: skip
            if ours is not None and theirs is not None and ours != theirs:
                return DataError.at(
                    where,
                    expected=f"features with {ours} {what} of {MODALITY_NAMES[m]}, which its tensors are made for",
                    got=f"{theirs} in '{name}'",
                    do="Name the feature set it was trained on with --data, or another --text",
                )
    return None


def official_bytes(weights: Mapping[str, NDArray[Any]], bert: Mapping[str, Tensor], config: DMDConfig) -> bytes:
    """Return the bytes of a `.pth` file: our weights under the authors' names, with all that their loader expects.

    That is two buffers an encoder, and the convolution that is skipped where a width already is d.
    """
    state: dict[str, Tensor] = {f"{BERT_PREFIX}{name}": value for name, value in bert.items()}
    for name, value in weights.items():
        component, _, own = name.partition("/")
        if component == SYSTEM:
            state[own] = torch.from_numpy(np.ascontiguousarray(value))
    for m in MODALITIES:
        state.setdefault(f"proj_{m}.weight", torch.zeros(config.d, config.d, config.kernel(m)))
    for encoder in sorted({name.rpartition(".layer_norm.")[0] for name in state if ".layer_norm." in name}):
        state[f"{encoder}.version"] = torch.tensor([2.0])
        state[f"{encoder}.embed_positions._float_tensor"] = torch.zeros(1)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
