"""Big arrays stay in their file: read exactly, block by block, in little memory, and never from a file that changed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from toy_files import mmsa, mult, save

from dmd_repro.data.formats.families import convert
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.formats.incoming import describe
from dmd_repro.data.pickle_gate import filearray, opcodes
from dmd_repro.data.pickle_gate.containers import load_path
from dmd_repro.data.pickle_gate.filearray import FileArray, Narrowed
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError

BIG = {"train": 40, "valid": 30, "test": 35}


def big(seed: int = 0, shape: tuple[int, ...] = (50, 40, 30), dtype: str = "f8") -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("layout", ["C", "F", "turned", "int", "text"])
def test_a_big_array_is_read_exactly(tmp_path, protocol, layout, monkeypatch):
    """Every protocol and memory order, whole or in blocks: the same values, shape and dtype."""
    monkeypatch.setattr(filearray, "BLOCK", 5000)
    array = {
        "C": big(), "F": np.asfortranarray(big()), "turned": big().transpose(1, 2, 0),
        "int": np.arange(60000).reshape(50, 40, 30), "text": np.array([f"{i} words" for i in range(3000)]),
    }[layout]  # fmt: skip
    back = load_path(save(tmp_path / "x.pkl", {"x": array, "again": array}, protocol))
    found = back["x"]
    if protocol:  # protocol 0 has no lengths: its arrays are read into memory
        assert isinstance(found, FileArray)
        assert (found.shape, found.dtype, found.ndim, len(found)) == (array.shape, array.dtype, array.ndim, len(array))
        blocks = list(found.blocks())
        assert len(blocks) > 1 or layout == "text"
        assert np.array_equal(np.concatenate([block for _, block in blocks]), array)
        assert [start for start, _ in blocks] == list(np.cumsum([0, *(len(b) for _, b in blocks[:-1])]))
    assert np.array_equal(np.asarray(found), array)
    assert np.array_equal(np.asarray(back["again"]), array)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("make", [mmsa, mult])
def test_a_file_too_big_for_memory_gives_the_content_a_small_one_does(tmp_path, monkeypatch, protocol, make):
    """What is narrowed, replaced and digested block by block is what one array in memory would give."""
    source = make(sizes=BIG)
    source["train"]["audio"][7, 2, 1] = -np.inf
    expected = describe("x", convert({s: dict(p) for s, p in source.items()}, "x.pkl"))
    monkeypatch.setattr(filearray, "BLOCK", 1000)
    monkeypatch.setattr(opcodes, "SPAN", 200)
    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 200)
    path = save(tmp_path / "x.pkl", source, protocol)
    if protocol:
        assert isinstance(convert(load_path(path), "x.pkl").splits["test"].arrays["acoustic"], Narrowed)
    manifest, _ = import_file(path, Store(tmp_path / "store"), name="x")
    assert manifest.digest == expected.digest
    assert manifest.replaced == {"audio -inf": {"train": 1}}
    opened = Store(tmp_path / "store").open("x")
    assert opened.splits["train"].acoustic[7, 2, 1] == 0
    assert np.array_equal(opened.splits["valid"].visual, source["valid"]["vision"].astype(np.float32))


def test_bad_values_in_a_big_array_are_named_by_their_place(tmp_path, monkeypatch):
    """A block's own counting must not leak into the message."""
    monkeypatch.setattr(filearray, "BLOCK", 1000)
    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 200)
    source = mmsa(sizes=BIG)
    source["train"]["vision"][33, 4, 7] = np.inf
    with pytest.raises(DataError, match=r"vision of train, clip .*\$33, step 4, channel 7.*got inf"):
        convert(load_path(save(tmp_path / "x.pkl", source)), "x.pkl")
    half = mmsa(sizes=BIG)
    with np.errstate(over="ignore"):
        half["train"]["vision"] = (half["train"]["vision"] * 1e5).astype(np.float16)
    with pytest.raises(DataError, match="float16 array, which overflows beyond 65504"):
        convert(load_path(save(tmp_path / "h.pkl", half)), "h.pkl")


