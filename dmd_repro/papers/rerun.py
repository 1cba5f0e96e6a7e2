"""One re-run by others: its type, and the check that it was scored on the official test clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmd_repro.datasets import DATASETS
from dmd_repro.errors import ClaimError
from dmd_repro.metrics.registry import METRICS
from dmd_repro.papers.tables import UNPRINTED

SETTINGS = ("aligned", "unaligned")
TEXTS = ("glove", "hidden", "bert")
COUNTED = {name: "non0" in m.reading for name, m in METRICS.items() if name.startswith("acc")}  # zeros left out?


@dataclass(frozen=True, slots=True)
class Rerun:
    """One system that somebody ran, on one data set and setting, once or over several seeds."""

    key: str  # file/entry, unique among all re-runs
    system: str  # as the paper's tables call it
    dataset: str
    setting: str  # aligned | unaligned
    text: str  # glove | hidden | bert
    code: str  # whose code was run, in words
    source: str  # repository, file, commit
    by: str  # the repository, or the file of the user
    protocol: str  # what is known of it
    n: int | None  # runs; None: not stated
    values: Mapping[str, Mapping[int, float]]  # metric -> seed -> value as tables print it (percent; mae, corr as is)
    means: Mapping[str, float]  # metric -> mean, where no value per seed is at hand
    stds: Mapping[str, float]
    note: str | None = None
    curve: tuple[Mapping[str, float], ...] = field(default=(), repr=False)  # one mapping an epoch, as published

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds with a value, in ascending order; () where only means are known."""
        return tuple(sorted({seed for by_seed in self.values.values() for seed in by_seed}))


def printed_datasets() -> tuple[str, ...]:
    """Return the data sets a re-run may be of: those papers print numbers for."""
    return tuple(name for name in DATASETS if name not in UNPRINTED)


def check_clips(rerun: Rerun, file: str) -> None:
    """Refuse accuracies of single runs that no count of the official test clips gives: they are of another split.

    A published digit may be rounded or cut, so one unit of its last place is allowed; digits are read back from the
    value, four of a fraction at most. Raises ClaimError naming file, seed, measure and value.
    """
    facts = DATASETS[rerun.dataset]
    if facts.splits is None or facts.test_signs is None:
        return
    for metric, signed in COUNTED.items():
        n = facts.splits["test"] - (facts.test_signs[1] if signed else 0)
        wrong = [(s, v) for s, v in rerun.values.get(metric, {}).items() if not _is_count(v, n)]
        if wrong:
            seed, value = wrong[0]
            raise ClaimError.at(
                f"{file}, {rerun.system}, seed {seed}, {metric}",
                expected=f"a count of the {n} {'non-zero ' if signed else ''}test clips of {facts.title}",
                got=f"{value:.10g} %, which is none ({len(wrong)} of {len(rerun.values[metric])} values)",
                do="Give the numbers of the official test split, or leave out what was scored on other clips",
            )


def _is_count(percent: float, n: int) -> bool:
    # a trailing zero is lost in a float, so one decimal or none may be two: one unit of the first is allowed then
    decimals = next((d for d in range(1, 6) if math.isclose(percent, round(percent, d), abs_tol=1e-9)), 6)
    return abs(100 * round(percent / 100 * n) / n - percent) <= 10.0**-decimals + 1e-9


def same_system(a: str, b: str) -> bool:
    """Say whether two names are one system: case, punctuation and the star of BERT rows aside."""
    return _plain(a) == _plain(b)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
