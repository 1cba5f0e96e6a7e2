"""The gate: what a stranger's pickle may contain, and that nothing in one ever runs."""

from __future__ import annotations

import argparse
import builtins
import datetime
import gzip
import io
import lzma
import os
import pathlib
import pickle
import pickletools
import subprocess
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy_files import mmsa, save

from dmd_repro.data.pickle_gate.builders import Array, Builders, Dtype, Refused
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.errors import DataError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Call:
    """An object whose pickle calls a function when it is loaded by an ordinary unpickler."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_path(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_planted_call_is_refused_by_name_and_never_runs(tmp_path, protocol):
    """A pickle that calls os.system must not create its file, and the message names what it would have called."""
    trap = tmp_path / "trap"
    path = save(tmp_path / "evil.pkl", {"train": Call(os.system, f"touch {trap}")}, protocol)
    message = refused(path)
    assert f"{os.name}.system" in message
    assert not trap.exists()
    pickle.loads(path.read_bytes())  # the trap is real: an ordinary loader springs it
    assert trap.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.print", "os.system", "torch.load",
        "subprocess.Popen", "numpy.load", "numpy.core.multiarray.fromfile", "numpy.testing.measure",
        "operator.attrgetter", "codecs.encode", "_codecs.decode", "pandas.read_pickle", "numpy.ma.loads",
        "pathlib.Path.unlink", "numpy.dtype.__reduce__", "dmd_repro.data.pickle_gate.containers.load_path",
    ],
)  # fmt: skip
@pytest.mark.parametrize("spelling", ["global", "stack", "inst", "ext"])
def test_every_name_off_the_list_is_refused(tmp_path, name, spelling):
    """The list is closed: a name is refused in each way a pickle can spell it, without importing its module."""
    module, _, attribute = name.rpartition(".")
    data = {
        "global": f"c{module}\n{attribute}\n.".encode(),
        "stack": b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(attribute)])
        + attribute.encode() + b"\x93.",
        "inst": f"(i{module}\n{attribute}\n.".encode(),
        "ext": b"\x80\x02\x82\x01.",
    }[spelling]  # fmt: skip
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    message = refused(path)
    if spelling != "ext":
        assert name in message


def test_no_builder_reaches_a_real_function():
    """The allowed names stand for our builders, on which a pickle can set nothing."""
    for allowed in Builders(1000).names.values():
        assert not isinstance(allowed, type)
        for attribute in ("__call__", "__setstate__", "__defaults__", "x"):
            with pytest.raises(AttributeError):
                setattr(allowed, attribute, print)


@pytest.mark.parametrize("state", [{"a": 1}, (None, {"dtype": 1}), (None, {"__call__": 1}), 7])
@pytest.mark.parametrize("target", ["numpy\ndtype", "numpy.core.multiarray\n_reconstruct", "numpy\nndarray"])
def test_a_pickle_cannot_alter_the_builders(tmp_path, target, state):
    """BUILD on an allowed name must not change it for the next file."""
    body = pickle.dumps(state, 2)[2:-1]
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02c" + target.encode() + b"\n" + body + b"b.")
    refused(path)
    good = save(tmp_path / "good.pkl", {"x": np.arange(3)})
    assert load_path(good)["x"].tolist() == [0, 1, 2]


def test_persistent_ids_are_refused(tmp_path):
    """A pickle may not point at anything outside itself."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.persistent_id = lambda value: "elsewhere" if isinstance(value, set) else None
    pickler.dump([set()])
    (tmp_path / "x.pkl").write_bytes(buffer.getvalue())
    assert "outside itself" in refused(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.zeros(2, dtype=[("a", "f4")]), "dtype"),
        (np.zeros(2, dtype="M8[s]"), "dtype M8"),
        (np.zeros(2, dtype=complex), "dtype c16"),
        (np.ma.array([1, 2]), "masked array"),
        (np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]), "another kind of array"),
        ({1, 2}, "set"),
        (frozenset({1, 2}), "set"),
        (pathlib.PurePosixPath("a"), "path"),
        (datetime.date(2020, 1, 1), "date"),
        (argparse.Namespace(a=1), "settings"),
        (np.float32, "type"),
        (np.dtype("f4"), "dtype"),
        (np.datetime64("2020"), "dtype"),
    ],
)
def test_what_is_no_plain_value_is_known_and_not_made(tmp_path, value, word):
    """Protects: data of other libraries is passed over by name, and says what it is to whoever would read it."""
    for protocol in PROTOCOLS:
        back = load_path(save(tmp_path / "x.pkl", {"train": value, "rest": [value, np.arange(3)]}, protocol))
        assert isinstance(back["train"], Foreign), protocol
        assert word in back["train"].what
        assert back["rest"][1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_become_lists_of_what_they_hold(tmp_path, protocol):
    """Protects: pandas writes text as object arrays; it is read as the text it is, in its own order."""
    words = np.array([["a", b"b"], ["c", "d"], ["e", "f"]], dtype=object)
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.arange(2), np.arange(3)]
    whole = np.array({"k": np.arange(2)}, dtype=object)
    content = {"w": words, "t": words.T, "f": np.asfortranarray(words), "r": ragged, "0": whole, "e": words[:0]}
    back = load_path(save(tmp_path / "x.pkl", content, protocol))
    assert back["w"] == back["f"] == [["a", b"b"], ["c", "d"], ["e", "f"]]
    assert back["t"] == [["a", "c", "e"], [b"b", "d", "f"]]
    assert [x.tolist() for x in back["r"]] == [[0, 1], [0, 1, 2]]
    assert back["0"]["k"].tolist() == [0, 1]
    assert back["e"] == []


