"""A state_dict in whatever a trainer saved it: found, unwrapped and checked, whichever system it belongs to.

A system's reference is told by the names of its tensors alone: the wrapping (a key beside an optimizer, a prefix that a
wrapper put before every name) is what makes those names appear. Nothing in a file is executed, and no more memory is
taken than the file itself could fill.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from dmd_repro.errors import DataError

INERT = (".version", ".embed_positions._float_tensor", ".position_ids", ".num_batches_tracked")  # nothing reads them
_SAVE = "torch.save(model.state_dict(), FILE)"
_SLACK = 64 << 20  # bytes a file may take beyond its own size
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch's files before 1.6 begin
_DEEP = 3  # levels of keys looked through
_FOREIGN = (
    (b"<!doctype", "a web page, saved in place of the file"),
    (b"<html", "a web page, saved in place of the file"),
    (b"version https://git-lfs", "a Git LFS pointer; the file itself was not fetched"),
    (b"\x89hdf", "an HDF5 file (Keras, MATLAB)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"gguf", "a GGUF file"),
    (b"\x93numpy", "one NumPy array"),
    (b"%pdf", "a PDF"),
)


@dataclass(frozen=True, slots=True)
class StateFile:
    """The tensors a file holds for one system, by that system's names, in float32."""

    where: str
    tensors: Mapping[str, Tensor]
    key: str = ""  # where in the file they lay; "" for the file itself
    prefix: str = ""  # what stood before every name

    @property
    def taken(self) -> tuple[str, ...]:
        """What was chosen and left out, for the reader."""
        words = [f"the weights under '{self.key}'"] if self.key else []
        words += [f"the names without '{self.prefix}'"] if self.prefix else []
        return (f"read: {', '.join(words)}",) if words else ()

    def in_file(self, name: str) -> str:
        """Return a name as the file has it, or would have."""
        return f"{self.prefix}{name}"


def read_state(source: Path | BinaryIO, names: frozenset[str], where: str) -> StateFile:
    """Find the one state_dict in a file that has the names of a reference. `names`: some of them, as its code has them.

    Raises DataError for a file that cannot be read, is cut or foreign, holds none or several of them, or tensors
    without plain values.
    """
    try:
        with source.open("rb") if isinstance(source, Path) else source as stream:
            loaded = _load(stream, where)
    except OSError as error:
        raise DataError.at(
            where, expected="a checkpoint that can be read", got=error.strerror or str(error), do="Check the path"
        ) from error
    key, prefix, found = _choose(loaded, names, where)
    kept = {n.removeprefix(prefix): v for n, v in found.items() if not n.endswith(INERT)}
    bytes_of = {n: v.numel() * 4 for n, v in kept.items() if isinstance(v, Tensor)}
    stored = sum({v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in _solid(kept)}.values())
    if sum(bytes_of.values()) > 8 * stored + _SLACK:
        raise _unfolds(where, sum(bytes_of.values()))
    plain = {n: _plain(v, f"{where}, {prefix}{n}") for n, v in kept.items()}
    return StateFile(where, plain, key, prefix)


