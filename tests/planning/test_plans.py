"""Plans: what a report knows of the runs that were asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmd_repro.errors import RunError
from dmd_repro.planning import plans
from dmd_repro.planning.plans import PlannedRow, TablePlan, list_plans, load_plan, plans_dir, save_plan

ROW = PlannedRow("planned", features={"name": "toy"}, runs={1111: "0" * 12, 1112: "1" * 12}, notes=("a note",))
PLAN = TablePlan("table1", ("toy",), (1111, 1112), {"dmd": ROW, "tfn": PlannedRow("skipped", reason="no recipe")})


def test_a_plan_reads_back(tmp_path: Path) -> None:
    """Rows, seeds, notes and reasons survive the file."""
    path = save_plan(tmp_path, PLAN)
    assert path.name == "table1--toy.json"
    again = load_plan(tmp_path, "table1", "toy")
    assert again is not None
    assert (again.rows, again.seeds, again.data) == (PLAN.rows, PLAN.seeds, PLAN.data)
    assert again.run_ids == ("0" * 12, "1" * 12)
    assert again.created


def test_the_most_recent_plan_of_a_table_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a data name a report shows what was asked last."""
    assert load_plan(tmp_path, "table1") is None
    save_plan(tmp_path, PLAN)
    later = TablePlan("table1", (), (7,), {})
    path = save_plan(tmp_path, later)
    assert path.name == "table1--recipes.json"
    found = load_plan(tmp_path, "table1")
    assert found is not None
    assert found.seeds == (7,)
    assert len(list_plans(tmp_path)) == 2
    assert load_plan(tmp_path, "table2") is None


def test_commands_with_other_seeds_add_to_a_plan(tmp_path: Path) -> None:
    """Two commands that ask for different seeds of one table make one table of both; what never began is not kept."""
    first = PlannedRow("planned", features={"digest": "d"}, runs={1: "1" * 12, 2: "2" * 12, 3: "3" * 12})
    second = replace(first, runs={7: "7" * 12, 1: "1" * 12})
    save_plan(tmp_path, TablePlan("table1", ("toy",), (1, 2, 3), {"dmd": first}))
    (tmp_path / ("2" * 12 + ".tmp")).mkdir()
    save_plan(tmp_path, TablePlan("table1", ("toy",), (7, 1), {"dmd": second}))
    found = load_plan(tmp_path, "table1", "toy")
    assert found is not None
    assert found.rows["dmd"].runs == {1: "1" * 12, 2: "2" * 12, 7: "7" * 12}
    assert sorted(found.seeds) == [1, 2, 7]
    other = replace(second, overrides={"d": 4})  # another configuration: its seeds are no replicates of those
    save_plan(tmp_path, TablePlan("table1", ("toy",), (7, 1), {"dmd": other}))
    found = load_plan(tmp_path, "table1", "toy")
    assert found is not None
    assert found.rows["dmd"].runs == other.runs


def test_plans_written_at_once_are_all_there(tmp_path: Path) -> None:
    """Tasks of an array start in one instant: none loses another's seeds."""
    for seed in range(6):
        (tmp_path / f"{seed:012d}.tmp").mkdir()

    def write(seed: int) -> None:
        row = PlannedRow("planned", features={"digest": "d"}, runs={seed: f"{seed:012d}"})
        save_plan(tmp_path, TablePlan("table1", ("toy",), (seed,), {"dmd": row}))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    found = load_plan(tmp_path, "table1", "toy")
    assert found is not None
    assert sorted(found.rows["dmd"].runs) == list(range(6))
    assert [path.name for path in plans_dir(tmp_path).iterdir()] == ["table1--toy.json"]


def test_a_clock_that_went_back_does_not_bring_an_old_plan_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of plans is counted, not read from the clock."""

    class Clock(datetime):
        year_now = 2090

        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(cls.year_now, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("dmd_repro.planning.plans.datetime", Clock)
    save_plan(tmp_path, PLAN)
    Clock.year_now = 1999
    save_plan(tmp_path, TablePlan("table1", (), (7,), {}))
    found = load_plan(tmp_path, "table1")
    assert found is not None
    assert found.seeds == (7,)


def test_a_changed_plan_is_noticed(tmp_path: Path) -> None:
    """A flipped digit would count another run into a row."""
    path = save_plan(tmp_path, PLAN)
    path.write_text(path.read_text().replace("1111", "1112"))
    with pytest.raises(RunError, match="changed after it was written"):
        load_plan(tmp_path, "table1")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', '{"version": 1, "table": "t"}'])
def test_a_broken_plan_is_one_sentence(tmp_path: Path, text: str) -> None:
    """A plan cut short or of another version is named, not half read."""
    path = save_plan(tmp_path, PLAN)
    path.write_text(text)
    with pytest.raises(RunError, match="expected a plan of this version"):
        load_plan(tmp_path, "table1")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """The plan is the first thing reproduce writes, so its message is the one a user sees."""
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="--runs-dir"):
        save_plan(tmp_path / "runs", PLAN)


@given(st.lists(st.text(min_size=1), max_size=3))
def test_a_tag_is_always_a_safe_file_name(names: list[str]) -> None:
    """No data name can lead a plan out of its folder."""
    tag = plans.data_tag(names)
    assert tag
    assert "/" not in tag
    assert Path(f"table1--{tag}.json").name == f"table1--{tag}.json"


def test_a_damaged_plan_blocks_its_own_table_alone(tmp_path: Path) -> None:
    """Another table's report must not fall with it; its own says which file is damaged."""
    save_plan(tmp_path, TablePlan("table1", ("synthetic",), (1,), {}))
    save_plan(tmp_path, TablePlan("table3", ("synthetic",), (1,), {}))
    (plans_dir(tmp_path) / "table3--synthetic.json").write_text("{", encoding="utf-8")
    assert load_plan(tmp_path, "table1") is not None
    assert [plan.table for plan in list_plans(tmp_path)] == ["table1"]
    with pytest.raises(RunError, match="table3--synthetic"):
        load_plan(tmp_path, "table3")
