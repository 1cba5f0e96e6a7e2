"""One finished run as it lies on disk: what it is, on what data, and what it predicted.

`<run_id>/` holds spec.json (spec, digest and stamp of the data), provenance.json (where, when, how long),
history.jsonl (a line an epoch), predictions.safetensors (valid and test at the selected epoch),
epochs.safetensors (predictions of every epoch), checkpoint.safetensors (best weights) and DONE, written last, with
the sha256 of the others. Metrics are not here: they are computed from the predictions when someone asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import parse_json
from dmd_repro.errors import RunError, SpecError, Unreadable
from dmd_repro.records.files import Files, no_arrays, read_arrays
from dmd_repro.spec import SPEC_VERSION, RunSpec, run_id
from dmd_repro.systems.registry import completed, find_system, system_names

if TYPE_CHECKING:
    from dmd_repro.data.features import Features

CHECKPOINT = "checkpoint.safetensors"
RECORD_FILES = (
    "spec.json",
    "provenance.json",
    "history.jsonl",
    "predictions.safetensors",
    "epochs.safetensors",
    CHECKPOINT,
)
PREDICTED_SPLITS = ("valid", "test")
PREDICTIONS = "predictions.safetensors"
STAMP_TEXTS = ("name", "dataset", "digest", "text", "standing", "label")
READABLE_TRAINING = (1, 2)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a run says of one split, at its selected epoch. Sentiment, in the labels' unit ([-3, 3], not clipped)."""

    ids: tuple[str, ...]  # B
    y_true: NDArray[np.float32]  # (B,)
    y_pred: NDArray[np.float32]  # (B,)
    heads: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # "l_homo" ... -> (B,)


