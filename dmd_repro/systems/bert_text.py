"""BERT as part of a model: its forward pass, and a system whose language input is token ids.

The module and its parameter names are transformers'; the forward pass is spelled out here, because every dropout mask
must come from the model's own stream and none from a global generator.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmd_repro.errors import DataError, SpecError
from dmd_repro.nn.bert import Bert
from dmd_repro.nn.dropout import Dropout, DropoutStream
from dmd_repro.systems.base import Batch, ModelOutput, as_module
from dmd_repro.systems.plain import plain_of


class BertText(nn.Module):
    """(B, 3, T) token ids, mask, segments -> hidden states (B, T, width). `trained`: on a copy of the weights."""

    def __init__(self, bert: Bert, stream: DropoutStream, *, trained: bool = True) -> None:
        super().__init__()
        self.base = bert
        self.model = copy.deepcopy(bert.model) if trained else bert.model
        config = bert.model.config
        self.heads = int(config.num_attention_heads)
        self.hidden_dropout = Dropout(config.hidden_dropout_prob, stream)
        self.attention_dropout = Dropout(config.attention_probs_dropout_prob, stream)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the last hidden states; only steps with mask 0 are hidden from attention, none is dropped."""
        ids, mask, segments = tokens.unbind(1)
        e = self.model.embeddings
        places = torch.arange(ids.shape[1], device=ids.device)
        x = e.word_embeddings(ids) + e.token_type_embeddings(segments) + e.position_embeddings(places)
        x = self.hidden_dropout(e.LayerNorm(x))  # (B, T, width)
        bias = (1.0 - mask[:, None, None].to(x.dtype)) * torch.finfo(x.dtype).min  # (B, 1, 1, T)
        for layer in self.model.encoder.layer:
            out = layer.attention.output
            x = out.LayerNorm(x + self.hidden_dropout(out.dense(self._attend(layer.attention.self, x, bias))))
            hidden = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(x))
            x = layer.output.LayerNorm(x + self.hidden_dropout(layer.output.dense(hidden)))
        return x

    def _attend(self, maps: Any, x: Tensor, bias: Tensor) -> Tensor:
        b, t, width = x.shape
        q, k, v = (
            f(x).view(b, t, self.heads, width // self.heads).transpose(1, 2) for f in (maps.query, maps.key, maps.value)
        )  # (B, H, T, width / H)
        weights = torch.softmax(q @ k.transpose(2, 3) * (width // self.heads) ** -0.5 + bias, dim=-1)
        return (self.attention_dropout(weights) @ v).transpose(1, 2).reshape(b, t, width)

    def changed(self) -> dict[str, NDArray[Any]]:
        """Return what training moved, against the BERT it began from: whole tensors, or rows of an embedding.

        Rows come as `<name>#rows` (n,) and `<name>#values` (n, width): most words of the vocabulary never occur.
        """
        found: dict[str, NDArray[Any]] = {}
        before = self.base.model.state_dict()
        for name, p in self.model.named_parameters():
            now, then = p.detach().cpu().numpy(), before[name].numpy()
            moved = (now != then).reshape(len(now), -1).any(1)
            if moved.mean() > 0.9:
                found[name] = now.copy()
            elif moved.any():
                found |= {f"{name}#rows": np.flatnonzero(moved), f"{name}#values": now[moved]}
        return found

    def restore(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Put `changed`'s tensors back into a fresh copy; raises DataError on an unknown name or another shape."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for key, value in found.items():
                name, _, part = key.partition("#")
                if part == "values":
                    continue
                try:
                    if part:
                        parameters[name][torch.from_numpy(value)] = torch.from_numpy(found[f"{name}#values"])
                    elif parameters[name].shape != value.shape:
                        raise ValueError(f"shape {value.shape}")
                    else:
                        parameters[name].copy_(torch.from_numpy(value))
                except (KeyError, ValueError, IndexError, RuntimeError) as error:
                    raise DataError.at(
                        f"BERT weights '{key}' of the checkpoint", expected="a tensor of its BERT", got=str(error),
                        do="Name the BERT it was trained from with --bert",
                    ) from error  # fmt: skip


class WithBert(nn.Module):
    """A system whose language input is token ids: BERT first, then the system on the hidden states, trained as one.

    Seeds cannot be stacked: each would need a BERT of its own.
    """

    def __init__(self, system: Any, bert: Bert) -> None:
        super().__init__()
        self.system = as_module(system)
        self.stream: DropoutStream = system.stream
        if len(self.stream.seeds) != 1:
            raise SpecError.at(
                "a fine-tuned BERT", expected="one seed at a time", got=f"{len(self.stream.seeds)} stacked seeds",
                do="Train its seeds one after the other",
            )  # fmt: skip
        self.text_model = BertText(bert, self.stream)
        plain = plain_of(self.system)
        frozen = () if plain is None else tuple(plain.frozen_text())
        for name, p in self.text_model.model.named_parameters():
            p.requires_grad_(not any(fnmatchcase(name, pattern) for pattern in frozen))

    def forward(self, batch: Batch, *, keep_features: bool = False) -> ModelOutput:
        """Predict from a batch whose language is (1, B, 3, T) int64."""
        tokens = batch.inputs["l"]
        read = replace(
            batch, inputs={**batch.inputs, "l": self.text_model(tokens[0]).unsqueeze(0)},
            pieces={"l": tokens[:, :, 1] != 0},
        )  # fmt: skip
        return self.system(read, keep_features=keep_features)

    def window(self, spans: Mapping[str, tuple[int, int]]) -> None:
        """Return None: what BERT makes of a padded token is not known before it has read it."""

    def loss_terms(self, out: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Return the system's own terms."""
        return self.system.loss_terms(out, batch)  # type: ignore[operator]

    def loss_weights(self) -> dict[str, float]:
        """Return the system's own weights."""
        return self.system.loss_weights()  # type: ignore[operator]

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the system's groups, BERT in the first of them: same optimizer, same rate."""
        groups = [dict(group) for group in self.system.param_groups()]  # type: ignore[operator]
        groups[0]["params"] = [*(p for p in self.text_model.parameters() if p.requires_grad), *groups[0]["params"]]
        return groups