def names_in(path: Path, where: str) -> set[str]:
    """Return the names of the largest state_dict in a file; none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            found = [set(tensors) for _, tensors in _candidates(_load(stream, where))]
    except (DataError, OSError):
        return set()
    return max(found, key=len, default=set())


def refuse_names(state: StateFile, got: set[str], wanted: set[str], model: str) -> None:
    """Raise DataError with a few of the missing and the unknown names, as the file has them, and what that means."""
    missing, unknown = sorted(wanted - got), sorted(got - wanted)
    if not missing and not unknown:
        return
    told = [
        f"{len(n)} {what} ({', '.join(state.in_file(x) for x in n[:3])}{', ...' if len(n) > 3 else ''})"
        for what, n in (("missing", missing), ("unknown", unknown))
        if n
    ]
    if not wanted & got:
        do = f"It is of another model than {model}, or of other code of it"
    elif not unknown:
        do = "It is a part of one: save the whole model, or look whether the file was cut when it was written"
    elif not missing:
        do = f"Its model has more parts than the reference's: remove them, if no prediction of {model} reads them"
    else:
        do = "Its code was changed: rename what only has another name, and train again where a part is another"
    raise DataError.at(
        state.where, expected=f"the {len(wanted)} names of {model}", got=" and ".join(told), do=do
    )  # fmt: skip


# ---- the file


def _load(stream: BinaryIO, where: str) -> Any:
    head = stream.read(64)
    stream.seek(0)
    kind = _refuse_foreign(stream, head, where)
    try:
        with warnings.catch_warnings(action="ignore"):  # of other pickle protocols, which are refused
            if kind == "safetensors":
                from safetensors.torch import load

                return load(stream.read())
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file makes the reader raise, it is not a state_dict
        got, do = _why(str(error), head.startswith(_OLD))
        raise DataError.at(where, expected="a state_dict (names and tensors)", got=got, do=do) from error


def _refuse_foreign(stream: BinaryIO, head: bytes, where: str) -> str:
    """Return how to read the file; raise DataError that calls it what it is."""
    got = next((words for magic, words in _FOREIGN if head.lstrip()[: len(magic)].lower() == magic), "")
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if not size:
        got = "an empty file"
    elif head.startswith(b"PK\x03\x04"):
        return _refuse_archive(stream, size, where)
    elif len(head) > 8 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 100 << 20:
        if int.from_bytes(head[:8], "little") + 8 > size:
            got = f"a safetensors file cut off after {size:,} bytes"
        else:
            return "safetensors"
    elif not got and not head.startswith(b"\x80"):
        got = "a file of another kind" if b"\0" in head else "a file of text or of another kind"
    if got:
        raise _another(where, got)
    return "pickle"


def _refuse_archive(stream: BinaryIO, size: int, where: str) -> str:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        cut = f"a file cut off or damaged (an archive of {size:,} bytes without a whole table of contents)"
        raise DataError.at(
            where, expected="a whole checkpoint", got=cut, do="Copy or download it again, and compare the sizes"
        ) from error
    names = [m.filename for m in members]
    if any(n.endswith(".npy") for n in names):
        raise _another(where, "NumPy arrays (.npz)")
    if any("/code/" in n for n in names):
        raise _another(where, "a TorchScript program, which is code")
    if not any(n.endswith("data.pkl") for n in names):
        raise _another(where, f"an archive of other files ({', '.join(names[:3])})"[:200])
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size + _SLACK:
        raise _unfolds(where, sum(m.file_size for m in members))  # torch never compresses
    stream.seek(0)
    return "pickle"


def _another(where: str, got: str) -> DataError:
    return DataError.at(
        where, expected="a state_dict (names and tensors)", got=got, do=f"Where it was trained, save {_SAVE}"
    )


def _unfolds(where: str, size: int) -> DataError:
    return DataError.at(
        where, expected="tensors as large as the file", got=f"one that unfolds to {size / 1e6:,.0f} MB of memory",
        do=f"Where it was trained, save it again with {_SAVE}",
    )  # fmt: skip


def _why(said: str, old: bool) -> tuple[str, str]:
    """Say what kept torch from reading a pickle: code that it would run, or an end that came too early."""
    name = re.search(r"GLOBAL ([\w.]+)", said) or re.search(r"class ([\w.]+)", said)
    save = f"Where it was written, save only the weights: {_SAVE}"
    if name and name[1].startswith(("numpy", "_codecs")):
        return f"NumPy arrays ({name[1]}); nothing in it was executed", f"Make them tensors and save: {_SAVE}"
    if name and name[1] in ("argparse.Namespace", "pathlib.PosixPath"):
        beside = f"weights with other objects beside them ({name[1]}); nothing in it was executed"
        return beside, f"Where it was written, save the weights alone: {_SAVE}"
    if name:
        return f"an object of the class {name[1][:80]}, which only its own code makes; nothing in it was executed", save
    if old or re.search(r"unexpected e(of|nd)|truncat|corrupt|incomplete", said, re.IGNORECASE):
        return "a file cut off or damaged; nothing in it was executed", "Copy or download it again"
    return "a file that holds something else or more; it was refused, and nothing in it was executed", save


# ---- what is in it


def _choose(loaded: Any, names: frozenset[str], where: str) -> tuple[str, str, Mapping[str, Any]]:
    """Return (key, prefix, tensors) of the one candidate that has names of the reference."""
    candidates = list(_candidates(loaded))
    if not candidates:
        if isinstance(loaded, torch.Tensor):
            what = "a single tensor"
        elif loaded is None or (isinstance(loaded, Sized) and not len(loaded)):
            what = "nothing in it"
        else:
            what = f"a value of type {type(loaded).__name__} without tensors under names"
        raise DataError.at(
            where, expected="a state_dict (names and tensors)", got=what, do=f"Save only the weights: {_SAVE}"
        )
    scored = [(n, key, prefix, found) for key, found in candidates for prefix, n in _prefixes(found, names)]
    most = max((n for n, *_ in scored), default=0)
    best = [(key, prefix, found) for n, key, prefix, found in scored if n == most]
    if not best:  # of another model: what lies at the top tells the reader most
        key, found = max(candidates, key=lambda c: len(c[1]))
        return key, "", found
    if len(best) > 1:
        shown = ", ".join(f"'{key}'" if key and not prefix else f"'{key}{prefix}'" for key, prefix, _ in best[:5])
        raise DataError.at(
            where, expected="the weights of one model", got=f"{len(best)} of them ({shown})",
            do="Save the one you mean by itself: torch.save(torch.load(FILE, weights_only=True)[KEY], NEW)",
        )  # fmt: skip
    return best[0]


def _candidates(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every mapping that holds tensors under names, with the keys that lead to it."""
    if depth > _DEEP:
        return
    if isinstance(value, Mapping):
        if any(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()):
            yield key, {k: v for k, v in value.items() if isinstance(k, str)}
            return
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return
    for name, inner in items:
        if "optim" not in str(name).lower():  # its moments have the shapes of weights
            yield from _candidates(inner, f"{key}.{name}" if key else str(name), depth + 1)


