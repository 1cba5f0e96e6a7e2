"""Token ids on their way into a model: which BERT a run names, and what a frozen one has encoded, kept on disk.

A run names its BERT by the digest of the weights, never by a folder; where those weights lie is part of the execution.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import torch
from numpy.typing import NDArray

from dmd_repro.data.batches import batch_slices
from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.sides import with_padding
from dmd_repro.data.store.digest import array_digest
from dmd_repro.data.store.tensors import map_tensors, write_tensors
from dmd_repro.disk import sentences
from dmd_repro.errors import DataError, SpecError
from dmd_repro.nn.bert import Bert, load_bert
from dmd_repro.nn.dropout import DropoutStream
from dmd_repro.shapes import SPLITS
from dmd_repro.spec import RunSpec
from dmd_repro.systems.bert import how_to_get
from dmd_repro.systems.bert_text import BertText

ENCODED_AT_ONCE = 64  # clips; fixed, so that equal clips give equal bits


def prepare(
    spec: RunSpec, features: Features, source: str, cache: str, device: torch.device
) -> tuple[Features, Bert | None]:
    """Return what the model is fed, padded on the side the run asks for, and the BERT to be trained with it.

    Without token ids there is none. A frozen BERT turns the ids into hidden states here, once for all epochs and,
    with a `cache` folder, for all runs; then none is left to be trained. Raises SpecError where the BERT at `source` is
    not the one the spec names, DataError on token ids it cannot read, on padding that cannot be moved, and on a cache
    that cannot be written.
    """
    features = with_padding(features, str(spec.config.get("pad_side", "none")))
    named = str(spec.config.get("bert") or "")
    if not named:
        return features, None
    if not source:
        raise SpecError.at("token ids", expected=f"the BERT {named} to read them", got="none named", do=how_to_get())
    bert = load_bert(source)
    if bert.fingerprint != named:
        raise SpecError.at(
            f"--bert {source}", expected=f"the BERT this run names, {named}", got=bert.fingerprint,
            do="Name the folder with those weights",
        )  # fmt: skip
    check_tokens(features, bert)
    if spec.config.get("bert_finetune", True):
        return features, bert
    return frozen(features, bert, cache, device), None


def check_tokens(features: Features, bert: Bert) -> None:
    """Raise DataError, naming clip and step, where token ids are not those of this BERT's vocabulary."""
    config = bert.model.config
    if features.steps["l"] > config.max_position_embeddings:
        raise DataError.at(
            f"token ids of {features.name}", expected=f"at most {config.max_position_embeddings} steps (its BERT)",
            got=str(features.steps["l"]), do="Use another BERT",
        )  # fmt: skip
    for split in SPLITS:
        data = features.splits[split]
        for row, (what, limit) in enumerate(
            (("a token id", config.vocab_size), ("a mask value", 2), ("a segment", config.type_vocab_size))
        ):
            values = np.asarray(data.language)[:, row]
            bad = (values < 0) | (values >= limit)
            if bad.any():
                clip, step = (int(n) for n in np.argwhere(bad)[0])
                raise DataError.at(
                    f"text_bert of {split}, clip {data.ids[clip]}, step {step}",
                    expected=f"{what} from 0 to {limit - 1}, as BERT {bert.fingerprint} reads",
                    got=f"{values[clip, step]} ({int(bad.sum())} such values)",
                    do="Name the BERT whose tokenizer wrote this file",
                )


def frozen(features: Features, bert: Bert, cache: str, device: torch.device) -> Features:
    """Return the same clips with BERT's hidden states for the token ids: from the cache, or encoded and put there."""
    splits = {}
    for split, data in features.splits.items():
        if cache:
            with sentences(Path(cache), "a folder that can be written", DataError, "--data-dir"):
                hidden = _cached(data, bert, Path(cache), device)
        else:
            hidden = _encode(data, bert, device)
        splits[split] = replace(data, language=hidden)
    return replace(features, text="hidden", splits=splits)


def _cached(data: FeatureSet, bert: Bert, cache: Path, device: torch.device) -> NDArray[np.generic]:
    """Read a split's hidden states, encoding them first if they are missing or damaged.

    The name of the file is what they are made of: the ids, the weights, and the kind of device, whose rounding differs.
    """
    folder = cache / bert.fingerprint
    path = folder / f"{array_digest(data.language)}-{device.type}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):  # of several runs that start at once, one encodes
        if (hidden := _read(path)) is not None:
            return hidden
        fresh = _encode(data, bert, device)
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            write_tensors(draft, {"language": fresh, "sha256": _seal(fresh)})
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return _read(path) if path.exists() else fresh  # type: ignore[return-value]


def _read(path: Path) -> NDArray[np.generic] | None:
    if path.exists():
        with suppress(DataError, KeyError):  # cut off, or not ours: encoded again
            arrays = map_tensors(path)
            if np.array_equal(arrays["sha256"], _seal(arrays["language"])):
                return arrays["language"]
    return None


def _seal(array: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.frombuffer(bytes.fromhex(array_digest(array)), dtype="<i8")


def _encode(data: FeatureSet, bert: Bert, device: torch.device) -> NDArray[np.generic]:
    encoder = BertText(bert, DropoutStream((0,)), trained=device.type != "cpu").to(device).eval()
    hidden = np.empty((len(data), data.language.shape[2], bert.width), dtype=np.float32)
    with torch.inference_mode():
        for piece in batch_slices(len(data), ENCODED_AT_ONCE):
            tokens = torch.from_numpy(np.array(data.language[piece])).to(device)
            hidden[piece] = encoder(tokens).cpu().numpy()
    return hidden
