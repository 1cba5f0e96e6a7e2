"""A validated feature set on its way into the store, and the manifest that describes it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Standing, TextKind
from dmd_repro.data.pickle_gate.filearray import Blocks
from dmd_repro.data.store.digest import array_digest, features_digest, ids_digest, split_digest
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.shapes import SPLITS


@dataclass(frozen=True, slots=True)
class IncomingSplit:
    """One validated split on its way into the store."""

    ids: tuple[str, ...]  # B, unique
    arrays: Mapping[str, NDArray[np.generic] | Blocks]  # language_<kind>..., acoustic, visual, lengths_<m>, labels


@dataclass(frozen=True, slots=True)
class Incoming:
    """A validated feature set on its way into the store."""

    dataset: str
    aligned: bool
    texts: tuple[TextKind, ...]
    standing: Standing
    splits: Mapping[str, IncomingSplit]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    replaced: Mapping[str, Mapping[str, int]] | None = None
    source: Mapping[str, Any] | None = None

    @property
    def default_name(self) -> str:
        """`<dataset>-<aligned|unaligned>-<glove|hidden|bert>`."""
        return f"{self.dataset}-{'aligned' if self.aligned else 'unaligned'}-{self.texts[0]}"

    def with_source(self, source: Mapping[str, Any]) -> Incoming:
        """Return the same content with what is known of the file it came from."""
        return replace(self, source=source)


def describe(name: str, incoming: Incoming) -> Manifest:
    """Return the manifest of a validated feature set: computes every digest that is not known yet."""
    arrays = {
        s: {"ids": ids_digest(part.ids)} | {n: array_digest(part.arrays[n]) for n in sorted(part.arrays)}
        for s, part in incoming.splits.items()
    }
    train = incoming.splits["train"].arrays
    kind = next((k for k in incoming.texts if k != "bert"), None)
    language = train[f"language_{incoming.texts[0]}"]
    sequences = {"a": train["acoustic"], "v": train["visual"]}
    dims = ({"l": int(train[f"language_{kind}"].shape[2])} if kind else {}) | {
        m: int(x.shape[2]) for m, x in sequences.items()
    }
    steps = {"l": int(language.shape[1 if kind else 2])} | {m: int(x.shape[1]) for m, x in sequences.items()}
    by_kind: dict[str, str] = {
        k: features_digest({s: split_digest(arrays[s], f"language_{k}") for s in SPLITS}) for k in incoming.texts
    }
    return Manifest(
        name=name,
        dataset=incoming.dataset,
        aligned=incoming.aligned,
        texts=incoming.texts,
        sizes={s: len(incoming.splits[s].ids) for s in SPLITS},
        dims=dims,
        lengths=steps,
        digest=features_digest({s: _all_digest(arrays[s]) for s in SPLITS}),
        digests=by_kind,
        standing=incoming.standing,
        warnings=incoming.warnings,
        notes=incoming.notes,
        arrays=arrays,
        content=f"content_{secrets.token_hex(4)}",  # a new folder each time: --force never writes into a used one
        replaced=incoming.replaced or {},
        source=incoming.source or {},
    )


def _all_digest(parts: Mapping[str, str]) -> str:
    return ids_digest([f"{name} {parts[name]}" for name in sorted(parts)])
