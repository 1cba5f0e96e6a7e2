"""A state_dict under the names of an earlier system's reference: which system it is of, its model, and ours as one.

Sizes are read from the tensors by a function of the system's own (`System.official`); what they cannot tell is the
preset's of the data set, unless it is given.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmd_repro.errors import DataError, DmdError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.state_file import INERT, StateFile, read_state, refuse_names
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask, Scalar
from dmd_repro.systems.build import construct
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.declare import Setting, System
from dmd_repro.systems.plain import OneSeed, own_tensors
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.state import BERT_PREFIX
from dmd_repro.systems.told import INPUTS, Shapes, Told

SEED = "seed"  # given beside the settings, where a system draws in evaluation
_BERT = re.compile(r"(^|\.)(embeddings|encoder\.layer|pooler)\.")


@dataclass(frozen=True, slots=True)
class PlainState:
    """A state_dict as it was read, and the system whose names it is read by."""

    where: str
    system: System
    file: StateFile  # without its BERT
    bert: Mapping[str, Tensor] = field(default_factory=dict)  # by BERT's own names; empty without one

    @property
    def shapes(self) -> Shapes:
        """The shape of every tensor by the reference's name."""
        return {name: tuple(x.shape) for name, x in self.file.tensors.items()}

    @property
    def in_file(self) -> set[str]:
        """Every name as the file has it: another system is recognised by them."""
        return {self.file.in_file(name) for name in self.file.tensors}


@dataclass(frozen=True, slots=True)
class Settled:
    """The model of a state_dict on features of these sizes, as its tensors and what is assumed make it."""

    config: TrainConfig
    told: Told
    dims: Mapping[str, int]
    steps: Mapping[str, int]
    assumed: Mapping[str, Scalar]
    preset: TrainConfig
    protocol: str
    seed: int = 0  # of what it draws in evaluation


def read_plain(source: Path | io.BytesIO, system: System, where: str) -> PlainState:
    """Read a state_dict by the names of a system's reference; nothing in it is executed.

    Raises SpecError where the names of the system are not known, DataError for what is no state_dict.
    """
    if not system.official:
        raise SpecError.at(
            f"--model {system.name}", expected=f"a system whose reference's names are known ({', '.join(readable())})",
            got=system.no_official or "another", do="Name the run, its folder or its checkpoint.safetensors",
        )  # fmt: skip
    file = read_state(source, names_of(system.name), where)
    for begin in sorted(system.bert_names.values(), key=len, reverse=True):
        if bert := {n.removeprefix(begin): x for n, x in file.tensors.items() if n.startswith(begin)}:
            net = {n: x for n, x in file.tensors.items() if not n.startswith(begin)}
            return PlainState(where, system, replace(file, tensors=net), bert)
    return PlainState(where, system, file)


def readable() -> tuple[str, ...]:
    """Return the systems that ship whose files can be read."""
    return (official.SYSTEM, *(name for name in SHIPPED if find_system(name).official))


@cache
def names_of(name: str) -> frozenset[str]:
    """Return every name the nets of a system give their tensors, in all its presets for synthetic data."""
    system = find_system(name)
    found: set[str] = set()
    for aligned in (True, False):
        for protocol in system.protocols:
            config = system.preset("synthetic", aligned=aligned, protocol=protocol)
            if not aligned and system.inputs.unaligned_by:
                config = config.with_overrides({"align": system.inputs.unaligned_by})
            steps = {"l": 1, "a": 1 if aligned else 2, "v": 1 if aligned else 2}
            found |= set(_tensors(_build(system, config, dict.fromkeys(MODALITIES, 2), steps)))
    return frozenset(found)


def likely(names: set[str]) -> str:
    """Return the system that most of some names are of, whatever stands before them; "" where few are of any."""
    names = {name for name in names if not _BERT.search(name)}  # which many systems hold
    ends = [{".".join(parts[i:]) for i in range(len(parts))} for parts in (name.split(".") for name in names)]
    found = {official.SYSTEM: official.reference_names()}
    found |= {name: names_of(name) for name in readable() if name != official.SYSTEM}
    every: set[str] = set().union(*ends)
    # the share of the file's names that are a system's, then the share of the system's that the file has
    score = {
        name: (sum(bool(known & end) for end in ends), len(known & every) / len(known)) for name, known in found.items()
    }
    best = max(score, key=lambda name: score[name])
    return best if names and score[best][0] >= 0.8 * len(names) else ""


