"""Runs to simulate with: four laws of the seeds, all of mean 0 and STD 1, and rows of correlated numbers of them."""

from __future__ import annotations

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRINTED, CELL, STD = 84.5, 0.05, 1.1  # a printed number, its rounding cell, the spread of one run in points
ROWS, NUMBERS = 3, 3  # of a table, and of a row: DMD's rows of Table 1
LAWS = ("normal", "skewed", "bimodal", "heavy tailed")
_FAR, _SHARE = 3.0, 0.15  # of the bimodal law: how far below the others the worse runs lie, in their STD, and how many


def generator(*key: int) -> Generator:
    """Return a stream of its own for a setting."""
    return Generator(PCG64(list(key)))


def runs(draw: Generator, law: str, size: tuple[int, ...]) -> Floats:
    """Return runs of mean 0 and STD 1; skewed and bimodal ones have their long side below, as collapsing seeds do."""
    if law == "normal":
        return draw.standard_normal(size)
    if law == "skewed":  # skewness -1.4
        return 2.0**-0.5 * (2.0 - draw.gamma(2.0, 1.0, size))
    if law == "heavy tailed":  # Student's t with 5 degrees of freedom: kurtosis 9
        return (3 / 5) ** 0.5 * draw.standard_t(5, size)
    low = draw.random(size) < _SHARE
    mean, variance = -_FAR * _SHARE, 1 + _FAR**2 * _SHARE * (1 - _SHARE)
    return (draw.standard_normal(size) - _FAR * low - mean) / variance**0.5


def rows_of(draw: Generator, law: str, count: int, n: int, correlation: float) -> Floats:
    """Return runs (count, NUMBERS, n) of rows whose numbers move together; each number has the law's mean and STD.

    With a correlation, a number takes the row's run with that chance and a run of its own else: the law of each
    number stays what it is.
    """
    own = runs(draw, law, (count, NUMBERS, n))
    shared = runs(draw, law, (count, 1, n))
    together = draw.random((count, NUMBERS, n)) < correlation**0.5
    return np.where(together, shared, own)


def printed_as(draw: Generator, law: str, what: str, count: int, correlation: float) -> Floats:
    """Return printed numbers (count, NUMBERS), rounded: one run, the mean of five, or the best of five by the first."""
    k = 1 if what == "one run" else 5
    paper = rows_of(draw, law, count, k, correlation)
    if what == "mean of 5":
        values = paper.mean(axis=2)
    else:
        best = paper[:, 0].argmax(axis=1)
        values = np.take_along_axis(paper, best[:, None, None], axis=2)[:, :, 0]
    return np.round(PRINTED + STD * values, 1)
