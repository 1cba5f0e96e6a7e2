"""Between two rows: paired over seeds, crossed over seeds and clips, and McNemar for one pair of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmd_repro.stats.summary import LEVEL, Summary, TTest, mean_and_std, one_sample_t, summarise, t_quantile


@dataclass(frozen=True, slots=True)
class Paired:
    """Row a minus row b over the seeds both have."""

    seeds: tuple[int, ...]
    summary: Summary  # of the differences
    test: TTest | None
    correlation: float | None  # between the two rows over seeds: pairing helps only if it is positive
    effect: float | None  # mean difference / STD of the differences (Cohen's d_z)


def paired(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Paired:
    """Compare two rows seed by seed; seeds only one of them has are left out."""
    seeds = tuple(sorted(set(a) & set(b)))
    gaps = [a[seed] - b[seed] for seed in seeds]
    summary = summarise(gaps, level)
    return Paired(
        seeds=seeds,
        summary=summary,
        test=one_sample_t(gaps, 0.0),
        correlation=_correlation([a[seed] for seed in seeds], [b[seed] for seed in seeds]),
        effect=summary.mean / summary.std if summary.mean is not None and summary.std else None,
    )


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < 3:  # two points always lie on a line
        return None
    (mean_x, std_x), (mean_y, std_y) = mean_and_std(x), mean_and_std(y)
    if std_x == 0 or std_y == 0:
        return None
    joint = math.fsum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True)) / (len(x) - 1)
    return max(-1.0, min(1.0, joint / (std_x * std_y)))


@dataclass(frozen=True, slots=True)
class Crossed:
    """The mean of a seeds x clips table, where each seed meets the same clips."""

    mean: float
    error_seeds: float  # standard error if only the seeds were drawn anew
    error_clips: float  # if only the clips were
    error: float  # if both were
    df: float  # Satterthwaite
    interval: tuple[float, float] | None  # None where every entry is equal
    level: float


def crossed(table: ArrayLike, level: float = LEVEL) -> Crossed:
    """Estimate how far the mean of `table` (S seeds, C clips) would move with new seeds, new clips, or both.

    Two-way random effects without replication: entry = mean + seed + clip + rest. Expected mean squares give
    Var(mean) = (MS_seeds + MS_clips - MS_rest) / (S C); a negative estimate counts as 0. Both S and C must be >= 2. The
    interval is approximate: with 3 to 6 seeds, a 95 % one holds the truth in 92-95 % of simulated tables.
    """
    x = np.asarray(table, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(f"needs at least 2 seeds x 2 clips, got shape {x.shape}")
    seeds, clips = x.shape
    mean, by_seed, by_clip = x.mean(), x.mean(axis=1), x.mean(axis=0)
    ms_seeds = clips * float(((by_seed - mean) ** 2).sum()) / (seeds - 1)
    ms_clips = seeds * float(((by_clip - mean) ** 2).sum()) / (clips - 1)
    rest = x - by_seed[:, None] - by_clip[None, :] + mean
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (clips - 1))
    n = seeds * clips
    variance = max(0.0, (ms_seeds + ms_clips - ms_rest) / n)
    parts = ms_seeds**2 / (seeds - 1) + ms_clips**2 / (clips - 1) + ms_rest**2 / ((seeds - 1) * (clips - 1))
    df = max(1.0, (n * variance) ** 2 / parts) if parts else math.inf
    error = math.sqrt(variance)
    half = t_quantile(0.5 + level / 2, df) * error if error else 0.0
    return Crossed(
        mean=float(mean),
        error_seeds=math.sqrt(ms_seeds / n),
        error_clips=math.sqrt(ms_clips / n),
        error=error,
        df=df,
        interval=(float(mean) - half, float(mean) + half) if error else None,
        level=level,
    )


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two runs on the same clips."""

    only_a: int  # clips only the first gets right
    only_b: int
    p: float  # exact, two-sided


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> McNemar:
    """Compare which clips (B,) two runs get right: the exact binomial test on the clips they disagree on.

    For ONE pair of runs; p-values of several seeds share their clips and must not be pooled.
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} and {b.shape} clips")
    return mcnemar_counts(int((a & ~b).sum()), int((b & ~a).sum()))


def mcnemar_counts(only_a: int, only_b: int) -> McNemar:
    """The same from the two counts of disagreement."""
    from scipy.special import bdtr

    n = only_a + only_b
    p = min(1.0, 2.0 * float(bdtr(min(only_a, only_b), n, 0.5))) if n else 1.0
    return McNemar(only_a, only_b, p)


def most_discordant(gap: int, alpha: float = 0.05) -> int:
    """Return the largest number of discordant clips at which a gap of `gap` clips is significant; 0 if none is.

    By the exact test; the chi-square approximation would allow gap^2 / 3.84 of them at 5 %.
    """
    from scipy.special import bdtr

    gap = abs(gap)
    if not gap:
        return 0
    # the discordant clips have the parity of the gap; the exact test allows fewer than the approximation does
    totals = np.arange(gap, gap * gap + 4, 2)
    fails = 2.0 * bdtr((totals - gap) // 2, totals, 0.5) > alpha
    first = int(np.argmax(fails))
    return int(totals[first - 1]) if first else 0
