"""Peak memory of `dmd data import` by the size of the file: generated files of MOSEI's unaligned layout, float64.

    python benchmarks/import_memory.py [--shares 0.1,0.25,0.5] [--folder FOLDER]

A share is the part of MOSEI's clips. A whole file is 9 GB, its import needs another 4.6 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

CLIPS = {"train": 16326, "valid": 1871, "test": 4659}
SHAPES = {"text": (50, 300), "audio": (500, 74), "vision": (500, 35)}
IMPORT = """
import resource, sys, time
from dmd_repro.cli import main
start = time.monotonic()
file, store = sys.argv[1:]
sys.argv = ["dmd", "data", "import", file, "--name", "x", "--dataset", "mosei", "--force", "--data-dir", store]
try:
    main()
except SystemExit as end:
    code = end.code
usage = resource.getrusage(resource.RUSAGE_SELF)
print("PEAK", usage.ru_maxrss * 1024, time.monotonic() - start, code)
"""


def array(file: BinaryIO, shape: tuple[int, ...], rng: np.random.Generator) -> int:
    """Write the instructions of a float64 array of random numbers, some megabytes at a time; return its bytes."""
    n = int(np.prod(shape)) * 8
    file.write(b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01(")
    file.write(b"".join(b"J" + length.to_bytes(4, "little") for length in shape))
    file.write(b"tcnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R(K\x03\x8c\x01<NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb\x89")
    file.write(b"\x8e" + n.to_bytes(8, "little"))
    block = rng.standard_normal(1 << 20)
    for done in range(0, n // 8, len(block)):
        block[:4] = done
        file.write(block[: n // 8 - done].data)
    file.write(b"tb")
    return n


def generate(path: Path, share: float) -> tuple[int, int]:
    """Write a file of the MulT layout; return (its size, bytes of its largest array)."""
    rng, largest = np.random.Generator(np.random.PCG64(1)), 0
    with path.open("wb") as file:
        file.write(b"\x80\x04}")
        for split, whole in CLIPS.items():
            n = max(2, int(whole * share))
            file.write(text(split) + b"}")
            for key, shape in SHAPES.items():
                file.write(text(key))
                largest = max(largest, array(file, (n, *shape), rng))
                file.write(b"s")
            labels = [b"G" + np.array(v, ">f8").tobytes() for v in np.linspace(-3, 3, n)]
            ids = [text(f"{split}{i}") for i in range(n)]
            for key, items in (("labels", labels), ("id", ids)):
                file.write(text(key) + b"](" + b"".join(items) + b"es")
            file.write(b"s")
        file.write(b".")
    return path.stat().st_size, largest


def text(value: str) -> bytes:
    """Return the instruction of a short text."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def main() -> None:
    """Generate, import, measure, print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shares", default="0.02,0.1,0.2,0.4")
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    print("| clips of MOSEI | file | largest array (float64) | peak memory | of the largest array | seconds | MB/s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for share in (float(s) for s in options.shares.split(",")):
            path = Path(folder) / "mosei.pkl"
            size, largest = generate(path, share)
            time.sleep(1)
            command = [sys.executable, "-c", IMPORT, str(path), str(Path(folder) / "store")]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert "PEAK" in done.stdout, done.stdout + done.stderr
            peak, seconds, code = done.stdout.rpartition("PEAK ")[2].split()
            assert code in ("0", "None"), done.stdout + done.stderr
            print(
                f"| {share:.0%} | {size / 1e9:.2f} GB | {largest / 1e9:.2f} GB | {int(peak) / 1e6:.0f} MB |"
                f" {int(peak) / largest:.2f} | {float(seconds):.0f} | {size / 1e6 / float(seconds):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
