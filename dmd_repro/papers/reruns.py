"""What others measured when they ran a system themselves: `tables/reruns/*.yaml` and the user's files, read into types.

Every figure keeps its source (repository, file, commit), the code that was run, the seeds, and what is known of the
protocol. Nothing is computed here; `results/reruns.py` says which printed row a re-run may stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dmd_repro.errors import ClaimError
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.folders import tables_folder
from dmd_repro.papers.rerun import SETTINGS, TEXTS, Rerun, check_clips, printed_datasets
from dmd_repro.papers.rerun_csv import read_rerun_csv
from dmd_repro.papers.yaml import Entry, read_entry


def reruns_folder() -> Path:
    """Return the folder of the re-runs that come with the package."""
    return tables_folder() / "reruns"


def load_reruns(added: Path | None = None) -> tuple[Rerun, ...]:
    """Return the re-runs that come with the package, then those of the user's folder `added` (it may be missing).

    Raises ClaimError naming the file and the entry that is wrong.
    """
    found = [rerun for path in sorted(reruns_folder().glob("*.yaml")) for rerun in _file(path)]
    if added is not None and added.is_dir():
        for path in sorted(added.glob("*.csv")):
            try:
                found += read_rerun_csv(path)
            except ClaimError as error:  # it was right when it was added: say where it lies
                raise ClaimError(f"in {added}: {error}") from None
    return tuple(found)


def _file(path: Path) -> list[Rerun]:
    root = read_entry(path)
    if root.text("name") != path.stem:
        root.fail("name", f"'{path.stem}', as the file is called", root.text("name"))
    root.text("title")
    source = root.entry("source")
    by = source.text("repository")
    where = f"{by}, {source.text('file')}, commit {source.text('commit')}"
    source.done()
    scale = {"fraction": 100.0, "percent": 1.0}[root.choice("unit", ("fraction", "percent"))]
    columns, protocol = root.texts("curve_columns"), root.text("protocol")
    out = [_run(entry, f"{path.stem}/", by, where, protocol, scale, columns) for entry in root.entries("runs")]
    root.done()
    keys = [rerun.key for rerun in out]
    for key in keys:
        if keys.count(key) > 1:
            root.fail("key", "a different key for every entry", f"'{key}' twice")
    return out


def _run(entry: Entry, prefix: str, by: str, where: str, protocol: str, scale: float, columns: list[str]) -> Rerun:
    seeds: dict[str, dict[int, float]] = {}
    if entry.has("seeds"):
        per_seed = entry.entry("seeds")
        for seed in per_seed.data:
            if not str(seed).isdigit():
                per_seed.fail(str(seed), "a quoted seed", repr(seed))
            for metric, value in _numbers(per_seed.entry(seed), scale).items():
                seeds.setdefault(metric, {})[int(seed)] = value
    means = _numbers(entry.entry("means"), scale) if entry.has("means") else {}
    stds = _numbers(entry.entry("stds"), scale) if entry.has("stds") else {}
    if bool(seeds) == bool(means):
        entry.fail("seeds", "values by seed, or means with their n", "both" if seeds else "neither")
    n: int | None = len({seed for found in seeds.values() for seed in found})
    if means:
        said = entry.text("n")
        if said != "unknown" and not said.isdigit():
            entry.fail("n", 'a quoted number of runs, or "unknown"', repr(said))
        n = int(said) if said.isdigit() else None
    rerun = Rerun(
        key=prefix + entry.text("key"),
        system=entry.text("system"),
        dataset=entry.choice("dataset", printed_datasets()),
        setting=entry.choice("setting", SETTINGS),
        text=entry.choice("text", TEXTS),
        code=entry.text("code"),
        source=where,
        by=entry.maybe("by") or by,
        protocol=protocol,
        n=n,
        values=seeds,
        means=means,
        stds=stds,
        note=entry.maybe("note"),
        curve=_curve(entry, columns),
    )
    entry.done()
    check_clips(rerun, entry.file)
    return rerun


def _numbers(entry: Entry, scale: float) -> dict[str, float]:
    """Read `{metric: "0.8476"}` in the unit tables print."""
    out = {}
    for metric in entry.data:
        if metric not in METRICS:
            entry.fail(str(metric), f"a measure among {', '.join(METRICS)}", "an unknown one")
        try:
            value = float(entry.text(metric))
        except ValueError:
            entry.fail(metric, 'a quoted number such as "0.8476"', repr(entry.data[metric]))
        out[metric] = value * (scale if METRICS[metric].unit == "%" else 1.0)
    entry.done()
    return out


def _curve(entry: Entry, columns: list[str]) -> tuple[Mapping[str, float], ...]:
    entry.has("curve")  # a key this reader knows
    lines = entry.data.get("curve") or []
    if not isinstance(lines, list) or any(not isinstance(line, list) or len(line) != len(columns) for line in lines):
        entry.fail("curve", f"lists of {len(columns)} quoted numbers", "another shape")
    try:
        return tuple(dict(zip(columns, map(float, line), strict=True)) for line in lines)
    except (TypeError, ValueError):
        entry.fail("curve", "numbers", "another text")
