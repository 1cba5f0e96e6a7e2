"""Several cards, pretended here: how they are named, what each gets, and where a worker computes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import Here
from hypothesis import given
from hypothesis import strategies as st
from small_plans import quick, run_jobs

from dmd_repro.cli import carry
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import SpecError
from dmd_repro.execution.places import Place, places, sides
from dmd_repro.execution.processes import in_processes
from dmd_repro.planning.division import ALONE, divide, loads, most_seconds
from dmd_repro.planning.stacks import Stack, group
from dmd_repro.records.folder import Records
from dmd_repro.training import cards
from dmd_repro.training import fit as training
from dmd_repro.training.execution import Execution

TABLE = ("reproduce", "table3", "--data", "synthetic", "--dry-run")


def stacks(*sizes: int) -> list[Stack]:
    """Stacks of so many seeds, their runs named by stack and place."""
    return [tuple(SimpleNamespace(run_id=f"{i}.{k}") for k in range(size)) for i, size in enumerate(sizes)]  # type: ignore[misc]


def cost(found: list[Stack], *each: float) -> dict[str, float]:
    """The seconds of the stacks, shared out to their runs."""
    return {job.run_id: each[i] / len(stack) for i, stack in enumerate(found) for job in stack}


def divided(found: list[Stack], seconds: dict[str, float], sides: int, *, cut: bool) -> list[Stack]:
    """The stacks alone."""
    return [stack for stack, _ in divide(found, seconds, sides, may_cut=lambda stack: cut)]


def runs(found: list[Stack]) -> list[list[str]]:
    """The runs of stacks."""
    return [[job.run_id for job in stack] for stack in found]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:0,cuda:1", "Did you mean cuda:0,1?"),
        ("cuda:0-3", "Did you mean cuda:0,1,2,3?"),
        ("0,1", "Did you mean cuda:0,1?"),
        ("cuda:0,0", "expected each card once, got card 0 twice. Write --device cuda:0; --jobs puts several"),
        ("cuda:0-2,1", "got card 1 twice. Write --device cuda:0,1,2;"),
        ("cuda:-1", "expected numbers of cards, 0 to 9999, got '-1'. Write --device cuda:0,1 for two"),
        ("cuda:0,x", "got 'x'. "),
        ("cuda:0,", "got nothing. "),
        ("cuda:", "got nothing. "),
        ("cuda:3-1", "got '3-1'. "),
    ],
)
def test_a_slip_in_the_names_of_cards_is_a_sentence(name: str, said: str) -> None:
    """Protects: one form is taken, every other is told what was meant, before anything is planned."""
    with pytest.raises(SpecError) as error:
        Execution(device=name)
    assert said in str(error.value)


@given(st.text(alphabet="cudagp:0129,-_ x", max_size=14))
def test_any_name_is_read_or_refused(name: str) -> None:
    """Protects: a name that passes is read back as the cards it says, and nothing ends in a traceback."""
    try:
        cards.check_device(name)
    except SpecError:
        return
    if name.startswith("cuda:"):
        assert name == f"cuda:{','.join(map(str, cards.numbers(name)))}"
        assert cards.count(name) == len(set(cards.numbers(name)))


def test_cards_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: of several cards the absent ones are said at once, not by the worker that finds none."""
    monkeypatch.setattr(cards, "seen", lambda: 2)
    with pytest.raises(
        SpecError, match=r"--device cuda:0,2,5: expected a device of this machine, got no cuda:2 and no"
    ):
        Execution(device="cuda:0,2,5").prepare()


