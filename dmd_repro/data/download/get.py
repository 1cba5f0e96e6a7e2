"""`dmd data download`: from a name to a verified file, then to an imported and checked feature set.

<data>/.downloads/<group>/<file>   what was fetched, removed once imported; `known.json` remembers the hashes
<data>/checkpoints/                the authors' weights
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmd_repro.data.checks.check import CheckReport, check
from dmd_repro.data.checks.labels import read_labels
from dmd_repro.data.download import drive
from dmd_repro.data.download.http import Policy
from dmd_repro.data.download.part import Part, sweep
from dmd_repro.data.download.places import Progress, from_place
from dmd_repro.data.download.sources import FeatureSource, label_file
from dmd_repro.data.download.trust import Trust, other_than
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.disk import alone, disk
from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.errors import DataError

Say = Callable[[str], None]
_NO_SPACE = "Free some space, or choose another folder with --data-dir, then run the same command again"


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """How a download is to be done."""

    policy: Policy = field(default_factory=Policy)
    accept: bool = False  # a file that changed since its first download
    keep: bool = False  # the downloaded file, after it was imported
    force: bool = False  # also what is there already
    progress: Progress = lambda stage, done, total: None
    say: Say = lambda text: None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came of one name."""

    name: str
    manifest: Manifest | None  # of a feature set
    report: CheckReport | None
    files: tuple[Path, ...]  # of a folder, or kept
    new: bool


def download(
    source: FeatureSource, store: Store, options: DownloadOptions, siblings: Sequence[FeatureSource] = ()
) -> Downloaded:
    """Fetch, verify, import and check one source; what is there already is not fetched again.

    `siblings` are the other sources that may come in the same archive. Raises DataError if no place gives the file, if
    it is another than is known, or if it cannot be imported; what has arrived is kept for the next call.
    """
    for folder in (store.root / ".downloads", store.root / "checkpoints"):
        with disk(folder, _NO_SPACE):
            sweep(folder)
    if source.kind == "folder":
        return _folder(source, store, options)
    if source.kind == "labels":
        return _labels(source, store, options)
    if not options.force and source.name in store.names():
        return Downloaded(source.name, store.manifest(source.name), None, (), False)
    home, trust = store.root / ".downloads" / source.group, Trust(store.root / ".downloads" / "known.json")
    key = f"{source.name}/{source.file}"
    with disk(home, _NO_SPACE):
        home.mkdir(parents=True, exist_ok=True)
        with alone(home / f".{_local(source)}.lock", "other download of this file"):
            file, sha256, place = _obtain(source, home, trust, key, options, siblings)
            try:
                manifest, _ = import_file(
                    file,
                    store,
                    name=source.name,
                    dataset=source.dataset,
                    force=options.force,
                    on_progress=options.progress,
                )
            except DataError as error:
                if not isinstance(error.__cause__, OSError):  # the content's fault: it would be refused again
                    file.replace(refused := file.with_name(f"{file.name}.refused"))
                    raise DataError(f"{error} What was downloaded is kept as {refused}.") from None
                raise
            trust.remember(key, sha256, file.stat().st_size, place, _note(source, sha256))
            report = check(source.name, store)
            if not options.keep:
                file.unlink()
    return Downloaded(source.name, manifest, report, (file,) if options.keep else (), True)


def lying_about(root: Path) -> list[tuple[Path, int]]:
    """Return the files that downloads have left, with their sizes: unfinished, refused or kept."""
    folder = root / ".downloads"
    with disk(folder, "Check the folder's permissions"):
        found = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
        return [(p, p.stat().st_size) for p in found if p.suffix not in (".lock", ".json")]


class _Changed(Exception):
    """A file differs from its first download."""


