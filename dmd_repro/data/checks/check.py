"""`dmd data check`: what a stored feature set holds, set against what is known of the official data.

The checks live in `check_values`, `check_clips`, `check_tokens`, `check_labels` and `check_leak`; the facts they need
are gathered in one pass over the arrays (`check_stats`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dmd_repro.data.checks.clips import duplicates, in_step, shared
from dmd_repro.data.checks.labels import Official, against_official, labels, read_labels, transcript_words
from dmd_repro.data.checks.leak import leakage
from dmd_repro.data.checks.report import CheckReport, DataFinding, Padding, SplitReport
from dmd_repro.data.checks.stats import Gathered, gather, token_stats
from dmd_repro.data.checks.tokens import tokens
from dmd_repro.data.checks.values import finite, padding, padding_of, values
from dmd_repro.data.clip_names import ClipNames, clip_names
from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.formats.which import standing_of, width_remarks
from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.data.synthetic import generate, is_synthetic, parse_synthetic
from dmd_repro.datasets import DatasetFacts, dataset_facts
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

__all__ = ["CheckReport", "DataFinding", "Padding", "SplitReport", "check", "examine"]


def check(name: str, store: Store, official: Path | None = None) -> CheckReport:
    """Check a stored (or generated) feature set, also against an official list of clips (`MOSI-label.csv`).

    Content that no longer matches its digests is a defect, not an error. Raises DataError if the name is unknown, or if
    the manifest or the list cannot be read.
    """
    if is_synthetic(name):
        text, aligned, size = parse_synthetic(name)
        listed = read_labels(official) if official else None
        return examine(generate(text=text, aligned=aligned, size=size), official=listed)
    manifest = store.manifest(name)
    listed = read_labels(official, dataset_facts(manifest.dataset).label_range) if official else None
    opened: dict[str, Features] = {}
    try:
        for kind in manifest.texts:  # each, so that all of the content is verified
            opened[kind] = store.open(name, kind, verify=True)
    except DataError as error:
        report = CheckReport(name, manifest.dataset, manifest.aligned, manifest.texts, manifest.standing)
        report.findings.append(DataFinding("content", "defect", str(error), "a run on it would be refused"))
        return report
    ids = opened["bert"].splits if "bert" in opened else None
    return examine(opened[manifest.texts[0]], manifest, token_ids=ids, official=listed)


def examine(
    features: Features,
    manifest: Manifest | None = None,
    *,
    token_ids: Mapping[str, FeatureSet] | None = None,
    official: Mapping[str, Official] | None = None,
) -> CheckReport:
    """Check opened features.

    `manifest` adds what the import had to say, `token_ids` the splits with token ids as their text, `official` the
    list of clips.
    """
    texts = manifest.texts if manifest else (features.text,)
    report = CheckReport(features.name, features.dataset, features.aligned, texts, features.standing)
    names = clip_names([features.splits[s].ids for s in SPLITS], official or ())
    gathered = gather(features)
    read = {s: token_stats(part) for s, part in (token_ids or {}).items()}
    report.splits = {s: _split_report(features.splits[s], gathered, s, names) for s in SPLITS}
    facts = dataset_facts(features.dataset)
    finding = report.findings
    if manifest:
        finding.append(DataFinding("content", "ok", "every array has the digest it was imported with"))
    finding.append(_sizes(features, facts))
    finding.append(_widths(features, facts))
    finding += labels(report, facts)
    if official is not None:
        finding += against_official(features, official, names)
    finding += shared(features, facts, names)
    finding += duplicates(features, gathered, names)
    words = transcript_words(features, official, names) if official is not None else None
    finding += in_step(features, gathered, read, words)
    finding += tokens(read)
    finding.append(finite(gathered))
    finding += padding(features, gathered)
    finding += values(features, gathered)
    finding += leakage(features, gathered, names)
    if manifest:
        said = width_remarks(manifest.dataset, manifest.dims)  # above, as sizes and widths
        said += standing_of(manifest.dataset, manifest.sizes)[1]
        finding += [DataFinding("import", "ok", note) for note in manifest.notes]
        finding += [DataFinding("import", "warning", remark) for remark in manifest.warnings if remark not in said]
    return report


def _split_report(part: FeatureSet, gathered: Gathered, split: str, names: ClipNames) -> SplitReport:
    y = np.asarray(part.labels)
    bins = np.clip(np.rint(y), -3, 3).astype(int)
    return SplitReport(
        clips=len(part),
        videos=len({names.video(i) for i in part.ids}) if names.told else None,
        shapes={m: tuple(part.array(m).shape) for m in MODALITIES},
        label_range=(float(y.min()), float(y.max())),
        histogram={str(b): int((bins == b).sum()) for b in range(-3, 4)},
        signs=(int((y < 0).sum()), int((y == 0).sum()), int((y > 0).sum())),
        padding={m: padding_of(stats, part.lengths[m]) for m, stats in gathered[split].items()},
    )


def _sizes(features: Features, facts: DatasetFacts) -> DataFinding:
    have = "/".join(str(features.sizes[s]) for s in SPLITS)
    if features.standing == "synthetic":
        return DataFinding("sizes", "ok", f"{have} generated clips: SYNTHETIC, comparable to nothing printed")
    if facts.splits is None:
        return DataFinding("sizes", "ok", f"{have} clips; {facts.title} has no official split: PARTIAL DATA")
    want = "/".join(str(facts.splits[s]) for s in SPLITS)
    if have == want:
        return DataFinding("sizes", "ok", f"{have} clips, the official split of {facts.title}")
    text = f"{have} clips, the official split of {facts.title} has {want}"
    return DataFinding("sizes", "warning", text, "PARTIAL DATA in every table, never tested against printed numbers")


def _widths(features: Features, facts: DatasetFacts) -> DataFinding:
    known = {m: facts.dims[m] for m in features.dims if m in facts.dims}
    odd = [
        f"{MODALITY_NAMES[m]} {features.dims[m]} (public files: {' or '.join(map(str, known[m]))})"
        for m in known
        if features.dims[m] not in known[m]
    ]
    if odd:
        return DataFinding("widths", "warning", ", ".join(odd), "other features than the paper's, so other results")
    return DataFinding("widths", "ok", ", ".join(f"{MODALITY_NAMES[m]} {n}" for m, n in features.dims.items()))
