"""Predict a split with a checkpoint: a recorded run, its weights alone, or a state_dict under the authors' names.

A run says all of itself. A state_dict tells its sizes; what it cannot tell is taken from the data set's preset, and
every such assumption is returned beside the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from dmd_repro.data.features import Features
from dmd_repro.data.sides import with_padding
from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate import official, plain_state
from dmd_repro.evaluate.checkpoint import Checkpoint
from dmd_repro.evaluate.plain_state import PlainState
from dmd_repro.nn.bert import Bert, bert_from_weights, load_bert
from dmd_repro.records.folder import Predictions
from dmd_repro.shapes import MODALITIES
from dmd_repro.spec import AblationMask, Scalar
from dmd_repro.systems.base import EmotionModel, as_module
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.declare import Setting
from dmd_repro.systems.registry import find_system, full_name
from dmd_repro.systems.state import write_weights
from dmd_repro.training.build import build
from dmd_repro.training.feed import evaluate
from dmd_repro.training.fit import Execution
from dmd_repro.training.text import check_tokens, prepare


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a checkpoint says of a split, and what one has to know to read it."""

    predictions: Predictions
    model: str
    name: str  # the model with the options that are on: mult+gd
    mask: AblationMask
    protocol: str
    bert: str  # fingerprint; "" without token ids
    finetuned: bool
    sizes: Mapping[str, Any]  # read from the tensors, or from the run's own spec
    assumed: Mapping[str, Scalar]  # what the tensors cannot tell
    changed: Mapping[str, Scalar]  # settings of a run that are not the preset's
    notes: tuple[str, ...]


def evaluate_checkpoint(
    checkpoint: Checkpoint, features: Features, split: str, *, execution: Execution, heads: int | None = None,
    given: Mapping[str, str | Scalar] = MappingProxyType({}),
) -> Evaluated:  # fmt: skip
    """Predict a split with a checkpoint.

    `heads` replaces the preset's attention heads where a state_dict leaves them open, `given` an earlier system's
    settings. Raises DataError where names, shapes, widths or lengths do not fit, SpecError where a BERT is needed and
    not named.
    """
    device = execution.prepare()
    if isinstance(checkpoint.state, PlainState):
        return _plain(checkpoint.state, features, split, execution, device, heads, given)
    if given:
        raise SpecError.at(
            f"--set {next(iter(given))}", expected="a state_dict of an earlier system, which cannot tell all settings",
            got="another checkpoint", do="Drop --set",
        )  # fmt: skip
    if checkpoint.state is not None:
        return _official(checkpoint.state, features, split, execution, device, heads)
    if heads is not None:
        raise SpecError.at("--heads", expected="a state_dict, which cannot tell them", got="a run", do="Drop --heads")
    return _own(checkpoint, features, split, execution, device)


def own_model(
    checkpoint: Checkpoint, features: Features, execution: Execution, device: torch.device
) -> tuple[nn.Module, Features]:
    """Return the model of a run with its weights, and the features as it reads them.

    Raises DataError where text, widths or steps are not those it was trained on.
    """
    spec, data = checkpoint.spec, checkpoint.data
    assert spec is not None
    assert data is not None
    assert checkpoint.weights is not None
    if features.text != data["text"]:
        raise DataError.at(
            checkpoint.where, expected=f"{data['text']} text, which it was trained on", got=f"{features.text} text",
            do=f"Add --text {data['text']}",
        )  # fmt: skip
    if odd := official.misfit(
        checkpoint.where, data["dims"], data["steps"], features.dims, features.steps, features.name
    ):
        raise odd
    ready, bert = prepare(spec, features, execution.bert, execution.cache, device)
    model = as_module(build(spec, ready, device, bert))
    write_weights(model, checkpoint.weights, spec.model, checkpoint.where)
    return model, ready


def _own(
    checkpoint: Checkpoint, features: Features, split: str, execution: Execution, device: torch.device
) -> Evaluated:
    spec, data = checkpoint.spec, checkpoint.data
    assert spec is not None
    assert data is not None
    model, ready = own_model(checkpoint, features, execution, device)
    notes = []
    if features.digest != data["digest"]:
        notes.append(f"trained on {data['label']}, scored on other data: {features.label}")
    preset = find_system(spec.model).preset_for(spec.dataset, aligned=bool(data["aligned"]), protocol=spec.protocol)
    usual = preset.to_dict() | {"bert": spec.config.get("bert", "")}
    return Evaluated(
        predictions=_predict(model, ready, split, device),
        model=spec.model,
        name=full_name(spec.model, spec.config),
        mask=spec.mask,
        protocol=spec.protocol,
        bert=str(spec.config.get("bert") or ""),
        finetuned=bool(spec.config.get("bert_finetune", True)),
        sizes={"dims": dict(data["dims"]), "steps": dict(data["steps"])},
        assumed={},
        changed={k: v for k, v in spec.config.items() if usual.get(k) != v},
        notes=tuple(notes),
    )


