"""Do the intervals cover: of the mean, of one more run, over clips, and over seeds and clips together."""

from __future__ import annotations

import numpy as np
from draws import PRINTED, STD, generator, runs

from dmd_repro.stats.clips import drawn_table
from dmd_repro.stats.paired import crossed
from dmd_repro.stats.summary import prediction_interval, summarise


def coverage(n: int, draws: int, law: str = "normal") -> tuple[float, float]:
    """Return the shares of 95 % t and prediction intervals that hold the true mean and one further run."""
    rows = PRINTED + STD * runs(generator(n, *law.encode()[:4]), law, (draws, n + 1))
    mean = one = 0
    for row in rows:
        values = list(row[:n])
        ends, more = summarise(values).interval, prediction_interval(values)
        mean += ends is not None and ends[0] <= PRINTED <= ends[1]
        one += more is not None and more[0] <= row[n] <= more[1]
    return mean / draws, one / draws


def seed_bootstrap(n: int, draws: int, resamples: int = 1000) -> float:
    """Return the share of 95 % percentile bootstrap intervals over n seeds that hold the true mean."""
    draw = generator(100 + n)
    held = 0
    for _ in range(draws):
        values = draw.normal(PRINTED, STD, size=n)
        low, high = np.quantile(values[draw.integers(0, n, size=(resamples, n))].mean(axis=1), (0.025, 0.975))
        held += low <= PRINTED <= high
    return held / draws


def clip_bootstrap(clips: int, draws: int, resamples: int = 1000) -> float:
    """Return the same over clips, for an accuracy of 84 %: resampling 0s and 1s is a binomial draw."""
    draw = generator(200 + clips)
    right = draw.binomial(clips, 0.84, size=draws)
    means = draw.binomial(clips, (right / clips)[:, None], size=(draws, resamples)) / clips
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    return float(((low <= 0.84) & (high >= 0.84)).mean())


def crossed_coverage(seeds: int, clips: int, draws: int, videos: int | None = None) -> tuple[float, float]:
    """Return the share of 95 % crossed intervals that hold the true accuracy, clips drawn alone and videos whole.

    Seeds and clips are both drawn anew; with `videos` the clips of one share half of what makes them hard.
    """
    draw = generator(300 + seeds, videos or 0)
    base, by_seed, by_clip = 1.6, 0.12, 1.3  # latent scale: seeds differ by about 1 point, clips by a lot
    truth = float((base + np.hypot(np.hypot(by_seed, by_clip), 1.0) * draw.normal(size=4_000_000) > 0).mean())
    alone = together = 0
    for _ in range(draws):
        hard = draw.normal(size=(1, clips))
        of = None
        if videos:
            group = draw.integers(0, videos, clips)
            hard = (hard + draw.normal(size=videos)[group]) / 2**0.5
            of = [str(video) for video in group]
        latent = base + by_seed * draw.normal(size=(seeds, 1)) + by_clip * hard
        right = (latent + draw.normal(size=(seeds, clips)) > 0).astype(float)
        ends = crossed(right).interval
        alone += ends is not None and ends[0] <= truth <= ends[1]
        table = drawn_table(list(right), of)
        ends = None if table is None else crossed(table).interval
        together += ends is not None and ends[0] <= truth <= ends[1]
    return alone / draws, together / draws