def _obtain(
    source: FeatureSource,
    home: Path,
    trust: Trust,
    key: str,
    options: DownloadOptions,
    siblings: Sequence[FeatureSource],
) -> tuple[Path, str, str]:
    """Return the file from the first place that gives it, with its sha256 and the place."""
    final = home / _local(source)

    def verify(sha256: str, may_differ: bool) -> None:
        words = trust.check(
            key, sha256, final.stat().st_size, published=source.sha256, accept=options.accept, may_differ=may_differ
        )
        options.say(f"{source.file}: {words}.")

    if final.is_file():  # fetched or unpacked before, and not imported yet
        sha256 = _sha256(final)
        try:
            verify(sha256, any(place.may_differ for place in source.places))
            return final, sha256, "an earlier download"
        except DataError:
            final.unlink()  # told before: perhaps the places have the right one again
    refusals = []
    for place in source.places:
        try:
            sha256 = from_place(source, place, final, options.policy, options.progress, siblings)
            try:
                verify(sha256, place.may_differ)
            except DataError:
                if source.sha256 is None or place.may_differ:
                    raise _Changed from None
                final.unlink()
                raise
            return final, sha256, place.shown
        except _Changed:
            verify(sha256, place.may_differ)  # says it; the file stays for --accept-change
        except DataError as error:
            refusals.append(str(error))
            if len(refusals) < len(source.places):
                options.say(f"{error} Trying the next place.")
    if len(refusals) == 1:
        raise DataError(f"{refusals[0]} By hand: dmd data download {source.name} --how")
    raise DataError.at(
        source.name,
        expected=f"one of {len(refusals)} places to give {source.file}",
        got=f"none ({' | '.join(refusals)})",
        do=f"By hand: dmd data download {source.name} --how",
    )


def _note(source: FeatureSource, sha256: str) -> str:
    return other_than(source.sha256, sha256) if source.sha256 not in (None, sha256) else ""


def _labels(source: FeatureSource, store: Store, options: DownloadOptions) -> Downloaded:
    """Fetch an official list of clips to where `dmd data check` looks for it, once it proves to be one."""
    final = label_file(store.root, source.dataset or "")
    if final.is_file() and not options.force:
        return Downloaded(source.name, None, None, (final,), False)
    home, trust = store.root / ".downloads" / source.group, Trust(store.root / ".downloads" / "known.json")
    key = f"{source.name}/{source.file}"
    with disk(home, _NO_SPACE):
        home.mkdir(parents=True, exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        with alone(home / f".{_local(source)}.lock", "other download of this file"):
            file, sha256, place = _obtain(source, home, trust, key, options, ())
            try:
                read_labels(file)
            except DataError:
                file.unlink()
                raise
            trust.remember(key, sha256, file.stat().st_size, place, _note(source, sha256))
            file.replace(final)
    return Downloaded(source.name, None, None, (final,), True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _local(source: FeatureSource) -> str:
    """Return the name a file is kept under: two data sets have an `aligned_50.pkl` each."""
    return f"{source.within}-{source.file}" if source.within else source.file


def _folder(source: FeatureSource, store: Store, options: DownloadOptions) -> Downloaded:
    home, trust = store.root / source.name, Trust(store.root / ".downloads" / "known.json")
    files: list[Path] = []
    new = False
    with disk(home, _NO_SPACE):
        home.mkdir(parents=True, exist_ok=True)
        with alone(home / ".lock", "other download of this folder"):
            for place in source.places:
                for item in drive.listing(place.value, options.policy):
                    final = home / drive.safe_path(item.path)
                    files.append(final)
                    if final.is_file() and not options.force:
                        continue
                    new = True

                    def hear(done: int, total: int, name: str = final.name) -> None:
                        options.progress(f"Downloading {name}", done, total)

                    apart = final.with_name(f"{final.name}.arrived")
                    with Part(apart, hear) as part:
                        drive.get(item, part, options.policy)
                        part.finish()
                        sha256 = part.sha256
                    key, size = f"{source.name}/{item.path}", apart.stat().st_size
                    words = trust.check(key, sha256, size, published=None, accept=options.accept)
                    options.say(f"{final.name}: {words}.")
                    apart.replace(final)
                    trust.remember(key, sha256, size, place.value)
    return Downloaded(source.name, None, None, tuple(files), new)
