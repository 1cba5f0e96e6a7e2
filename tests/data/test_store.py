"""The store: mapped, read-only, replaced only as a whole, and every damage seen."""

from __future__ import annotations

import errno
import json
import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from toy_files import mmsa, mult

from dmd_repro.data.batches import batch_slices, epoch_order
from dmd_repro.data.formats.families import convert
from dmd_repro.data.resolve import load_features
from dmd_repro.data.store import folder as tensors_of_store
from dmd_repro.data.store.disk import alone
from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.tensors import map_tensors, write_tensors
from dmd_repro.errors import DataError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "store")


def base(array: np.ndarray) -> object:
    while isinstance(array, np.ndarray):
        array = array.base  # type: ignore[assignment]
    return array.obj if isinstance(array, memoryview) else array


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_what_is_opened_is_what_was_imported_mapped_and_read_only(store):
    """Arrays come from the map of the file: no copy in memory, and nobody can change them by mistake."""
    incoming = convert(mmsa(), "x.pkl")
    manifest = store.write("x", incoming)
    features = store.open("x")
    assert features.text == "hidden"
    assert features.digest == manifest.digests["hidden"]
    assert features.label == "x (hidden text, PARTIAL DATA)"
    for split, part in features.splits.items():
        source = incoming.splits[split]
        assert part.ids == source.ids
        pairs = {"language_hidden": part.language, "acoustic": part.acoustic, "visual": part.visual} | {
            "labels": part.labels, "lengths_a": part.lengths["a"], "lengths_l": part.lengths["l"],
        }  # fmt: skip
        for name, array in pairs.items():
            assert np.array_equal(array, source.arrays[name])
            assert not array.flags.writeable
            assert isinstance(base(array), mmap.mmap)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_the_kind_of_text_is_chosen_when_opening(store):
    """One imported MMSA file serves hidden states and token ids, each with a digest of its own."""
    manifest = store.write("x", convert(mmsa(), "x.pkl"))
    tokens = store.open("x", "bert")
    assert tokens.splits["train"].language.dtype == np.int64
    assert tokens.dims == {"a": 5, "v": 20}
    assert tokens.steps == {"l": 6, "a": 9, "v": 8}
    assert tokens.digest == manifest.digests["bert"] != manifest.digests["hidden"]
    with pytest.raises(DataError, match="expected glove text, got a file with hidden and bert text only"):
        store.open("x", "glove")


def test_the_files_are_ordinary_safetensors(store, tmp_path):
    """Other tools can read the store."""
    incoming = convert(mmsa(), "x.pkl")
    manifest = store.write("x", incoming)
    loaded = load_file(store.root / "x" / manifest.content / "valid.safetensors")
    assert set(loaded) == set(incoming.splits["valid"].arrays)
    for name, array in loaded.items():
        assert np.array_equal(array, incoming.splits["valid"].arrays[name])


def test_an_unknown_name_suggests_the_nearest(store):
    """A typing error costs one look, also in an empty store."""
    with pytest.raises(DataError, match="synthetic"):
        store.manifest("mosi")
    store.write("mosi-aligned-glove", convert(mult(), "x.pkl"))
    with pytest.raises(DataError, match="Did you mean 'mosi-aligned-glove'"):
        store.manifest("mosi-aligned-glov")
    assert store.names() == ["mosi-aligned-glove"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".hidden", "a\\b", "a b", "/abs", "x" * 81, "synthetic", "synthetic-x"]
)
def test_a_name_never_leaves_the_store(store, name):
    """A name is no path, and the names of generated data are theirs."""
    with pytest.raises(DataError, match="Choose another --name"):
        store.write(name, convert(mmsa(), "x.pkl"))
    assert not store.root.exists()


def test_other_content_needs_force_and_equal_content_is_kept(store):
    """A finished import is never overwritten by accident, and a repeated one changes nothing."""
    first = store.write("x", convert(mmsa(), "x.pkl"))
    before = files(store.root)
    again = store.write("x", convert(mmsa(), "other-name.pkl"))
    assert again == first
    with pytest.raises(DataError, match="--force"):
        store.write("x", convert(mult(), "x.pkl"))
    with pytest.raises(DataError, match="--force"):
        store.write("x", convert(mmsa(), "x.pkl", dataset="mosei"))  # the same arrays said to be another data set
    assert files(store.root) == before
    mapped = store.open("x").splits["train"].acoustic
    kept = mapped.copy()
    second = store.write("x", convert(mult(), "x.pkl"), force=True)
    assert store.open("x").digest == second.digests["glove"]
    assert np.array_equal(mapped, kept)  # a run that holds the old map reads on
    assert [p.name for p in (store.root / "x").iterdir() if p.is_dir()] == [second.content]