def refuse_other(where: str, names: set[str], model: str) -> None:
    """Raise DataError naming the system whose checkpoint it seems to be, where that is another than the model."""
    kept = {n for n in names if not n.endswith(INERT)}
    if (other := likely(kept)) not in ("", model):
        raise DataError.at(
            where, expected=f"a checkpoint of {model}", got=f"the names of {other}", do=f"Add --model {other}"
        )


def settle(
    state: PlainState, setting: Setting, dims: Mapping[str, int], steps: Mapping[str, int],
    given: Mapping[str, str | Scalar],
) -> Settled:  # fmt: skip
    """Read every setting that tensors tell; the others are `given`, or the preset's. `dims`, `steps` of the features.

    The protocol of `setting` counts where no tensor tells it. Raises DataError where the names are another model's or
    the tensors cannot predict, SpecError on a setting in `given` that the tensors tell themselves.
    """
    system = state.system
    preset = system.preset_for(setting.dataset, aligned=setting.aligned, protocol=setting.protocol)
    try:
        told = system.told(state.shapes, steps)
    except (KeyError, IndexError, ValueError):
        refuse_other(state.where, state.in_file, system.name)
        wanted = _tensors(_build(system, preset, dims, steps))
        refuse_names(state.file, _core(set(state.shapes)), _core(set(wanted)), system.title)
        raise DataError.at(
            state.where, expected=f"the shapes of {system.title}", got="others", do="Check which model wrote this file"
        ) from None
    if told.missing:
        refuse_other(state.where, state.in_file, system.name)
        raise DataError.at(state.where, expected=told.missing, got="none of them in the file", do=told.mend)
    if told.protocol:
        setting = replace(setting, protocol=told.protocol)
        preset = system.preset_for(setting.dataset, aligned=setting.aligned, protocol=told.protocol)
    config = preset.from_dict({**preset.to_dict(), **told.settings})
    seed, given = _seed(told, given), {name: value for name, value in given.items() if name != SEED or not told.draws}
    for name in given:
        if name not in told.open:
            known = (*told.open, SEED) if told.draws else told.open
            raise SpecError.at(
                f"--set {name}", expected=f"a setting that no tensor tells ({', '.join(known)})", got="another",
                do="Drop it",
            )  # fmt: skip
    if scaled := f"{INPUTS}visual_scale.largest" in state.shapes:
        config = config.with_overrides({"visual_scale": "train_max"})
    config = config.with_overrides(given)
    unsaid = [n for n in told.open if n not in given and not (n == "visual_scale" and scaled)]
    assumed: dict[str, Scalar] = {name: getattr(config, name) for name in unsaid}
    if draws(told, config) and seed is None:
        assumed[SEED] = 0
    return Settled(config, told, dims, steps, assumed, preset, setting.protocol, seed or 0)


def draws(told: Told, config: TrainConfig) -> bool:
    """Tell whether evaluation draws at random under a configuration, so that its seed is part of the answer."""
    return bool(told.draws) and bool(getattr(config, told.draws))


def _seed(told: Told, given: Mapping[str, str | Scalar]) -> int | None:
    """Return the seed that is given, None where none is; raises SpecError on what is none."""
    if not told.draws or SEED not in given:
        return None
    text = str(given[SEED]).strip()
    if not text.isdecimal() or int(text) >= 2**32:
        raise SpecError.at(f"--set {SEED}", expected="a seed below 2^32", got=repr(text), do=f"Write --set {SEED}=1111")
    return int(text)


