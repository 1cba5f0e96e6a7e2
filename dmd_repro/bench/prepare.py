"""From a case to features and a resolved spec; whatever is wrong with it is said before anything is measured."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmd_repro.bench.types import Case, Prepared
from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import is_synthetic, parse_synthetic
from dmd_repro.errors import SpecError
from dmd_repro.seeds import FIRST_SEED
from dmd_repro.spec import RunSpec
from dmd_repro.systems.base import as_module
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.dmd.switches import SWITCHES
from dmd_repro.systems.registry import full_name
from dmd_repro.systems.resolve import resolve_spec, why_not_stacked
from dmd_repro.training.build import build
from dmd_repro.training.execution import check_precision
from dmd_repro.training.fit import Execution

COPIES = 4  # of each parameter that training holds: weight, gradient and Adam's two moments


def features_of(case: Case, store: Store) -> Features:
    """Return the features of a case. Clips generated in MOSI's sizes take MOSI's configuration too.

    Raises DataError where there are none of that name and setting, SpecError on a length they cannot be cut to.
    """
    found = load_features(case.data, store, aligned=case.aligned)
    if is_synthetic(case.data) and parse_synthetic(case.data, aligned=case.aligned)[2] == "mosi":
        found = replace(found, dataset="mosi")
    return found if case.length is None else cut(found, case.length)


def cut(features: Features, length: int) -> Features:
    """Return the same clips with at most the last `length` acoustic and visual steps (padding comes first)."""
    most = max(features.steps[m] for m in "av")
    if not 1 <= length <= most or features.aligned:
        raise SpecError.at(
            f"--lengths {length}",
            expected="aligned features as they are" if features.aligned else f"1 to {most} steps ({features.name})",
            got="a length" if features.aligned else str(length),
            do="Add --setting unaligned" if features.aligned else "Name a shorter one",
        )

    def shorter(split: FeatureSet) -> FeatureSet:
        lengths = {m: x if m == "l" else np.minimum(x, length) for m, x in split.lengths.items()}
        # the digest stays that of the whole: nothing here is recorded under it
        return replace(split, acoustic=split.acoustic[:, -length:], visual=split.visual[:, -length:], lengths=lengths)

    return replace(features, splits={name: shorter(split) for name, split in features.splits.items()})


def specs_of(case: Case, features: Features) -> list[RunSpec]:
    """Return one spec for each seed of the stack; raises as `resolve_spec`."""
    first = resolve_spec(
        case.model,
        seed=FIRST_SEED,
        features=features,
        protocol=case.protocol,
        mask=case.mask,
        overrides=case.overrides,
    )
    return [replace(first, seed=FIRST_SEED + i) for i in range(case.stack)]


def prepare(case: Case, store: Store) -> Prepared:
    """Understand a case and return it with its spec; raises SpecError or DataError for whatever cannot be measured."""
    device = Execution(device=case.device, threads=case.threads).prepare()
    features = features_of(case, store)
    spec = specs_of(replace(case, stack=1), features)[0]
    check_precision(spec, case.device)
    if case.stack > 1 and (reason := why_not_stacked(spec)):
        raise SpecError.at(f"--stack {case.stack}", expected="one seed at a time", got=reason, do="Write --stack 1")
    if spec.config.get("bert"):
        raise SpecError.at(f"--data {case.data}", expected="text as vectors", got="token ids", do="Name other features")
    if case.against:
        refuse_against(spec, features)
    one = as_module(build(spec, features, torch.device("cpu")))
    held = COPIES * case.stack * sum(p.numel() * p.element_size() for p in one.parameters())
    if held > (free := free_memory(device)):
        raise SpecError.at(
            f"--stack {case.stack}", expected=f"a stack that fits in memory ({free / 1e9:.1f} GB are free)",
            got=f"one whose weights, gradients and moments alone take {held / 1e9:.1f} GB", do="Lower --stack",
        )  # fmt: skip
    steps = "/".join(str(features.steps[m]) for m in "lav")
    title = f"{full_name(spec.model, spec.config)} ({spec.mask.label}, {spec.protocol}), {case.data}, {steps} steps"
    return Prepared(case, spec, f"{title}, stack {case.stack}, {case.device}, {case.threads} thread(s)")


def refuse_against(spec: RunSpec, features: Features) -> None:
    """Raise SpecError where the plain implementation cannot compute what a spec asks for."""
    usual = DMDConfig()
    odd = [f"the model {spec.model}"] if spec.model != "dmd" else []
    odd += [f"the mask {spec.mask.label}"] if spec.mask.off else []
    odd += [f"the protocol {spec.protocol}"] if spec.protocol != "official" else []
    if not odd:
        names = {s.name for s in SWITCHES if s.group != "training" and s.name != "padding"}
        settled = {n: getattr(usual, n) for n in (*names, "modalities", "clip_norm", "precision")} | dict(spec.neutral)
        odd = [f"{n}={spec.config[n]}" for n, value in sorted(settled.items()) if spec.config[n] != value]
        if spec.config["d"] in features.dims.values():
            odd.append(f"features that are {spec.config['d']} wide already (--set d)")
    if odd:
        raise SpecError.at(
            "--against plain", expected="dmd, whole, official (padding may be masked)", got=" and ".join(odd),
            do="Drop one of the two",
        )  # fmt: skip


def free_memory(device: torch.device) -> float:
    """Return the bytes that are free on a device; infinity where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return float("inf")


def machine() -> dict[str, Any]:
    """Return the processor and the number of its cores, as far as the system tells."""
    name = platform.processor()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return {"processor": name, "cores": os.cpu_count()}