def test_an_import_holds_a_few_blocks_whatever_the_file(tmp_path, monkeypatch):
    """30 MB or 60 MB in the file, 2 MB in memory: no array is ever whole."""
    monkeypatch.setattr(filearray, "BLOCK", 1 << 15)
    peaks = []
    for n in (200, 400):
        source = mmsa(sizes={"train": n, "valid": 2, "test": 2})
        source["train"]["audio"] = big(shape=(n, 375, 50))
        for split in ("valid", "test"):
            source[split]["audio"] = big(shape=(2, 375, 50))
        path = save(tmp_path / f"{n}.pkl", source)
        del source
        tracemalloc.start()
        import_file(path, Store(tmp_path / "store"), name=f"x{n}", dataset="mosi")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 12_000_000
    assert peaks[1] < 1.5 * peaks[0]


def test_progress_is_heard_in_bytes(tmp_path):
    """Each stage reports how far it is, so that a rate and the time left can be shown."""
    heard: dict[str, list[tuple[int, int]]] = {}
    path = save(tmp_path / "x.pkl", mmsa(sizes={"train": 400, "valid": 400, "test": 400}))
    import_file(
        path, Store(tmp_path / "store"), on_progress=lambda stage, *n: heard.setdefault(stage.split()[0], []).append(n)
    )
    assert list(heard) == ["Reading", "Validating", "Hashing", "Storing"]
    assert heard["Hashing"][-1] == (path.stat().st_size,) * 2
    for stage in ("Validating", "Storing"):
        done, total = heard[stage][-1]
        assert done == total > 0


def test_a_file_that_changes_while_it_is_imported_is_refused(tmp_path, monkeypatch):
    """A download still going on, or a second program: nothing is stored of a mixture."""
    path = save(tmp_path / "x.pkl", mmsa(sizes=BIG))
    store = Store(tmp_path / "store")

    def on_progress(stage: str, done: int, total: int) -> None:
        if stage.startswith("Hashing"):
            os.utime(path, ns=(1, 1))

    with pytest.raises(DataError, match="changed while it was read"):
        import_file(path, store, on_progress=on_progress)

    monkeypatch.setattr("dmd_repro.data.pickle_gate.reader.SPAN", 200)
    path = save(tmp_path / "x.pkl", mmsa(sizes=BIG))

    def swap(stage: str, done: int, total: int) -> None:
        if stage.startswith("Storing") and not done:
            body = bytearray(path.read_bytes())
            audio = mmsa(sizes=BIG)["test"]["audio"].tobytes()
            body[body.index(audio) + 3] ^= 1
            path.write_bytes(bytes(body))

    with pytest.raises(DataError, match="changed while it was imported"):
        import_file(path, store, on_progress=swap)

    def cut(stage: str, done: int, total: int) -> None:
        if stage.startswith("Storing") and not done:
            os.truncate(path, 5000)

    save(path, mmsa(sizes=BIG))
    with pytest.raises(DataError, match="became shorter"):
        import_file(path, store, on_progress=cut)
    assert store.names() == []