def test_what_could_do_harm_and_what_is_merely_unknown_are_told_apart(tmp_path):
    """Protects: "do not load this file with other tools" stands only where loading could run something."""
    for name, harmful in {
        "os.system": True,
        "torch.load": True,
        "mylab.data.Clip": False,
        "__main__.Clip": False,
    }.items():
        module, _, attribute = name.rpartition(".")
        (tmp_path / "x.pkl").write_bytes(f"c{module}\n{attribute}\n.".encode())
        message = refused(tmp_path / "x.pkl")
        assert ("Do not load" in message) == harmful
        assert "nothing was run" in message


def test_every_file_that_is_no_pickle_gets_its_own_sentence(tmp_path):
    """Each usual mistake with a file names itself and the way out."""
    body = pickle.dumps(mmsa())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.pkl", body)
    files = {
        "empty": (b"", "empty file"),
        "xz": (lzma.compress(body), "xz -dc"),
        "gz": (gzip.compress(body), "gunzip"),
        "zip": ((tmp_path / "a.zip").read_bytes(), "zip archive"),
        "npy": (b"\x93NUMPY\x01\x00", "damaged .npy"),
        "zip-cut": ((tmp_path / "a.zip").read_bytes()[:-30], "damaged zip"),
        "zeros": (bytes(4096), "zero bytes"),
        "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        "mat": (b"MATLAB 5.0 MAT-file" + bytes(99), "loadmat"),
        "torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "before torch 1.6"),
        "tar": (bytes(257) + b"ustar" + bytes(250), "tar -xf"),
        "json": (b'{"train": 1}', "JSON"),
        "text": (b"a,b\n1,2,3\n", "text file"),
        "csv": (b"video_id,clip_id,label\n1,2,3\n", "--labels"),
        "html": (b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
        "noise": (bytes(range(129, 256)), "something else"),
        "trailing": (body + b"more", "after its end"),
    }
    for name, (content, word) in files.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(content)
        assert word in refused(path), name
    assert "nothing there" in refused(tmp_path / "absent.pkl")
    assert "folder" in refused(tmp_path)


BODIES = {protocol: pickle.dumps(mmsa(sizes={"train": 2, "valid": 1, "test": 1}), protocol) for protocol in PROTOCOLS}


@quick
@given(protocol=st.sampled_from(list(PROTOCOLS)), where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_pickle_is_refused_wherever_it_ends(tmp_path, protocol, where):
    """A download that was cut off must never pass as a smaller file."""
    body = BODIES[protocol]
    path = tmp_path / "cut.pkl"
    path.write_bytes(body[: int(where * len(body))])
    refused(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_pickles_are_refused_or_hold_plain_values(tmp_path, monkeypatch, data):
    """Whatever bytes are changed, the reader ends in a DataError or in dicts, lists, text, numbers and arrays."""
    monkeypatch.setattr(os, "system", lambda *a: pytest.fail("os.system ran"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process started"))
    monkeypatch.setattr(builtins, "eval", lambda *a: pytest.fail("eval ran"))
    body = bytearray(BODIES[data.draw(st.sampled_from([0, 2, 4, 5]))])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, min(len(body), 900) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.pkl"
    path.write_bytes(bytes(body))
    try:
        value = load_path(path)
    except DataError:
        return
    assert_plain(value)


def assert_plain(value):
    if isinstance(value, dict):
        for item in value.values():
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufSU"
    else:
        assert value is None or isinstance(value, Foreign | str | bytes | bytearray | int | float | np.generic)


arrays = hnp.arrays(
    dtype=st.one_of(
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(endianness="?"),
        hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
        hnp.boolean_dtypes(),
        hnp.byte_string_dtypes(max_len=6),
        hnp.unicode_string_dtypes(max_len=6),
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays, protocol=st.sampled_from(list(PROTOCOLS)), turned=st.booleans())
def test_arrays_come_back_as_they_were(tmp_path, array, protocol, turned):
    """Every plain dtype, byte order, shape, memory order and protocol is read exactly."""
    array = array.T if turned else array
    path = save(tmp_path / "a.pkl", {"x": array, "y": [array, array]}, protocol)
    back = load_path(path)
    for found in (back["x"], back["y"][1]):
        assert found.shape == array.shape
        assert np.asarray(found).dtype == array.dtype
        assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_plain_containers_of_feature_files_are_read(tmp_path, protocol):
    """Lists of lengths, numpy scalars, ordered dicts, bytes and text: all that the public files hold besides arrays."""
    content = OrderedDict(
        a=[1, 2, np.int64(3)], b=np.float32(1.5), c=(b"x", "y", b""), d={"e": np.str_("text")}, f=None, g=[True]
    )
    back = load_path(save(tmp_path / "a.pkl", content, protocol))
    assert back == {"a": [1, 2, 3], "b": 1.5, "c": [b"x", "y", b""], "d": {"e": "text"}, "f": None, "g": [True]}


def test_both_generations_of_numpy_and_python_2_are_read(tmp_path):
    """The MulT files were written by Python 2 and numpy 1: other module names, bytes as text."""
    array = np.arange(6, dtype=np.float64).reshape(2, 3) + 200.5
    new = pickle.dumps({"x": array}, 2)
    assert b"numpy._core.multiarray" in new or b"numpy.core.multiarray" in new
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pkl").write_bytes(old)
    assert np.array_equal(load_path(tmp_path / "old.pkl")["x"], array)
    # Python 2 spells the bytes of an array with STRING opcodes: \x80\x02 ... T<length><bytes>
    raw = array.tobytes()
    python2 = (
        b"\x80\x02}q\x00U\x01xq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(raw).to_bytes(4, "little") + raw + b"tbs."
    )  # fmt: skip
    pickletools.dis(python2, out=io.StringIO())  # it is a well-formed pickle
    (tmp_path / "py2.pkl").write_bytes(python2)
    assert np.array_equal(load_path(tmp_path / "py2.pkl")["x"], array)


@pytest.mark.parametrize(
    "state",
    [
        "(1, (3,), dtype, False, b'1234')", "(1, (-1,), dtype, False, b'')", "(1, (2**62, 4), dtype, False, b'')",
        "(1, (1.0,), dtype, False, b'1234')", "(1, (1,), None, False, b'1234')", "(1, (1,), dtype, False, [1])",
        "7", "None",
    ],
)  # fmt: skip
def test_an_array_whose_sizes_lie_is_refused(tmp_path, state):
    """Shape and bytes must agree before anything is built, so a small file cannot claim a huge array."""
    dtype = Dtype("f4")
    with pytest.raises(Refused):
        Array(Builders(1000)).__setstate__(eval(state, {"dtype": dtype}))


def test_shared_and_nested_parts_do_not_blow_up(tmp_path):
    """A few bytes that describe an exponential tree, or a very deep one, cost little and end in a sentence."""
    wide: list = []
    for _ in range(6):
        wide = [wide] * 50
    assert load_path(save(tmp_path / "wide.pkl", wide)) is not None
    (tmp_path / "deep.pkl").write_bytes(b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".")
    assert "nested too deep" in refused(tmp_path / "deep.pkl")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"\x80\x02]r\xff\xff\xff\x7f.", "memo number 2147483647"),
        (b"(lp99999999\n.", "memo number 99999999"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "truncated"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f]\x94.", "truncated"),
        (b"\x80\x04B\xff\xff\xff\xffabc.", "truncated"),
        (b"\x80\x04\x8b\xff\xff\xff\x7fabc.", "truncated"),
    ],
)
def test_a_claim_that_cannot_be_costs_no_memory(tmp_path, body, word):
    """Five bytes can make Python's own reader reserve gigabytes: such claims are refused before it starts."""
    (tmp_path / "x.pkl").write_bytes(body)
    tracemalloc.start()
    assert word in refused(tmp_path / "x.pkl")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_pickle_that_copies_itself_again_and_again_is_stopped(tmp_path):
    """A megabyte of text encoded ten thousand times would be ten gigabytes."""
    text = b"X" + (1_000_000).to_bytes(4, "little") + b"a" * 1_000_000
    call = b"(h\x00X\x06\x00\x00\x00latin1tR"
    body = b"\x80\x02" + text + b"q\x000c_codecs\nencode\nq\x010](" + (b"h\x01" + call) * 10_000 + b"e."
    (tmp_path / "x.pkl").write_bytes(body)
    assert "many times its size" in refused(tmp_path / "x.pkl")


def test_frames_and_versions_that_do_not_fit_are_refused(tmp_path):
    """What Python's own reader would refuse must not pass here: the file is damaged."""
    body = pickle.dumps({"x": np.arange(5)}, 4)
    at = body.index(b"\x95") + 1
    for change in (-10, 3):
        length = int.from_bytes(body[at : at + 8], "little") + change
        (tmp_path / "x.pkl").write_bytes(body[:at] + length.to_bytes(8, "little") + body[at + 8 :])
        assert "frame" in refused(tmp_path / "x.pkl") or "truncated" in refused(tmp_path / "x.pkl")
    state = body.index(b"(K\x01K\x05")
    (tmp_path / "x.pkl").write_bytes(body[: state + 2] + b"\x03" + body[state + 3 :])
    assert "another version" in refused(tmp_path / "x.pkl")