@pytest.mark.parametrize("fail_at", range(1, 7))
@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch, fail_at, force):
    """Wherever the disk fills up, it is one sentence, and the store is as it was."""
    if force:
        store.write("x", convert(mult(), "x.pkl"))
    before = files(store.root) if force else {}
    calls = 0
    real = os.fsync

    def fsync(handle):
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(DataError, match=r"No space left on device\. Free some space"):
        store.write("x", convert(mmsa(), "x.pkl"), force=force)
    monkeypatch.undo()
    after = {k: v for k, v in files(store.root).items() if not k.endswith(".lock")}
    assert after == {k: v for k, v in before.items() if not k.endswith(".lock")}
    assert store.names() == (["x"] if force else [])
    assert store.write("x", convert(mmsa(), "x.pkl"), force=force).name == "x"  # and the next try works


def test_a_killed_import_leaves_the_old_content_and_is_cleaned_up(store, monkeypatch):
    """A process that dies before the manifest is replaced has changed nothing; its debris goes with the next import."""
    old = store.write("x", convert(mult(), "x.pkl"))
    debris = store.root / "x" / "content_dead"
    debris.mkdir()
    (debris / "train.safetensors").write_bytes(b"half")
    (store.root / "x" / "manifest.content_dead.tmp").write_text("{")
    assert store.open("x").digest == old.digests["glove"]
    store.write("x", convert(mmsa(), "x.pkl"), force=True)
    assert not debris.exists()
    assert not list((store.root / "x").glob("*.tmp"))


def test_a_store_that_cannot_be_is_one_sentence(tmp_path):
    """A file where the folder should be: the same sentence for root and for others, and the file is untouched."""
    blocked = tmp_path / "store"
    blocked.write_text("a file")
    with pytest.raises(DataError, match="a folder that can be read and written"):
        Store(blocked).write("x", convert(mmsa(), "x.pkl"))
    assert Store(blocked).names() == []
    assert blocked.read_text() == "a file"


def test_two_imports_of_one_name_do_not_mix(store, monkeypatch):
    """The second import under a name says that the first is at work."""
    store.root.mkdir(parents=True)
    with alone(store.root / ".x.lock"), pytest.raises(DataError, match="no other import"):
        store.write("x", convert(mmsa(), "x.pkl"))


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "deleted":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif kind == "header":
        path.write_bytes(b"\xff" * 8 + content[8:])
    elif kind == "longer":
        path.write_bytes(content + b"\0")


@pytest.mark.parametrize("kind", ["deleted", "empty", "cut", "flipped", "header"])
@pytest.mark.parametrize("name", ["train.safetensors", "test.safetensors", "ids.json"])
def test_damaged_content_is_seen_when_opened(store, name, kind):
    """A run must never train on other bytes than its digest says."""
    manifest = store.write("x", convert(mult(), "x.pkl"))
    damage(store.root / "x" / manifest.content / name, kind)
    with pytest.raises(DataError, match=r"[Ii]mport (it|this feature set) again"):
        store.open("x")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"version": 99}', "\xff"])
def test_a_damaged_manifest_is_one_sentence(store, text):
    """Whatever stands in manifest.json, the way out is said."""
    store.write("x", convert(mult(), "x.pkl"))
    (store.root / "x" / "manifest.json").write_text(text, encoding="latin1")
    with pytest.raises(DataError, match=r"Import this feature set again with --force"):
        store.manifest("x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("texts", ["elmo"]), ("texts", []), ("sizes", {"train": 0}), ("content", "../../etc"), ("standing", "good"),
        ("aligned", 1), ("version", 2), ("arrays", {}), ("digests", {}), ("more", 1), ("lengths", {"l": "x"}),
    ],
)  # fmt: skip
def test_a_manifest_with_wrong_fields_is_refused(store, field, value):
    """A manifest is data of a file: its fields are checked, and it cannot name a folder outside its own."""
    store.write("x", convert(mult(), "x.pkl"))
    path = store.root / "x" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(DataError, match="manifest of version 1"):
        store.manifest("x")


