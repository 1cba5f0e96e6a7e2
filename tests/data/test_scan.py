"""`dmd data scan`: every name in a pickle is listed, with what it would be called with, and nothing is called."""

from __future__ import annotations

import collections
import datetime
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command import Here
from toy_files import mmsa, mult, save

from dmd_repro.data.pickle_gate.scan import scan
from dmd_repro.errors import DataError


class Call:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("protocol", range(6))
def test_a_planted_call_is_listed_with_its_arguments_and_not_made(tmp_path, protocol):
    """The user sees what the file wanted to do to them, also where it hides behind or inside other calls."""
    trap = tmp_path / "trap"
    content = {"train": mmsa()["train"], "x": [Call(os.system, f"touch {trap}")], "y": Call(eval, "1"), "s": {1, 2}}
    content["z"] = collections.defaultdict(list, {(1, 2): datetime.date(2020, 1, 1)})
    found = scan(save(tmp_path / "x.pkl", content, protocol))
    assert not found.safe
    refused = {n.name: n for n in found.names if not (n.allowed or n.data)}
    builtins = "__builtin__" if protocol < 3 else "builtins"
    assert {f"{os.name}.system", f"{builtins}.eval"} == set(refused)
    assert {"datetime.date"} <= {n.name for n in found.names if n.data}
    assert refused[f"{os.name}.system"].arguments == (f"'touch {trap}'",) or str(trap)[:20] in str(refused)
    assert refused[f"{os.name}.system"].calls == 1
    assert not trap.exists()
    assert "datetime" not in sys.modules or not trap.exists()


@pytest.mark.parametrize("make", [mmsa, mult])
def test_a_feature_file_names_only_what_arrays_need(tmp_path, make):
    """The files the import takes are the files the scan calls harmless."""
    found = scan(save(tmp_path / "x.pkl", make()))
    assert found.safe
    assert {n.name.split(".")[0] for n in found.names} <= {"numpy", "_codecs"}


def test_data_of_other_libraries_is_no_danger_and_torch_s_own_loader_is(tmp_path):
    """Protects: the scan cries wolf over no date, and calls harmless no pickle inside a pickle."""
    assert scan(save(tmp_path / "d.pkl", {"when": datetime.date(2020, 1, 1), "s": {1}})).safe
    inner = pickle.dumps([Call(os.system, "true")])
    (tmp_path / "t.pkl").write_bytes(
        b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little") + inner + b"\x85R."
    )
    assert not scan(tmp_path / "t.pkl").safe


def test_pickles_inside_other_containers_are_scanned(tmp_path):
    """Protects: a call planted in a file of torch.save, a .npy or a .npz is found as one in a pickle is."""
    evil = {"train": Call(os.system, "true")}
    np.save(tmp_path / "a.npy", np.array(evil, dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", good=np.zeros(3), bad=np.array(evil, dtype=object))
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/data.pkl", pickle.dumps(evil, 2))
    for name in ("a.npy", "b.npz", "c.pt"):
        found = scan(tmp_path / name)
        assert not found.safe, name
        assert any(n.name.endswith(".system") for n in found.names)
    np.savez(tmp_path / "good.npz", a=np.zeros(3))
    assert scan(tmp_path / "good.npz").safe


def test_what_cannot_be_read_to_its_end_is_no_harmless_file(tmp_path):
    """A scan that stops half-way must not say that nothing was found."""
    body = pickle.dumps({"a": np.zeros(5)})
    for name, content in {"cut": body[:-3], "more": body + b"x", "text": b"a,b\n", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError):
            scan(tmp_path / name)
    (tmp_path / "deep").write_bytes(b"\x80\x04" + b"]" * 100_000 + b"cos\nsystem\n" + b"a" * 100_000 + b".")
    assert [n.name for n in scan(tmp_path / "deep").names] == ["os.system"]


def test_the_command_says_it_and_exits_1(dmd, tmp_path):
    """A script can rely on the exit code; terminal escapes in a hostile file do not reach the terminal."""
    save(tmp_path / "evil.pkl", [Call(os.system, "\x1b[2J[red]echo")])
    said = dmd("data", "scan", "evil.pkl")
    assert said.code == 1
    assert "REFUSED" in said.out
    assert "do not load it" in said.words
    assert "\x1b[2J" not in said.out
    assert json.loads(dmd("data", "scan", "evil.pkl", "--json").out)["safe"] is False
    save(tmp_path / "good.pkl", mmsa())
    assert dmd("data", "scan", "good.pkl").code == 0
    missing = dmd("data", "scan", "nothing.pkl")
    assert (missing.code, missing.out) == (2, "")
