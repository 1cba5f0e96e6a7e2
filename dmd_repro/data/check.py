"""`dmd data check`: what a stored feature set holds, set against what is known of the official data.

A finding says what it does to the results. A *defect* makes numbers wrong or too good; a *warning* makes them
incomparable or unusual.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import Features, FeatureSet
from dmd_repro.data.manifest import Manifest
from dmd_repro.data.store import Store
from dmd_repro.data.synthetic import generate, is_synthetic, parse_synthetic
from dmd_repro.data.which import standing_of, told_dataset
from dmd_repro.errors import DataError
from dmd_repro.registry import DatasetFacts, dataset_facts
from dmd_repro.shapes import MODALITIES, MODALITY_NAMES, SPLITS

Severity = Literal["ok", "warning", "defect"]
_BLOCK = 1 << 22  # values looked at together
_VIDEO = re.compile(r"(?P<video>.+?)(\$_\$.*|\[\d+\]|#\d+)|(?P<youtube>.{11})_\d+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at and what came of it."""

    check: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Padding:
    """Exact zero steps at the ends of the clips of one modality in one split."""

    side: str  # left | right | both | none
    share: float  # of all steps
    zero_clips: int  # clips that are zero at every step
    longer_than_claimed: int  # clips with more steps than their stated length
    not_finite: int  # values


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One split: sizes, labels, padding."""

    clips: int
    videos: int
    shapes: Mapping[str, tuple[int, ...]]
    label_range: tuple[float, float]
    histogram: Mapping[str, int]  # labels rounded to -3 ... 3
    signs: tuple[int, int, int]  # labels < 0, = 0, > 0
    padding: Mapping[str, Padding]


@dataclass(slots=True)
class CheckReport:
    """All that `dmd data check` shows; `failed` if a finding is a defect."""

    name: str
    dataset: str
    aligned: bool
    texts: tuple[str, ...]
    standing: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a finding is a defect."""
        return any(f.severity == "defect" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self) | {"failed": self.failed}


def check(name: str, store: Store) -> CheckReport:
    """Check a stored (or generated) feature set; DataError if the name is unknown or the manifest unreadable.

    Content that no longer matches its digests is a defect, not an error.
    """
    if is_synthetic(name):
        text, aligned, size = parse_synthetic(name)
        return examine(generate(text=text, aligned=aligned, size=size))
    manifest = store.manifest(name)
    try:
        for kind in reversed(manifest.texts):  # each once, so that all of the content is verified
            features = store.open(name, kind, verify=True)
    except DataError as error:
        report = CheckReport(name, manifest.dataset, manifest.aligned, manifest.texts, manifest.standing)
        report.findings.append(Finding("content", "defect", str(error)))
        return report
    return examine(features, manifest)


def examine(features: Features, manifest: Manifest | None = None) -> CheckReport:
    """Check opened features; `manifest` adds what the import had to say."""
    texts = manifest.texts if manifest else (features.text,)
    report = CheckReport(features.name, features.dataset, features.aligned, texts, features.standing)
    report.splits = {s: _split_report(features.splits[s]) for s in SPLITS}
    facts = dataset_facts(features.dataset)
    finding = report.findings
    if manifest:
        finding.append(Finding("content", "ok", "every array has the digest it was imported with"))
    finding.append(_sizes(features, facts))
    finding.append(_widths(features, facts))
    finding += _labels(report, facts)
    finding.append(_finite(report))
    finding += _padding(report)
    finding += _shared(features, facts)
    if manifest:
        said = [*told_dataset(manifest.dataset, manifest.dims, manifest.sizes, "")[1]]  # above, as sizes and widths
        said += standing_of(manifest.dataset, manifest.sizes)[1]
        finding += [Finding("import", "warning", remark) for remark in manifest.warnings if remark not in said]
    return report


def video_of(clip: str) -> str:
    """Return the video a clip's id names: what stands before `$_$`, or the id itself."""
    match = _VIDEO.fullmatch(clip)
    return (match["video"] or match["youtube"]) if match else clip


def _split_report(part: FeatureSet) -> SplitReport:
    labels = np.asarray(part.labels)
    bins = np.clip(np.rint(labels), -3, 3).astype(int)
    sequences = {m: part.array(m) for m in MODALITIES}
    return SplitReport(
        clips=len(part),
        videos=len({video_of(i) for i in part.ids}),
        shapes={m: tuple(x.shape) for m, x in sequences.items()},
        label_range=(float(labels.min()), float(labels.max())),
        histogram={str(b): int((bins == b).sum()) for b in range(-3, 4)},
        signs=(int((labels < 0).sum()), int((labels == 0).sum()), int((labels > 0).sum())),
        padding={
            m: _ends(x, part.lengths[m]) for m, x in sequences.items() if x.dtype.kind == "f"
        },  # token ids have a mask instead
    )


