"""Planning and carrying out a table: every row gets its runs or its reason, and no run is lost or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_plans import ALIGNED, QUICK, plan, quick
from toy_store import put

from dmd_repro.errors import DataError, SpecError
from dmd_repro.papers.tables import load_table
from dmd_repro.planning import grid
from dmd_repro.planning.grid import HIDDEN_FOR_BERT, refuse_empty, select_rows
from dmd_repro.planning.plans import save_plan
from dmd_repro.records.folder import Records

STARRED, UNALIGNED = "mosi-aligned-bert-dmd", "mosi-unaligned-glove-dmd"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Return an empty folder of records."""
    return Records(tmp_path / "runs")


def test_each_row_takes_its_own_synthetic_variant(records: Records) -> None:
    """`--data synthetic` runs every runnable row on features like those the row names, and says what differs."""
    planned = plan(records)
    rows = planned.plan.rows
    names = {key: row.features["name"] for key, row in rows.items() if row.features}
    runnable = [row for row in load_table("table1").rows if row.recipe]
    kind = {"glove": "glove", "bert": "hidden"}
    assert names == {row.key: f"synthetic-{row.setting}-{kind[row.text]}" for row in runnable}
    assert rows[STARRED].notes == (HIDDEN_FOR_BERT,)
    assert rows[ALIGNED].notes == ()
    assert all(list(rows[key].runs) == [1111, 1112] for key in names)
    assert len(planned.jobs) == len(planned.missing) == 2 * len(runnable)
    assert set(rows) == {row.key for row in load_table("table1").rows}
    assert all(row.reason for row in rows.values() if row.status == "skipped")


def test_without_data_a_row_says_what_to_import(records: Records) -> None:
    """Synthetic data is never chosen silently; the message holds the line to type."""
    planned = plan(records, data=())
    assert f"dmd data import FILE --name {ALIGNED[:18]} --dataset mosi" in (planned.plan.rows[ALIGNED].reason or "")
    with pytest.raises(SpecError, match="dmd reproduce table1 --data synthetic") as error:
        refuse_empty(planned)
    assert "has not been imported" in str(error.value)


def test_without_data_a_row_takes_the_set_it_names(records: Records) -> None:
    """An imported set of the recipe's name needs no option."""
    store = put(records.root.parent / "data", "mosi-aligned-glove")
    planned = plan(records, data=(), store=store, overrides={"accumulate": 1})
    assert planned.plan.rows[ALIGNED].status == "planned"
    assert planned.plan.rows[UNALIGNED].status == "skipped"


def test_a_feature_set_serves_only_the_rows_it_fits(records: Records) -> None:
    """Setting, text and data set decide; hidden states stand in for a starred row, never for GloVe."""
    store = put(records.root.parent / "data", "mine", texts=("hidden", "bert"))
    planned = plan(records, data=("mine",), store=store, overrides={"accumulate": 1})
    rows = planned.plan.rows
    assert rows[STARRED].status == "planned"
    assert HIDDEN_FOR_BERT in rows[STARRED].notes
    assert "'mine' holds hidden and bert text, the row needs glove" in (rows[ALIGNED].reason or "")
    assert "'mine' is aligned, the row is unaligned" in (rows[UNALIGNED].reason or "")
    other = plan(records, table="table2", data=("mine",), store=store, overrides={"accumulate": 1})
    assert not other.jobs
    assert "'mine' is MOSI, the row is MOSEI" in (other.plan.rows["mosei-aligned-bert-dmd"].reason or "")


def test_too_few_batches_is_the_rows_reason(records: Records) -> None:
    """Under the authors' accumulation no step would be taken: the row says so, with the override."""
    store = put(records.root.parent / "data", "mine")
    reason = plan(records, data=("mine",), store=store).plan.rows[ALIGNED].reason or ""
    assert "--set accumulate=1" in reason
    with pytest.raises(SpecError, match="--set accumulate=1"):  # the one reason the user can mend, not "not built yet"
        refuse_empty(plan(records, data=("mine",), store=store, rows=(ALIGNED,)))
    changed = plan(records, data=("mine",), store=store, overrides={"accumulate": 1}).plan.rows[ALIGNED]
    assert changed.overrides == {"accumulate": 1}
    assert changed.notes == ("settings changed: accumulate=1",)


def test_a_setting_of_one_model_skips_the_rows_of_the_others(records: Records) -> None:
    """A row whose model lacks a setting is not run without it in silence; a misspelt one still ends the command."""
    rows = plan(records, overrides={"lambda_dec": 0.2}).plan.rows
    assert rows[ALIGNED].overrides == {"lambda_dec": 0.2}
    assert "--set lambda_dec" in (rows["mosi-aligned-glove-mult"].reason or "")
    with pytest.raises(SpecError, match="Did you mean 'lambda_d"):
        plan(records, overrides={"lamda_dec": 0.2})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((ALIGNED,), {ALIGNED}),
        (("dmd",), {ALIGNED, STARRED, UNALIGNED}),
        (("DMD*",), {STARRED}),
        (("aligned-glove-dmd",), {ALIGNED}),
        ((f"{ALIGNED},{STARRED}",), {ALIGNED, STARRED}),
    ],
)
def test_rows_can_be_named_as_a_user_would(asked: tuple[str, ...], expected: set[str]) -> None:
    """A key, a method as printed, or words of a key; `aligned` does not mean `unaligned`."""
    table = load_table("table1")
    assert {row.key for row in select_rows(table, asked) if row.method == "DMD"} == expected


def test_misspelt_names_are_the_users_to_mend(records: Records) -> None:
    """A typing error is one message, not a reason under every row."""
    with pytest.raises(SpecError, match="Did you mean"):
        plan(records, rows=("mosi-aligned-glove-dmdd",))
    with pytest.raises(SpecError, match="Did you mean 'max_epochs'"):
        plan(records, overrides={"max_epoch": "3"})
    with pytest.raises(DataError, match="synthetic"):
        plan(records, data=("sinthetic",))


def test_equal_specs_are_one_run(records: Records) -> None:
    """Rows of two data sets on the same stand-in, and rows of two tables, share their runs."""
    first = plan(records, table="table3")
    uses = sum(len(row.runs) for row in first.plan.rows.values())
    assert len(first.jobs) == uses / 2  # the MOSI and the MOSEI half
    assert all(len(job.rows) == 2 for job in first.jobs)
    assert set(plan(records).plan.rows[UNALIGNED].runs.values()) < {job.run_id for job in first.jobs}


def test_rows_outside_the_filter_keep_their_plan(records: Records) -> None:
    """`--rows` narrows the work, not the table."""
    before = quick(records)
    save_plan(records.root, before.plan)
    after = plan(records, rows=(STARRED,), overrides=QUICK)
    assert after.plan.rows[ALIGNED] == before.plan.rows[ALIGNED]
    assert after.plan.rows[UNALIGNED].reason == grid.NOT_ASKED
    assert {key for job in after.jobs for key in job.rows} == {STARRED}
