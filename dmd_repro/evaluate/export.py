"""A run of ours as a state_dict under the authors' names, checked by reading it back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dmd_repro.errors import DmdError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import STACKED, Checkpoint
from dmd_repro.evaluate.plain_state import plain_bytes, read_back, readable
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.layers import named_slices
from dmd_repro.seeds import seed_for
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import RunSpec
from dmd_repro.systems.base import Batch
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.build import construct
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.plain import OneSeed
from dmd_repro.systems.registry import find_system
from dmd_repro.systems.state import write_weights
from dmd_repro.training.fit import Execution


def export_official(checkpoint: Checkpoint, execution: Execution) -> tuple[bytes, tuple[str, ...]]:
    """Return a run's weights as the bytes of a `.pth` file under the authors' names, and what a reader must know.

    The bytes are read back and must predict as the run does. Raises SpecError for a run that those names cannot tell.
    """
    spec, data, weights = checkpoint.spec, checkpoint.data, checkpoint.weights
    if spec is None or data is None or weights is None:
        raise SpecError.at(checkpoint.where, expected="a run of ours", got="a state_dict", do="Name a run")
    if spec.model in STACKED:
        return _stacked(checkpoint.where, spec, data, weights, execution)
    if not find_system(spec.model).official:
        raise SpecError.at(
            checkpoint.where, expected=f"a run of a system whose names its authors published ({', '.join(readable())})",
            got=f"a run of {spec.model}", do="Name another run",
        )  # fmt: skip
    return _plain(checkpoint.where, spec, data, weights)


def _plain(
    where: str, spec: RunSpec, data: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
) -> tuple[bytes, tuple[str, ...]]:
    system, dims, steps = find_system(spec.model), data["dims"], data["steps"]
    if spec.config.get("bert"):
        raise SpecError.at(
            where, expected="a run that reads its text as vectors", got="one that reads token ids by a BERT",
            do="Keep it as a run: dmd evaluate scores it as it is",
        )  # fmt: skip
    config = system.config.from_dict(spec.config)
    model: Any = construct(system, config, dims=dims, steps=steps, mask=spec.mask, seeds=(0,))
    write_weights(model, weights, spec.model, where)
    content = plain_bytes(weights, spec.model)
    preset = system.preset_for(spec.dataset, aligned=bool(data["aligned"]), protocol=system.protocols[0])
    again = read_back(content, system, preset, config, where, dims, steps)
    if again is None or _answer(again.model, dims, steps) != _answer(model, dims, steps):
        raise _cannot(where, spec)
    notes = []
    if again.options:
        notes.append(f"no tensor tells all of its input stage: evaluate it with {' '.join(again.options)}")
    if again.beside:
        names = ", ".join(f"{b}*" for b in again.beside)
        notes.append(f"beside the names of the reference, whose own loader knows none of these: {names}")
    return content, tuple(notes)


def _cannot(where: str, spec: RunSpec) -> SpecError:
    return SpecError.at(
        f"{where} ({spec.protocol}, {spec.mask.label})",
        expected="a model that the authors' names can tell",
        got="one whose predictions are others when it is read back from them",
        do="Keep it as a run: dmd evaluate scores it as it is",
    )


def _stacked(
    where: str, spec: RunSpec, data: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], execution: Execution
) -> tuple[bytes, tuple[str, ...]]:
    config = DMD.CONFIG.from_dict(spec.config)
    named = str(spec.config.get("bert") or "")
    bert = load_bert(execution.bert) if named else None
    if bert is not None and bert.fingerprint != named:
        raise SpecError.at(
            f"--bert {execution.bert}", expected=f"the BERT this run names, {named}", got=bert.fingerprint,
            do="Name the folder with those weights",
        )  # fmt: skip
    dims = {**data["dims"], **({"l": bert.width} if bert else {})}
    system = DMD(config, dims=dims, steps=data["steps"], mask=spec.mask)
    model: nn.Module = WithBert(system, bert) if bert and config.bert_finetune else system
    write_weights(model, weights, spec.model, where)
    inside = model.text_model.model.state_dict() if isinstance(model, WithBert) else {}
    slices = {name: p.detach()[0, e].numpy() for name, p, e in named_slices(system)}
    content = official.official_bytes(slices, inside, config)

    state = official.read_official(io.BytesIO(content), where)
    try:
        again = official.build_official(state, official.sizes_of(state, spec.dataset, config.heads))
        same = _answer(again, dims, data["steps"]) == _answer(system, dims, data["steps"])
    except DmdError:
        same = False
    if not same:
        raise _cannot(where, spec)
    notes = []
    usual = find_system(spec.model).preset_for(spec.dataset, aligned=True, protocol="official")
    if config.heads != getattr(usual, "heads", None):
        notes.append(f"no tensor tells its attention heads: evaluate it with --heads {config.heads}")
    if spec.mask.off:
        notes.append(f"parts are off ({spec.mask.label}), so the authors' own code cannot load it")
    if bert and not config.bert_finetune:
        notes.append("its frozen BERT is not in the file: it reads hidden states")
    return content, tuple(notes)


def _answer(model: DMD | OneSeed, dims: Mapping[str, int], steps: Mapping[str, int]) -> list[float]:
    """Predict three made-up clips, the same ones each time: some padded steps, some not."""
    stream = np.random.Generator(np.random.PCG64(seed_for(0, "export")))
    inputs = {}
    for m in MODALITIES:
        x = stream.standard_normal((1, 3, steps[m], dims[m]), dtype=np.float32)
        x[:, 1, : steps[m] // 2] = 0
        inputs[m] = torch.from_numpy(x)
    with torch.inference_mode():
        out = model.eval()(Batch(inputs, torch.zeros(1, 3)))
    return [float(v) for v in out.prediction.flatten()]
