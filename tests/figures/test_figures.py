"""Figures from recorded runs: what is drawn, what is said beside it, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from command import Here
from drawn import line, record
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.errors import DmdError, RunError, SpecError
from dmd_repro.figures.edges import over_seeds
from dmd_repro.figures.make import draw_figure, ending_of, files_of
from dmd_repro.figures.page import Page, to_bytes
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records

LEADING = [0.1, 0.1, 0.3, 0.1, 0.3, 0.1]


def texts(page: Page) -> str:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return "\n".join(one.get_text() for one in page.figure.findobj(Text))


def table_runs(runs: Path, n: int, **stamp: object) -> None:
    """`n` runs of one row of Table 1."""
    row = load_table("table1").row("mosi-aligned-glove-dmd")
    data, specs = stamp_for(row, **stamp), [spec_for(row, 1111 + i) for i in range(n)]
    for i, spec in enumerate(specs):
        write_record(runs, spec, data, predictions_with(i + 1))
    plan_rows(runs, "table1", {row.key: (data, specs)})


def test_edges_are_the_mean_and_band_over_the_seeds_that_reached_an_epoch(tmp_path: Path) -> None:
    """Figure 5: a run that stopped early does not pull the later mean, start and prior are in it, and the mark too."""
    record(tmp_path, 1, [line(1), line(2, LEADING)], best=2)
    record(tmp_path, 2, [line(1), line(2), line(3, LEADING)], best=3)
    (page,) = draw_figure("fig5", Records(tmp_path))
    whole = page.figure.axes[0]
    drawn = {one.get_label(): one for one in whole.get_lines()}
    np.testing.assert_allclose(drawn["L → V"].get_ydata(), [1 / 6, (1 / 6 + 0.3) / 2])
    beyond = [list(one.get_ydata()) for one in whole.get_lines() if one.get_linewidth() == 0.6]
    assert [pytest.approx((1 / 6 + 0.3) / 2), pytest.approx(0.3)] in beyond  # of the run that went on
    assert [1 / 6, 1 / 6] in [list(one.get_ydata()) for one in whole.get_lines()]  # the start
    priors = sorted(one.get_ydata()[0] for one in whole.get_lines() if one.get_linewidth() == 2.4)
    assert priors == pytest.approx([0.0088] * 4 + [0.4823] * 2, abs=1e-4)
    assert sum(priors) == pytest.approx(1.0)
    assert "SYNTHETIC DATA: not comparable" in texts(page)
    assert "seeds 1, 2" in texts(page)


@pytest.mark.parametrize("name", ["seeds", "forest", "curves", "power"])
def test_a_figure_of_such_data_says_so_to_every_reader(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first rule: synthetic data are named in the picture, in the title of its file, in alt text and on stdout."""
    table_runs(tmp_path / "runs", 3, standing="synthetic")
    (page,) = draw_figure(name, Records(tmp_path / "runs"), "table1")
    marked = "SYNTHETIC DATA, not comparable with the printed numbers"
    assert texts(page).count("SYNTHETIC DATA: not comparable with the printed numbers") == 1
    assert marked in page.said
    for ending in ("svg", "pdf", "png"):
        assert marked.encode() in to_bytes(page, ending)  # type: ignore[arg-type]
    assert marked in Here(tmp_path, monkeypatch, capsys)("figure", name, "table1").words


def test_the_band_is_a_sample_std_and_needs_two() -> None:
    """The band is what the words beside it say."""
    mean, std = over_seeds([[[1.0], [2.0]], [[3.0]]])
    np.testing.assert_allclose(mean[:, 0], [2.0, 2.0])
    np.testing.assert_allclose(std[:, 0], [np.sqrt(2.0), np.nan])


def test_one_seed_is_said_and_settles_nothing(tmp_path: Path) -> None:
    """A figure of one seed has no band, and says so above everything else beside it."""
    record(tmp_path, 1, [line(1), line(2)])
    for name in ("fig5", "curves"):
        (page,) = draw_figure(name, Records(tmp_path))
        assert "ONE SEED" in texts(page)