@dataclass(frozen=True, slots=True)
class DataStamp:
    """What a run was trained on, kept beside its spec so that a record explains itself without the data."""

    name: str
    dataset: str
    digest: str
    text: str
    aligned: bool
    standing: str  # official | partial | synthetic
    label: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, features: Features) -> Self:
        """Take the stamp of a feature set."""
        return cls(
            name=features.name,
            dataset=features.dataset,
            digest=features.digest,
            text=features.text,
            aligned=features.aligned,
            standing=features.standing,
            label=features.label,
            sizes=features.sizes,
            dims=features.dims,
            steps=features.steps,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the stamp as plain JSON values."""
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in asdict(self).items()}


def spec_document(spec: RunSpec, data: DataStamp) -> dict[str, Any]:
    """Return the content of spec.json: everything the run's identity is made of, and the data's stamp."""
    return {
        "spec_version": SPEC_VERSION,
        "spec": spec.to_json(),
        "data_digest": data.digest,
        "data": data.to_json(),
    }


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A complete record. Small facts are read when it is made, arrays when they are asked for."""

    path: Path
    spec: RunSpec
    data: dict[str, Any]  # DataStamp.to_json()
    provenance: dict[str, Any]
    files: Files | None = field(default=None, compare=False, repr=False)  # what is kept while it is examined

    @classmethod
    def load(cls, path: Path, files: Files | None = None) -> RunRecord:
        """Read spec, stamp and provenance.

        Raises RunError if they are not whole or not this folder's, Unreadable if they cannot be read here and now, or
        if a version wrote them that this one does not read.
        """
        read = files or Files(path)
        document = read.json("spec.json")
        try:
            version, digest, data = document["spec_version"], document["data_digest"], document["data"]
            spec = RunSpec.from_json(document["spec"])
            _refuse_other_versions(path, version, spec)
            mine = run_id(spec, digest)
            whole = isinstance(digest, str) and isinstance(data, dict) and _well_formed(spec)
            whole = (
                whole and all(isinstance(data.get(k), str) for k in STAMP_TEXTS) and type(data.get("aligned")) is bool
            )
        except (SpecError, KeyError, TypeError, ValueError) as error:
            raise _no_spec(path, f"no {error}") from error
        if not whole:
            raise _no_spec(path, "values of other kinds")
        name = path.name.split(".")[0]
        if data.get("digest") != digest or mine != name:
            raise RunError.at(
                str(path),
                expected=f"the run whose spec and data give the id {name}",
                got=f"the id {mine}",
                do="It was copied or edited and is not counted: delete it, or give it its own name back",
            )
        return cls(path=path, spec=completed(spec), data=data, provenance=_provenance(read), files=files)

    def alone(self) -> RunRecord:
        """Return the record without the content of its files: what to keep of many."""
        return replace(self, files=None)

    @property
    def run_id(self) -> str:
        """The 12 digits that name the folder."""
        return self.path.name.split(".")[0]

    @property
    def configuration_id(self) -> str:
        """What all seeds of this configuration on this data share."""
        return self.spec.configuration_id(self.data["digest"])

    def history(self) -> list[dict[str, Any]]:
        """Return one dict an epoch, in order; RunError if unreadable."""
        return [self._line(line) for line in self._files["history.jsonl"].splitlines()]

    def epoch(self, number: int) -> dict[str, Any] | None:
        """Return the line of one epoch of the history; None where there is none. RunError if unreadable."""
        lines = self._files["history.jsonl"].splitlines()
        likely = lines[number - 1 : number] if number > 0 else []  # its place, unless an epoch was made twice
        return next((line for line in map(self._line, [*likely, *lines]) if line.get("epoch") == number), None)

    def _line(self, line: bytes) -> dict[str, Any]:
        try:
            if isinstance(found := parse_json(line), dict):
                return found
            raise ValueError("a line that is no object")
        except ValueError as error:
            raise RunError.at(
                str(self.path / "history.jsonl"), expected="one JSON object a line", got=f"'{error}'",
                do="Train this run again",
            ) from error  # fmt: skip

    def predictions(self, split: str) -> Predictions:
        """Return what the selected epoch says of "valid" or "test"; RunError if unreadable."""
        true, said, heads, about = self._said(split)
        ids = _ids(about, split)
        if ids is None or len(ids) != len(true):
            raise no_arrays(self.path / PREDICTIONS, f"no ids for the {len(true)} clips of {split}")
        return Predictions(ids, true.copy(), said.copy(), {name: array.copy() for name, array in heads.items()})

    def scores(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return labels and predictions of the selected epoch, (B,) each; RunError if unreadable."""
        return self._said(split)[:2]

    def _said(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, NDArray[np.float32]], str]:
        arrays, about = self._files.arrays(PREDICTIONS)
        begin = f"{split}/head/"
        try:
            true, said = arrays[f"{split}/y_true"], arrays[f"{split}/y_pred"]
        except KeyError as error:
            raise RunError.at(
                str(self.path / PREDICTIONS),
                expected=f"predictions of the split '{split}'",
                got=f"no {error}",
                do=f"The splits are {', '.join(PREDICTED_SPLITS)}",
            ) from error
        heads = {k.removeprefix(begin): v for k, v in sorted(arrays.items()) if k.startswith(begin)}
        for array in (true, said, *heads.values()):
            if array.shape != (len(true),) or array.dtype != np.float32:
                raise no_arrays(self.path / PREDICTIONS, f"{array.dtype} {array.shape} for {len(true)} clips")
        return true, said, heads, about

    def epochs(self, split: str) -> NDArray[np.float32]:
        """Return (E, B): the prediction of every epoch, in the clips' order of `predictions(split)`."""
        found = self._files.arrays("epochs.safetensors")[0].get(split)
        if found is None or found.ndim != 2 or found.dtype != np.float32:
            raise no_arrays(self.path / "epochs.safetensors", f"no predictions of {split} by epoch")
        return found

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """Return the weights of the selected epoch by parameter name."""
        return read_arrays(self.path / CHECKPOINT)[0]

    @property
    def _files(self) -> Files:
        return self.files or Files(self.path)


def _refuse_other_versions(path: Path, version: object, spec: RunSpec) -> None:
    """Raise Unreadable for a record of a version that this one does not read.

    A record of a system that is not at hand (a user's own file) is read: its predictions say what they say.
    """
    models, training = _readable_versions(spec.model), spec.training_version
    known = models is None or spec.model_version in models
    if version != SPEC_VERSION or not known or training not in READABLE_TRAINING:
        versions = f", {spec.model} {min(models)}-{max(models)}" if models else ""
        raise Unreadable.at(
            str(path),
            expected=f"a record of spec version {SPEC_VERSION}{versions}, "
            f"training {min(READABLE_TRAINING)}-{max(READABLE_TRAINING)}",
            got=f"spec version {version}, {spec.model} {spec.model_version}, training {training}",
            do="Read it with the version that wrote it: nothing was moved",
        )


def _readable_versions(model: str) -> tuple[int, ...] | None:
    """Return the versions of a system whose records this program reads; None for a system that is not at hand."""
    if model not in system_names():
        return None
    system = find_system(model)
    return (*system.readable_versions, system.model_version)


def _well_formed(spec: RunSpec) -> bool:
    texts = all(
        isinstance(value, str) for value in (spec.model, spec.dataset, spec.protocol, *spec.mask.off, *spec.config)
    )
    plain = all(isinstance(value, str | int | float | bool | None) for value in spec.config.values())
    return texts and plain and type(spec.seed) is int


def _no_spec(path: Path, got: str) -> RunError:
    return RunError.at(
        str(path / "spec.json"), expected="spec, data_digest, data and spec_version",
        got=got,
        do="Move that folder away, it was not written by this program",
    )  # fmt: skip


def _provenance(files: Files) -> dict[str, Any]:
    """Read provenance.json, refusing values of other kinds than are printed or computed with."""
    found = files.json("provenance.json")
    kinds: dict[str, Any] = {
        "epochs": int, "best_epoch": int, "seconds": int | float, "packages": dict, "execution": dict, "created": str,
        "device": str, "commit": str, "earlier": list,
    }  # fmt: skip
    odd = ["the whole"] if not isinstance(found, dict) else [
        name for name, kind in kinds.items() if found.get(name) is not None and not isinstance(found[name], kind)
    ]  # fmt: skip
    if odd:
        raise RunError.at(
            str(files.path / "provenance.json"), expected="facts of a run",
            got=f"'{odd[0]}' of another kind",
            do="See dmd runs verify: --repair moves such a record aside",
        )  # fmt: skip
    return dict(found)


@lru_cache(maxsize=64)
def _ids(about: str, split: str) -> tuple[str, ...] | None:
    """Read the ids of a split, as one object for all runs on the same clips; None where there are none."""
    try:
        return tuple(map(str, parse_json(about)["ids"][split]))
    except (ValueError, KeyError, TypeError):
        return None
