"""Files of torch.save, .npz and .npy are read as the pickle of the same dict is, and never more than that."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hostile import one_line
from toy_files import mmsa, save

from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.pickle_gate import opcodes
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.pickle_gate.filearray import FileArray
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError


def tensors(content: dict[str, Any]) -> dict[str, Any]:
    """The same columns with torch tensors for arrays of numbers."""
    return {
        s: {
            k: torch.from_numpy(v) if isinstance(v, np.ndarray) and v.dtype.kind in "fi" else v for k, v in part.items()
        }
        for s, part in content.items()
    }


def written(folder: Path, kind: str, content: dict[str, Any]) -> Path:
    path = folder / f"file.{kind}"
    if kind == "npy":
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    elif kind in ("npz", "packed.npz"):
        write = np.savez if kind == "npz" else np.savez_compressed
        write(path, **{s: np.array(part, dtype=object) for s, part in content.items()})
    else:
        torch.save(tensors(content) if kind == "tensors.pt" else content, path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "packed.npz", "pt", "tensors.pt"])
@pytest.mark.parametrize("span", [64, 1 << 16])
def test_every_container_gives_the_content_the_pickle_gives(tmp_path, monkeypatch, kind, span):
    """Protects: one dict has one digest, however it was saved, with arrays that stay in the file and without."""
    monkeypatch.setattr(opcodes, "SPAN", span)
    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", span)
    store = Store(tmp_path / "store")
    usual, _ = import_file(save(tmp_path / "file.pkl", mmsa()), store, name="x")
    other, _ = import_file(written(tmp_path, kind, mmsa()), store, name="x")
    assert (other.digest, other.notes, other.warnings) == (usual.digest, usual.notes, usual.warnings)


def test_a_flat_npz_is_divided_by_its_mode(tmp_path):
    """Protects: np.savez of the columns with a column that names the split is a feature file like any other."""
    content = mmsa()
    flat = {k: np.concatenate([np.asarray(part[k]) for part in content.values()]) for k in content["train"]}
    flat["mode"] = np.repeat(list(content), [len(part["id"]) for part in content.values()])
    np.savez(tmp_path / "flat.npz", **flat)
    store = Store(tmp_path / "store")
    usual, _ = import_file(save(tmp_path / "file.pkl", content), store, name="x")
    other, _ = import_file(tmp_path / "flat.npz", store, name="y")
    assert other.digest == usual.digest
    assert "divided into splits by the column mode" in other.notes


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"])
def test_tensors_of_every_plain_kind_and_layout_are_read_without_torch(tmp_path, dtype):
    """Protects: views, transposed and shared storages, parameters and empty tensors hold what torch says they hold."""
    base = torch.from_numpy(
        (np.arange(60).reshape(3, 4, 5) % 2 if dtype == "?" else np.arange(60).reshape(3, 4, 5)).astype(dtype)
    )
    content = {
        "plain": base, "turned": base.transpose(0, 2), "part": base[1:], "row": base[2, 1], "one": base[1, 1, 1],
        "empty": base[:0], "inserted": base[:, None], "again": base,
    }  # fmt: skip
    if base.is_floating_point():
        content |= {"parameter": torch.nn.Parameter(base), "needs": base.clone().requires_grad_()}
    torch.save(content, tmp_path / "x.pt")
    back = load_path(tmp_path / "x.pt")
    for name, tensor in content.items():
        assert np.array_equal(np.asarray(back[name]), tensor.detach().numpy()), name
        assert back[name].shape == tuple(tensor.shape)
    assert isinstance(back["plain"], FileArray)


def test_tensors_numpy_cannot_hold_say_so(tmp_path):
    """Protects: bfloat16, complex, sparse, valueless, expanded and strided tensors are named, not guessed at."""
    base = torch.arange(12.0).reshape(3, 4)
    content = {
        "bf16": base.bfloat16(), "complex": base.to(torch.complex64), "expanded": base[:1].expand(3, 4),
        "strided": base[:, ::2],
    }  # fmt: skip
    torch.save(content, tmp_path / "x.pt")
    back = load_path(tmp_path / "x.pt")
    assert {type(value) for value in back.values()} == {Foreign}
    assert ".contiguous()" in back["strided"].do
    assert ".float()" in back["bf16"].do
    for odd in (base.to_sparse(), base.to("meta")):
        torch.save({"x": odd, "y": 1}, tmp_path / "odd.pt")
        try:
            assert isinstance(load_path(tmp_path / "odd.pt")["x"], Foreign)
        except DataError as error:
            one_line(error)


def test_a_compressed_npz_that_does_not_fit_or_lies_is_refused(tmp_path, monkeypatch):
    """Protects: what claims more than the disk holds is not begun, a changed one is told, and no file is left."""
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(9000.0))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    got = load_path(tmp_path / "a.npz", scratch)["x"]
    assert isinstance(got, FileArray)
    assert np.array_equal(np.concatenate([block for _, block in got.blocks()]), np.arange(9000.0))
    assert not list(scratch.iterdir())
    body = bytearray((tmp_path / "a.npz").read_bytes())
    body[len(body) // 2] ^= 1
    (tmp_path / "b.npz").write_bytes(body)
    with pytest.raises(DataError, match="truncated or damaged zip"):
        load_path(tmp_path / "b.npz", scratch)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=70_000))
    with pytest.raises(DataError, match="once unpacked, and"):
        load_path(tmp_path / "a.npz", scratch)


def test_torch_tensors_inside_a_plain_pickle_get_the_recipe(tmp_path):
    """Protects: such a column runs torch.load when it is read elsewhere, so it is named and not read."""
    with pytest.raises(DataError, match=r"of train.*a torch tensor.*\.numpy\(\)"):
        import_file(save(tmp_path / "x.pkl", tensors(mmsa())), Store(tmp_path / "s"), name="x")


@pytest.mark.parametrize("kind", ["npy", "npz", "packed.npz", "pt", "tensors.pt"])
def test_a_cut_or_changed_container_is_one_sentence(tmp_path, kind):
    """Protects: whatever byte is lost or changed, nothing but a DataError or plain content comes."""
    body = written(tmp_path, kind, mmsa(sizes={"train": 2, "valid": 1, "test": 1})).read_bytes()
    rng = np.random.Generator(np.random.PCG64(5))
    path = tmp_path / f"bad.{kind}"
    for at in rng.integers(0, len(body), 60):
        mutated = bytearray(body)
        mutated[at] ^= 1 << int(rng.integers(8))
        for content in (body[:at], bytes(mutated)):
            path.write_bytes(content)
            try:
                import_file(path, Store(tmp_path / "s"), name="x", force=True)
            except DataError as error:
                one_line(error)


def test_archives_that_are_not_one_file_of_arrays_say_what_to_do(tmp_path):
    """Protects: a .npz packed by another program, a zip of a pickle and a lying size each get their own way out."""
    np.save(tmp_path / "x.npy", np.zeros(9))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("mosi.pkl", pickle.dumps(mmsa()))
        archive.writestr("readme.txt", "x")
    np.save(tmp_path / "c.npy", np.zeros(9))
    body = (tmp_path / "c.npy").read_bytes()
    (tmp_path / "c.npy").write_bytes(body[:-8])
    np.save(tmp_path / "d.npy", np.zeros(3))
    for name, word in {"a.npz": "np.savez,", "b.zip": "unzip b.zip", "c.npy": "another than its head says"}.items():
        with pytest.raises(DataError, match=word):
            load_path(tmp_path / name)
    with pytest.raises(DataError, match="a single array of shape"):
        import_file(tmp_path / "d.npy", Store(tmp_path / "s"), name="x")
