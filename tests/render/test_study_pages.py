"""The pages of a study: whole by themselves, readable by who cannot see them, and true to the numbers of the JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from drawn import ROW, line, record
from hostile_runs import hostile_runs
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.papers.folders import table_names
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records
from dmd_repro.render.formats import render
from dmd_repro.render.layout import measured, number
from dmd_repro.render.study.book import book
from dmd_repro.render.study.gather import Study, gather
from dmd_repro.render.study.markup import flattened
from dmd_repro.render.study.write import pages_of
from dmd_repro.results.sheet import TextGrid

VOID = {"meta", "link"}
MEASURED, FAILED = "mosi-aligned-glove-dmd", "mosi-aligned-glove-mult"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class Element:
    """One element: its tag, attributes, text and children."""

    tag: str
    attributes: dict[str, str]
    inside: list[Element] = field(default_factory=list)
    text: str = ""

    def every(self, tag: str = "") -> list[Element]:
        """Return the elements below with a tag, in order."""
        below = [one for child in self.inside for one in (child, *child.every())]
        return [one for one in below if not tag or one.tag == tag]

    def words(self) -> str:
        """Return all text in it."""
        return " ".join([self.text, *(child.words() for child in self.inside)])


class Reader(HTMLParser):
    """Builds the elements of a page; every tag must be closed in its order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open = [Element("", {})]
        self.feed(page)
        assert len(self.open) == 1, [one.tag for one in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].inside.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def read(page: str) -> Element:
    """Return a page as elements."""
    return Reader(page).open[0]


