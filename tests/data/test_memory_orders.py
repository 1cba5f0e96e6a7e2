"""Arrays in any memory order, stride, byte order, dtype and size import, or are refused, as the plain copy is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_layouts import judge
from toy_files import mmsa, save

from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.formats.incoming import describe
from dmd_repro.data.pickle_gate import filearray, opcodes
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.store.digest import array_digest, feature_set
from dmd_repro.data.store.folder import Store

ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ORDERS)
def test_big_arrays_in_any_order_of_axes_have_the_digest_of_c_order(tmp_path, monkeypatch, protocol, order):
    """Protects: arrays of MATLAB (Fortran order) or turned by transpose are read from the file in their own order."""
    monkeypatch.setattr(opcodes, "SPAN", 64)
    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 64)
    monkeypatch.setattr(filearray, "BLOCK", 100)
    source = mmsa()
    expected = describe("x", convert(mmsa(), "x.pkl")).digest
    for part in source.values():
        for key in ("text", "audio", "vision", "text_bert"):
            kind = part[key].astype(">f8" if protocol % 2 else "f8")
            part[key] = np.ascontiguousarray(kind.transpose(order)).transpose(np.argsort(order))
    manifest, _ = import_file(save(tmp_path / "x.pkl", source, protocol), Store(tmp_path / "s"), name="x")
    assert manifest.digest == expected
    blocks = list(load_path(tmp_path / "x.pkl")["train"]["audio"].blocks())
    assert len(blocks) > 1
    assert all(block.flags.c_contiguous for _, block in blocks)


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_any_memory_layout_imports_as_the_plain_copy_or_is_refused_as_it(tmp_path, monkeypatch, start):
    """Protects: no traceback and no other content, wherever a stranger's array is first touched."""
    if start:
        monkeypatch.setattr(opcodes, "SPAN", 40)
        monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 40)
        monkeypatch.setattr(filearray, "BLOCK", 30)
    counts: Counter[str] = Counter()
    for seed in range(start, start + 40):
        judge(tmp_path, seed, counts)
    assert len(counts) == 2  # both outcomes were met


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["f2", "f4", ">f8", "i4", ">i2", "u1", "?"]),
)
def test_blocks_of_an_array_in_a_file_are_its_values(tmp_path, monkeypatch, shape, seed, dtype):
    """Protects: the blocks of any array, of any order of axes, put together are the array; so are its rows."""
    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 8)
    monkeypatch.setattr(opcodes, "SPAN", 8)
    monkeypatch.setattr(filearray, "BLOCK", 7)
    rng = np.random.Generator(np.random.PCG64(seed))
    axes = rng.permutation(len(shape))
    array = rng.integers(0, 100, shape).astype(dtype)
    array = np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))
    found = load_path(save(tmp_path / "x.pkl", {"x": array}, int(rng.integers(2, 6))))["x"]
    assert np.array_equal(np.asarray(found), array)
    assert array_digest(np.asarray(found)) == array_digest(array)
    if isinstance(found, filearray.FileArray):
        assert np.array_equal(np.concatenate([block for _, block in found.blocks()]), array)
        if not found.scattered:
            assert np.array_equal(np.asarray(found.rows(1, len(array))), array[1:])


def test_features_made_in_memory_take_any_layout():
    """Protects: a split built from arrays of any order and byte order has the digest of the plain ones."""
    rng = np.random.Generator(np.random.PCG64(2))
    x = rng.standard_normal((4, 3, 2)).astype(np.float32)
    y = np.zeros(4, np.float32)
    plain = feature_set(ids=list("abcd"), language=x, acoustic=x, visual=x, labels=y, aligned=True)
    odd = feature_set(
        ids=list("abcd"), language=np.asfortranarray(x), acoustic=x[::-1].copy()[::-1],
        visual=x.transpose(2, 0, 1).copy().transpose(1, 2, 0).astype(">f4"), labels=np.zeros((4, 2), np.float32)[:, 0],
        aligned=True,
    )  # fmt: skip
    assert odd.digest == plain.digest
