"""A run of ours as a state_dict under the authors' names, checked by reading it back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.errors import DmdError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import STACKED, Checkpoint
from dmd_repro.evaluate.plain_state import plain_bytes, read_back, readable
from dmd_repro.nn.bert import Bert, bert_from_weights, load_bert
from dmd_repro.nn.layers import named_slices
from dmd_repro.seeds import seed_for
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import RunSpec
from dmd_repro.systems.base import Batch
from dmd_repro.systems.bert import BERT_BASE
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.build import construct
from dmd_repro.systems.declare import Setting
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
    system = find_system(spec.model)
    if not system.official:
        raise SpecError.at(
            checkpoint.where, expected=f"a run of a system whose reference's names are known ({', '.join(readable())})",
            got=f"a run of {spec.model}{f', {system.no_official}' if system.no_official else ''}",
            do="Keep it as a run: dmd evaluate scores it as it is",
        )  # fmt: skip
    return _plain(checkpoint.where, spec, data, weights, execution)


def _plain(
    where: str, spec: RunSpec, data: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], execution: Execution
) -> tuple[bytes, tuple[str, ...]]:
    system, steps = find_system(spec.model), data["steps"]
    if spec.config.get("bert") and not system.bert_names:
        raise SpecError.at(
            where, expected="a run that reads its text as vectors", got="one that reads token ids by a BERT",
            do="Keep it as a run: dmd evaluate scores it as it is",
        )  # fmt: skip
    bert = _bert_of(spec, execution)
    dims = {**data["dims"], **({"l": bert.width} if bert else {})}
    config = system.config.from_dict(spec.config)
    one: Any = construct(system, config, dims=dims, steps=steps, mask=spec.mask, seeds=(spec.seed,))
    model: Any = WithBert(one, bert) if bert else one
    write_weights(model, weights, spec.model, where)
    inside = {f"{system.bert_names[spec.protocol]}{n}": x for n, x in _inside(model).items()}
    content = plain_bytes(weights, spec.model, inside)
    setting = Setting(spec.dataset, bool(data["aligned"]), system.protocols[0])
    again = read_back(content, system, setting, config, where, dims, steps, spec.seed)
    if again is None:
        raise _cannot(where, spec)
    read: Any = WithBert(again.model, bert_from_weights(again.state.bert, bert)) if bert else again.model
    if _answer(read, dims, steps) != _answer(model, dims, steps):
        raise _cannot(where, spec)
    notes = []
    if again.options:
        notes.append(f"no tensor tells {_untold(again.options)}: evaluate it with {' '.join(again.options)}")
    if bert and not bert.fingerprint.startswith(BERT_BASE):
        notes.append("no tensor tells its BERT's heads: evaluate it with --bert, naming the BERT it began from")
    if again.beside:
        names = ", ".join(f"{b}*" for b in again.beside)
        notes.append(f"beside the names of the reference, whose own loader knows none of these: {names}")
    return content, tuple(notes)


def _untold(options: Sequence[str]) -> str:
    settings = ("last_steps", "visual_scale", "pool_sum", "pad_side")
    stage = all(o.startswith(tuple(f"--set {name}=" for name in settings)) for o in options)
    return "all of its input stage" if stage else "all of its settings"


def _bert_of(spec: RunSpec, execution: Execution) -> Bert | None:
    """Return the BERT a run began from, None without one; raises SpecError where another is named."""
    named = str(spec.config.get("bert") or "")
    bert = load_bert(execution.bert) if named else None
    if bert is not None and bert.fingerprint != named:
        raise SpecError.at(
            f"--bert {execution.bert}", expected=f"the BERT this run names, {named}", got=bert.fingerprint,
            do="Name the folder with those weights",
        )  # fmt: skip
    return bert


def _inside(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the BERT that is trained with a model, by its own names."""
    return dict(model.text_model.model.state_dict()) if isinstance(model, WithBert) else {}


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
    bert = _bert_of(spec, execution)
    dims = {**data["dims"], **({"l": bert.width} if bert else {})}
    system = DMD(config, dims=dims, steps=data["steps"], mask=spec.mask)
    model: nn.Module = WithBert(system, bert) if bert and config.bert_finetune else system
    write_weights(model, weights, spec.model, where)
    inside = _inside(model)
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


def _answer(model: DMD | OneSeed | WithBert, dims: Mapping[str, int], steps: Mapping[str, int]) -> list[float]:
    """Predict three made-up clips, the same ones each time: some padded steps, some not."""
    stream = np.random.Generator(np.random.PCG64(seed_for(0, "export")))
    inputs = {}
    for m in MODALITIES:
        x = stream.standard_normal((1, 3, steps[m], dims[m]), dtype=np.float32)
        x[:, 1, : steps[m] // 2] = 0
        inputs[m] = torch.from_numpy(x)
    if isinstance(model, WithBert):
        ids = stream.integers(1, model.text_model.model.config.vocab_size, (3, steps["l"]))
        some = (np.arange(steps["l"]) < np.array([[steps["l"]], [1 + steps["l"] // 2], [2]])).astype(np.int64)
        inputs["l"] = torch.from_numpy(np.stack([ids * some, some, 0 * some], axis=1)[None])
    with torch.inference_mode():
        out = model.eval()(Batch(inputs, torch.zeros(1, 3)))
    return [float(v) for v in out.prediction.flatten()]