def test_each_worker_sees_one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: workers are dealt out over the cards, by the names that CUDA_VISIBLE_DEVICES gives them here."""
    monkeypatch.setattr(cards, "seen", lambda: 3)
    monkeypatch.delenv(cards.VARIABLE, raising=False)

    def visible(device: str, workers: int) -> list[str]:
        found = places(Execution(device=device), workers)
        assert {place.execution.device for place in found} == {"cuda"}
        return [place.environment[cards.VARIABLE] for place in found]

    assert visible("cuda", 4) == ["0", "1", "2", "0"]
    assert visible("cuda:2,0", 3) == ["2", "0", "2"]
    assert visible("cuda:1", 2) == ["1", "1"]
    assert [place.execution.sharers for place in places(Execution(device="cuda:2,0"), 3)] == [2, 2, 2]
    monkeypatch.setenv(cards.VARIABLE, "5, GPU-8f,7")
    assert visible("cuda", 3) == ["5", "GPU-8f", "7"]
    assert visible("cuda:1,2", 2) == ["GPU-8f", "7"]
    assert [sides(Execution(device=device)) for device in ("cuda", "cuda:1", "cuda:0,1")] == [3, 1, 2]
    assert places(Execution(), 2) == [Place(Execution(sharers=2))] * 2


def test_the_longest_is_begun_first_and_all_end_together() -> None:
    """Protects: on two cards 1, 1, 2 and 4 s end after 4, not after the 5 of their own order; equal ones stay in it."""
    found = stacks(1, 1, 1, 1)
    assert most_seconds([1, 1, 2, 4], 2) == 5
    ordered = divided(found, cost(found, 1, 1, 2, 4), 2, cut=True)
    assert runs(ordered) == [["3.0"], ["2.0"], ["0.0"], ["1.0"]]
    assert loads([4, 2, 1, 1], 2) == [(4,), (2, 1, 1)]
    assert divided(found, cost(found, 1, 1, 2, 4), 1, cut=True) == found


def test_a_stack_the_others_wait_for_is_cut_over_its_seeds() -> None:
    """Protects: one row of five seeds on two cards is 3 and 2; where nothing is gained it stays whole."""
    found = stacks(5)
    assert runs(divided(found, cost(found, 90.0), 2, cut=True)) == [
        ["0.0", "0.1", "0.2"],
        ["0.3", "0.4"],
    ]
    assert divided(found, cost(found, 90.0), 2, cut=False) == found
    pair = stacks(5, 5)
    assert divided(pair, cost(pair, 9.0, 9.0), 2, cut=True) == pair
    three = stacks(5, 5, 5)
    assert sorted(map(len, divided(three, cost(three, 9.0, 9.0, 9.0), 2, cut=True))) == [2, 3, 5, 5]
    assert ALONE == 4  # halves of five: 9 s become 7 s and 6 s


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(0.1, 100.0)), min_size=1, max_size=12), st.integers(2, 5))
def test_a_division_loses_no_run_and_never_ends_later(asked: list[tuple[int, float]], side: int) -> None:
    """Protects: every run is in one piece, the end is within the bound of any order, and no cut moves it back."""
    found = stacks(*(size for size, _ in asked))
    each = [seconds for _, seconds in asked]
    share = cost(found, *each)
    whole, cut = (divide(found, share, side, may_cut=lambda stack, may=may: may) for may in (False, True))  # type: ignore[misc]
    for one in (whole, cut):
        assert sorted(job.run_id for stack, _ in one for job in stack) == sorted(share)
    end, sooner = (most_seconds([seconds for _, seconds in one], side) for one in (whole, cut))
    assert end <= (sum(each) / side + (1 - 1 / side) * max(each)) * (1 + 1e-9)
    assert sooner <= end
    assert sum(seconds for _, seconds in cut) >= sum(each) * (1 - 1e-9), "a part costs a step of its own"


def test_workers_train_in_their_places(tmp_path: Path) -> None:
    """Protects: each process has its own place from its start to its end, and results are those of one process."""
    records, home, store = Records(tmp_path / "runs"), Records(tmp_path / "home"), Store(tmp_path / "data")
    jobs = quick(records, seeds=(1, 2, 3, 4)).jobs
    pretended = [Place(Execution(), {"DMD_COMMAND": f"on card {n}", cards.VARIABLE: str(n)}) for n in (4, 7)]
    assert in_processes([*group(jobs, records, 1)], records, store, pretended, lambda event: None) == []
    assert run_jobs(jobs, home, store, execution=Execution()) == []
    used = [records.get(job.run_id).provenance["command"] for job in jobs]  # type: ignore[union-attr]
    assert set(used) == {"on card 4", "on card 7"}
    for job in jobs:
        ours, theirs = (where.root / job.run_id / "epochs.safetensors" for where in (records, home))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_plan_says_what_each_card_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: the estimate for several cards is that of the division, whole stacks or cut ones."""
    records, store = Records(tmp_path / "runs"), Store(tmp_path / "data")
    jobs = quick(records, seeds=(1, 2, 3, 4, 5)).jobs
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *a: 9.0)

    def ahead(device: str, stack: int) -> carry.Ahead:
        execution = Execution(device=device, stack=stack)
        return carry.look_ahead(jobs, records, store, execution, jobs=None, slurm=None)

    one, two = ahead("cuda:0", 0), ahead("cuda:0,1", 0)
    assert (one.seconds, one.time) == (90.0, "at most 1 min 30 s")
    assert [len(stack) for stack in two.stacks] == [3, 2]
    assert two.lines[-1] == "as estimated: cuda:0 1 model (at most 1 min 10 s), cuda:1 1 model (at most 1 min 00 s)"
    assert two.time == "at most 1 min 10 s on 2 cards"
    kept = ahead("cuda:0,1", 5)
    assert [len(stack) for stack in kept.stacks] == [5], "--stack K is kept to"


def test_a_dry_run_for_cards_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Protects: on a machine without a card the plan for two is made; Slurm gives cards itself."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd(*TABLE, "--device", "cuda:0,1", "--json")
    assert said.code == 0
    assert json.loads(said.out)["to_train"] == 30
    assert "time not measured, on 2 cards" in said.err
    said = dmd(*TABLE, "--device", "cuda:0,1", "--on", "slurm")
    assert said.code == 2
    assert "--device cuda:0,1: expected cuda beside --on slurm, got cards by number." in said.err
    assert dmd(*TABLE, "--device", "cuda:0,0").code == 2
