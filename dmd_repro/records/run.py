"""One finished run as it lies on disk: what it is, on what data, and what it predicted.

`<run_id>/` holds spec.json (spec, digest and stamp of the data), provenance.json (where, when, how long),
history.jsonl (a line an epoch), predictions.safetensors (valid and test at the selected epoch),
epochs.safetensors (predictions of every epoch), checkpoint.safetensors (best weights) and DONE, written last, with
the sha256 of the others. Metrics are not here: they are computed from the predictions when someone asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dmd_repro.disk import parse_json
from dmd_repro.errors import RunError
from dmd_repro.spec import SPEC_VERSION, RunSpec, run_id

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


def read_json(path: Path) -> Any:
    """Read a JSON file of a record; raises RunError in one sentence if it is missing, cut off or not JSON."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "something else, or half of it"
        raise RunError.at(
            str(path), expected="a readable JSON file", got=str(got), do="Delete that run's folder and train it again"
        ) from error


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a safetensors file and the JSON in its metadata; raises RunError if it is missing, cut off or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            meta = parse_json((file.metadata() or {}).get("meta", "{}"))
            return {key: file.get_tensor(key) for key in file.keys()}, meta  # noqa: SIM118 (not a dict)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError.at(
            str(path),
            expected="a complete safetensors file",
            got=f"'{error}'",
            do="Delete that run's folder and train it again",
        ) from error


def pack_arrays(arrays: Mapping[str, NDArray[Any]], meta: Any = None) -> bytes:
    """Return safetensors bytes; `meta` goes in as JSON under ONE key, so that equal content gives equal bytes."""
    from safetensors.numpy import save

    # safetensors writes the raw buffer, so a strided array must be copied; ascontiguousarray would make 0-d into (1,)
    plain = {key: np.asarray(value, order="C") for key, value in arrays.items()}
    return bytes(save(plain, metadata=None if meta is None else {"meta": json.dumps(meta, sort_keys=True)}))


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A complete record. Small facts are read when it is made, arrays when they are asked for."""

    path: Path
    spec: RunSpec
    data: dict[str, Any]  # DataStamp.to_json()
    provenance: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read spec, stamp and provenance; raises RunError if unreadable, or if the spec is not this folder's."""
        document = read_json(path / "spec.json")
        try:
            spec = RunSpec.from_json(document["spec"])
            digest = document["data_digest"]
            data = dict(document["data"])
            version = document["spec_version"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError.at(
                str(path / "spec.json"),
                expected="spec, data_digest, data and spec_version",
                got=f"no {error}",
                do="Delete that folder, it was not written by this program",
            ) from error
        name = path.name.split(".")[0]
        if version != SPEC_VERSION or data.get("digest") != digest or run_id(spec, digest) != name:
            raise RunError.at(
                str(path),
                expected=f"the run whose spec and data give the id {name}",
                got=f"version {version}, id {run_id(spec, digest)}",
                do="It was copied or edited and is not counted: delete it, or give it its own name back",
            )
        return cls(path=path, spec=spec, data=data, provenance=read_json(path / "provenance.json"))

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
        path = self.path / "history.jsonl"
        try:
            return [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise RunError.at(
                str(path), expected="one JSON object a line", got=f"'{error}'", do="Train this run again"
            ) from error

    def predictions(self, split: str) -> Predictions:
        """Return what the selected epoch says of "valid" or "test"; RunError if unreadable."""
        arrays, meta = read_arrays(self.path / "predictions.safetensors")
        heads = f"{split}/head/"
        try:
            return Predictions(
                ids=tuple(meta["ids"][split]),
                y_true=arrays[f"{split}/y_true"],
                y_pred=arrays[f"{split}/y_pred"],
                heads={k.removeprefix(heads): v for k, v in sorted(arrays.items()) if k.startswith(heads)},
            )
        except KeyError as error:
            raise RunError.at(
                str(self.path / "predictions.safetensors"),
                expected=f"predictions of the split '{split}'",
                got=f"no {error}",
                do=f"The splits are {', '.join(PREDICTED_SPLITS)}",
            ) from error

    def epochs(self, split: str) -> NDArray[np.float32]:
        """Return (E, B): the prediction of every epoch, in the clips' order of `predictions(split)`."""
        return read_arrays(self.path / "epochs.safetensors")[0][split]

    def checkpoint(self) -> dict[str, NDArray[Any]]:
        """Return the weights of the selected epoch by parameter name."""
        return read_arrays(self.path / CHECKPOINT)[0]
