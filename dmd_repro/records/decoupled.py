"""The decoupled features of a run, beside its checkpoint: what Figures 3 and 4 are drawn from.

`<run_id>/decoupled-<split>.safetensors`, written by `dmd features RUN`. It is no part of the sealed record: it can be
deleted and made again. Inside are the sha256 of the checkpoint it was made from and a digest of its own arrays; where
either is another, it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import sentences, write_atomic
from dmd_repro.errors import RunError
from dmd_repro.records.files import Files, pack_arrays, read_arrays
from dmd_repro.records.run import CHECKPOINT, RunRecord

VERSION = 1
SPACES = ("common", "private")
Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoupled:
    """X^com and X^prt of one split, a vector a clip and modality: the mean over the steps that are not padding."""

    ids: tuple[str, ...]  # B
    y_true: Points  # (B,) sentiment, on the scale of the data set
    common: Mapping[str, Points]  # modality l, a, v -> (B, d), X_m^com
    private: Mapping[str, Points]  # modality -> (B, d), X_m^prt
    about: Mapping[str, Any] = field(default_factory=dict)  # how it was made

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that were decoupled, in the order l, a, v."""
        return tuple(self.common)


def file_name(split: str) -> str:
    """Return the name of the file of a split in a record's folder."""
    return f"decoupled-{split}.safetensors"


def write_decoupled(record: RunRecord, split: str, found: Decoupled) -> str:
    """Write the features of a split beside the checkpoint, in one step; return their digest.

    Raises RunError where the folder cannot be written.
    """
    arrays = {"y_true": found.y_true}
    for space in SPACES:
        arrays |= {f"{space}/{m}": x for m, x in getattr(found, space).items()}
    digest = _digest(arrays, found.ids)
    meta = {
        **found.about, "version": VERSION, "ids": list(found.ids), "split": split, "digest": digest,
        "checkpoint": _checkpoint(record), "modalities": list(found.modalities),
    }  # fmt: skip
    path = record.path / file_name(split)
    with sentences(path, "a file that can be written", RunError, "--runs-dir"):
        write_atomic(path, pack_arrays(arrays, meta))
    return digest


def has_decoupled(record: RunRecord, split: str) -> bool:
    """Whether a run's features of a split were made; whether they are whole, reading them tells."""
    return (record.path / file_name(split)).is_file()


def read_decoupled(record: RunRecord, split: str) -> Decoupled:
    """Read the features of a split.

    Raises RunError, naming the command that makes them, where they are missing, damaged, or of another checkpoint or
    version.
    """
    path = record.path / file_name(split)
    if not path.is_file():
        raise _refused(record, split, "none")
    try:
        arrays, meta = read_arrays(path)
        ids, modalities = tuple(map(str, meta["ids"])), tuple(map(str, meta["modalities"]))
        spaces = {space: {m: arrays[f"{space}/{m}"] for m in modalities} for space in SPACES}
        y_true = arrays["y_true"]
        told = meta["version"], meta["checkpoint"], meta["digest"], meta["split"]
    except (RunError, KeyError, TypeError) as error:
        raise _refused(record, split, f"half of them, or no such file ('{type(error).__name__}')") from error
    if told[0] != VERSION:
        raise _refused(record, split, f"those of version {told[0]}")
    if told[1] != _checkpoint(record):
        raise _refused(record, split, "those of another checkpoint")
    shapes = {x.shape for space in spaces.values() for x in space.values()}
    whole = len(shapes) == 1 and next(iter(shapes))[0] == len(ids) == len(y_true)
    if not whole or told[2:] != (_digest(arrays, ids), split):
        raise _refused(record, split, "others than were written: they were changed")
    about = {k: v for k, v in meta.items() if k not in ("ids",)}
    return Decoupled(ids, y_true, spaces["common"], spaces["private"], about)


def _refused(record: RunRecord, split: str, got: str) -> RunError:
    asked = "" if split == "test" else f" --split {split}"
    return RunError.at(
        f"run {record.run_id}", expected=f"its decoupled features of {split}", got=got,
        do=f"Make them from its checkpoint: dmd features {record.run_id}{asked}",
    )  # fmt: skip


def _checkpoint(record: RunRecord) -> str:
    done = Files(record.path).json("DONE")
    return str(done.get(CHECKPOINT)) if isinstance(done, dict) else ""


def _digest(arrays: Mapping[str, NDArray[Any]], ids: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(ids).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
