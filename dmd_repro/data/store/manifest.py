"""What the store says about a feature set without touching its arrays: sizes, widths, digests, warnings, the source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from dmd_repro.data.features import Standing, TextKind
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, SPLITS

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of one stored feature set (manifest.json); `from_json` checks them."""

    name: str
    dataset: str  # mosi | mosei
    aligned: bool
    texts: tuple[TextKind, ...]  # kinds of text held; the first is the default
    sizes: Mapping[str, int]  # clips by split
    dims: Mapping[str, int]  # width of l (the `text` array; absent if there are token ids only), a, v
    lengths: Mapping[str, int]  # steps of l, a, v, padding included
    digest: str  # over all that is held
    digests: Mapping[str, str]  # by kind of text: what `Features.digest` is after opening with it
    standing: Standing
    warnings: tuple[str, ...]
    arrays: Mapping[str, Mapping[str, str]]  # sha256 by split and array
    content: str  # the sub-folder that holds the arrays
    replaced: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # {"audio -inf": {split: values set to 0}}
    source: Mapping[str, Any] = field(default_factory=dict)  # file name, sha256, bytes, family
    notes: tuple[str, ...] = ()  # what was read under another name or shape than the file has
    version: int = MANIFEST_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values, sealed with the sha256 over them."""
        plain = asdict(self) | {"texts": list(self.texts), "warnings": list(self.warnings)}
        plain["notes"] = list(self.notes)
        return plain | {"seal": _seal(plain)}

    def summary(self) -> dict[str, Any]:
        """Return what `dmd data import --json` prints."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "aligned": self.aligned,
            "splits": dict(self.sizes),
            "dims": dict(self.dims),
            "lengths": dict(self.lengths),
            "digest": self.digest,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "texts": list(self.texts),
            "digests": dict(self.digests),
            "standing": self.standing,
            "replaced": {what: dict(counts) for what, counts in self.replaced.items()},
            "source": dict(self.source),
        }

    @classmethod
    def from_json(cls, where: str, data: Any) -> Manifest:
        """Rebuild a manifest, `where` naming the file; DataError if a field is missing, unknown or of another form."""
        try:
            data = dict(data)
            seal = data.pop("seal", None)  # manifests of before the seal have none
            if seal is not None and seal != _seal(data):
                raise _malformed(where, "one that was changed after it was written")
            lines = {key: tuple(data.get(key, ())) for key in ("texts", "warnings", "notes")}
            manifest = cls(**{**data, **lines})
            good = (
                manifest.version == MANIFEST_VERSION
                and manifest.texts
                and all(kind in get_args(TextKind) and kind in manifest.digests for kind in manifest.texts)
                and all(int(manifest.sizes[s]) > 0 and isinstance(manifest.arrays[s], dict) for s in SPLITS)
                and all(int(manifest.lengths[m]) > 0 for m in MODALITIES)
                and all(m in manifest.dims for m in ("a", "v"))
                and manifest.standing in get_args(Standing)
                and isinstance(manifest.aligned, bool)
                and manifest.content.isidentifier()
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed(where, f"{type(error).__name__}: {error}") from error
        if not good:
            raise _malformed(where, f"version {data['version']} with fields out of range")
        return manifest


def _seal(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _malformed(where: str, got: str) -> DataError:
    return DataError.at(
        where,
        expected=f"a manifest of version {MANIFEST_VERSION}",
        got=got,
        do="Import this feature set again with --force",
    )
