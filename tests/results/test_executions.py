"""Runs that were computed alike are not said to be mixed, and what differs is named."""

from __future__ import annotations

from dmd_repro.results.executions import mixed_executions

CPU = {"device": "cpu", "threads": 1, "stack": 1, "torch": "2.9"}


def test_the_list_of_members_is_no_difference() -> None:
    """Five seeds trained one by one, or as stacks of equal size, are one execution."""
    assert mixed_executions([{**CPU, "members": [seed]} for seed in range(5)]) is None
    assert mixed_executions([]) is None
    assert mixed_executions([None, None]) is None


def test_what_differs_is_named_with_its_values() -> None:
    """A reader sees which of device, threads, stack and versions was mixed."""
    said = mixed_executions([CPU, {**CPU, "device": "cuda", "members": [1]}, {**CPU, "stack": 5}])
    assert said is not None
    assert "3 executions" in said
    assert "device cpu, cuda" in said
    assert "stack 1, 5" in said
    assert "torch" not in said
    assert "threads 1, not noted" in str(mixed_executions([CPU, {"device": "cpu"}]))
