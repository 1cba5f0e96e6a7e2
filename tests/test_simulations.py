"""The simulations in the repository: they run, and what they find is what the written page says."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "simulations"
MODULES = ("run", "rules", "coverage", "chances_check", "draws", "old_rule")


@pytest.fixture(scope="module")
def simulations() -> Iterator[ModuleType]:
    """simulations/run.py as a module, with those it imports."""
    if not (FOLDER / "run.py").exists():
        pytest.skip("the simulations are part of a checkout, not of the package")
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("run")
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(before)


@pytest.fixture(scope="module")
def page() -> str:
    """The page the simulations wrote."""
    return (FOLDER.parent / "docs" / "simulations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_and_the_bootstrap_over_few_seeds_does_not(simulations: ModuleType, n: int) -> None:
    """93-97 % for the intervals that are offered; the bootstrap falls short, which is why it is not."""
    mean, one = simulations.coverage(n, 3000)
    assert 0.93 <= mean <= 0.97
    assert 0.93 <= one <= 0.97
    assert simulations.seed_bootstrap(n, 400, 400) < 0.94


def test_false_words_stay_below_their_level(simulations: ModuleType) -> None:
    """At the margin, the hardest truth, a row of normal seeds has a false word in at most about its level."""
    words, false = simulations.at_truth(1.0, 1.1, 5, 500)
    assert words.total() == 500
    assert false <= 0.02 + 3 * (0.02 * 0.98 / 500) ** 0.5


def test_one_honest_run_was_called_below_and_is_compatible_now(simulations: ModuleType) -> None:
    """Protects: what the old rule told of a paper that printed one honest run, and what a row says of it today."""
    found = simulations.same_method("normal", "one run", 20, 0.0, 60)
    assert found.share(found.old_against) > 0.5
    assert found.share(found.incompatible, rows=True) < 0.12
    assert found.bare <= found.incompatible


def _lines(page: str, heading: str) -> list[list[str]]:
    part = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:2] == "| "]
    return [row for row in rows if re.search(r"\d%|\d$", row[-1])]


def test_the_page_says_the_same(simulations: ModuleType, page: str) -> None:
    """Protects: the page is whole: every setting stands in it, and normal seeds keep their levels."""
    words = [row for row in _lines(page, "Words at their stage") if re.fullmatch(r"[\d.]+", row[0])]
    settings = {(float(truth), float(std), int(n)) for truth, std, n, *_ in words}
    assert settings == {(t, s, n) for t in simulations.TRUTHS for s in simulations.SPREADS for n in simulations.RUNS}
    levels = {5: 2.0, 10: 1.5, 20: 1.0, 50: 0.5}
    for _, _, n, *_, false in words:
        assert float(false.strip("%")) <= levels[int(n)] + 0.8
    honest = _lines(page, "What was printed is the very same method")
    assert len(honest) == 5 * len(simulations.PRINTED_AS) * len(simulations.RUNS)
    old = {int(row[3]): float(row[4].strip("%")) for row in honest if row[:3] == ["normal", "0", "one run"]}
    assert old == pytest.approx({5: 21, 10: 49, 20: 71, 50: 85}, abs=5)
    for row in honest:
        if row[0] == "normal" and row[2] == "one run":
            assert float(row[7].strip("%")) <= 6.5
    covered = next(row for row in _lines(page, "Coverage") if row[0] == "t interval of the mean, normal")
    assert all(93 <= float(share.strip(" %")) <= 97 for share in covered[1:])
