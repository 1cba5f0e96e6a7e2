"""A name that no stored set has is answered with what to type for what it most likely is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.unknown import unknown_set
from dmd_repro.errors import DataError
from dmd_repro.visible import one_line

NOTHING: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        (
            "here.pkl",
            NOTHING,
            "got a file. Import it first, and name what was imported: dmd data import here.pkl --name",
        ),
        ("./here.pkl", NOTHING, "dmd data import ./here.pkl --name here."),
        ("here.pkl", ("here",), "got a file. Did you mean 'here'?"),
        ("gone.pkl", NOTHING, "got a file that is not there. Check the path; import it first"),
        ("a/b", NOTHING, "got a file that is not there."),
        (f"{'x' * 300}/{'y' * 300}", NOTHING, "got a file that is not there."),
        ("a\0/b", NOTHING, "got a file that is not there."),
        ("./folder", NOTHING, "got a folder. Import a file of it first"),
        ("mosi-aligned-bert", NOTHING, "got one that is not there yet. Get it: dmd data download mosi-aligned-bert."),
        ("mosi-aligned-hidden", ("x",), "Get it: dmd data download mosi-aligned-bert."),
        ("mosei-aligned-glov", NOTHING, "Did you mean 'mosei-aligned-glove'? It is not there yet: dmd data download "),
        ("MOSEI", ("mosei-mine",), "got the name of a data set. Name one of its feature sets: mosei-mine, mosei-al"),
        ("cmu_mosi", NOTHING, "Name one of its feature sets: mosi-aligned-glove, "),
        ("syntetic", NOTHING, "Did you mean 'synthetic'?"),
        ("mime", ("mine",), "Did you mean 'mine'?"),
        ("foo", NOTHING, "and nothing is there yet. Get one: dmd data download NAME (dmd data matrix lists them)"),
        ("foo", ("bar1",), "Known names: bar1, synthetic. Get one: dmd data download NAME"),
        ("", NOTHING, "nothing is there yet"),
        ("synthetic-x", NOTHING, "got generated data, which are never stored."),
    ],
)
def test_what_a_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, held: tuple[str, ...], said: str
) -> None:
    """Protects: a file, a published set, a data set and a slip each lead to the line that mends it, in one sentence."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.pkl").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    error = str(unknown_set(name, tmp_path / "data", held))
    assert said in error
    assert "\n" not in error
    with pytest.raises(DataError):
        Store(tmp_path / "data").manifest(name)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_name_is_answered_in_one_sentence(name: str) -> None:
    """Protects: a name is typed text, with anything in it; the answer shows it and obeys nothing in it."""
    error = str(unknown_set(name, Path("data"), ("mine",)))
    assert one_line(error) == error
    assert "expected one of those imported" in error
