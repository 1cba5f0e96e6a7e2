"""A long session of bad pickles; prints the figures of docs/faults.md.

    python benchmarks/fuzz.py hostile --files 10000 [--start 0]     # seeded: planted, spliced, mutated
    python benchmarks/fuzz.py layouts --files 3000 [--start 0]      # memory orders, strides, byte orders, zero sizes
    python benchmarks/fuzz.py guided --seconds 600 [--corpus DIR]   # coverage-guided, needs atheris

A hostile file is its seed; what the guided fuzzer finds stays in DIR and is read again at the next start.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def hostile_session(files: int, start: int) -> None:
    """Judge many seeded files in one process; print counts, time and memory."""
    import numpy as np
    from hostile import hostile, judge

    counts, kinds = Counter[str](), Counter[str]()
    longest, before, began = 0.0, peak(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trap = Path(folder) / "trap"
        for seed in range(start, start + files):
            rng = np.random.Generator(np.random.PCG64(seed))
            kind, body = hostile(rng, trap)
            kinds[kind] += 1
            at = time.monotonic()
            judge(Path(folder) / "x.pkl", body, counts)
            longest = max(longest, time.monotonic() - at)
            assert not trap.exists(), f"seed {seed} RAN"
    print("| kind | files |\n|---|---|")
    for kind, count in sorted(kinds.items()):
        print(f"| {kind} | {count} |")
    print("\n| outcome | files |\n|---|---|")
    for what, count in sorted(counts.items()):
        print(f"| {what} | {count} |")
    print("| executed anything | 0 |")
    grown, took = (peak() - before) >> 10, time.monotonic() - began
    print(f"\n{files} files, {took:.0f} s, the longest {longest:.2f} s, peak memory +{grown} MB")


def layouts_session(files: int, start: int) -> None:
    """Import many files whose arrays lie in memory in odd ways beside their plain twins; print counts."""
    import warnings

    from memory_layouts import judge

    from dmd_repro.data.pickle_gate import filearray, opcodes, reader

    counts, began = Counter[str](), time.monotonic()
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(start, start + files):
            small = seed % 2 == 0  # arrays of a few bytes stay in the file too, in blocks of a few values
            opcodes.SPAN = reader.SPAN = 40 if small else 1 << 16
            filearray.BLOCK = 30 if small else 1 << 22
            judge(Path(folder), seed, counts)
    for what, count in sorted(counts.items()):
        print(f"| {what} | {count} |")
    print("| other content, tracebacks | 0 |")
    print(f"\n{files} files, {time.monotonic() - began:.0f} s")


def guided_session(seconds: int, corpus: Path) -> None:
    """Let atheris look for inputs that do anything but end in a DataError."""
    import atheris

    with atheris.instrument_imports(include=["dmd_repro.data", "pickle"]):
        from dmd_repro.data.formats.families import convert
        from dmd_repro.data.pickle_gate.containers import load_path
        from dmd_repro.data.pickle_gate.scan import scan
    from hostile import one_line, seeds

    from dmd_repro.errors import DataError

    seeds(corpus)
    folder = Path(tempfile.mkdtemp())

    def judge(body: bytes) -> None:
        path = folder / "x.pkl"
        path.write_bytes(body)
        for read in (lambda: convert(load_path(path), "x", dataset="mosi"), lambda: scan(path)):
            try:
                read()
            except DataError as error:
                one_line(error)

    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=4096",
                   "-timeout=10", "-print_final_stats=1"], judge)  # fmt: skip
    atheris.Fuzz()


def peak() -> int:
    """Return this process's peak memory in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["hostile", "layouts", "guided"])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "dmd-fuzz")
    options = parser.parse_args()
    if options.what == "hostile":
        hostile_session(options.files, options.start)
    elif options.what == "layouts":
        layouts_session(options.files, options.start)
    else:
        guided_session(options.seconds, options.corpus)


if __name__ == "__main__":
    main()