def _official(
    state: official.OfficialState,
    features: Features,
    split: str,
    execution: Execution,
    device: torch.device,
    heads: int | None,
) -> Evaluated:
    sizes = official.sizes_of(state, features.dataset, heads)
    bert = _bert_inside(state, execution.bert)
    if bert is None and features.text == "bert":
        raise DataError.at(
            state.where, expected=f"{sizes.dims['l']}-wide text, as it holds no BERT", got="token ids",
            do="Choose --text hidden or glove",
        )  # fmt: skip
    if bert is not None:
        _refuse_vectors(state.where, features)
    dims = {**features.dims, "l": bert.width} if bert else features.dims
    if odd := official.misfit(state.where, sizes.dims, sizes.steps, dims, features.steps, features.name):
        raise odd
    system = official.build_official(state, sizes)
    model: nn.Module = WithBert(system, bert) if bert else system
    assumed: dict[str, Scalar] = {} if heads else {"heads": sizes.config.heads}
    if bert:
        check_tokens(features, bert)
        assumed["bert_heads"] = int(bert.model.config.num_attention_heads)
    off = tuple(part for part in sizes.mask.off if part not in official.NOT_SAVED)
    return Evaluated(
        predictions=_predict(model.to(device), features, split, device),
        model=official.SYSTEM,
        name=official.SYSTEM,
        mask=AblationMask(off),
        protocol="official",
        bert=bert.fingerprint if bert else "",
        finetuned=True,
        sizes={
            "dims": dict(sizes.dims), "steps": dict(sizes.steps), "d": sizes.config.d, "layers": sizes.config.layers,
            "kernels": {m: sizes.config.kernel(m) for m in MODALITIES},
        },
        assumed=assumed,
        changed={},
        notes=(*state.file.taken, "graph units are not in such a file; no prediction passes through them"),
    )  # fmt: skip


def _plain(
    state: PlainState, features: Features, split: str, execution: Execution, device: torch.device, heads: int | None,
    given: Mapping[str, str | Scalar],
) -> Evaluated:  # fmt: skip
    system = state.system
    if heads is not None:
        raise SpecError.at("--heads", expected="a system with attention heads", got=system.name, do="Drop --heads")
    bert = _bert_inside(state, execution.bert)
    if bert is None and features.text == "bert":
        raise DataError.at(
            state.where, expected="text as vectors, as it holds no BERT", got="token ids",
            do="Choose --text hidden or glove",
        )  # fmt: skip
    if bert is not None:
        _refuse_vectors(state.where, features)
        check_tokens(features, bert)
    dims = features.dims if bert is None else {**features.dims, "l": bert.width}
    setting = Setting(features.dataset, features.aligned, system.protocols[0])
    settled = plain_state.settle(state, setting, dims, features.steps, given)
    plain_state.misfit(state, settled.told, dims, features.steps, features.name)
    features = with_padding(features, settled.config.pad_side)
    train = {m: np.asarray(features.splits["train"].array(m)) for m in MODALITIES}
    one = plain_state.build_plain(state, settled, train)
    model: nn.Module = one if bert is None else WithBert(one, bert)
    assumed = dict(settled.assumed)
    if bert:
        assumed["bert_heads"] = int(bert.model.config.num_attention_heads)
    notes = [*state.file.taken]
    if settled.assumed.get("visual_scale") == "train_max":
        notes.append(f"visual features are divided by their maximum in the training split of {features.label}")
    return Evaluated(
        predictions=_predict(model.to(device), features, split, device),
        model=system.name,
        name=system.name,
        mask=AblationMask(),
        protocol=settled.protocol,
        bert=bert.fingerprint if bert else "",
        finetuned=True,
        sizes={"dims": dict(dims), "steps": dict(features.steps), **settled.told.settings},
        assumed=assumed,
        changed={k: v for k, v in given.items() if k != plain_state.SEED and str(getattr(settled.preset, k)) != str(v)},
        notes=tuple(notes),
    )


def _refuse_vectors(where: str, features: Features) -> None:
    if features.text != "bert":
        raise DataError.at(
            where, expected="token ids, as it holds a BERT", got=f"{features.text} text", do="Add --text bert"
        )


def _bert_inside(state: official.OfficialState | PlainState, source: str) -> Bert | None:
    if not state.bert:
        return None
    try:
        return bert_from_weights(state.bert)
    except SpecError:  # not the authors' shape: the BERT it began from tells the heads
        if not source:
            raise
        return bert_from_weights(state.bert, load_bert(source))


def _predict(model: nn.Module, features: Features, split: str, device: torch.device) -> Predictions:
    data = features.splits[split]
    said = evaluate(cast(EmotionModel, model), features.splits, split, device)
    return Predictions(data.ids, np.asarray(data.labels), said.pop("y_pred"), dict(sorted(said.items())))
