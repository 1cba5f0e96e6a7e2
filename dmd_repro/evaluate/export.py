"""A run of ours as a state_dict under the authors' names, checked by reading it back."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from dmd_repro.errors import DmdError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import Checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.layers import named_slices
from dmd_repro.seeds import seed_for
from dmd_repro.shapes import MODALITIES
from dmd_repro.systems.base import Batch
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.systems.state import write_weights
from dmd_repro.training.fit import Execution


def export_official(checkpoint: Checkpoint, execution: Execution) -> tuple[bytes, tuple[str, ...]]:
    """Return a run's weights as the bytes of a `.pth` file under the authors' names, and what a reader must know.

    The bytes are read back and must predict as the run does. Raises SpecError for a run that those names cannot tell.
    """
    spec, data, weights = checkpoint.spec, checkpoint.data, checkpoint.weights
    if spec is None or data is None or weights is None:
        raise SpecError.at(checkpoint.where, expected="a run of ours", got="a state_dict", do="Name a run")
    if spec.model != official.SYSTEM:
        raise SpecError.at(
            checkpoint.where, expected=f"a run of {official.SYSTEM}, whose names the authors published",
            got=f"a run of {spec.model}", do="Name another run",
        )  # fmt: skip
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
    write_weights(model, weights, spec.model, checkpoint.where)
    inside = model.text_model.model.state_dict() if isinstance(model, WithBert) else {}
    slices = {name: p.detach()[0, e].numpy() for name, p, e in named_slices(system)}
    content = official.official_bytes(slices, inside, config)

    state = official.read_official(io.BytesIO(content), checkpoint.where)
    try:
        again = official.build_official(state, official.sizes_of(state, spec.dataset, config.heads))
        same = _answer(again, dims, data["steps"]) == _answer(system, dims, data["steps"])
    except DmdError:
        same = False
    if not same:
        raise SpecError.at(
            f"{checkpoint.where} ({spec.protocol}, {spec.mask.label})",
            expected="a model that the authors' names can tell",
            got="one whose predictions are others when it is read back from them",
            do="Keep it as a run: dmd evaluate scores it as it is",
        )
    notes = []
    if config.heads != DMD.preset(spec.dataset, aligned=True, protocol="official").heads:
        notes.append(f"no tensor tells its attention heads: evaluate it with --heads {config.heads}")
    if spec.mask.off:
        notes.append(f"parts are off ({spec.mask.label}), so the authors' own code cannot load it")
    if bert and not config.bert_finetune:
        notes.append("its frozen BERT is not in the file: it reads hidden states")
    return content, tuple(notes)


def _answer(model: DMD, dims: Mapping[str, int], steps: Mapping[str, int]) -> list[float]:
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
