"""`dmd data`: what a user types, reads and pipes; every mistake is one sentence and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_files import mmsa, mult, save

from dmd_repro.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `dmd data ...` as the console script does, with its own data folder: `tmp_path / "store"`."""
    monkeypatch.setenv("DMD_DATA", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["dmd", "data", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Result(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("setting", "name", "lengths"),
    [
        ("unaligned", "mosi-dev-unaligned", {"l": 50, "a": 375, "v": 500}),
        ("aligned", "mosi-dev", {"l": 50, "a": 50, "v": 50}),
    ],
)
def test_the_real_files_import(dmd, real_file, setting, name, lengths):
    """The example of the README: real clips, told without --dataset, listed and checked."""
    got = dmd("import", real_file(setting), "--name", name, "--json")
    assert got.code == 0, got.err
    shown = json.loads(got.out)
    assert list(shown)[:8] == ["name", "dataset", "aligned", "splits", "dims", "lengths", "digest", "warnings"]
    assert (shown["name"], shown["dataset"], shown["aligned"]) == (name, "mosi", setting == "aligned")
    assert shown["splits"] == {"train": 129, "valid": 47, "test": 53}
    assert shown["dims"] == {"l": 384, "a": 5, "v": 20}
    assert shown["lengths"] == lengths
    assert len(shown["digest"]) == 64
    assert any("official split" in w for w in shown["warnings"])
    assert [s["name"] for s in json.loads(dmd("list", "--json").out)["feature_sets"]] == [name]
    checked = dmd("check", name)
    assert checked.code == 0
    assert "no video in two splits" in checked.out


def test_a_mult_file_imports_under_its_default_name(dmd, tmp_path):
    """--name may be left out; the table a person reads holds sizes, digest and warnings."""
    got = dmd("import", save(tmp_path / "mosei_senti_data_noalign.pkl", mult()))
    assert got.code == 0, got.err
    assert "Imported 'mosei-unaligned-glove'" in got.out
    assert "train/valid/test 5/3/4" in got.out
    assert "warning: " in got.out
    again = dmd("import", tmp_path / "mosei_senti_data_noalign.pkl", "--json")
    assert json.loads(again.out)["written"] is False
    listed = dmd("list")
    assert "mosei-unaligned-glove" in listed.out
    assert "synthetic-aligned-glove" in listed.out


def test_an_empty_store_says_how_to_fill_it(dmd):
    """A new user's first look."""
    got = dmd("list")
    assert got.code == 0
    assert "dmd data import FILE" in got.out
    assert json.loads(dmd("list", "--json").out)["feature_sets"] == []


def one_sentence(result: Result) -> str:
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.err.startswith("dmd: ")
    assert result.err.count("\n") == 1
    return result.err


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_bad_input_is_one_sentence_and_changes_nothing(dmd, tmp_path):
    """Each bad file ends with its reason and exit code 2; an earlier import stays as it was."""
    good = save(tmp_path / "good.pkl", mmsa())
    assert dmd("import", good, "--name", "x").code == 0
    store = tmp_path / "store"
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    trap = tmp_path / "trap"
    body = good.read_bytes()
    nan = mmsa()
    nan["train"]["audio"][0, 1, 2] = np.nan
    label = mmsa()
    label["test"]["regression_labels"][0] = 9
    short = mmsa()
    short["test"]["vision"] = short["test"]["vision"][:-1]
    objects = mmsa()
    objects["train"]["text"] = objects["train"]["text"].astype(object)
    objects["train"]["text"][0, 0, 0] = None
    cases = {
        "missing": (None, "nothing there"),
        "empty": (b"", "an empty file"),
        "cut": (body[:-100], "truncated"),
        "text": (b"a,b,c\n1,2,3\n", "a text file"),
        "call": (Trap(trap), "system; nothing was run"),
        "keys": ({"a": 1}, "the keys a"),
        "nan": (nan, "clip vidtrain0$_$0, step 1, channel 2"),
        "label": (label, "[-3, 3], got 9"),
        "short": (short, "vision of test"),
        "objects": (objects, "text of train: expected an array of numbers, got an array of mixed objects"),
        "other content": (mult(), "--force"),
    }
    for name, (content, word) in cases.items():
        path = tmp_path / f"{name}.pkl"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            save(path, content)
        assert word in one_sentence(dmd("import", path, "--name", "x")), name
    assert not trap.exists()
    assert "--name" in one_sentence(dmd("import", good, "--name", "../x"))
    assert "Did you mean 'mosi'" in one_sentence(dmd("import", good, "--dataset", "moosi"))
    assert "--nan zero" in one_sentence(dmd("import", good, "--nan", "mean"))
    assert "Did you mean 'synthetic'" in one_sentence(dmd("check", "syntetic"))
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before


def test_nan_zero_and_force(dmd, tmp_path):
    """The two decisions a user can take are taken only when asked, and reported."""
    nan = mmsa()
    nan["train"]["audio"][0, 1, 2] = np.nan
    assert dmd("import", save(tmp_path / "a.pkl", mmsa()), "--name", "x").code == 0
    got = dmd("import", save(tmp_path / "b.pkl", nan), "--name", "x", "--nan", "zero", "--force", "--json")
    shown = json.loads(got.out)
    assert shown["replaced"] == {"audio NaN": {"train": 1}}
    assert any("--nan zero" in w for w in shown["warnings"])


def test_a_folder_that_cannot_be_written_is_one_sentence(dmd, tmp_path):
    """No traceback where the store cannot be made, for root too: a file stands in its place."""
    (tmp_path / "store").write_text("in the way")
    assert "expected a folder" in one_sentence(dmd("import", save(tmp_path / "a.pkl", mmsa())))
    assert (tmp_path / "store").read_text() == "in the way"


def test_check_exits_1_on_a_defect_and_list_survives_damage(dmd, tmp_path):
    """A script can rely on the exit code; one damaged set does not hide the others."""
    dmd("import", save(tmp_path / "a.pkl", mmsa()), "--name", "good")
    dmd("import", save(tmp_path / "a.pkl", mmsa()), "--name", "bad")
    content = next((tmp_path / "store" / "bad").glob("content_*"))
    path = content / "train.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    got = dmd("check", "bad", "--json")
    assert got.code == 1
    assert json.loads(got.out)["failed"] is True
    assert dmd("check", "bad").code == 1
    assert dmd("check", "good").code == 0
    (tmp_path / "store" / "bad" / "manifest.json").write_text("{")
    listed = dmd("list", "--json")
    assert listed.code == 0
    shown = json.loads(listed.out)
    assert [s["name"] for s in shown["feature_sets"]] == ["good"]
    assert [s["name"] for s in shown["damaged"]] == ["bad"]
    assert "--force" in one_sentence(dmd("check", "bad"))
    assert dmd("import", tmp_path / "a.pkl", "--name", "bad", "--force").code == 0
    assert dmd("check", "bad").code == 0


def test_a_disk_that_really_refuses_is_one_sentence(dmd, tmp_path):
    """A limit on file size, as a quota sets it, in a real process: the earlier import stays, nothing half-written."""
    resource = pytest.importorskip("resource", reason="limits of a process exist on Unix only")
    big = save(tmp_path / "big.pkl", mmsa(text=4000))
    assert dmd("import", save(tmp_path / "a.pkl", mmsa()), "--name", "x").code == 0
    store = tmp_path / "store"
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "from dmd_repro.cli import main; main()",
            "data",
            "import",
            big,
            "--name",
            "x",
            "--force",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    message = one_sentence(Result(process.returncode, process.stdout, process.stderr))
    assert "nothing was changed" in message
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before
