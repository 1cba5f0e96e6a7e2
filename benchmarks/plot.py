"""Draw what `dmd bench --json` measured: `python benchmarks/plot.py RESULT.json ...` writes docs/plots/*.png.

Needs the optional extra: pip install -c constraints.txt -e '.[plots]'. Figures: time of a seed-step against the size of
the stack, and against the length of the sequences, the plain implementation beside ours where it was measured. A figure
is drawn where the results hold two points of a line at least.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PLOTS = Path(__file__).resolve().parents[1] / "docs" / "plots"
Case = dict[str, Any]  # one of the "cases" of a result, as `dmd_repro.bench.types.Result.to_json` gives it
Points = list[tuple[float, float]]


def read(paths: Iterable[Path]) -> list[Case]:
    """Return the cases of several results."""
    return [case for path in paths for case in json.loads(path.read_text(encoding="utf-8"))["cases"]]


def seed_step(case: Case) -> float:
    """Milliseconds of ours for one seed and one batch: where plain was measured, in the same blocks as it."""
    return float(case["plain"]["seed_step_ms"] if case["plain"] else case["seed_step_ms"])


def configuration(case: Case) -> str:
    """Say what a case has in common with the others of its line."""
    parts = [case["model"], case["mask"], case["protocol"], *(f"{k}={v}" for k, v in case["settings"].items())]
    parts += [case["device"], f"{case['threads']} thread{'s' if case['threads'] > 1 else ''}"]
    return ", ".join(part for part in parts if part not in ("full", "official"))


def by_stack(cases: list[Case]) -> dict[str, Points]:
    """Return lines of (seeds that train as one, ms of a seed-step)."""
    lines: dict[str, Points] = defaultdict(list)
    for case in cases:
        steps = "/".join(str(case["lengths"][m]) for m in "lav")
        lines[f"{configuration(case)}, {steps} steps"].append((case["stack"], seed_step(case)))
    return lines


def by_length(cases: list[Case]) -> dict[str, Points]:
    """Return lines of (visual steps, ms of a seed-step), plain beside ours."""
    lines: dict[str, Points] = defaultdict(list)
    for case in (case for case in cases if case["setting"] == "unaligned"):
        steps = case["lengths"]["v"]
        lines[f"{configuration(case)}, stack {case['stack']}"].append((steps, seed_step(case)))
        if case["plain"]:
            lines[f"plain, {configuration(case)}"].append((steps, case["plain"]["step_ms"]["median"]))
    return lines


FIGURES: dict[str, tuple[Callable[[list[Case]], dict[str, Points]], str]] = {
    "stack": (by_stack, "seeds that train as one model"),
    "length": (by_length, "visual steps (acoustic: as many, 375 at most)"),
}


def draw(cases: list[Case], folder: Path) -> list[Path]:
    """Write the figures the cases suffice for and return their paths."""
    import matplotlib

    matplotlib.use("Agg")  # into files, also where there is no screen
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (lines_of, along) in FIGURES.items():
        lines = {label: dict(points) for label, points in lines_of(cases).items()}  # of one place twice, the later
        lines = {label: points for label, points in lines.items() if len(points) > 1}
        if not lines:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
        for label, points in sorted(lines.items()):
            places = sorted(points)
            style = "--" if label.startswith("plain") else "-"
            axes.plot(places, [points[x] for x in places], marker="o", linestyle=style, label=label)
        axes.set(xlabel=along, ylabel="ms per seed and batch", yscale="log")  # a card and a CPU are a hundred apart
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize="small")
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=150)
        pyplot.close(figure)
    return written


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/plot.py RESULT.json ... (each from dmd bench --json)")
    for path in draw(read(Path(argument) for argument in sys.argv[1:]), PLOTS):
        print(path)
