"""What came out of a finished run, as text and as JSON: what it is of, its metrics, and where the record lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmd_repro.records.folder import RunRecord


def result(record: RunRecord) -> dict[str, Any]:
    """Return what `--json` prints of a record."""
    from dmd_repro.cli.progress import scores
    from dmd_repro.results.learned import learned

    facts, data, spec, judged = record.provenance, record.data, record.spec, learned(record)
    return {
        "run_id": record.run_id,
        "path": str(record.path),
        "model": spec.model,
        "protocol": spec.protocol,
        "mask": list(spec.mask.off),
        "seed": spec.seed,
        "dataset": spec.dataset,
        "data": {k: data[k] for k in ("name", "text", "aligned", "digest", "standing", "label")},
        "standing": data["standing"],
        "config": dict(spec.config),
        "epochs": facts.get("epochs"),
        "best_epoch": facts.get("best_epoch"),
        "seconds": facts.get("seconds"),
        "learned": {"outcome": judged.outcome, "reason": judged.reason or None},
        "metrics": {split: scores(record, split) for split in ("test", "valid")},
    }


def report(record: RunRecord) -> str:
    """Return a finished run as text: the metrics in both conventions, what they are of, and where they lie."""
    from dmd_repro.systems.registry import fallback_words

    facts, spec, mark = record.provenance, record.spec, data_mark(record)
    hit = "  (stopped by max_epochs, not by the early stop)" if facts.get("hit_max_epochs") else ""
    chosen = "taken, as it is the last" if spec.config.get("selection_epoch") == "last" else "selected on valid"
    lines = [
        f"{heading(record)}, seed {spec.seed}: epoch {facts.get('best_epoch')} of {facts.get('epochs')} {chosen}{hit}",
        *metric_lines(record),
        *([f"settings: {words}"] if (words := fallback_words(spec.model, spec.dataset)) else []),
        *left_out(record),
        *([mark] if mark else []),
        f"record: {shorten(record.path)}",
    ]
    return "\n".join(lines)


def heading(record: RunRecord) -> str:
    """Return what a run is, but for its seed: the system, the data, the BERT."""
    from dmd_repro.records.folder import bert_words
    from dmd_repro.systems.registry import full_name

    spec = record.spec
    words = bert_words(spec.config)
    return f"{full_name(spec.model, spec.config)} on {record.data['label']}{', ' + words if words else ''}"


def data_mark(record: RunRecord) -> str:
    """Return what a run's numbers compare with, if not with the printed ones."""
    return {"synthetic": "SYNTHETIC DATA: these numbers compare with nothing printed", "official": ""}.get(
        record.data["standing"], "PARTIAL DATA: not the official split, these numbers compare with nothing printed"
    )


def left_out(record: RunRecord) -> list[str]:
    """Return a line on the clips that no batch of an epoch held; none where all were trained on."""
    config = record.spec.config
    if not (clips := record.provenance.get("left_out_clips")):
        return []
    why = "is not full" if config.get("drop_last") else f"has fewer than {config.get('least_batch')}"
    which = "the same" if config.get("order") == "once" else "others"
    return [f"left out: {clips} clip{'s' if clips > 1 else ''} an epoch, the last batch {why} ({which} each time)"]


def metric_lines(record: RunRecord) -> list[str]:
    """Return the table of a run's metrics: both ways of counting the zeros side by side, then the others.

    Above it stands that the run did not learn, where it did not.
    """
    from dmd_repro.cli.progress import scores, shown
    from dmd_repro.metrics.registry import METRICS, shown_in
    from dmd_repro.results.learned import learned

    split, judged = {name: scores(record, name) for name in ("test", "valid")}, learned(record)
    lines = [f"NOT LEARNED: {judged.reason}"] if judged.outcome == "not learned" else []
    lines += [f"  {'':6} {'test':>10} {'valid':>10}   counted as"]
    for name in shown_in("run", record.data["dataset"]):
        metric = METRICS[name]
        cells = [shown(name, split[s][name]) for s in ("test", "valid")]
        lines.append(f"  {metric.heading:6} {cells[0]:>10} {cells[1]:>10}   {metric.words}".rstrip())
    return lines


def shorten(path: Path) -> str:
    """Return a path as the user would type it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
