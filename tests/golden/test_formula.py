"""The formula is the one the figures were made with, and every file of figures is held against something."""

from __future__ import annotations

import math

import numpy as np
import pytest

from golden import formula
from golden.harness import FOLDER, Account
from golden.plain import CASES
from golden.test_shipped import CHECKED as SHIPPED

CHECKED = (*SHIPPED, *CASES)
FILES = sorted(p.stem for p in FOLDER.glob("*.json"))
ELSEWHERE = ("misa", "raven_attached", "raven_official", "raven_paper")  # test_misa.py and test_raven.py


def test_known_answers() -> None:
    """Protects: hash, mixing, scale and the single rounding to float16, each by a value worked out elsewhere."""
    assert [formula.seed(n) for n in ("", "a", "dmd/proj_l.weight")] == [
        0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x6F01DA030E968A57,
    ]  # fmt: skip
    mixed = formula.mixed("dmd/proj_l.weight", 3)
    assert mixed.tolist() == [0x8B1C7999AE2BAA3A, 0x1B2A9E3FA9BC6723, 0x141A349DBF445207]
    assert (mixed >> np.uint64(40)).tolist() == [9116793, 1780382, 1317428]
    x = formula.tensor("dmd/proj_l.weight", (50, 300, 5), *formula.scale("dmd/proj_l.weight", (50, 300, 5)))
    assert [*x.ravel()[:3], x.ravel()[-1]] == [
        0.0038814544677734375, -0.03521728515625, -0.037689208984375, -0.03155517578125,
    ]  # fmt: skip
    assert math.isclose(x.sum(), -0.674838125705719, rel_tol=1e-12)
    for name, n, first, total in (
        ("dmd/trans_l_mem.layer_norm.weight", 100, [1.09765625, 1.078125, 1.025390625], 100.64013671875),
        ("dmd/proj1.bias", 450, [0.1368408203125, 0.050140380859375, -0.0242462158203125], -0.04366445541381836),
    ):
        x = formula.tensor(name, (n,), *formula.scale(name, (n,)))
        assert x[:3].tolist() == first
        assert math.isclose(x.sum(), total, rel_tol=1e-12)
    x = formula.tensor("input/text", (5, 50, 300), 0, 1).ravel()
    assert [*x[:3], x[-1]] == [-0.54150390625, 0.373046875, 0.8056640625, -0.62109375]
    found = formula.unit("input/audio_windows", 3)
    assert found.tolist() == pytest.approx([0.13151443004608154, 0.5738618969917297, 0.2589457035064697], abs=1e-16)


@pytest.mark.parametrize("name", CHECKED)
def test_weights_and_inputs_are_those_of_the_figures(name: str) -> None:
    """Protects: a wrong formula shows here, before any model is blamed."""
    Account(name).check_made()


def test_every_file_is_checked() -> None:
    """Protects: no figures lie there without a test."""
    assert sorted([*CHECKED, *ELSEWHERE]) == FILES
