"""A re-run is read beside a row only where it measures the row's own thing; the rest is listed with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dmd_repro.papers.folders import table_names
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records
from dmd_repro.render.formats import FORMATS, render
from dmd_repro.render.sentences import ALL, Ink
from dmd_repro.results.reruns import answers, not_comparable, places, readings_of, why_not
from dmd_repro.results.tables import compare

ROW = load_table("table1").row("mosi-aligned-bert-dmd")
(OTHER,) = [rerun for rerun in load_reruns() if rerun.key == "youngwhite-authors-code-mosi/dmd"]


def test_only_dmd_star_on_mosi_is_read_today() -> None:
    """The one row whose data set, setting, text and convention a re-run shares, by values per seed."""
    found = places(load_reruns(), [load_table(name) for name in table_names()])
    assert [place.beside for place in found if place.beside] == [("table1 mosi-aligned-bert-dmd",)]
    assert all(place.why for place in found if not place.beside)
    listed = [one.rerun.system for one in not_comparable(load_table("table1"), load_reruns())]
    assert {"MISA", "TFN", "MulT"} <= set(listed)


def test_the_reading_counts_who_reaches_the_printed_number() -> None:
    """86.0 is reached by none of ten, 45.6 by five: 45.55 and more prints as it."""
    found = readings_of(ROW, [OTHER])
    assert {column: (readings[0].n, readings[0].reach) for column, readings in found.items()} == {
        "acc7": (10, 5), "acc2": (10, 0), "f1": (10, 0),
    }  # fmt: skip
    edge = replace(OTHER, values={"acc7": {1: 45.55, 2: 45.54}})
    assert readings_of(ROW, [edge])["acc7"][0].reach == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"setting": "unaligned"}, "run unaligned, printed aligned"),
        ({"text": "hidden"}, "run with BERT hidden states, printed for BERT"),
        ({"dataset": "mosei"}, "run on CMU-MOSEI"),
        ({"system": "DLF"}, "it is DLF"),
        ({"n": None}, "how many runs it stands for is not stated"),
        ({"n": 1}, "one run: a value, no reading"),
        ({"values": {}}, "no value per seed"),
        ({"values": {"mae": {1: 0.7, 2: 0.8}}}, "none of its measures is the row's"),
    ],
)
def test_each_difference_bars_a_reading(changes: dict[str, object], says: str) -> None:
    """One thing changed, and there is no reading but a reason."""
    other = replace(OTHER, **changes)  # type: ignore[arg-type]
    assert says in str(why_not(ROW, other))
    assert readings_of(ROW, [other]) == {}


def test_a_row_that_does_not_say_how_it_counts_gets_none() -> None:
    """LF-LSTM's convention is not known, so nothing can equal it; MISA's F1 is swapped, which no re-run prints."""
    silent = load_table("table1").row("mosi-aligned-glove-lf-lstm")
    same = replace(OTHER, system="LF-LSTM", text="glove")
    assert why_not(silent, same) == "the row does not say how it counts"
    misa = load_table("table1").row("mosi-aligned-bert-misa")
    assert set(readings_of(misa, [replace(OTHER, system="MISA")])) == {"acc7", "acc2"}


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_answers_without_any_run(tmp_path: Path, format_: str) -> None:
    """A fresh install: the printed number, what others measured, their code, and what is not comparable."""
    table = compare(load_table("table1"), None, Records(tmp_path))
    brief, whole = (" ".join(render([table], format_, ink=ink).split()) for ink in (Ink(), ALL))  # type: ignore[arg-type]
    for flat in (brief, whole):
        for says in ("86.0", "youngwhite/msa", "84.91", "patched"):
            assert says in flat
        assert "83.73" in flat or "83.728" in flat or format_ == "csv"
    if format_ not in ("csv",):
        assert "MMSA" in whole
        assert "printed for GloVe" in whole


def test_a_synthetic_table_still_says_whose_numbers_they_are(tmp_path: Path) -> None:
    """What others measured never enters our own columns: measured stays empty."""
    table = compare(load_table("table1"), None, Records(tmp_path))
    row = next(row for row in table.rows if row.row.key == ROW.key)
    assert all(cell.summary.n == 0 and cell.difference is None for cell in row.cells)
    assert len(table.answers) == 1
    assert compare(load_table("table4"), None, Records(tmp_path)).answers == ()


def test_what_others_measured_has_chances_too() -> None:
    """Known answer: of ten seeds elsewhere, 86.0 or better is a t(9) tail as one run; the sentence says it."""
    row = load_table("table1").row("mosi-aligned-bert-dmd")
    (reading,) = readings_of(row, load_reruns())["acc2"]
    one = next(c for c in reading.chances if c.hypothesis == "one run" and c.direction == "better")
    away = (85.95 - reading.mean) / (reading.std * np.sqrt(1.1))
    assert one.value == pytest.approx(stats.t.sf(away, 9), abs=1e-9)
    assert len(reading.to_json()["chances"]) == 18
    (said,) = answers(load_table("table1"), load_reruns())
    assert f"has a chance there of {100 * one.value:.0f} % as one run" in said
