"""`dmd data identify FILE`: which published or stored file this is, by its hash, else by what is in it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmd_repro.data.checks.labels import read_labels
from dmd_repro.data.download.sources import FeatureSource
from dmd_repro.data.download.trust import Trust
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.matrix import served_name
from dmd_repro.data.store.disk import alone, disk
from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import DataError, DmdError
from dmd_repro.shapes import SPLITS


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file turned out to be."""

    sha256: str
    size: int
    name: str | None  # of the source or the stored set it is
    how: str  # by what it was known; why it was not
    digest: str | None = None  # of its arrays, where they had to be looked at
    serves: str | None = None  # the name that the rows' recipes give to such features
    standing: str | None = None  # official or partial, where the content is known


def identify(
    path: Path,
    store: Store,
    sources: Mapping[str, FeatureSource],
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Identity:
    """Name a file by its sha256 (published, downloaded before, imported before), else by the digest of its arrays.

    Only for the last the file is unpacked, beside the stored sets, and removed again. Raises DataError if it cannot be
    opened.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError.at(
            str(path), expected="a file that can be read", got=error.strerror or str(error), do="Check the path"
        ) from error
    for source in sources.values():
        if source.sha256 == sha256:
            return Identity(sha256, size, source.name, "it has the published sha256", serves=source.name)
    held = _manifests(store)
    for name, manifest in held.items():
        if manifest.source.get("sha256") == sha256:
            how = "it is the file that was imported under this name"
            return Identity(sha256, size, name, how, manifest.digest, served_name(manifest), manifest.standing)
    for key, known in Trust(store.root / ".downloads" / "known.json").load().items():
        if known.sha256 == sha256:
            name = key.partition("/")[0]
            how = f"it was downloaded on {known.seen[:10]} from {known.place}"
            return Identity(sha256, size, name, how + (f" ({known.note})" if known.note else ""), serves=name)
    return _by_content(path, sha256, size, store, held, progress)


def _by_content(
    path: Path,
    sha256: str,
    size: int,
    store: Store,
    held: Mapping[str, Manifest],
    progress: Callable[[str, int, int], None],
) -> Identity:
    if listed := _label_list(path):
        return Identity(sha256, size, None, f"no published hash; it is {listed}")
    root = store.root
    with disk(root, "Free some space, or choose another folder with --data-dir"):
        root.mkdir(parents=True, exist_ok=True)
        with alone(root / ".identify.lock", "other dmd data identify"):
            for left in root.glob(".identify-*"):  # of one that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".identify-") as folder:
                try:
                    manifest, _ = import_file(path, Store(Path(folder)), name="unknown", on_progress=progress)
                except DmdError as error:
                    if isinstance(error.__cause__, OSError):  # the disk's fault, not the file's
                        raise
                    return Identity(sha256, size, None, f"no published hash, and it cannot be imported: {error}")
    serves = served_name(manifest)
    for name, other in held.items():
        if other.digest == manifest.digest:
            how = "another file, but its arrays are those stored under this name"
            return Identity(sha256, size, name, how, manifest.digest, serves, manifest.standing)
    how = "no published hash, and no stored set has its arrays"
    return Identity(sha256, size, None, how, manifest.digest, serves, manifest.standing)


def _label_list(path: Path) -> str | None:
    """Return what is said of a list of clips and labels; None for any other file."""
    with path.open("rb") as stream:
        if b"video_id" not in (head := stream.readline(1000)) or b"label" not in head:
            return None
    try:
        counts = Counter(clip.split for clip in read_labels(path, bounds=None).values())
    except DataError:
        return None
    sizes = {split: counts[split] for split in SPLITS}
    title = next((f"{facts.title}'s" for facts in DATASETS.values() if facts.splits == sizes), "no known data set's")
    return (
        f"a list of {sum(sizes.values()):,} clips with labels, of {title} sizes, which goes with features: "
        f"dmd data check NAME --labels {path.name}"
    )


def _manifests(store: Store) -> dict[str, Manifest]:
    found = {}
    for name in store.names():
        try:
            found[name] = store.manifest(name)
        except DataError:  # damaged: `dmd data list` says so
            continue
    return found
