"""Where compiled kernels cannot be: each reason falls back to the other way, and is said once."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dmd_repro.nn import compiled
from dmd_repro.nn.compiled import build, choice
from dmd_repro.training.execution import Execution

HERE = choice.library() is not None
needs_kernels = pytest.mark.skipif(not HERE, reason="needs a C++ compiler and a processor with AVX2")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that never compiled: an empty cache folder and temporary folder, and nothing on the PATH."""
    for name in ("XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(build, "processor", lambda: ("a processor", frozenset(build.AVX512.needed)))
    return tmp_path


def compiler(folder: Path, does: str) -> None:
    """Put a compiler on the PATH that says its version, then does what a line of shell says ($OUT: its product)."""
    path = folder / "bin" / "g++"
    path.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "g++ 1.0" && exit 0\n'
        'while [ "$1" != -o ]; do shift; done; OUT=$2\n' + does + "\n",
        encoding="utf-8",
    )
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (None, "no C\\+\\+ compiler was found .*set CXX"),
        ("echo \"kernels.cpp:1: error: unrecognized option '-std=c++17'\" >&2; exit 1", "unrecognized option"),
        ("exit 1", "no word of why"),
        ("exit 0", "cannot compile"),  # makes nothing
        ("echo text > $OUT", "does not load"),
    ],
)
def test_a_compiler_that_is_none_is_told(does: str | None, said: str, fresh: Path) -> None:
    """Protects: no compiler, an old one, and one that makes nonsense each give one reason, and leave no half files."""
    if does is not None:
        compiler(fresh, does)
    with pytest.raises(build.NotCompiled, match=said) as caught:
        build.load()
    assert "\n" not in str(caught.value)
    assert not list(fresh.rglob("making-*"))


@pytest.mark.parametrize(
    ("flags", "asked", "found"),
    [
        ("sse2 avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl", None, "avx512"),
        ("sse2 avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl", "avx2", "avx2"),
        ("sse2 avx2 fma bmi2 avx512f", None, "avx2"),
        ("sse2 avx2 fma bmi2", None, "avx2"),
        ("sse2 avx2 fma bmi2", "avx512", r"no AVX512 \(avx512f, avx512bw, avx512dq, avx512vl\)"),
        ("sse2 avx", None, r"no AVX2 \(avx2, fma, bmi2\)"),
        ("", None, r"no AVX2 \(avx2, fma, bmi2\)"),
    ],
)
def test_no_instruction_is_compiled_that_a_processor_lacks(
    flags: str, asked: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: a processor gets the best it has, and never a library that would stop at its first instruction."""
    text = f"processor\t: 0\nmodel name\t: Old\nflags\t\t: {flags}\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **how: text)
    _, has = build.processor()
    if found in (one.name for one in build.SETS):
        assert build.choose(has, asked).name == found
    else:
        with pytest.raises(build.NotCompiled, match=found):
            build.choose(has, asked)


def test_each_kind_of_processor_has_a_library_of_its_own() -> None:
    """Protects: a home folder that several machines share never hands one the instructions of another."""
    kinds = itertools.product(("12", "13"), ("Zen 4", "Xeon"), build.SETS)
    assert len({build.library_name("g++", *kind) for kind in kinds}) == 8


@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_folder_is_passed_over(fresh: Path) -> None:
    """Protects: rights on a folder, where they bind the user of the tests."""
    compiler(fresh, "echo text > $OUT")
    (fresh / "XDG_CACHE_HOME").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(build.NotCompiled, match="does not load"):
        build.load()
    assert list((fresh / "TMPDIR").rglob("*.so"))


def test_without_a_cache_folder_the_temporary_one_serves(fresh: Path) -> None:
    """Protects: a cache that cannot be written costs nothing but a folder; where none can, that is said."""
    compiler(fresh, "echo text > $OUT")
    (fresh / "XDG_CACHE_HOME" / "dmd-repro").write_text("a file in the folder's place", encoding="utf-8")
    with pytest.raises(build.NotCompiled, match="does not load"):  # made, in the temporary folder
        build.load()
    made = list((fresh / "TMPDIR").rglob("*.so"))
    assert len(made) == 1
    folder = made[0].parent
    folder.chmod(0o777)  # anybody could put a library there
    with pytest.raises(build.NotCompiled, match="no folder to keep them in"):
        build.load()


def test_two_that_compile_at_once_both_find_it_whole(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: processes that start together never load half a library, and leave one file behind."""
    compiler(fresh, 'echo -n first >> "$OUT"; /bin/sleep 0.2; echo -n second >> "$OUT"')
    folder, path = fresh / "XDG_CACHE_HOME", str(fresh / "bin" / "g++")
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(build.compile_into, folder, "one.so", path, build.AVX2) for _ in range(2)]
    assert {one.result().read_text() for one in made} == {"firstsecond"}
    assert [p.name for p in folder.iterdir()] == ["one.so"]


def test_the_reason_is_said_once_and_the_switch_is_silent(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: one sentence for a command and the processes it starts; DMD_COMPILED=0 says nothing."""
    said: list[str] = []
    monkeypatch.setattr(choice.log, "warning", lambda text, *words: said.append(text % words))
    monkeypatch.delenv(choice.SAID, raising=False)
    monkeypatch.delenv(choice.SWITCH, raising=False)
    choice.library.cache_clear()
    try:
        for _ in range(2):  # a second process of the command
            assert compiled.compiled_kernels(torch.zeros(1)) is None
            choice.library.cache_clear()
        assert len(said) == 1
        assert "slower: no C++ compiler" in said[0]
        monkeypatch.delenv(choice.SAID)
        monkeypatch.setenv(choice.SWITCH, "0")
        choice.library.cache_clear()
        assert compiled.compiled_kernels(torch.zeros(1)) is None
        assert len(said) == 1
        assert "compiled" not in Execution().facts()
        monkeypatch.setenv(choice.SWITCH, "avx-2")
        choice.library.cache_clear()
        assert compiled.compiled_kernels(torch.zeros(1)) is None
        assert "DMD_COMPILED=avx-2 is none of 0, 1, avx512, avx2" in said[-1]
    finally:
        choice.library.cache_clear()


@needs_kernels
def test_a_record_says_that_compiled_kernels_computed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: rounding differs between the ways, so a table that mixes them can say so."""
    monkeypatch.setenv(choice.SWITCH, "avx2")
    choice.library.cache_clear()
    try:
        assert Execution().facts()["compiled"] == f"avx2-{choice.VERSION}"
    finally:
        choice.library.cache_clear()
