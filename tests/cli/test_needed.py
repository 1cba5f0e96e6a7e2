"""`dmd reproduce --download`: what rows need comes first, the smallest first, and the total is said before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_server import BadServer, serving
from command import Here
from toy_files import mmsa, save

from dmd_repro.cli import carry, needed
from dmd_repro.data.download.sources import load_sources
from dmd_repro.data.store.folder import Store
from dmd_repro.training import fit as training

SOURCES = """
version: "1"
groups:
  g:
    {{title: t, page: "https://example.org", licence: l, cite: c, see_also: [],
     places: [{{url: "{server}/404/x.pkl"}}]}}
sources:
  mosi-aligned-glove: {{group: g, kind: features, dataset: mosi, setting: aligned, file: g.pkl, about: "2.5 GB"}}
  mosi-aligned-bert:
    {{group: g, kind: features, dataset: mosi, setting: aligned, file: x.pkl, size: "{size}",
     places: [{{url: "{server}/good/x.pkl"}}]}}
"""
ASK = ("reproduce", "table1", "--rows", "aligned", "--sources", "sources.yaml", "--seeds", "2", "--set", "accumulate=1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    """A server with MOSI's aligned file of the MMSA family, made small, and without the MulT file."""
    body = save(tmp_path / "made.pkl", mmsa(aligned=True, text=768)).read_bytes()
    with serving(body) as found:
        address = f"http://127.0.0.1:{found.server_address[1]}"
        (tmp_path / "sources.yaml").write_text(SOURCES.format(server=address, size=len(body)))
        yield found


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command; a plan is as far as it goes."""
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *a: 1.0)
    monkeypatch.setattr(carry, "carry_out", lambda *a, **k: None)
    return Here(tmp_path, monkeypatch, capsys)


def said_first(out: str) -> list[str]:
    lines = out.splitlines()
    start = lines.index("to download first:")
    return [" ".join(line.split()) for line in lines[start : start + 4]]


def test_what_rows_need_is_said_then_fetched_then_planned(dmd: Here, server: BadServer, tmp_path: Path) -> None:
    """Protects: the smallest first; what cannot be had costs its own rows alone; the second time nothing is fetched."""
    ran = dmd(*ASK, "--download")
    assert said_first(ran.out)[1].startswith("mosi-aligned-bert ")
    assert said_first(ran.out)[2].startswith("mosi-aligned-glove 2.5 GB ")
    assert said_first(ran.out)[3].startswith("in all 2.5 GB; ")
    assert ran.out.index("in all") < ran.out.index("mosi-aligned-bert: imported") < ran.out.index("plan of Table 1")
    assert "mosi-aligned-bert-dmd" in ran.out.partition("plan of")[2].partition("not run")[0]
    assert "the answer 404" in ran.err
    assert Store(tmp_path / "data").names() == ["mosi-aligned-bert"]
    asked = server.asked["good"]
    assert "mosi-aligned-bert " not in "".join(said_first(dmd(*ASK, "--download").out))
    assert server.asked["good"] == asked


def test_a_dry_run_fetches_nothing_and_a_slip_is_found_before(dmd: Here, server: BadServer, tmp_path: Path) -> None:
    """Protects: no gigabyte is fetched for a plan, or before a setting that does not exist is refused."""
    ran = dmd(*ASK, "--download", "--dry-run")
    assert (ran.code, len(said_first(ran.out))) == (0, 4)
    slip = dmd(*ASK, "--download", "--set", "lr=1")
    assert (slip.code, "Did you mean 'learning_rate'?" in slip.err) == (2, True)
    assert "to download" not in dmd(*ASK, "--data", "synthetic", "--download").out
    assert not server.asked
    assert not (tmp_path / "data").exists()


def test_it_is_offered_where_somebody_can_answer(
    dmd: Here, server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: without a terminal nothing is asked, with one a No fetches nothing and a Yes all that is needed."""
    assert "Get the data (--download)" in dmd(*ASK).err
    monkeypatch.setattr(needed, "on_a_terminal", lambda: True)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda text, err: next(answers))
    refused = dmd(*ASK)
    assert (refused.code, "in all" in refused.out) == (2, True)
    assert not server.asked
    assert "in all" not in dmd(*ASK, "--json").out
    assert "mosi-aligned-bert: imported" in dmd(*ASK).out


def test_the_sizes_of_the_published_files_are_ordered() -> None:
    """Protects: a size in words counts as one in bytes, and the list that ships is ordered as it says."""
    sizes = {name: s.bytes_about for name, s in load_sources().items() if name.endswith("-bert")}
    assert sorted(sizes, key=lambda name: sizes[name] or 0) == [
        "mosi-aligned-bert", "mosi-unaligned-bert", "mosei-aligned-bert", "mosei-unaligned-bert",
    ]  # fmt: skip