def test_tensors_survive_any_mix_of_shapes(tmp_path):
    """Scalars' worth of data, one clip, int64 beside float32: read back equal, each array aligned in memory."""
    arrays = {
        "a": np.arange(3, dtype=np.float32), "b": np.arange(5, dtype=np.int64),
        "c": np.arange(24, dtype=">f4").reshape(2, 3, 4), "d": np.zeros((2, 0), dtype=np.float32),
    }  # fmt: skip
    write_tensors(tmp_path / "t.safetensors", arrays)
    back = map_tensors(tmp_path / "t.safetensors")
    assert back.keys() == arrays.keys()
    for name, array in back.items():
        assert np.array_equal(array, arrays[name])
        assert array.flags.aligned
    assert load_file(tmp_path / "t.safetensors").keys() == arrays.keys()


def test_load_features_takes_a_name_of_either_kind(store):
    """One call for stored and generated features; a setting that contradicts the name is refused."""
    store.write("x", convert(mmsa(), "x.pkl"))
    assert load_features("x", store, text="bert").text == "bert"
    assert load_features("x", store, aligned=False).name == "x"
    with pytest.raises(DataError, match="expected aligned features, got unaligned"):
        load_features("x", store, aligned=True)
    assert load_features("synthetic", store).name == "synthetic-aligned-glove"
    assert load_features("synthetic", store, aligned=False, text="hidden").name == "synthetic-unaligned-hidden"
    assert load_features("synthetic-unaligned-glove", store).aligned is False
    with pytest.raises(DataError, match="agree with its name"):
        load_features("synthetic-unaligned-glove", store, aligned=True)
    with pytest.raises(DataError, match="Did you mean 'synthetic-aligned-glove'"):
        load_features("synthetic-aligned-glov", store)
    with pytest.raises(DataError, match="generated clips have no words"):
        load_features("synthetic", store, text="bert")


def test_the_order_of_clips_is_a_function_of_seed_split_and_epoch():
    """Every model and mask sees the same batches: fixed values guard against a silent change of the stream."""
    order = epoch_order(1111, "train", 0, 10)
    assert sorted(order) == list(range(10))
    assert order.dtype == np.int64
    assert order.tolist() == epoch_order(1111, "train", 0, 10).tolist()
    others = [epoch_order(*a, 10).tolist() for a in ((1112, "train", 0), (1111, "valid", 0), (1111, "train", 1))]
    assert order.tolist() not in others
    assert [(s.start, s.stop) for s in batch_slices(10, 4)] == [(0, 4), (4, 8), (8, 10)]
    assert list(batch_slices(0, 4)) == []


@pytest.mark.parametrize("what", ["x", "x/content", "x/content/train.safetensors", "x/manifest.json"])
def test_a_link_in_the_store_is_refused(store, tmp_path, what):
    """A link could make an import or its clean-up write and delete outside the store."""
    manifest = store.write("x", convert(mmsa(), "x.pkl"))
    path = store.root / what.replace("content", manifest.content)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(DataError, match="symbolic link"):
        store.open("x")
    if what == "x":
        with pytest.raises(DataError, match="symbolic link"):
            store.write("x", convert(mult(), "x.pkl"), force=True)
    else:
        (store.root / "x" / "manifest.json").unlink()
        store.write("x", convert(mult(), "x.pkl"), force=True)
        assert store.open("x").text == "glove"
    assert elsewhere.exists()


def test_a_changed_manifest_is_noticed(store):
    """Sizes and widths are planned by before any array is read: they must be the imported ones."""
    store.write("x", convert(mmsa(), "x.pkl"))
    path = store.root / "x" / "manifest.json"
    path.write_text(path.read_text().replace('"train": 5', '"train": 6'))
    with pytest.raises(DataError, match="changed after it was written"):
        store.manifest("x")


def test_planning_does_not_read_the_arrays_and_training_reads_them_once(store, monkeypatch):
    """Hashing gigabytes at every opening would cost minutes; not at all would let damage through."""
    manifest = store.write("x", convert(mmsa(), "x.pkl"))
    read = []
    real = tensors_of_store.array_digest
    monkeypatch.setattr(tensors_of_store, "array_digest", lambda array: read.append(1) or real(array))
    assert store.open("x", verify=False).digest == manifest.digests["hidden"]
    assert not read
    store.open("x")
    once = len(read)
    store.open("x")
    assert len(read) == once > 0
    path = store.root / "x" / manifest.content / "test.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="other bytes"):
        store.open("x")


@pytest.mark.parametrize("error", [NotImplementedError("flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_disk_without_locks_is_one_sentence(store, monkeypatch, error):
    """On some network mounts two writers could not be kept apart: refused, with the way out."""
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *a, **k: (_ for _ in ()).throw(error))
    with pytest.raises(DataError, match=r"one that cannot.*--data-dir"):
        store.write("x", convert(mmsa(), "x.pkl"))
    assert store.names() == []
