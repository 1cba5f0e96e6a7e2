"""`dmd data scan`: every name in a pickle is listed, with what it would be called with, and nothing is called."""

from __future__ import annotations

import collections
import datetime
import json
import os
import pickle
import sys
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
    refused = {n.name: n for n in found.names if not n.allowed}
    builtins = "__builtin__" if protocol < 3 else "builtins"
    assert {f"{os.name}.system", f"{builtins}.eval", "collections.defaultdict", "datetime.date"} <= set(refused)
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
    assert "do not load it" in said.out
    assert "\x1b[2J" not in said.out
    assert json.loads(dmd("data", "scan", "evil.pkl", "--json").out)["safe"] is False
    save(tmp_path / "good.pkl", mmsa())
    assert dmd("data", "scan", "good.pkl").code == 0
    missing = dmd("data", "scan", "nothing.pkl")
    assert (missing.code, missing.out) == (2, "")
