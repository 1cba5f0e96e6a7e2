"""A model's weights by the authors' names, out of it and back into it: what checkpoints and exports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.errors import DataError
from dmd_repro.nn.layers import named_slices
from dmd_repro.systems.bert_text import BertText
from dmd_repro.systems.plain import own_tensors, plain_of

BERT_PREFIX = "text_model.model."  # behind the system's own prefix: dmd/text_model.model.embeddings...


def host_copies(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return copies as arrays; from a GPU in one transfer for each type, since hundreds of small ones take long."""
    kinds: dict[torch.dtype, dict[str, Tensor]] = {}
    for name, x in tensors.items():
        kinds.setdefault(x.dtype, {})[name] = x.detach()
    found: dict[str, NDArray[Any]] = {}
    for kind in kinds.values():
        whole = torch.cat([x.reshape(-1) for x in kind.values()]).cpu().numpy()
        ends = np.cumsum([x.numel() for x in kind.values()])[:-1]
        for (name, x), piece in zip(kind.items(), np.split(whole, ends), strict=True):
            found[name] = piece.reshape(tuple(x.shape))
    return {name: found[name] for name in tensors}


def read_weights(module: nn.Module, system: str, place: int = 0) -> dict[str, NDArray[Any]]:
    """Return the weights of the stacked seed at a place by name; of a BERT only what training moved."""
    found = host_copies(_by_name(module, system, place))
    for part in module.modules():
        if isinstance(part, BertText):
            found |= {f"{system}/{BERT_PREFIX}{name}": value for name, value in part.changed().items()}
    return found


def _by_name(module: nn.Module, system: str, place: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {name: p[place, e] for name, p, e in named_slices(module)}
    if plain := plain_of(module):
        found |= {f"{system}/{name}": p for name, p in own_tensors(plain).items()}
    return found


def write_weights(module: nn.Module, values: Mapping[str, NDArray[Any]], system: str, where: str) -> None:
    """Copy weights by name into a model of one seed; names and shapes must be exactly the model's.

    Raises DataError naming the file (`where`) and every missing or unknown name, or the first of another shape.
    """
    slices = {name: p[:, e] for name, p, e in named_slices(module)}
    if plain := plain_of(module):
        slices |= {f"{system}/{name}": p.unsqueeze(0) for name, p in own_tensors(plain).items()}
    bert = {k: v for k, v in values.items() if k.startswith(f"{system}/{BERT_PREFIX}")}
    texts = [part for part in module.modules() if isinstance(part, BertText)]
    refuse_names(where, set(slices), set(values) - (set(bert) if texts else set()))
    with torch.no_grad():
        for name, p in slices.items():
            if tuple(values[name].shape) != tuple(p.shape[1:]):
                raise DataError.at(
                    f"{where}, {name}", expected=f"shape {tuple(p.shape[1:])}", got=str(tuple(values[name].shape)),
                    do="Choose the data and settings it was trained with",
                )  # fmt: skip
            p.copy_(torch.as_tensor(values[name]))
    for part in texts:
        part.restore({k.removeprefix(f"{system}/{BERT_PREFIX}"): v for k, v in bert.items()})


def refuse_names(where: str, wanted: set[str], got: set[str]) -> None:
    """Raise DataError listing the names that are missing and those that are unknown, if there are any."""
    missing, unknown = sorted(wanted - got), sorted(got - wanted)
    if missing or unknown:
        told = [f"{len(n)} {what} ({_listed(n)})" for what, n in (("missing", missing), ("unknown", unknown)) if n]
        raise DataError.at(
            where, expected=f"the {len(wanted)} names of the model", got=" and ".join(told),
            do="Check which model wrote this file",
        )  # fmt: skip


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