def misfit(state: PlainState, told: Told, dims: Mapping[str, int], steps: Mapping[str, int], name: str) -> None:
    """Raise DataError where the features of a name have a width or a length the tensors are not made for."""
    made = {m: told.steps.get(m, steps[m]) for m in MODALITIES}
    if odd := official.misfit(state.where, told.dims, made, dims, steps, name):
        raise odd
    if told.joint and told.joint != sum(dims.values()):
        raise DataError.at(
            state.where, expected=f"features of {told.joint} channels together, which its tensors are made for",
            got=f"{' + '.join(str(dims[m]) for m in MODALITIES)} in '{name}'",
            do="Name the feature set it was trained on with --data, or another --text",
        )  # fmt: skip


def build_plain(state: PlainState, settled: Settled, train: Mapping[str, NDArray[Any]] | None = None) -> OneSeed:
    """Return the model with the file's weights; statistics of the training split that it lacks are taken from `train`.

    Raises DataError where names are missing or unknown, or a tensor has another shape.
    """
    one = _build(state.system, settled.config, settled.dims, settled.steps, settled.seed)
    own, got = _tensors(one), state.file.tensors
    if _core(set(got)) != _core(set(own)):
        refuse_other(state.where, state.in_file, state.system.name)
        refuse_names(state.file, _core(set(got)), _core(set(own)), state.system.title)
    if train is not None and not any(name.startswith(INPUTS) for name in got):
        one.system.fit_inputs(train)
    with torch.no_grad():
        for name, tensor in own.items():
            if name not in got:
                continue
            if tuple(got[name].shape) != tuple(tensor.shape):
                raise DataError.at(
                    f"{state.where}, {state.file.in_file(name)}",
                    expected=f"shape {tuple(tensor.shape)}, as its other tensors and these features have it",
                    got=str(tuple(got[name].shape)), do="Check that one model wrote the whole file, and --data",
                )  # fmt: skip
            tensor.copy_(got[name])
    return one


def plain_bytes(weights: Mapping[str, NDArray[Any]], system: str, bert: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a `.pth` file: a run's tensors under the reference's names, and what those leave out.

    `bert`: its BERT whole, by the names of those files; in `weights` it is what training moved of one.
    """
    state = {
        name.removeprefix(f"{system}/"): torch.from_numpy(np.array(value))  # a copy: 0 axes stay 0
        for name, value in weights.items()
        if not name.startswith(f"{system}/{BERT_PREFIX}")
    }
    state |= bert
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What an export gives to who reads it."""

    model: OneSeed
    state: PlainState
    options: tuple[str, ...]  # what its reader has to add
    beside: tuple[str, ...]  # beginnings of names that are in the file and in none of the reference's


def read_back(
    content: bytes, system: System, setting: Setting, config: TrainConfig, where: str, dims: Mapping[str, int],
    steps: Mapping[str, int], seed: int,
) -> ReadBack | None:  # fmt: skip
    """Return the model that the bytes of an export give, None where they give none. `seed` of the run."""
    try:
        state = read_plain(io.BytesIO(content), system, where)
        usual = settle(state, setting, dims, steps, {})
        given: dict[str, str | Scalar] = {
            name: getattr(config, name)
            for name, value in usual.assumed.items()
            if name != SEED and getattr(config, name) != value
        }
        if draws(usual.told, config):
            given[SEED] = seed
        settled = settle(state, setting, dims, steps, given)
        model = build_plain(state, settled)
    except DmdError:
        return None
    begins = (*settled.told.beside, INPUTS)
    beside = tuple(b for b in begins if any(name.startswith(b) for name in state.shapes))
    return ReadBack(model, state, tuple(f"--set {name}={value}" for name, value in given.items()), beside)


def _build(
    system: System, config: TrainConfig, dims: Mapping[str, int], steps: Mapping[str, int], seed: int = 0
) -> OneSeed:
    one: Any = construct(system, config, dims=dims, steps=steps, mask=AblationMask(), seeds=(seed,))
    built: OneSeed = one
    return built


def _tensors(one: OneSeed) -> dict[str, torch.Tensor]:
    return {name: x for name, x in own_tensors(one.system).items() if not name.endswith(INERT)}


def _core(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(INPUTS)}
