"""The page on clusters: what it gives other schedulers to start works when it is started several times."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from command import Here, start

from dmd_repro.records.folder import Records

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
SMALL = ("--rows", "mosi-unaligned-glove-dmd-no-parts", "--seeds", "3", "--set", "max_epochs=3", "--set", "d=4")
SMALL += ("--set", "heads=2", "--set", "layers=1", "--data", "synthetic")


def commands() -> dict[str, list[str]]:
    """Return what each scheduler on the page starts, without `dmd`."""
    text = PAGE.read_text(encoding="utf-8")
    parallel = re.search(r"^parallel -N0 dmd (.*?) ::: [\d ]+$", text, re.MULTILINE)
    pbs = re.search(r"^qsub .* -- /usr/bin/env dmd (.*)$", text, re.MULTILINE)
    job = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert parallel
    assert pbs
    assert job
    pod = yaml.safe_load(job[1])["spec"]["template"]["spec"]["containers"][0]
    assert pod["command"][0] == "dmd"
    return {"parallel": shlex.split(parallel[1]), "pbs": shlex.split(pbs[1]), "kubernetes": pod["command"][1:]}


@pytest.mark.parametrize("scheduler", ["parallel", "pbs", "kubernetes"])
def test_the_command_of_each_page_is_one(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects: a renamed option does not stay on the page; the plan is made where there is no card."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    said = dmd(*commands()[scheduler], "--data", "synthetic", "--dry-run", "--runs-dir", str(tmp_path / "runs"))
    assert (said.code, said.err) == (0, "")
    assert "to train" in said.out


def test_started_twice_it_trains_each_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects: two plain processes, numbered as Kubernetes does, share the runs and end in the bits of one."""
    started = []
    for index in ("0", "1"):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
        started.append(start(*commands()["parallel"], *SMALL, cwd=tmp_path))
    monkeypatch.delenv("JOB_COMPLETION_INDEX")
    ends = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    records, home = Records(tmp_path / "runs"), Records(tmp_path / "home")
    facts = [records.get(run).provenance for run in records.run_ids()]  # type: ignore[union-attr]
    assert len(facts) == 3
    assert all("earlier" not in fact for fact in facts), "a run was begun twice"
    assert {fact["task"] for fact in facts} <= {"0", "1"}
    dmd = Here(tmp_path, monkeypatch, capsys)
    assert dmd(*commands()["parallel"], *SMALL, "--runs-dir", str(home.root)).code == 0
    for run in records.run_ids():
        for name in ("predictions.safetensors", "epochs.safetensors", "checkpoint.safetensors"):
            assert (records.root / run / name).read_bytes() == (home.root / run / name).read_bytes()
