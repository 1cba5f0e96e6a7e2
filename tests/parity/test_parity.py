"""Parity with what the authors' code computes: every array of the reference, or a reason why not."""

from __future__ import annotations

import fnmatch
from collections import Counter

import numpy as np
import pytest

from parity import (
    aligners,
    dmd,
    memory_nets,
    metrics,
    mult,
    plain_nets,
    shifted_words,
    trajectory,
    translations,
    two_spaces,
    units,
)
from parity.loading import VARIANTS, arrays, keys

MAKERS = {
    "A_mosi_aligned": dmd, "C_mosei_aligned": dmd, "A_trajectory": trajectory, "E_metrics": metrics,
    "F_mult_aligned": mult, "G_units": units, **{f"systems/{name}": plain_nets for name in plain_nets.CASES},
    **dict.fromkeys(memory_nets.FILES, memory_nets), **dict.fromkeys(shifted_words.FILES, shifted_words),
    **dict.fromkeys(translations.FILES, translations),
    **dict.fromkeys(two_spaces.FILES, two_spaces),
    "systems/CTC": aligners, "systems/ctc_units": aligners,
}  # fmt: skip


def reason(name: str, key: str) -> str | None:
    """Return why a key is not compared, if a reason is written down for it."""
    plain = key
    for variant in VARIANTS:
        plain = plain.removeprefix(variant)
    for pattern, why in MAKERS[name].NOT_COMPARED.items():
        if fnmatch.fnmatch(plain, pattern) or fnmatch.fnmatch(plain, f"{pattern}_?"):
            return why
    return None


KEYS = [(name, key) for name in MAKERS for key in keys(name)]
COMPARED = [(name, key) for name, key in KEYS if not reason(name, key)]
EXCUSED = Counter((name, why) for name, key in KEYS if (why := reason(name, key)))


@pytest.mark.parametrize(("name", "why"), EXCUSED, ids=[f"{n}:{why[:40]}" for n, why in EXCUSED])
def test_what_is_not_compared_says_why(name: str, why: str) -> None:
    """Protects: what is left out of a file stands in every report of the tests, with the number of its arrays."""
    pytest.skip(f"{name}, {EXCUSED[name, why]} arrays: {why}")


@pytest.mark.parametrize(("name", "key"), COMPARED, ids=[f"{n}:{k}" for n, k in COMPARED])
def test_every_reference_array(name: str, key: str) -> None:
    """Protects: each number of the authors' run is either reproduced within its tolerance or excused in words."""
    if key == "absent":
        pytest.skip("the reference arrays are not beside this checkout")
    computed = MAKERS[name].computed(name)
    assert key in computed, f"{key} of {name} is neither compared nor excused"
    ours, rtol, atol = computed[key]
    theirs = arrays(name)[key]
    if theirs.dtype.kind in "US":
        assert np.array_equal(np.sort(np.ravel(ours)), np.sort(np.ravel(theirs)))
        return
    ours = np.asarray(ours, dtype=np.float64)
    theirs = theirs.astype(np.float64)
    assert ours.shape == theirs.shape
    excess = np.abs(ours - theirs) - (atol + rtol * np.abs(theirs))
    both_nan = np.isnan(ours) & np.isnan(theirs)
    assert np.all((excess <= 0) | both_nan), f"off by {np.nanmax(np.abs(ours - theirs)):.3g}"