def test_too_little_room_is_said_before_the_work(tmp_path, monkeypatch):
    """Half an hour of validation must not end with a full disk."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("U", (), {"free": 1000})())
    path = save(tmp_path / "x.pkl", mmsa(sizes={"train": 400, "valid": 400, "test": 400}))
    with pytest.raises(DataError, match=r"free space.*--data-dir"):
        import_file(path, Store(tmp_path / "store"))


class Made:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def test_a_nest_of_tuples_as_a_key_does_not_end_the_process(tmp_path):
    """Hashing a tuple inside a tuple a million times overflows the stack of the interpreter itself."""
    nest = b"\x80\x04)" + b"\x85" * 1_000_000
    files = {
        "setitem": b"\x80\x04}" + nest[2:] + b"Ns.",
        "setitems": b"\x80\x04}(" + nest[2:] + b"Nu.",
        "dict": b"\x80\x04(" + nest[2:] + b"Nd.",
        "ordered": b"\x80\x04ccollections\nOrderedDict\n]]" + nest[2:] + b"aNaa\x85R.",
        "set": b"\x80\x04\x8f(" + nest[2:] + b"\x90.",  # a set is never made: its items are dropped
        "frozenset": b"\x80\x04(" + nest[2:] + b"\x91.",
    }
    code = "import sys; from pathlib import Path; from dmd_repro.data.pickle_gate.containers import load_path as f\n"
    code += "from dmd_repro.errors import DataError\n"
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
        code += f"try: f(Path({str(tmp_path / name)!r}))\nexcept DataError as e: print(e)\n"
    root = str(Path(filearray.__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": root})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("keys are no text") == 4, done.stdout


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"\x80\x04\x8c\x01a)R.", "no function"),
        (b"\x80\x04\x8c\x01a)\x81.", "no function"),
        (b"\x80\x04(\x8c\x01ao.", "no function"),
        (b"\x80\x04\x8c\x01a)}\x92.", "no function"),
        (b"\x80\x04cnumpy\nndarray\n]R.", "no function"),
        (b"\x80\x04cnumpy\ndtype\n)\x8c\x01a\x92.", "keyword|damaged"),
        (b"\x80\x04]}b.", "a state for"),
        (b"\x80\x04cnumpy\nndarray\nN}\x8c\x01_K\x01s\x86b.", "a state for"),
        (b"\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00a(K\x01e.", "no list"),
        (b"\x80\x04]K\x01K\x02s.", "no dict"),
        (b"\x80\x04\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01.", "integer of 9 bytes"),
        (b"I1" + b"0" * 30 + b"\n.", "digits"),
    ],
)
def test_the_world_of_a_pickle_is_closed(tmp_path, body, word):
    """Nothing on the stack can be called, altered or grown but what a file of arrays needs."""
    (tmp_path / "x.pkl").write_bytes(body)
    with pytest.raises(DataError, match=word):
        load_path(tmp_path / "x.pkl")


def test_what_is_no_array_is_bounded(tmp_path, monkeypatch):
    """A file of a billion little objects, or of text, is refused before it fills the memory."""
    monkeypatch.setattr(opcodes, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(DataError, match="more than 1,000 instructions"):
        load_path(save(tmp_path / "x.pkl", [[] for _ in range(1000)]))
    monkeypatch.undo()
    monkeypatch.setattr(opcodes, "MAX_HELD", 100_000)
    for protocol in (0, 2, 4):
        with pytest.raises(DataError, match="MB"):
            load_path(save(tmp_path / "x.pkl", [f"{i}" * 1000 for i in range(300)], protocol))
    monkeypatch.undo()
    with pytest.raises(DataError, match="a text of 20 MB"):
        load_path(save(tmp_path / "x.pkl", ["x" * (20 << 20)]))
    text = "é" * 100_000
    assert load_path(save(tmp_path / "x.pkl", [text, text]))[1] == text
    assert load_path(save(tmp_path / "x.pkl", OrderedDict(a=text.encode())))["a"] == text.encode()


def test_text_that_is_decoded_again_and_again_is_stopped(tmp_path):
    """The file for what an old pickle writes as text must not fill the disk."""
    body = pickle.dumps([Made(__import__("_codecs").encode, "x" * 1_000_000, "latin1")] * 1, 2)
    call = body[body.index(b"c_codecs") : body.index(b"R") + 1]
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02](" + call + b"e.")
    load_path(tmp_path / "x.pkl")
    text = b"X" + (1_000_000).to_bytes(4, "little") + b"a" * 1_000_000
    again = b"(h\x00X\x06\x00\x00\x00latin1tR"
    (tmp_path / "x.pkl").write_bytes(
        b"\x80\x02" + text + b"q\x000c_codecs\nencode\nq\x010](" + (b"h\x01" + again) * 50 + b"e."
    )
    with pytest.raises(DataError, match="many times its size"):
        load_path(tmp_path / "x.pkl")
