"""The table of the 16 masks in docs/deviations.md: what it says of each is so, and all falls when a part goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmd_repro.results.masks import PARTS, all_masks, parts_on

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """The rows of the table by the parts that are on."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from sections import read_section

    text = read_section(ROOT / "docs" / "deviations.md", "masks").replace("\\_", "_")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    return {row[0]: tuple(row[1:]) for row in rows}


def test_everything_falls_when_a_part_goes(table: dict[str, tuple[str, ...]]) -> None:
    """A part that is off leaves no parameter, no loss term and no work: each is strictly less."""
    assert list(table) == [parts_on(off) for off in all_masks()]
    for off in all_masks():
        for part in PARTS:
            if part in off:
                continue
            more, less = table[parts_on(off)], table[parts_on(tuple(sorted((*off, part))))]
            assert int(less[0].replace(",", "")) < int(more[0].replace(",", ""))
            assert float(less[2]) < float(more[2])
            terms = [sum(int(item.split()[0]) for item in row[1].split(" + ")) for row in (more, less)]
            assert terms[1] < terms[0] or part == "ca"  # ca has no loss of its own


def test_the_table_is_what_the_models_are(table: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of all masks, and terms and work of the paper's six, are counted again."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from masks import facts, model_of

    for off in all_masks():
        count = sum(p.numel() for p in model_of(off).parameters())
        assert table[parts_on(off)][0] == f"{count:,}", "run: python benchmarks/masks.py"
    for off in ((), ("ca", "heterogd"), ("ca", "fd", "heterogd", "homogd")):
        name, *found = facts(off)
        assert table[name][:3] == tuple(found), "run: python benchmarks/masks.py"
