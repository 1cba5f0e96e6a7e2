"""The two types every later step reads: one split, and the three splits of a feature set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.shapes import MODALITIES, SPLITS, check_shape

TextKind = Literal["glove", "hidden", "bert"]
TEXT_KINDS: tuple[TextKind, ...] = ("glove", "hidden", "bert")
Standing = Literal["official", "partial", "synthetic"]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One split; read-only, memory-mapped numpy. Shapes are checked when it is made (DataError)."""

    ids: tuple[str, ...]  # B
    language: NDArray[np.generic]  # (B, T_l, D_l) float32: GloVe or hidden states; or token ids (B, 3, T_l) int64
    acoustic: NDArray[np.float32]  # (B, T_a, D_a) float32, -inf replaced and counted
    visual: NDArray[np.float32]  # (B, T_v, D_v) float32
    lengths: Mapping[str, NDArray[np.int64]]  # (B,) per modality; the full length where the source gives none
    labels: NDArray[np.float32]  # (B,) sentiment in [-3, 3]
    aligned: bool
    digest: str  # sha256 over dtype, shape and bytes of each array: the content, not the file it came from

    def __post_init__(self) -> None:
        known = {"B": len(self.ids)}
        tokens = self.language.dtype.kind == "i"
        for modality in MODALITIES:
            pattern = "B 3 T_l" if modality == "l" and tokens else f"B T_{modality} D_{modality}"
            known |= check_shape(modality, self.array(modality), pattern, known)
            check_shape(f"lengths of {modality}", self.lengths[modality], "B", known)
        check_shape("labels", self.labels, "B", known)

    def array(self, modality: str) -> NDArray[np.generic]:
        """Return the features of l, a or v."""
        return {"l": self.language, "a": self.acoustic, "v": self.visual}[modality]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Features:
    """Train, valid and test of one feature set, with the kind of text chosen: what a run is trained on."""

    name: str  # the name in the store, or "synthetic..."
    dataset: str  # mosi | mosei | synthetic
    text: TextKind
    aligned: bool
    standing: Standing  # "official": sizes of the official split; else numbers are never tested against printed ones
    splits: Mapping[str, FeatureSet]
    digest: str  # sha256 over the three splits' digests

    @property
    def dims(self) -> dict[str, int]:
        """Feature width of each modality; no "l" when the text is token ids, which have no width."""
        widths = {m: int(self.splits["train"].array(m).shape[2]) for m in MODALITIES}
        return {m: n for m, n in widths.items() if not (m == "l" and self.text == "bert")}

    @property
    def steps(self) -> dict[str, int]:
        """Number of time steps of each modality, padding included."""
        axis = {m: 2 if m == "l" and self.text == "bert" else 1 for m in MODALITIES}
        return {m: int(self.splits["train"].array(m).shape[axis[m]]) for m in MODALITIES}

    @property
    def sizes(self) -> dict[str, int]:
        """Clips in each split."""
        return {s: len(self.splits[s]) for s in SPLITS}

    @property
    def label(self) -> str:
        """How tables name it: the store's name, the kind of text, and its standing where that is not official."""
        mark = {"official": "", "partial": ", PARTIAL DATA", "synthetic": ", SYNTHETIC"}[self.standing]
        return f"{self.name} ({self.text} text{mark})"
