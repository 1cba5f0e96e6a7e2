"""What the tests of carrying out a plan share."""

from __future__ import annotations

import multiprocessing

import pytest

from dmd_repro.execution import processes


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers forked from one process that has imported everything and computed nothing: each starts in no time.

    For tests of what workers do once they are there. That they start as in use, by spawn, is for the others.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dmd_repro.execution.processes", "dmd_repro.training.fit", "torch._dynamo"])
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda kind: context)
