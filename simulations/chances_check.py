"""Are the chances beside a printed number right: what is given a chance of 10 % should happen in 10 % of cases."""

from __future__ import annotations

import numpy as np
from draws import STD, generator, runs
from scipy import optimize

from dmd_repro.stats.chances import ALL_LEARNED, Mixture, best_by_validation, chance_or_more, chances
from dmd_repro.stats.summary import mean_and_std

HYPOTHESES = (("one run", 1), ("mean", 5), ("best", 5), ("best", 20))


FAR = -5.0  # where the runs that did not learn lie, in STD of the others


def rare(law: str, n: int, cases: int, level: float = 0.1) -> list[float]:
    """Return, for each hypothesis, how often what was printed had a chance (of it or more) of `level` or less."""
    draw = generator(n, *law.encode()[:4])
    seeds = STD * runs(draw, law, (cases, n))
    out = []
    for hypothesis, k in HYPOTHESES:
        more = STD * runs(draw, law, (cases, k))
        printed = more.mean(axis=1) if hypothesis == "mean" else more.max(axis=1)
        # the chance falls with (printed - mean) / std alone: one threshold serves all cases
        edge = optimize.brentq(
            lambda e, h=hypothesis, k=k: chance_or_more(h, k, e, 0.0, 1.0, n).value - level, -3.0, 60.0, xtol=1e-6
        )
        out.append(float(((printed - seeds.mean(axis=1)) / seeds.std(axis=1, ddof=1) >= edge).mean()))
    return out


def by_validation(n: int, cases: int, correlation: float = 0.6) -> tuple[float, float]:
    """Return the mean chance given to a number one STD above the mean as the best of 5 by validation, and the truth."""
    draw = generator(n, 5)
    mix = (1 - correlation**2) ** 0.5
    said = []
    for _ in range(cases):
        valid = draw.standard_normal(n)
        test = correlation * valid + mix * draw.standard_normal(n)
        found = best_by_validation((1.0, 1.0), list(valid), list(test))
        said.append(next(c.value for c in found if c.k == 5 and c.direction == "better"))
    valid = draw.standard_normal((200_000, 5))
    test = correlation * valid + mix * draw.standard_normal((200_000, 5))
    picked = np.take_along_axis(test, valid.argmax(axis=1)[:, None], axis=1)
    return float(np.mean(said)), float((picked >= 1.0).mean())


def _by_key(mean: float, std: float, n: int, mixture: Mixture = ALL_LEARNED) -> dict[tuple[str, int], float]:
    found = chances((1.0, 1.0), mean, std, n, mixture)
    return {(c.hypothesis, c.k): c.value for c in found if c.direction == "better"}


def mixed(share: float, n: int, cases: int) -> dict[str, tuple[float, float, float]]:
    """Return, of n runs of which a share learns, the mean chance said of a number one STD above those that do.

    By hypothesis: the truth, what is said, and what share × chance among the learned would say. Cases with fewer than
    three runs that learned get no chance and are left out.
    """
    draw = generator(n, int(100 * share))
    said: dict[str, list[tuple[float, float]]] = {name: [] for name in ("one run", "best of 5", "mean of 5")}
    keys = {"one run": ("one run", 1), "best of 5": ("best", 5), "mean of 5": ("mean", 5)}
    for _ in range(cases):
        learned = int((draw.random(n) < share).sum())
        if learned < 3:
            continue
        mean, std = mean_and_std(list(draw.standard_normal(learned)))
        mixture = Mixture(learned, (FAR,) * (n - learned))
        whole, drawn = _by_key(mean, std, learned), _by_key(mean, std, learned, mixture)
        for name, key in keys.items():
            said[name].append((drawn[key], mixture.share * whole[key]))
    values = np.where(draw.random((200_000, 5)) < share, draw.standard_normal((200_000, 5)), FAR)
    truth = {
        "one run": float((values[:, 0] >= 1).mean()),
        "best of 5": float((values.max(axis=1) >= 1).mean()),
        "mean of 5": float((values.mean(axis=1) >= 1).mean()),
    }
    return {name: (truth[name], *map(float, np.mean(pairs, axis=0))) for name, pairs in said.items()}  # type: ignore[misc]