def study_of(runs: Path) -> Study:
    """Return the study of a folder of runs: every table, without the user's own re-runs."""
    return gather(runs, table_names(), reruns=load_reruns())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Official runs of a row of Table 1, one of another row that failed, synthetic ones of Table 3."""
    runs = tmp_path_factory.mktemp("runs")
    rows = {}
    for key, seeds in ((MEASURED, 5), (FAILED, 2)):
        row = load_table("table1").row(key)
        stamp, specs = stamp_for(row), [spec_for(row, 1111 + i) for i in range(seeds)]
        rows[key] = (stamp, specs)
    stamp, specs = rows[MEASURED]
    for n, spec in enumerate(specs[:4]):
        write_record(runs, spec, stamp, predictions_with(n % 3))
    stamp, specs = rows[FAILED]
    with Records(runs).begin(specs[0], stamp, {}) as writer:
        writer.fail("Traceback\n  ...\nFloatingPointError: loss is not finite")
    plan_rows(runs, "table1", rows)
    drawn = [spec_for(ROW, seed) for seed in (7, 8)]
    for seed in (7, 8):
        record(runs, seed, [line(epoch, [0.2, 0.2, 0.15, 0.15, 0.15, 0.15]) for epoch in (1, 2, 3)])
    plan_rows(runs, "table3", {ROW.key: (stamp_for(ROW, standing="synthetic"), drawn)})
    return study_of(runs)


@pytest.fixture(scope="module")
def pages(made: Study) -> dict[str, str]:
    """The pages by file."""
    return pages_of(made, [("study.tex", "its LaTeX")])


@pytest.fixture(scope="module")
def elements(pages: dict[str, str]) -> dict[str, Element]:
    """The pages as elements."""
    return {file: read(page) for file, page in pages.items()}


def test_the_set_is_whole(pages: dict[str, str]) -> None:
    """A page for the answer, each table, curves, edges, further results, what was run, what was not, and the audit."""
    files = ["index", *table_names(), "curves", "edges", "further", "runs", "missing", "audit"]
    assert list(pages) == [f"{name}.html" for name in files]


def test_every_link_leads_somewhere_within_the_set(elements: dict[str, Element]) -> None:
    """A reader is sent a folder: a link out of it, or to an anchor that is not there, is dead."""
    anchors = {}
    for file, page in elements.items():
        found = [one.attributes["id"] for one in page.every() if "id" in one.attributes]
        assert len(found) == len(set(found)), file
        anchors[file] = set(found)
    links = 0
    for file, page in elements.items():
        for one in page.every("a"):
            target, _, anchor = one.attributes["href"].partition("#")
            if target == "study.tex":
                continue
            assert (target or file) in elements, one.attributes
            assert not anchor or anchor in anchors[target or file], (file, one.attributes)
            links += 1
    assert links > 300


def test_nothing_is_loaded_and_the_browser_is_told_so(pages: dict[str, str], elements: dict[str, Element]) -> None:
    """No font, script, picture or style from elsewhere, and the policy forbids all but our own script."""
    for file, page in elements.items():
        names = {name for one in page.every() for name in one.attributes}
        assert not names & {"src", "srcset", "action", "style", "data", "poster"}, file
        assert not {name for name in names if name.startswith("on")}, file
        assert {one.attributes["href"] for one in page.every("link")} == {"data:,"}
        style, script = (" ".join(one.text for one in page.every(tag)) for tag in ("style", "script"))
        assert "url(" not in style
        assert "@import" not in style
        assert "http" not in style + script
        policy = next(one for one in page.every("meta") if "http-equiv" in one.attributes).attributes["content"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


def test_the_policy_allows_the_script_of_the_page(pages: dict[str, str]) -> None:
    """The hash is of the script as it stands in the page: else no browser would run it, and no table would sort."""
    import base64
    import hashlib

    for page in pages.values():
        script = page.partition("<script>")[2].partition("</script>")[0]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in page


def test_every_figure_says_what_it_shows(elements: dict[str, Element]) -> None:
    """Who cannot see a figure is told its content: a label and a title, equal, and with the mark of its data."""
    figures = [(file, one) for file, page in elements.items() for one in page.every("svg")]
    assert {file for file, _ in figures} >= {"table1.html", "table3.html", "curves.html", "edges.html"}
    for file, one in figures:
        said = one.attributes["aria-label"]
        assert one.attributes["role"] == "img"
        assert one.inside[0].tag == "title"
        assert one.inside[0].text == said
        assert len(said) > 20
        if file in ("curves.html", "edges.html"):
            assert said.startswith("SYNTHETIC DATA: ")
            assert "SYNTHETIC DATA" in [text.text for text in one.every("text")]


def test_every_table_can_be_read_aloud_and_sorted_by_keys(elements: dict[str, Element]) -> None:
    """Caption, headings of columns and rows with their scope, a button in each column's heading."""
    tables = [one for page in elements.values() for one in page.every("table")]
    assert len(tables) > 30
    for one in tables:
        assert one.every("caption")[0].words().strip()
        head, body = one.every("thead")[0], one.every("tbody")[0]
        columns = head.every("th")
        for column in columns:
            assert column.attributes["scope"] == "col"
            assert column.attributes["aria-sort"] == "none"
            assert column.inside[0].tag == "button"
            assert column.inside[0].text.strip()
        for row in body.every("tr"):
            assert row.inside[0].tag == "th"
            assert row.inside[0].attributes["scope"] == "row"
            assert len(row.inside) == len(columns)


def test_numbers_are_those_of_the_json(made: Study, elements: dict[str, Element]) -> None:
    """Each mean and each seed stands in its page, with the value of the JSON unrounded to sort by."""
    document = json.loads(render(made.tables, "json"))
    for found, table in zip(made.tables, document["tables"], strict=True):
        page = elements[f"{found.name}.html"]
        keys = {float(one.attributes["data-v"]) for one in page.every() if "data-v" in one.attributes}
        text = " ".join(page.words().split())
        for row, said in zip(found.rows, (r for b in table["blocks"] for r in b["rows"]), strict=True):
            for cell, numbers in zip(row.cells, said["cells"], strict=True):
                assert numbers["printed"] in text
                assert float(numbers["printed"]) in keys
                if numbers["mean"] is not None:
                    assert measured(row, cell) in text
                    assert numbers["mean"] in keys
                assert set(numbers["values"].values()) <= keys
                assert all(number(value, cell) in text for value in numbers["values"].values())


