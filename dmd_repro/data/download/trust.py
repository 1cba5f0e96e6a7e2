"""Trust on first use: where no hash is published, the first download's is remembered and a later change reported."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from dmd_repro.data.store.disk import disk
from dmd_repro.disk import parse_json, write_atomic
from dmd_repro.errors import DataError


@dataclass(frozen=True, slots=True)
class Known:
    """What the first download of a file was."""

    sha256: str
    size: int
    place: str
    seen: str  # UTC, ISO 8601
    note: str = ""  # how it differs from what is published


class Trust:
    """The remembered hashes, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Known]:
        """Return what is known by key; DataError if the file is damaged: it must not be forgotten in silence."""
        with disk(self.path, "Check the folder's permissions"):
            if not self.path.exists():
                return {}
            text = self.path.read_bytes()
        try:
            document = parse_json(text)
            found = {str(key): Known(**value) for key, value in document.items()}
            if all(isinstance(k.sha256, str) and isinstance(k.size, int) for k in found.values()):
                return found
        except (ValueError, TypeError, AttributeError):
            pass
        raise DataError.at(
            str(self.path),
            expected="the hashes of earlier downloads",
            got="something else",
            do="Delete it, and the next download of each file is trusted as a first one",
        )

    def check(
        self, key: str, sha256: str, size: int, *, published: str | None, accept: bool, may_differ: bool = False
    ) -> str:
        """Compare a downloaded file with what is published or known; return the words for the user.

        Raises DataError if it is another, unless that is accepted (a published hash never yields, but where a place
        `may_differ`: it is not known to hold the published file).
        """
        if published is not None and (sha256 == published or not may_differ):
            if sha256 != published:
                raise _other(
                    key, f"the published sha256 {published[:12]}...", sha256, size, "Try again or another place"
                )
            return "it has the published sha256"
        before = self.load().get(key)
        if before is not None and before.sha256 == sha256:
            return f"it is the content first downloaded on {before.seen[:10]}"
        if before is not None and not accept:
            said = (
                f"the content first downloaded on {before.seen[:10]} ({before.sha256[:12]}..., {before.size:,} bytes)"
            )
            raise _other(key, said, sha256, size, "If that is meant to be so, add --accept-change")
        if before is not None:
            return f"it CHANGED since {before.seen[:10]}, as you accepted"
        if published is not None:
            return other_than(published, sha256)
        doubt = "; this place is not known to hold the published file, look at dmd data check" if may_differ else ""
        return f"no hash is published: trusted on first use and remembered, sha256 {sha256}{doubt}"

    def remember(self, key: str, sha256: str, size: int, place: str, note: str = "") -> None:
        """Note what a file is, once it has proved to be whole; an equal note stays as it is."""
        with disk(self.path, "Free some space or choose another --data-dir"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):  # other files may be at it too
                known = self.load()
                if key in known and known[key].sha256 == sha256:
                    return
                known[key] = Known(sha256, size, place, datetime.now(UTC).isoformat(timespec="seconds"), note)
                document = {key: asdict(value) for key, value in sorted(known.items())}
                write_atomic(self.path, json.dumps(document, indent=1))


def other_than(published: str, sha256: str) -> str:
    """Return the warning about a copy that is not known to be the published file, and is not."""
    return (
        f"WARNING: it is not the published file (sha256 {published[:12]}...), but {sha256[:12]}...; whether this copy "
        "holds the same features is not known. Remembered; look at dmd data check"
    )


def _other(key: str, expected: str, sha256: str, size: int, do: str) -> DataError:
    return DataError.at(key, expected=expected, got=f"other content (sha256 {sha256[:12]}..., {size:,} bytes)", do=do)