def test_curves_hold_every_term_and_measure_and_the_selected_epoch(tmp_path: Path) -> None:
    """Every loss term and measure of the history is drawn, in the unit tables print; a value that is none is said."""
    odd = line(2) | {"train": {"task.output": None, "total": 1.0}}
    record(tmp_path, 1, [line(1), odd], best=2)
    (page,) = draw_figure("curves", Records(tmp_path))
    titled = {axis.get_title(): axis for axis in page.figure.axes}
    assert {"validation loss (selects)", "ACC2 non0 %", "MAE", "task.output, train", "total, train"} <= set(titled)
    valid, _ = [one for one in titled["ACC2 non0 %"].get_lines() if len(one.get_xdata()) == 2]
    assert list(valid.get_ydata()) == pytest.approx([54.0, 58.0])
    selected = [list(one.get_xdata()) for one in titled["MAE"].get_lines() if one.get_marker() == "^"]
    assert selected == [[2]]
    assert "not a number" in [text.get_text() for text in titled["task.output, train"].texts]
    assert "not a number" not in [text.get_text() for text in titled["total, train"].texts]


def test_curves_of_a_run_a_table_and_all(tmp_path: Path) -> None:
    """A run's id, a table's plan and nothing at all each choose their runs; an unknown name gets the nearest."""
    name = record(tmp_path, 1, [line(1)])
    assert f"run {name}" in draw_figure("curves", Records(tmp_path), name[:6])[0].describes
    assert len(draw_figure("curves", Records(tmp_path))) == 1
    with pytest.raises(DmdError, match="finished runs of its rows"):
        draw_figure("curves", Records(tmp_path), "table1")
    with pytest.raises(DmdError, match="Did you mean 'table1'"):
        draw_figure("curves", Records(tmp_path), "tabel1")
    table_runs(tmp_path, 2)
    (page,) = draw_figure("curves", Records(tmp_path), "table1")
    assert page.name == "mosi-aligned-glove-dmd"


def test_seeds_show_what_was_measured_beside_what_was_printed(tmp_path: Path) -> None:
    """Each run is a dot at its value, and the printed number a tick, where the two may be compared."""
    table_runs(tmp_path, 3)
    (page,) = draw_figure("seeds", Records(tmp_path), "table1")
    acc2 = page.figure.axes[1]
    dots = next(one for one in acc2.get_lines() if one.get_marker() == "o")
    assert list(dots.get_xdata()) == pytest.approx([87.5, 75.0, 62.5])
    assert [84.5, 84.5] in [list(one.get_xdata()) for one in acc2.get_lines()]


def test_no_printed_number_stands_beside_synthetic_runs(tmp_path: Path) -> None:
    """Synthetic and partial runs share no axis with a printed number, in either figure, and the mark is in both."""
    table_runs(tmp_path, 2, standing="synthetic", dataset="synthetic")
    (page,) = draw_figure("seeds", Records(tmp_path), "table1")
    assert [84.5, 84.5] not in [list(one.get_xdata()) for one in page.figure.axes[1].get_lines()]
    (forest,) = draw_figure("forest", Records(tmp_path), "table1")
    panels = forest.figure.axes
    assert [84.5, 84.5] in [list(one.get_xdata()) for one in panels[2].get_lines()]
    assert not [one for one in panels[2].get_lines() if one.get_color() == "#0072B2"]
    assert [one for one in panels[3].get_lines() if one.get_color() == "#0072B2"]
    for one in (page, forest):
        assert "SYNTHETIC DATA" in texts(one)


def test_forest_holds_all_rows_and_the_others(tmp_path: Path) -> None:
    """Without any run, every printed number is there, and the re-runs others made with their interval."""
    (page,) = draw_figure("forest", Records(tmp_path), "table1")
    printed = [one for axis in page.figure.axes for one in axis.get_lines() if one.get_color() == "#000000"]
    assert len(printed) == sum(len(row.cells) for row in load_table("table1").rows)
    assert [one for axis in page.figure.axes for one in axis.get_lines() if one.get_color() == "#D55E00"]
    assert "No run is recorded" in texts(page)


def test_power_takes_the_spread_at_hand_else_the_assumed_one(tmp_path: Path) -> None:
    """The power drawn is that of the runs' own spread, and says which it is."""
    (assumed,) = draw_figure("power", Records(tmp_path))
    assert "assumed" in texts(assumed)
    table_runs(tmp_path, 3)
    (own,) = draw_figure("power", Records(tmp_path), "table1")
    assert "assumed" not in texts(own)
    at_fifty = [one.get_ydata()[-1] for page in (assumed, own) for one in page.figure.axes[0].get_lines()[:1]]
    assert at_fifty[0] > 90
    assert at_fifty[1] < 50  # these runs spread by far more than 1.1 points


