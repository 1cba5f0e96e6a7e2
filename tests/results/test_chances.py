"""The chances beside a measured row: what a printed number may be, in every format, and where none is given."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from verdict_cases import AT, KEY, measured_table

from dmd_repro.papers.tables import Printed
from dmd_repro.render.formats import render
from dmd_repro.results.chances import chances_of, shown
from dmd_repro.stats.summary import Summary, summarise


def test_the_reader_with_84_4_gets_the_four_chances() -> None:
    """Protects: 84.4 with STD 1.1 over five seeds, beside a printed 86.0: 13, 4, 43 and 74 %."""
    summary = Summary(5, 84.4, 1.1, None, 0.95, None)
    found = shown(chances_of("acc2_non0", Printed("86.0", Decimal("86.0"), 1), summary))
    assert [round(100 * chance.value) for chance in found] == [13, 4, 43, 74]
    assert all(chance.low <= chance.value <= chance.high for chance in found)


def test_lower_is_better_is_turned() -> None:
    """Protects: for MAE a smaller number is the better one."""
    summary = summarise([0.72, 0.74, 0.73, 0.75, 0.71])
    good, bad = (chances_of("mae", Printed(t, Decimal(t), 3), summary)[0].value for t in ("0.700", "0.760"))
    assert good < 0.2 < 0.8 < bad


@pytest.mark.parametrize("values", [[80.0, 81.0], [80.0] * 5])
def test_no_model_no_chance(values: list[float]) -> None:
    """Protects: two seeds, or seeds that agree to the bit, give no normal model and so no chance."""
    assert chances_of("acc2_non0", Printed("86.0", Decimal("86.0"), 1), summarise(values)) == ()


def test_every_format_shows_them_for_comparable_rows_alone(tmp_path: Path) -> None:
    """Protects: the chances stand in each format and in JSON; synthetic, partial or failed rows have none."""
    rights: list[int | None] = [AT - 6, AT + 6, AT - 5, AT + 5, AT]
    table = measured_table(tmp_path / "official", rights)
    for format_ in ("terminal", "markdown", "latex", "html"):
        assert "this or better" in render([table], format_), format_
    rows = json.loads(render([table], "json"))["tables"][0]["blocks"][0]["rows"]
    cells = next(row for row in rows if row["key"] == KEY)["cells"]
    better = [(c["as"], c["k"]) for c in cells[1]["chances"] if c["or"] == "better"]
    assert better == [("one run", 1), *(("mean", k) for k in (3, 5, 10, 20)), *(("best", k) for k in (3, 5, 10, 20))]
    assert len(cells[1]["chances"]) == 2 * len(better)
    for name, other in (("partial", {"standing": "partial"}), ("failed", {})):
        again = measured_table(tmp_path / name, [*rights[:4], None] if name == "failed" else rights, **other)
        assert "this or better" not in render([again], "terminal"), name
