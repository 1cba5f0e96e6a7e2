"""What a run is: the model, the seed, the mask and every resolved hyper-parameter, and the identity that follows.

Standard library only. Two runs with the same identity are the same computation; anything that can move a prediction is
in it, anything that cannot (paths, dates, the machine) is in the record's provenance instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dmd_repro.errors import SpecError, nearest

SPEC_VERSION = 1
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class AblationMask:
    """The parts of a model that are switched OFF; `()` is the full model.

    The names are the model's own (`PARTS`); DMD's are Table 3's: fd, homogd, ca, heterogd.
    """

    off: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "off", tuple(sorted(set(self.off))))

    @property
    def label(self) -> str:
        """`full`, or the parts that are off with a minus before each."""
        return "full" if not self.off else " ".join(f"-{part}" for part in self.off)

    def check(self, model: str, parts: Iterable[str]) -> None:
        """Raise SpecError if the mask names a part the model does not have."""
        known = sorted(parts)
        for part in self.off:
            if part not in known:
                raise SpecError.at(
                    f"mask of {model}",
                    expected=f"parts among {', '.join(known) or '(none)'}",
                    got=repr(part),
                    do=nearest(part, known) if known else f"{model} has no part to switch off",
                )


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run, completely: equal specs on equal data give equal predictions (for an equal execution)."""

    model: str
    seed: int
    dataset: str  # mosi | mosei | synthetic: chooses preset and class counts; the content is in the data digest
    protocol: str  # belongs to the model: DMD has "official" (the authors' code)
    mask: AblationMask = field(default_factory=AblationMask)
    config: Mapping[str, Scalar] = field(default_factory=dict)  # RESOLVED: every hyper-parameter, nothing implicit
    model_version: int = 1  # raised, with a line in the changelog's Numbers, by any change that can move a prediction
    training_version: int = 1
    # settings added after a release, with the value at which they change nothing: at it they are in no identity
    neutral: Mapping[str, Scalar] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        data = {name: getattr(self, name) for name in self.__slots__}  # not asdict, which copies every setting deeply
        return data | {"mask": list(self.mask.off), "config": dict(self.config), "neutral": dict(self.neutral)}

    def hashed(self) -> dict[str, Any]:
        """Return what the identity is made of: `to_json` without the added settings that are at their neutral value."""
        data = self.to_json()
        neutral = data.pop("neutral")
        data["config"] = {k: v for k, v in self.config.items() if k not in neutral or not _same(v, neutral[k])}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """Rebuild a spec from `to_json`; raises SpecError if a field is missing or unknown."""
        try:
            config, neutral = dict(data["config"]), dict(data.get("neutral", {}))
            return cls(**{**data, "mask": AblationMask(tuple(data["mask"])), "config": config, "neutral": neutral})
        except (KeyError, TypeError) as error:
            raise SpecError(
                f"spec.json: expected the fields of a run spec, got {error}. Read it with the version that wrote it."
            ) from error

    def completed(self, neutral: Mapping[str, Scalar]) -> RunSpec:
        """Return the spec with every setting added since it was written, at its neutral value: the same identity."""
        missing = {name: value for name, value in neutral.items() if name not in self.config}
        if not missing:
            return self
        return replace(self, config={**self.config, **missing}, neutral={**self.neutral, **missing})

    def configuration_id(self, data_digest: str) -> str:
        """Identity of the run without its seed: runs that share it are replicates of one another."""
        return _digest({**self.hashed(), "seed": None}, data_digest)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest round-trip floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _same(a: Scalar, b: Scalar) -> bool:
    return type(a) is type(b) and a == b


def _digest(spec: Mapping[str, Any], data_digest: str) -> str:
    text = canonical({"spec_version": SPEC_VERSION, "spec": spec, "data_digest": data_digest})
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(spec: RunSpec, data_digest: str) -> str:
    """Return the 12 hexadecimal digits that name the run's folder."""
    return _digest(spec.hashed(), data_digest)