def test_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    """No date, no random id and no reader's style is in a file."""
    one, other = (draw_figure("power", Records(tmp_path))[0] for _ in range(2))
    assert to_bytes(one, "svg") == to_bytes(other, "svg")
    assert to_bytes(one, "pdf") == to_bytes(other, "pdf")


def test_several_pages_are_one_pdf_or_a_file_each(tmp_path: Path, monkeypatch) -> None:
    """No page is lost: a PDF holds all of them, other files are told apart by their names."""
    record(tmp_path, 1, [line(1)])
    record(tmp_path, 1, [line(1)], config={"max_epochs": 3})
    pages = draw_figure("fig5", Records(tmp_path))
    assert len(pages) == 2
    monkeypatch.setattr("dmd_repro.figures.make.to_bytes", lambda page, ending: b"")
    monkeypatch.setattr("dmd_repro.figures.make.to_book", lambda pages: b"")
    assert list(files_of(pages, Path("a.pdf"), "pdf")) == [Path("a.pdf")]
    assert len({path.name for path in files_of(pages, Path("a.svg"), "svg")}) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fig5",), "expected finished runs with a graph unit, got none"),
        (("curves",), "expected finished runs with a history, got none"),
        (("curves", "nosuch"), "expected a table or a run, got neither. Known names: table1, table2"),
        (("seeds", "table1"), "expected a row with two runs or more"),
        (("seeds",), "expected a table, got none"),
        (("fig5", "table1"), "expected no table"),
        (("fig6",), "Did you mean 'fig5'"),
        (("power", "-o", "x.jpg"), "expected svg, pdf, png, got 'jpg'"),
        (("power", "-f", "jpg"), "expected svg, pdf, png, got 'jpg'"),
        (("power", "-f", "png", "-o", "x.pdf"), "expected one kind of file, got png and pdf"),
        (("power", "--margin", "0"), "points above 0"),
        (("forest", "tabel1"), "Did you mean 'table1'"),
        (("power", "-o", "missing/x.svg"), "expected a file that can be written"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Exit code 2, what is wrong and what to do, and no file."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd("figure", *arguments)
    assert said.code == 2
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_one_run_a_row_has_no_distribution(tmp_path: Path) -> None:
    """A distribution of one run is refused, with the line that makes more."""
    table_runs(tmp_path, 1)
    with pytest.raises(RunError, match=r"got one run a row\. Train more: dmd reproduce table1 --seeds 5"):
        draw_figure("seeds", Records(tmp_path), "table1")


def test_records_of_another_version_are_named(tmp_path: Path) -> None:
    """Runs that are there and do not count are no mystery."""
    name = record(tmp_path, 1, [line(1)])
    spec = tmp_path / name / "spec.json"
    spec.write_text(spec.read_text().replace('"spec_version": 1', '"spec_version": 99'))
    for figure in ("fig5", "curves"):
        with pytest.raises(RunError, match=r"none \(not counted: 1 (unreadable|damaged)"):
            draw_figure(figure, Records(tmp_path))


@pytest.mark.parametrize(("module", "name"), [("matplotlib", "matplotlib"), ("sklearn", "scikit-learn")])
def test_without_a_library_the_extra_is_named(tmp_path: Path, monkeypatch, capsys, module: str, name: str) -> None:
    """Whoever lacks one of the libraries is told what to install, and no traceback."""
    monkeypatch.setitem(sys.modules, module, None)
    said = Here(tmp_path, monkeypatch, capsys)("figure", "power")
    assert said.code == 2
    assert f"expected {name}, which" in said.err
    assert "pip install 'dmd-repro[plots]'" in said.err


def test_a_figure_is_written_and_described(tmp_path: Path, monkeypatch, capsys) -> None:
    """The words on the screen say what is in the file."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd("figure", "power")
    assert (said.code, said.err) == (0, "written: power.svg\n")
    assert "Chance of each word" in said.out
    assert "<svg" in (tmp_path / "power.svg").read_text()
    with pytest.raises(SpecError, match="expected svg, pdf, png"):
        ending_of(Path("x.html"), None)
