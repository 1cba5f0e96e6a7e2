"""One file from one place, whatever kind of place it is: fetched, joined or unpacked, and hashed on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dmd_repro.data.download import drive, hub
from dmd_repro.data.download.http import Policy, fetch
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import FeatureSource, Mirror
from dmd_repro.data.download.zip import take
from dmd_repro.errors import DataError

Progress = Callable[[str, int, int], None]


def from_place(
    source: FeatureSource,
    place: Mirror,
    final: Path,
    policy: Policy,
    progress: Progress,
    siblings: Sequence[FeatureSource],
) -> str:
    """Bring a file from a place to its path and return its sha256."""

    def hear(done: int, total: int) -> None:
        progress(f"Downloading {source.file}", done, total)

    if place.kind == "archive":
        return _from_archive(source, place, final, hear, policy, progress, siblings)
    known = source.sha256 is not None and not place.may_differ
    if place.kind == "hub":
        return hub.get(place, place.file or source.file, final, policy, hear, known=known)
    size = None if place.may_differ else source.size
    if place.kind == "url":
        with Part(final, hear) as part:
            fetch(place, part, policy, size=size, known=known)
            part.finish()
            return part.sha256
    chosen = drive.DriveFile(place.value, source.file)
    if place.kind == "drive_folder":
        listed = drive.listing(place.value, policy, source.within or "")
        chosen = drive.choose(listed, source.file, source.within, place.value)
    with Part(final, hear) as part:
        drive.get(chosen, part, policy, size=size, known=known)
        part.finish()
        return part.sha256


def _from_archive(
    source: FeatureSource,
    place: Mirror,
    final: Path,
    hear: Callable[[int, int], None],
    policy: Policy,
    progress: Progress,
    siblings: Sequence[FeatureSource],
) -> str:
    """Fetch a folder that comes as one archive, and unpack its siblings too: it is fetched once."""
    archive = final.with_name("folder.zip")
    with Part(archive, hear) as part:
        fetch(place, part, policy)
        part.finish()
    try:
        names = [source.file, *(s.file for s in siblings if s.group == source.group)]

        def unpacking(done: int, total: int) -> None:
            progress(f"Unpacking {archive.name}", done, total)

        found = take(archive, names, final.parent, unpacking)
    finally:
        archive.unlink(missing_ok=True)
    if source.file not in found:
        raise DataError.at(
            place.value, expected=f"a folder with {source.file}", got="an archive without it", do="Look at its page"
        )
    path, sha256 = found[source.file]
    path.replace(final)
    return sha256