def test_each_number_leads_to_what_is_behind_it(elements: dict[str, Element]) -> None:
    """The measured number links to its distribution; its row unfolds to the seeds, each with a link to its run."""
    page = elements["table1.html"]
    overview = page.every("table")[0]
    row = next(one for one in overview.every("tr") if "DMD" in one.inside[0].words())
    targets = [one.attributes["href"].removeprefix("#") for one in row.every("a")]
    assert f"n-{MEASURED}-acc2" in targets
    behind = next(
        one for one in page.every("details") if f"row-{MEASURED}" in [e.attributes.get("id") for e in one.every()]
    )
    assert set(targets) <= {one.attributes.get("id") for one in behind.every()}
    runs = [one.attributes["href"] for one in behind.every("a") if one.attributes["href"].startswith("runs.html#run-")]
    assert len(runs) == 4
    assert len(behind.every("circle")) >= 12
    assert "not counted" in behind.words()  # the fifth seed, which was planned and is not there


def test_what_failed_and_what_is_missing_is_shown(elements: dict[str, Element]) -> None:
    """A failed run stands with its error, a seed that is not there with its number, a row that was not run with why."""
    said = " ".join(elements["missing.html"].words().split())
    assert "FloatingPointError: loss is not finite" in said
    assert "planned and not there: seed 1115" in said
    assert "1 run failed" in said
    assert "failed" in elements["runs.html"].words()


def test_the_mark_stands_on_every_page(pages: dict[str, str], made: Study) -> None:
    """Whoever sees one page alone, or its title, learns that some of the runs are on synthetic data; the PDF too."""
    for page in pages.values():
        assert "<title>SYNTHETIC DATA: " in page
        assert '<p class="mark">SYNTHETIC DATA' in page
    assert 'class="mark">SYNTHETIC DATA: not comparable' in pages["table3.html"]
    assert 'class="mark">SYNTHETIC DATA among the runs' in pages["table1.html"]
    assert r"\markright{SYNTHETIC DATA" in book(made)


def test_a_figure_bears_the_mark_of_its_own_runs(tmp_path: Path) -> None:
    """In a table of which one row is on partial data, figures of that row say so, and those of official runs do not."""
    rows = {}
    for key, standing in ((MEASURED, "official"), ("mosi-unaligned-glove-dmd", "partial")):
        row = load_table("table1").row(key)
        stamp = stamp_for(row, standing=standing, digest=key.ljust(64, "0"))
        rows[key] = stamp, [spec_for(row, seed) for seed in (1111, 1112)]
        for n, spec in enumerate(rows[key][1]):
            write_record(tmp_path, spec, stamp, predictions_with(n))
    plan_rows(tmp_path, "table1", rows)
    figures = read(pages_of(study_of(tmp_path))["table1.html"]).every("svg")
    marked = {key: [] for key in (True, False)}
    for one in figures:
        said = one.attributes["aria-label"]
        assert said.startswith("PARTIAL DATA: ") == ("PARTIAL DATA" in one.words().replace(said, ""))
        marked[said.startswith("PARTIAL DATA: ")].append(said)
    assert len(marked[True]) == 6  # three columns, of the block and of the row
    assert all("unaligned" in said or "printed" not in said for said in marked[True])
    assert sum("DMD, " in said and "seeds" in said for said in marked[False]) == 3


