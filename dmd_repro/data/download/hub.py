"""Files of a Hugging Face data set, by way of huggingface_hub: whole, or in parts that are joined as they arrive."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from dmd_repro.data.download.http import Policy, fetch
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import Mirror
from dmd_repro.errors import DataError

ENDPOINT: str | None = None  # the library's own
HOSTS = ("huggingface.co", "hf.co")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a data set."""

    path: str
    size: int


def pieces(place: Mirror, file: str) -> list[HubFile]:
    """Return the files that a pattern stands for, in order; DataError naming what is there instead."""
    hub, folder = _hub(), str(PurePosixPath(file).parent)
    where = f"Hugging Face data set {place.value}"
    try:
        listed = hub.HfApi(endpoint=ENDPOINT, token=False).list_repo_tree(
            place.value, None if folder == "." else folder, repo_type="dataset"
        )
        there = [HubFile(str(item.path), int(item.size)) for item in listed if getattr(item, "size", None) is not None]
    except Exception as error:  # the library raises its own, its client's and the parser's
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError.at(
            where, expected="a public data set", got=f"'{said}'", do="It may have moved: look at its page"
        ) from error
    found = sorted((p for p in there if fnmatchcase(p.path, file)), key=lambda p: _number(p.path))
    if not found:
        seen = ", ".join(p.path for p in there[:6]) or "nothing"
        raise DataError.at(where, expected=file, got=seen, do="It may have moved: look at its page")
    numbers = [_number(p.path)[0] for p in found]
    if len(found) > 1 and numbers != list(range(numbers[0], numbers[0] + len(found))):
        raise DataError.at(
            where, expected=f"the parts of {file} without a gap", got=f"parts {numbers}"[:160], do="Try another place"
        )
    return found


def get(place: Mirror, file: str, final: Path, policy: Policy, hear: Callable[[int, int], None], *, known: bool) -> str:
    """Bring a file, or its parts joined, to its path and return the sha256; what has arrived is gone on with."""
    found = pieces(place, file)
    total = sum(piece.size for piece in found)
    if len(found) == 1:
        with Part(final, hear) as part:
            fetch(_address(place, found[0]), part, policy, size=found[0].size, known=known)
            part.finish()
            return part.sha256
    same = f"hub:{place.value}/{file}:{'+'.join(str(p.size) for p in found)}"
    with Part(final, hear) as whole:
        if whole.state.url != same:
            whole.restart()
        whole.begin(same, "", total)
        start = 0
        for piece in found:
            if whole.size < start + piece.size:
                _append(place, piece, whole, whole.size - start, policy, hear, (start, total), known)
            start += piece.size
        whole.finish()
        return whole.sha256


def _append(
    place: Mirror,
    piece: HubFile,
    whole: Part,
    offset: int,
    policy: Policy,
    hear: Callable[[int, int], None],
    span: tuple[int, int],
    known: bool,
) -> None:
    """Fetch one part beside the whole and add what the whole lacks of it; it is removed once that is on the disk."""
    start, total = span
    apart = whole.final.with_name(f"{whole.final.name}.{PurePosixPath(piece.path).name}")
    if not apart.is_file():
        with Part(apart, lambda done, _: hear(start + done, total)) as part:
            fetch(_address(place, piece), part, policy, size=piece.size, known=known)
            part.finish()
    with apart.open("rb") as stream:
        stream.seek(offset)
        while block := stream.read(_PIECE):
            whole.add(block)
    whole.sync()
    apart.unlink()


def _address(place: Mirror, piece: HubFile) -> Mirror:
    url = _hub().hf_hub_url(place.value, piece.path, repo_type="dataset", endpoint=ENDPOINT)
    return Mirror("url", url, HOSTS)


def _number(path: str) -> tuple[int, str]:
    """Return what orders parts: the number at the end of the name, or letters (`partaa`) as one."""
    end = re.search(r"(\d+|[a-z]{2,3})$", path)
    if end is None:
        return 0, path
    if end[1].isdigit():
        return int(end[1]), path
    value = 0
    for letter in end[1]:
        value = value * 26 + ord(letter) - ord("a")
    return value, path


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise DataError.at(
            "a Hugging Face data set", expected="the package huggingface_hub, which reads them", got="none installed",
            do="Type: pip install 'dmd-repro[download]' (or download the file in a browser and import it)",
        ) from None  # fmt: skip
