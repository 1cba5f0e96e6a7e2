"""Does the tool tell where cross-modal information matters from where it does not? Synthetic data, known truth.

`python benchmarks/cross_modal.py [--seeds 5]` writes benchmarks/cross_modal.md. Two data sets, the same labels and the
same language features: in one all three modalities read the sentiment, in the other acoustic and visual read something
else. Two questions on each, both with `dmd ablate`'s statistics, paired over seeds: what does seeing all three
modalities bring beyond language alone (FD alone in both)? And what does the crossmodal attention bring, which this data
set does not need, as its readings simply add? Bounded: 12 epochs of the small synthetic preset, 1 thread.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sections import write_section

from dmd_repro.data.features import Features
from dmd_repro.data.synthetic import generate
from dmd_repro.metrics.registry import METRICS
from dmd_repro.records.folder import Records
from dmd_repro.render.markdown import grid_lines
from dmd_repro.results.scores import HEADINGS, ends, number, spread
from dmd_repro.results.sheet import NONE, TextGrid, p_value
from dmd_repro.seeds import FIRST_SEED
from dmd_repro.spec import AblationMask
from dmd_repro.stats.paired import paired
from dmd_repro.stats.summary import summarise
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.fit import Execution, fit

FILE = Path(__file__).with_name("cross_modal.md")
MEASURES = ("corr", "mae", "acc2_non0")
ONLY_FD = ("ca", "heterogd", "homogd")
ARMS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "fd, language alone": (ONLY_FD, {"modalities": "l"}),
    "fd, all three": (ONLY_FD, {}),
    "fd + ca, all three": (("heterogd", "homogd"), {}),
}
QUESTIONS = (("all three − language alone", "fd, all three", "fd, language alone"),
             ("with ca − without", "fd + ca, all three", "fd, all three"))  # fmt: skip
HEADERS = ("truth", "question", "measure", "difference", "95 % interval", "p")
Scores = dict[str, dict[int, float]]  # measure -> seed -> value


def measure(features: Features, arm: str, seeds: range, records: Records) -> Scores:
    """Train one arm on every seed and score the test clips."""
    off, settings = ARMS[arm]
    found: Scores = {name: {} for name in MEASURES}
    for seed in seeds:
        spec = resolve_spec("dmd", seed=seed, features=features, mask=AblationMask(off), overrides=settings)
        said = fit(spec, features, records, execution=Execution()).predictions("test")
        for name in MEASURES:
            found[name][seed] = METRICS[name].shown(said.y_true, said.y_pred)
        print(features.name, arm, seed, *(f"{name} {found[name][seed]:.3f}" for name in MEASURES), flush=True)
    return found


def main() -> None:
    """Train, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(FIRST_SEED, FIRST_SEED + parser.parse_args().seeds)
    means, gaps = [], []
    with tempfile.TemporaryDirectory() as folder:
        for truth, cross_modal in (("all three read the sentiment", True), ("language alone reads it", False)):
            features, records = generate(cross_modal=cross_modal), Records(Path(folder))
            scores = {arm: measure(features, arm, seeds, records) for arm in ARMS}
            for arm, found in scores.items():
                cells = (spread(summarise(list(found[m].values())), m) for m in MEASURES)
                means.append((truth, arm, *cells))
            for question, more, less in QUESTIONS:
                for m in MEASURES:
                    gap = paired(scores[more][m], scores[less][m])
                    test = p_value(gap.test.p) if gap.test else NONE
                    mean = number(gap.summary.mean, m, signed=True)
                    gaps.append((truth, question, HEADINGS[m], mean, ends(gap.summary.interval, m), test))
    names = ("truth", "model", *(HEADINGS[m] for m in MEASURES))
    tables = [
        f"Mean ± sample STD over {len(seeds)} seeds, test split; synthetic data, never compared with printed numbers.",
        "", *grid_lines(TextGrid("", names, "llrrr", tuple(means))), "Paired over seeds:",
        "",
        *grid_lines(TextGrid("", HEADERS, "lllrrr", tuple(gaps))),
    ]  # fmt: skip
    write_section(FILE, "results", "\n".join(tables))


if __name__ == "__main__":
    main()