def test_official_runs_alone_bear_no_mark(tmp_path: Path) -> None:
    """The mark is of the data: a study of official runs has none anywhere."""
    row = load_table("table1").row(MEASURED)
    stamp, specs = stamp_for(row), [spec_for(row, seed) for seed in (7, 8)]
    for n, spec in enumerate(specs):
        write_record(tmp_path, spec, stamp, predictions_with(n))
    plan_rows(tmp_path, "table1", {row.key: (stamp, specs)})
    for page in pages_of(study_of(tmp_path)).values():
        assert "SYNTHETIC DATA" not in page
        assert 'class="mark"' not in page


def test_without_any_run_the_answer_is_of_others_and_of_the_audit(tmp_path: Path) -> None:
    """A folder without runs, or none at all, makes a study: re-runs by others, and what the printed numbers say."""
    pages = {file: " ".join(read(page).words().split()) for file, page in pages_of(study_of(tmp_path / "no")).items()}
    assert "re-run 83.73 ± 1.08" in pages["index.html"]
    assert "C3 fails as worded" in pages["index.html"]
    assert "No run is recorded" in pages["runs.html"]
    assert "curves.html" not in pages
    assert not (tmp_path / "no").exists()


def test_equal_records_give_equal_pages(made: Study, tmp_path: Path) -> None:
    """No date, no host of today and no order of a set is in a page: two makings differ in no byte."""
    assert pages_of(made) == pages_of(made)
    assert book(made) == book(made)
    assert pages_of(study_of(tmp_path)) == pages_of(study_of(tmp_path))


def test_text_of_strangers_is_shown_and_does_nothing(tmp_path: Path) -> None:
    """Names, labels, hosts and errors of a record that hold markup stand as text: no element of theirs."""
    hostile_runs(tmp_path)
    study = study_of(tmp_path)
    for file, page in pages_of(study).items():
        assert not ACTS.search(page), file
        parsed = read(page)
        tags = {one.tag for one in parsed.every()}
        assert not tags & {"img", "b", "iframe", "object", "form"}, file
        assert len(parsed.every("script")) == 1
        assert not {name for one in parsed.every() for name in one.attributes if name.startswith("on")}
        assert all(not one.attributes["href"].startswith("javascript") for one in parsed.every("a"))
    source = book(study)
    assert "\\input" not in source.replace("\\usepackage[utf8]{inputenc}", "")
    assert "\\write" not in source
    assert not ACTS.search(source)


def test_a_history_of_anything_makes_a_study(tmp_path: Path) -> None:
    """What a stranger's history holds in place of numbers is left out: no traceback, and no figure of nothing."""
    odd: list[list[dict[str, object]]] = [
        [{"train": [1, 2], "edges": {"homo": [1, 2]}}],
        [{"train": {"total": "abc", "a": True}, "valid_loss": "x", "edges": [1]}],
        [{"valid": {"acc7": "0"}, "edges": {"homo": ["a"] * 6}}],
        [{"edges": {"homo": [0.1] * 6}}, {"epoch": 2, "edges": {}}],
        [{"edges": {"homo": [math.nan] * 6}, "valid_loss": math.inf, "train": {"x": 1e308, "y": -1e308, "z": 10**400}}],
    ]
    for seed, lines in enumerate(odd):
        record(tmp_path, seed, [{"epoch": 1, **one} for one in lines])
    study = study_of(tmp_path)
    assert study.edges == []
    pages = pages_of(study)
    assert "edges.html" not in pages
    assert not any(re.search(r'="[^"]*\b(nan|inf)\b[^"]*"', page) for page in pages.values())


def test_a_line_over_others_becomes_part_of_each() -> None:
    """A table that sorts has no headings among its rows; a name alone in a line without followers stays a line."""
    rows = (("DMD", "", ""), ("  ACC2", "1", "2"), ("  F1", "3", "4"), ("alone", "5", "6"), ("end", "", ""))
    flat = flattened(TextGrid("t", ("a", "b", "c"), "lrr", rows))
    assert flat.rows == (("DMD ACC2", "1", "2"), ("DMD F1", "3", "4"), ("alone", "5", "6"), ("end", "", ""))
