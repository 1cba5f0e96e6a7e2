"""The reader of the published tables: text is kept as ink, and a malformed file is named by file and key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmd_repro.errors import ClaimError
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import Printed, load_table

GOOD = """
name: tiny
title: "Tiny"
columns: [acc7, f1]
conventions:
  ours: {acc2: has0, f1: swapped, certainty: "known"}
reasons:
  none-yet: "not implemented"
blocks:
  - key: a
    dataset: mosi
    setting: aligned
    text: bert
    rows:
      - key: one
        method: One
        printed: {acc7: "40.0", f1: "83.50"}
        convention: ours
        recipe: {model: dmd, mask: [fd]}
      - key: two
        method: Two
        printed: {acc7: "40", f1: "1.5"}
        convention: ours
        recipe: null
        reason: none-yet
"""


def _load(folder: Path, text: str) -> object:
    (folder / "tiny.yaml").write_text(text, encoding="utf-8")
    return load_table("tiny", folder)


def test_a_row_keeps_text_convention_and_recipe(tmp_path: Path) -> None:
    """A printed 83.50 must not become 83.5, and a short recipe takes its features from the block."""
    (tmp_path / "tiny.yaml").write_text(GOOD, encoding="utf-8")
    row = load_table("tiny", tmp_path).row("one")
    assert row.cells["f1"] == Printed("83.50", Decimal("83.50"), 2)
    assert row.starred
    assert row.label == "One*"
    assert row.recipe is not None
    assert (row.recipe.protocol, row.recipe.features, row.recipe.mask.off) == ("official", "mosi-aligned-bert", ("fd",))
    assert (row.metric_id("acc7"), row.metric_id("f1")) == ("acc7", "f1_has0_swapped")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"83.50"', "83.50", "printed.f1: expected a quoted text, got float 83.5"),
        ('"83.50"', '"83,5"', "printed.f1: expected a quoted decimal number"),
        ('"83.50"', '"nan"', "printed.f1: expected a quoted decimal number"),
        (', f1: "83.50"', "", "printed.f1: expected a quoted text, got nothing"),
        ("key: two", "key: one", "'one' twice"),
        ("method: Two", "metod: Two", "rows[two].method: expected a quoted text, got nothing"),
        ("method: Two", "method: Two\n        colour: red", "rows[two].colour: expected one of"),
        ("method: Two", "method: Two\n        method: Three", "the key 'method' twice in line"),
        ("        reason: none-yet\n", "", "expected a recipe, or null with a reason, got neither"),
        ("reason: none-yet", "reason: nonsense", "reasons.nonsense: expected a quoted text, got nothing"),
        ("convention: ours", "convention: theirs", "conventions.theirs: expected a mapping, got nothing"),
        ("setting: aligned", "setting: both", "blocks[a].setting: expected one of aligned, unaligned"),
        ("columns: [acc7, f1]", "columns: [acc7, f2]", "columns: expected names among acc2, f1, acc7"),
        ("name: tiny", "name: other", "name: expected 'tiny'"),
        ("recipe: {model: dmd, mask: [fd]}", "recipe: {model: dmd, maks: [fd]}", "recipe.maks: expected one of"),
        ("text: bert", "text: bert\n    claimed_best: three", "claimed_best: expected a row of block 'a', got 'three'"),
        ("blocks:", "blocks: []\nothers:", "blocks: expected at least one entry"),
        (GOOD, "- a list\n", "expected a mapping at the top, got list"),
        (GOOD, "a: [", "expected a YAML file"),
        (GOOD, "a: !!python/object/apply:os.system [true]", "expected a YAML file"),
    ],
)
def test_a_malformed_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Whoever edits a table learns from one sentence which entry is wrong."""
    assert old in GOOD
    with pytest.raises(ClaimError) as caught:
        _load(tmp_path, GOOD.replace(old, new, 1))
    assert says in str(caught.value)
    assert str(caught.value).startswith("tiny.yaml")
    assert "\n" not in str(caught.value)


def test_an_unknown_table_suggests_the_nearest() -> None:
    """A slip in the table's name is answered with the name that was meant."""
    with pytest.raises(ClaimError, match=r"Did you mean 'table1'\?"):
        load_table("tabel1")
    assert table_names() == ["table1", "table2", "table3", "table4", "table5"]


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_printed_keeps_every_decimal(whole: int, decimals: int) -> None:
    """The number of printed decimals survives: it is what the rounding checks rest on."""
    text = f"{whole / 7:.{decimals}f}"
    printed = Printed.of(text)
    assert (printed.text, printed.decimals, str(printed.value)) == (text, decimals, text)


@given(st.text(max_size=8))
def test_only_plain_decimals_are_numbers(text: str) -> None:
    """Nothing but digits with at most one point passes; not 1e3, not nan, not a number in another script."""
    try:
        Printed.of(text)
    except ValueError:
        return
    assert text.isascii()
    assert text.lstrip("-").replace(".", "", 1).isdigit()
