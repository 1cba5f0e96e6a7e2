"""The drawing of a study's PDF: each number that may be compared, at its distance from the printed one, no other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from verdict_cases import AT, measured_table

from dmd_repro.metrics.registry import METRICS
from dmd_repro.render.latex import latex
from dmd_repro.render.latex_strip import differences
from dmd_repro.render.sentences import ALL
from dmd_repro.render.study.book import to_pdf

RIGHT = [AT + 2 * i - 4 for i in range(5)]
PUT = r"\\put\((-?[\d.]+),-?[\d.]+\){"


def test_a_dot_lies_at_its_difference_from_the_printed_number(tmp_path: Path) -> None:
    """Known answer: the line is the printed number, the dashes are the margin, and a dot is between them as d says."""
    table = measured_table(tmp_path, list(RIGHT))
    text = "\n".join(differences(table))
    (zero,) = map(float, re.findall(PUT + r"\\line\(0,1\)", text))
    low, high = (float(x) for x in re.findall(r"\\multiput\((-?[\d.]+),", text))
    assert zero - low == pytest.approx(high - zero, abs=0.02)
    dots = [float(x) for x in re.findall(PUT + r"\\circle", text)]
    found = [(cell, d) for row in table.rows for cell in row.cells if (d := cell.judged.difference)]
    assert len(dots) == len(found) == 3
    for x, (cell, d) in zip(dots, found, strict=True):
        points = d.d / METRICS[cell.metric].point
        assert (x - zero) / (high - zero) * table.margin == pytest.approx(points, rel=0.01, abs=0.05)


def test_what_may_not_be_compared_is_not_drawn(tmp_path: Path) -> None:
    """The first rule: runs on synthetic data share no axis with a printed number, on paper either."""
    assert differences(measured_table(tmp_path, list(RIGHT), standing="synthetic")) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_a_table_with_its_drawing_and_notes_compiles(tmp_path: Path) -> None:
    """Nothing but the packages of every table is needed for it."""
    made, why = to_pdf(latex([measured_table(tmp_path, list(RIGHT))], standalone=True, ink=ALL, drawn=True))
    assert made is not None, why
