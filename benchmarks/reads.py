"""Which modalities does a trained system read? Two questions on the synthetic truth, with noise in their places.

`python benchmarks/reads.py [--seeds 3] [--models tfn,lmf]` writes a table into docs/systems.md. Each modality has its
own noisy reading of the sentiment. Trained on all three: how far does the test correlation fall when one of them is
noise in the test clips? Trained where the two others are noise throughout: what does the system learn from the one?
Bounded: the synthetic preset, aligned, 1 thread.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from sections import write_section

from dmd_repro.data.features import Features
from dmd_repro.data.synthetic import generate, with_noise
from dmd_repro.evaluate.checkpoint import open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.metrics.registry import METRICS
from dmd_repro.records.folder import Records
from dmd_repro.render.markdown import grid_lines
from dmd_repro.results.sheet import TextGrid
from dmd_repro.seeds import FIRST_SEED
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES
from dmd_repro.spec import run_id
from dmd_repro.stats.paired import paired
from dmd_repro.stats.summary import summarise
from dmd_repro.systems.registry import SHIPPED, find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.fit import Execution, fit

FILE = Path(__file__).parents[1] / "docs" / "systems.md"
ALL = "all"
Found = dict[str, dict[int, float]]  # test correlation by seed: ALL, "without l", "l alone", ...


def correlations(model: str, seeds: range, records: Records) -> Found:
    """Train on all three, and on each modality alone; score the test clips."""
    whole = generate()
    alone = dict.fromkeys(MODALITIES, whole)
    for m in MODALITIES:
        for other in MODALITIES:
            alone[m] = with_noise(alone[m], other) if other != m else alone[m]
    found: Found = defaultdict(dict)

    def score(name: str, seed: int, trained: Features, tested: Features) -> None:
        spec = resolve_spec(model, seed=seed, features=trained)
        run = records.get(run_id(spec, trained.digest)) or fit(spec, trained, records, execution=Execution())
        checkpoint = open_checkpoint(run.run_id, records)
        said = evaluate_checkpoint(checkpoint, tested, "test", execution=Execution()).predictions
        found[name][seed] = METRICS["corr"].shown(said.y_true, said.y_pred)

    for seed in seeds:
        score(ALL, seed, whole, whole)
        for m in MODALITIES:
            score(f"without {m}", seed, whole, with_noise(whole, m))
            score(f"{m} alone", seed, alone[m], alone[m])
    return found


def row(model: str, found: Found) -> tuple[str, ...]:
    """Return a line: the correlation with all three, its falls, and what each modality alone gives."""
    falls, alone, reads = [], [], []
    for m in MODALITIES:
        falls.append(f"{paired(found[ALL], found[f'without {m}']).summary.mean:.2f}")
        summary = summarise(list(found[f"{m} alone"].values()))
        assert summary.interval is not None
        alone.append(f"{summary.mean:.2f} ({summary.interval[0]:.2f} to {summary.interval[1]:.2f})")
        reads += [m] if summary.interval[0] > 0 else []
    return (model, f"{summarise(list(found[ALL].values())).mean:.2f}", " / ".join(falls), *alone, ", ".join(reads))


def main() -> None:
    """Train, replace, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    plain = [name for name in SHIPPED if not find_system(name).stackable]
    parser.add_argument("--models", default=",".join(plain))
    options = parser.parse_args()
    lines = []
    for model in options.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
            lines.append(row(model, correlations(model, seeds, Records(Path(folder)))))
        print(*lines[-1], flush=True)
    heads = ("system", "all three", "fall by l / a / v", *(f"{MODALITY_NAMES[m]} alone" for m in MODALITIES), "reads")
    write_section(FILE, "reads", "\n".join(grid_lines(TextGrid("", heads, "lllllll", tuple(lines)))))


if __name__ == "__main__":
    main()
