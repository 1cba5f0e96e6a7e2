"""A pretrained BERT, from a folder or the hub's local cache, and its identity: the digest of its weights.

As the authors use it (`systems/bert_text.py`): last hidden states of the token ids, its own dropout active in training,
padded steps handed on like any other, trained with the model in one parameter group; or frozen, which is ours.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmd_repro.data.store.digest import array_digest
from dmd_repro.errors import DataError, SpecError
from dmd_repro.systems.bert import BERT_BASE, how_to_get

AUTHORS_HEADS = 12
_COMPUTED = (  # what of a configuration enters the computation
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "vocab_size", "max_position_embeddings"),
    *("type_vocab_size", "pad_token_id"),
)
ATTENTION = "sdpa"  # torch's own, whatever a configuration asks for
_UNREAD = "pooler."  # behind the hidden states: loaded and kept under its name, read by nothing


@dataclass(frozen=True, slots=True, eq=False)
class Bert:
    """A BERT as it was loaded; what is trained is a copy of `model`."""

    model: Any  # transformers.BertModel, float32, on the CPU
    fingerprint: str  # "<layers>x<width>-<16 digits>": sha256 over weights and configuration, whatever folder it is in

    @property
    def width(self) -> int:
        """Width of its hidden states."""
        return int(self.model.config.hidden_size)


def load_bert(source: str) -> Bert:
    """Load a BERT from a folder, or by its hub name from the local cache: nothing is downloaded.

    Raises SpecError where none is named, the extra is not installed or nothing is there; DataError where what is there
    is not a whole BERT.
    """
    if not source:
        raise SpecError.at("token ids", expected="a BERT to read them", got="none named", do=how_to_get())
    folder = Path(source).expanduser()
    if not folder.is_dir() and (source.count("/") > 1 or source.startswith((".", "/", "~")) or os.sep == "\\"):
        raise SpecError.at(f"--bert {source}", expected="a folder with a BERT", got="no such folder", do=how_to_get())
    return _load(str(folder.resolve()) if folder.is_dir() else source)


@lru_cache(maxsize=2)
def _load(source: str) -> Bert:
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    transformers = _transformers()
    try:
        with _quiet(transformers):
            said, _ = transformers.BertConfig.get_config_dict(source, local_files_only=True)
            if said.get("model_type", "bert") != "bert" or said.get("is_decoder"):
                raise ValueError(f"a model of type '{said.get('model_type', 'bert')}'")
            if (Path(source) / "adapter_config.json").exists():
                raise ValueError("an adapter, which loads other weights than the folder's")
            model, told = transformers.BertModel.from_pretrained(
                source, config=_safe_config(transformers, said), local_files_only=True, output_loading_info=True,
                attn_implementation=ATTENTION, trust_remote_code=False, use_kernels=False, weights_only=True,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, UnpicklingError) as error:
        there = Path(source).is_dir()
        kind: type[DataError | SpecError] = DataError if there else SpecError
        raise kind.at(
            f"--bert {source}",
            expected="a whole BERT" if there else "a BERT in a folder or in the local cache of the hub",
            got=f"'{str(error).strip().partition(chr(10))[0][:160]}'" if there else "none of that name",
            do=how_to_get(),
        ) from error
    missing = sorted(n for n in told["missing_keys"] if not n.startswith(_UNREAD) and not n.endswith("position_ids"))
    if missing or told.get("mismatched_keys"):
        got = f"none for {', '.join(missing[:3]) or 'tensors of another shape'}" + (", ..." if len(missing) > 3 else "")
        raise DataError.at(f"--bert {source}", expected="weights for all of it", got=got, do=how_to_get())
    if any(n.startswith(_UNREAD) for n in told["missing_keys"]):  # the library has drawn them at random
        for p in model.pooler.parameters():
            nn.init.zeros_(p)
    return _wrap(model)


def _safe_config(transformers: Any, said: Mapping[str, Any]) -> Any:
    """Return a configuration with the sizes a config.json states: whatever else it names chooses no code here.

    Attention by another library, kernels of the hub, quantisation and classes of its own stand in the same file.
    """
    return transformers.BertConfig(**{key: said[key] for key in _COMPUTED if key in said})


def bert_from_weights(weights: Mapping[str, Tensor], like: Bert | None = None) -> Bert:
    """Build the BERT inside a checkpoint from its tensors alone (names below `text_model.model.`).

    Its heads and rates, which tensors cannot tell, are those of `like`, or the authors' BERT where the width is theirs.
    Raises DataError on missing or unknown names, SpecError where the heads are not known.
    """
    transformers = _transformers()
    words, layers = weights.get("embeddings.word_embeddings.weight"), _layers(weights)
    feed = weights.get("encoder.layer.0.intermediate.dense.weight")
    places = [weights.get(f"embeddings.{kind}_embeddings.weight") for kind in ("position", "token_type")]
    if words is None or feed is None or any(p is None or p.ndim != 2 for p in (words, feed, *places)):
        raise DataError.at("BERT in the checkpoint", expected="embeddings and layers", got="none", do="Check the file")
    width = words.shape[1]
    if like is None and f"{layers}x{width}-" != BERT_BASE:
        raise SpecError.at(
            f"BERT in the checkpoint ({layers} layers of width {width})", expected="to know its attention heads",
            got="a state_dict, which cannot tell them", do="Name the BERT it began from: --bert FOLDER",
        )  # fmt: skip
    told = like.model.config.to_dict() if like else {"num_attention_heads": AUTHORS_HEADS}
    config = transformers.BertConfig.from_dict({
        **told, "hidden_size": width, "vocab_size": words.shape[0], "num_hidden_layers": layers,
        "intermediate_size": feed.shape[0],
        "max_position_embeddings": weights["embeddings.position_embeddings.weight"].shape[0],
        "type_vocab_size": weights["embeddings.token_type_embeddings.weight"].shape[0],
    })  # fmt: skip
    with _quiet(transformers):
        model = transformers.BertModel(config)
    try:
        odd = model.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:
        got = " ".join(str(error).split()).partition("size mismatch for ")[2][:160] or "others"
        raise DataError.at(
            "BERT in the checkpoint", expected="tensors of one BERT's shapes", got=f"'{got}'",
            do="Check which model wrote this file",
        ) from error  # fmt: skip
    missing = [n for n in odd.missing_keys if not n.startswith(_UNREAD)]
    unknown = [n for n in odd.unexpected_keys if not n.endswith("position_ids")]
    if missing or unknown:
        raise DataError.at(
            "BERT in the checkpoint", expected="the names of a BERT",
            got=f"missing {missing[:5]}, unknown {unknown[:5]}", do="Check which model wrote this file",
        )  # fmt: skip
    return _wrap(model)


def _layers(weights: Iterable[str]) -> int:
    return len({n.split(".")[2] for n in weights if n.startswith("encoder.layer.")})


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise SpecError.at(
            "BERT text", expected="the package transformers", got="none installed",
            do="Install it: pip install 'dmd-repro[bert]'",
        ) from error  # fmt: skip
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep the library from drawing on the global generator (it initialises what it then overwrites) and from chat."""
    log = transformers.utils.logging
    before, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        log.set_verbosity(before)
        if bar:
            log.enable_progress_bar()


def _wrap(model: Any) -> Bert:
    model = model.float().eval()
    config = model.config
    digest = hashlib.sha256(json.dumps([[k, getattr(config, k, None)] for k in _COMPUTED]).encode())
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith(_UNREAD) and not name.endswith("position_ids"):
            digest.update(f"{name} {array_digest(value.numpy())}\n".encode())
    shape = f"{config.num_hidden_layers}x{config.hidden_size}"
    return Bert(model, f"{shape}-{digest.hexdigest()[:16]}")
