"""'In step' compares how long the modalities of each clip last: it finds a shift, and never makes one up."""

from types import SimpleNamespace

import numpy as np
import pytest

from dmd_repro.data.checks.clips import in_step

STEPS = 50
SIZES = {"train": 24, "valid": 20, "test": 20}


def uniform(random: np.random.Generator, n: int) -> np.ndarray:
    return random.integers(25, STEPS + 1, n)


def skewed(random: np.random.Generator, n: int) -> np.ndarray:
    return np.clip(random.lognormal(2.5, 0.7, n).astype(int), 1, STEPS)


def rarely_short(random: np.random.Generator, n: int) -> np.ndarray:
    return np.where(random.random(n) < 0.1, 10, STEPS)


def findings(used: dict[str, dict[str, np.ndarray]], aligned: bool = False) -> list:
    gathered = {
        split: {m: SimpleNamespace(used=x, leading=STEPS - x, empty=x == 0) for m, x in part.items()}
        for split, part in used.items()
    }
    return list(in_step(SimpleNamespace(aligned=aligned), gathered, {}))


@pytest.mark.parametrize(
    ("drawn", "aligned"), [(uniform, True), (uniform, False), (skewed, False), (rarely_short, False)]
)
def test_modalities_that_have_nothing_in_common_raise_no_alarm(drawn, aligned):
    """Of few clips, chance alone made one in eight random sets a 'defect'; nothing was shifted in any."""
    for seed in range(25):
        random = np.random.default_rng(seed)
        found = findings({s: {m: drawn(random, n) for m in "lav"} for s, n in SIZES.items()}, aligned)
        assert [f.severity for f in found] == ["ok"], (seed, found)
        assert "last equally long" not in found[0].message


@pytest.mark.parametrize("n", [24, 129, 1284])
def test_a_shifted_modality_is_found_among_few_clips_too(n):
    """Beyond chance is still seen: durations that agree but for one moved modality."""
    random = np.random.default_rng(n)
    length = skewed(random, n)
    noisy = {m: np.clip(length + random.integers(-1, 2, n), 1, STEPS) for m in "lav"}
    steady = findings({"train": noisy, "valid": noisy, "test": noisy})
    assert "last equally long" in steady[0].message
    moved = {**noisy, "a": np.roll(noisy["a"], 2)}
    found = findings({"train": moved, "valid": noisy, "test": noisy})
    assert [f.severity for f in found] == ["defect"]
    assert "acoustic of train agrees with language and visual only when moved by 2 clips back" in found[0].message
