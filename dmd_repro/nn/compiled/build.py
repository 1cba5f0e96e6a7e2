"""Compiles the kernels' source once for a machine and loads it: plain functions, called by the addresses of tensors.

A library lies in the user's cache folder under a name made of everything that could make it another one: source, flags,
compiler and processor. A folder that several machines share holds one for each kind, and none runs on another's.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent / "source"
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-w")
COMPILERS = ("c++", "g++", "clang++")  # $CXX before them
SECONDS = 120  # a compiler that takes longer hangs


class Instructions(NamedTuple):
    """A set of vector instructions that the source can be compiled for."""

    name: str
    needed: tuple[str, ...]  # as /proc/cpuinfo has them
    machine: str  # of the compiler's -march; not `native` where others on the same processor would be chosen


AVX512 = Instructions("avx512", ("avx512f", "avx512bw", "avx512dq", "avx512vl"), "native")
AVX2 = Instructions("avx2", ("avx2", "fma", "bmi2"), "haswell")
SETS = (AVX512, AVX2)  # the faster first


class NotCompiled(Exception):
    """There are no compiled kernels here; the text says why."""


def processor() -> tuple[str, frozenset[str]]:
    """Return what tells kinds of processors apart, and the names of what one can do; raises NotCompiled if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise NotCompiled("they need Linux, to ask what the processor can do") from None
    facts = dict(
        line.split(":", 1) for line in lines if line.startswith(("flags", "model name", "cpu family", "model\t"))
    )
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return repr(sorted(facts.items())), frozenset(facts.get("flags", "").split())


def choose(flags: frozenset[str], asked: str | None = None) -> Instructions:
    """Return the instructions to compile for: the best a processor has, or those asked for by name.

    Raises NotCompiled naming what it lacks.
    """
    offered = [one for one in SETS if asked in (None, one.name)]
    if found := next((one for one in offered if flags.issuperset(one.needed)), None):
        return found
    missing = ", ".join(name for name in offered[-1].needed if name not in flags)
    raise NotCompiled(f"this processor has no {offered[-1].name.upper()} ({missing})")


def find_compiler() -> tuple[str, str]:
    """Return the path of a C++ compiler and what it says its version is; raises NotCompiled where there is none."""
    for name in (os.environ.get("CXX", ""), *COMPILERS):
        if not (path := shutil.which(name) if name else None):
            continue
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
            return path, done.stdout.partition("\n")[0]
    raise NotCompiled("no C++ compiler was found (apt install g++, or set CXX)")


def cache_folders() -> list[Path]:
    """Return where a library may lie, the best first: the user's cache, then the system's folder for passing files."""
    from platformdirs import user_cache_path

    uid = os.getuid() if hasattr(os, "getuid") else 0
    return [user_cache_path("dmd-repro") / "kernels", Path(tempfile.gettempdir()) / f"dmd-repro-kernels-{uid}"]


def usable(folder: Path) -> bool:
    """Make a folder if it is not there; tell whether it is a place that nobody else can put a library into."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and (os.name == "nt" or _ours(info))


def _ours(info: os.stat_result) -> bool:
    return info.st_uid == os.getuid() and not info.st_mode & 0o022


def library_name(compiler: str, version: str, cpu: str, instructions: Instructions) -> str:
    """Return the name of the library that this source, compiler and processor make for a set of instructions."""
    parts = [*FLAGS, instructions.machine, compiler, version, cpu, platform.machine(), platform.libc_ver()[1]]
    parts += [f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in sorted(SOURCE.iterdir())]
    return sha256("\0".join(parts).encode()).hexdigest()[:32] + ".so"


def compile_into(folder: Path, name: str, compiler: str, instructions: Instructions) -> Path:
    """Compile and put the library in its place at once: who comes at the same time finds it whole or not at all.

    Raises NotCompiled with the compiler's first error, OSError where the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as scratch:
        made = Path(scratch) / name
        march = f"-march={instructions.machine}"
        command = [compiler, *FLAGS, march, "-o", str(made), str(SOURCE / "kernels.cpp")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, errors="replace")
        except (OSError, subprocess.SubprocessError) as error:
            raise NotCompiled(f"{compiler} did not run ({type(error).__name__})") from None
        if done.returncode or not made.is_file():
            raise NotCompiled(f"{compiler} cannot compile them ({_first_error(done.stderr)})")
        made.replace(folder / name)
    return folder / name


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no word of why")
    return found.rpartition("error: ")[2][:120]


def load(asked: str | None = None) -> tuple[ctypes.CDLL, Instructions]:
    """Return the library and what it is compiled for (`asked`: the name of a set of instructions; else the best).

    It is compiled now if this machine has none yet. Raises NotCompiled with the reason.
    """
    cpu, flags = processor()
    instructions = choose(flags, asked)
    compiler, version = find_compiler()
    name = library_name(compiler, version, cpu, instructions)
    folders = [folder for folder in cache_folders() if usable(folder)]
    for folder in folders:
        if (folder / name).is_file():
            with suppress(OSError):  # a damaged one is made again
                return ctypes.CDLL(str(folder / name)), instructions
    for folder in folders:
        try:
            made = compile_into(folder, name, compiler, instructions)
        except OSError:  # read-only, full
            continue
        try:
            return ctypes.CDLL(str(made)), instructions
        except OSError as error:
            raise NotCompiled(f"what {compiler} made does not load ({str(error)[:120]})") from None
    raise NotCompiled("there is no folder to keep them in: the cache and the temporary folder cannot be written")