def _ends(x: NDArray[Any], claimed: NDArray[np.int64]) -> Padding:
    n, steps, width = x.shape
    leading, trailing = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    bad = 0
    per_block = max(1, _BLOCK // (steps * width))
    for start in range(0, n, per_block):
        block = x[start : start + per_block]
        bad += int((~np.isfinite(block)).sum())
        used = (block != 0).any(axis=2)
        empty = ~used.any(axis=1)
        leading[start : start + per_block] = np.where(empty, steps, used.argmax(axis=1))
        trailing[start : start + per_block] = np.where(empty, 0, used[:, ::-1].argmax(axis=1))
    zero = leading == steps
    left, right = bool((leading[~zero] > 0).any()), bool((trailing[~zero] > 0).any())
    if left and right:  # a zero frame at the other end is no padding: the side with nearly all zero steps is it
        ratio = leading[~zero].sum() / (leading[~zero].sum() + trailing[~zero].sum())
        left, right = ratio > 0.02, ratio < 0.98
    return Padding(
        side={(1, 0): "left", (0, 1): "right", (1, 1): "both", (0, 0): "none"}[int(left), int(right)],
        share=float((leading + trailing).sum() / (n * steps)),
        zero_clips=int(zero.sum()),
        longer_than_claimed=int((steps - leading - trailing > claimed).sum()),
        not_finite=bad,
    )


def _sizes(features: Features, facts: DatasetFacts) -> Finding:
    have = "/".join(str(features.sizes[s]) for s in SPLITS)
    if facts.splits is None:
        return Finding("sizes", "ok", f"{have} generated clips: SYNTHETIC, comparable to nothing printed")
    want = "/".join(str(facts.splits[s]) for s in SPLITS)
    if have == want:
        return Finding("sizes", "ok", f"{have} clips, the official split of {facts.title}")
    return Finding(
        "sizes", "warning", f"{have} clips, the official split of {facts.title} has {want}: PARTIAL DATA in every table"
    )


def _widths(features: Features, facts: DatasetFacts) -> Finding:
    known = {m: facts.dims[m] for m in features.dims if m in facts.dims}
    odd = [
        f"{MODALITY_NAMES[m]} {features.dims[m]} (public files: {' or '.join(map(str, known[m]))})"
        for m in known
        if features.dims[m] not in known[m]
    ]
    if odd:
        return Finding(
            "widths", "warning", f"{', '.join(odd)}: other features than the paper's, so other results are expected"
        )
    return Finding("widths", "ok", ", ".join(f"{MODALITY_NAMES[m]} {n}" for m, n in features.dims.items()))


def _labels(report: CheckReport, facts: DatasetFacts) -> Iterable[Finding]:
    for split, part in report.splits.items():
        low, high = part.label_range
        if not (low >= -3 and high <= 3):
            yield Finding("labels", "defect", f"{split} has labels from {low} to {high}, outside [-3, 3]")
        elif low == high:
            yield Finding("labels", "defect", f"every label of {split} is {low}: nothing to learn or to measure")
    if facts.test_signs is None or report.standing != "official":
        yield Finding("test signs", "ok", f"{_signs(report.splits['test'].signs)} (no official count to compare with)")
    elif report.splits["test"].signs == facts.test_signs:
        yield Finding("test signs", "ok", f"{_signs(facts.test_signs)}, as in the official test split")
    else:
        yield Finding(
            "test signs",
            "defect",
            f"{_signs(report.splits['test'].signs)}, but the official test split has {_signs(facts.test_signs)}:"
            " ACC2 and F1 would be measured on other labels",
        )


def _signs(signs: tuple[int, int, int]) -> str:
    return f"{signs[0]} negative, {signs[1]} zero, {signs[2]} positive"


def _finite(report: CheckReport) -> Finding:
    bad = [
        f"{MODALITY_NAMES[m]} of {split} {p.not_finite}"
        for split, part in report.splits.items()
        for m, p in part.padding.items()
        if p.not_finite
    ]
    if bad:
        return Finding("finite", "defect", f"values that are NaN or infinite: {', '.join(bad)}: every loss becomes NaN")
    return Finding("finite", "ok", "no NaN, no infinity")


def _padding(report: CheckReport) -> Iterable[Finding]:
    for m in MODALITIES:
        parts = {s: part.padding[m] for s, part in report.splits.items() if m in part.padding}
        sides = sorted({p.side for p in parts.values()} - {"none"}) or ["none"]
        if not parts:
            continue
        shares = ", ".join(f"{s} {p.share:.0%}" for s, p in parts.items())
        what = f"{MODALITY_NAMES[m]}: {' and '.join(sides)} ({shares} of the steps)"
        if set(sides) & {"right", "both"}:
            effect = "the authors' code reads the last step, which is then padding"
            yield Finding("padding", "warning", f"{what}: {effect}")
        else:
            yield Finding("padding", "ok", what)
        zero = sum(p.zero_clips for p in parts.values())
        if zero:
            yield Finding("empty clips", "warning", f"{MODALITY_NAMES[m]}: {zero} clips are zero at every step")
        longer = sum(p.longer_than_claimed for p in parts.values())
        if longer:
            yield Finding(
                "lengths", "warning", f"{MODALITY_NAMES[m]}: {longer} clips have more steps than their stated length"
            )


def _shared(features: Features, facts: DatasetFacts) -> Iterable[Finding]:
    videos = {s: {video_of(i) for i in features.splits[s].ids} for s in SPLITS}
    clean = True
    for one, other in combinations(SPLITS, 2):
        clips = set(features.splits[one].ids) & set(features.splits[other].ids)
        both = videos[one] & videos[other]
        if clips or both:
            clean = False
            some = ", ".join(sorted(both)[:3])
            yield Finding(
                "overlap",
                "defect",
                f"{one} and {other} share {len(both)} videos ({some}{', ...' if len(both) > 3 else ''})"
                f" and {len(clips)} clips: the speaker is known before the test, numbers are too good",
            )
    counts = {s: len(videos[s]) for s in SPLITS}
    have = ", ".join(f"{s} {n}" for s, n in counts.items())
    if clean:
        yield Finding("overlap", "ok", f"no video in two splits (videos: {have})")
    if facts.videos and features.standing == "official" and counts != dict(facts.videos):
        want = ", ".join(f"{s} {facts.videos[s]}" for s in SPLITS)
        yield Finding("videos", "warning", f"{have} videos, the official split has {want}: ids of another form?")