def _prefixes(found: Mapping[str, Any], names: frozenset[str]) -> list[tuple[str, int]]:
    """Return the prefixes under which most of the reference's names appear, with how many do: one, unless they tie."""
    votes: Counter[str] = Counter()
    for name in found:
        parts = name.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in names:
                votes[".".join(parts[:i]) + "." if i else ""] += 1
                break
    most = max(votes.values(), default=0)
    return [(prefix, n) for prefix, n in votes.items() if n == most]


def _solid(tensors: Mapping[str, Any]) -> Iterator[Tensor]:
    for v in tensors.values():
        if isinstance(v, Tensor) and v.layout == torch.strided and v.device.type == "cpu":
            yield v


def _plain(value: Any, where: str) -> Tensor:
    """Return a tensor's values in float32; raise DataError where it has none, or none that a weight can have."""
    got = ""
    if not isinstance(value, Tensor):
        got = f"a value of type {type(value).__name__}"
    elif value.device.type != "cpu":
        got = f"one on the device '{value.device.type}', which holds no values"
    elif value.layout != torch.strided:
        got = "a sparse one"
    elif value.is_quantized:
        got = "a quantised one"
    elif not value.is_floating_point():
        got = f"one of {str(value.dtype).removeprefix('torch.')}"
    if not got:
        plain: Tensor = value.detach().resolve_neg().float().contiguous()
        if bool(torch.isfinite(plain).all()):
            return plain
        got = "one with NaN or inf: its training diverged, or the file is damaged"
    raise DataError.at(
        where, expected="a tensor of plain floating-point values", got=got,
        do="Save the model's state_dict as it was trained, on the CPU",
    )  # fmt: skip
