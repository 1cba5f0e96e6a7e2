"""Where compiled kernels cannot be: each reason falls back to the other way, and is said once."""

from __future__ import annotations

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
needs_kernels = pytest.mark.skipif(not HERE, reason="needs a C++ compiler and a processor with AVX-512")


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
    monkeypatch.setattr(build, "processor", lambda: "a processor")
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


@pytest.mark.parametrize("flags", ["fpu sse2 avx2 fma", ""])
def test_a_processor_without_the_instructions_is_told(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: nothing is compiled for, or loaded on, a processor that would stop at its first instruction."""
    text = f"processor\t: 0\nmodel name\t: Old\nflags\t\t: {flags}\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **how: text)
    with pytest.raises(build.NotCompiled, match=r"no AVX-512 \(avx512f"):
        build.processor()


def test_each_kind_of_processor_has_a_library_of_its_own() -> None:
    """Protects: a home folder that several machines share never hands one the instructions of another."""
    names = {build.library_name("g++", version, cpu) for version in ("12", "13") for cpu in ("Zen 4", "Xeon")}
    assert len(names) == 4


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
        made = [pool.submit(build.compile_into, folder, "one.so", path) for _ in range(2)]
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
    finally:
        choice.library.cache_clear()


@needs_kernels
def test_a_record_says_that_compiled_kernels_computed_it() -> None:
    """Protects: rounding differs between the two ways, so a table that mixes them can say so."""
    choice.library.cache_clear()
    assert Execution().facts()["compiled"] == choice.WAY
