"""A system in ordinary PyTorch is a full citizen, and what would corrupt its runs is refused before an epoch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import Here

from dmd_repro.errors import SpecError
from dmd_repro.systems import registry
from dmd_repro.systems.registry import FILES, add_file, find_system

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
from dataclasses import dataclass
import random
import numpy as np, torch, torch.nn.functional as F
from torch import nn
from dmd_repro.systems.config import TrainConfig
from dmd_repro.systems.plain import PlainSystem

BUILT = []

@dataclass(frozen=True)
class Config(TrainConfig):
    hidden: int = 6
    dropout: float = 0.2
    learning_rate: float = 1e-2
    max_epochs: int = 3
    least_batch: int = 2

class Net(PlainSystem):
    NAME = "net"
    CONFIG = Config
    def __init__(self, config, **sizes):
        super().__init__(config, **sizes)
        width = sum(sizes["dims"].values())
        self.lstm = nn.LSTM(sizes["dims"]["l"], config.hidden, batch_first=True)
        self.norm = nn.BatchNorm1d(config.hidden)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.hidden, 1)
        self.scale = nn.Parameter(torch.randn(1))
        self.frozen = nn.Linear(1, 1).requires_grad_(False)
{init}
    def forward(self, batch):
        h = self.lstm(batch.inputs["l"])[1][0][0]
{forward}
        return self.out(self.drop(self.norm(h))) * self.scale
"""


BARE = HEAD.replace("{init}", "").replace("{forward}", "")


def write(folder: Path, init: str = "", forward: str = "") -> Path:
    """Write the net with further lines in its constructor and its forward."""

    def lines(text: str) -> str:
        return "\n".join(f"        {line}" for line in text.splitlines()) or "        pass"

    path = folder / "net.py"
    path.write_text(HEAD.replace("{init}", lines(init)).replace("{forward}", lines(forward)))
    return path


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, with folders of its own."""
    return Here(tmp_path, monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the files of other tests."""
    monkeypatch.setenv(FILES, "")
    registry._others.cache_clear()
    yield
    registry._others.cache_clear()


SMALL = ("--data", "synthetic", "--epochs", "3")


def test_three_trainings_of_one_id_are_one(dmd: Here, tmp_path: Path) -> None:
    """Protects: weights, buffers and dropout of any module belong to the run; evaluation gives what was recorded."""
    path = str(write(tmp_path))
    found = []
    for name in ("one", "two", "three"):
        said = dmd("--system", path, "train", "net", *SMALL, "--seed", "7", "--runs-dir", name)
        assert said.code == 0, said.err
        [run] = [p for p in (tmp_path / name).iterdir() if re.fullmatch("[0-9a-f]{12}", p.name)]
        found.append(
            (run.name, (run / "predictions.safetensors").read_bytes(), (run / "checkpoint.safetensors").read_bytes())
        )
    assert found[0] == found[1] == found[2]
    from safetensors.numpy import load

    names = set(load(found[0][2]))
    assert {"net/scale", "net/frozen.weight", "net/norm.running_mean", "net/lstm.weight_hh_l0"} <= names
    checked = dmd(
        "--system", path, "evaluate", found[0][0], "--data", "synthetic", "--runs-dir", "one", "--predictions", "p.csv"
    )
    assert checked.code == 0, checked.err
    written = np.genfromtxt(tmp_path / "p.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    recorded = load(found[0][1])["test/y_pred"]
    assert np.array_equal(written["y_pred"].astype(np.float32), recorded)


@pytest.mark.parametrize(
    ("init", "forward", "told"),
    [
        ("self.held = {'table': torch.ones(config.hidden)}", "h = h * self.held['table']", "'held'['table']"),
        ("self.register_buffer('count', torch.zeros(1), persistent=False)", "self.count += 1", "buffer 'count'"),
        ("", "h = h + 0.1 * torch.randn(h.shape)", "its forward draws from torch's"),
        ("", "h = h + float(np.random.normal())", "its forward draws from numpy's"),
        ("", "h = h * random.random()", "its forward draws from Python's"),
        ("", "h = F.dropout(h, 0.5, self.training)", "draws from torch's"),
        ("", "h = h - h.mean(0)", "for a clip among 4"),
        ("self.more = nn.LSTM(config.hidden, 4, num_layers=2, dropout=0.5)", "", "module 'more' (LSTM)"),
        ("self.nets = [nn.Linear(config.hidden, config.hidden)]", "h = self.nets[0](h)", "'nets'[0] (weight)"),
        ("self.w = nn.Parameter(torch.tensor(float(len(BUILT)))); BUILT.append(1)", "", "'net/w' differs"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_named(dmd: Here, tmp_path: Path, init: str, forward: str, told: str) -> None:
    """Protects: `check` and `train` both name the tensor or module, before an epoch is trained."""
    path = write(tmp_path, init, forward)
    checked = dmd("systems", "check", str(path))
    assert checked.code in (1, 2)
    assert told in checked.out + checked.err
    said = dmd("--system", str(path), "train", "net", *SMALL)
    assert said.code == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not list((tmp_path / "runs").glob("*/history.jsonl"))


def test_the_guide_works(dmd: Here, tmp_path: Path) -> None:
    """Protects: docs/add-a-system.md, step by step: the template checks green and trains."""
    guide = (ROOT / "docs" / "add-a-system.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.S) for line in block.splitlines()]
    assert len(commands) == 3
    for line in commands:
        words, _, target = line.removeprefix("dmd ").partition(" > ")
        said = dmd(*words.split(), *(["--epochs", "2"] if " train " in line else []))
        assert said.code == 0, said.err + said.out
        if target:
            (tmp_path / target).write_text(said.out)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("def broken(:", "a syntax error in line 1"),
        ("x = 1", "one class that extends PlainSystem"),
        ("import no_such_package", "ModuleNotFoundError"),
        (BARE.replace('NAME = "net"', 'NAME = "dmd"'), "one that this program has"),
        (BARE.replace("hidden: int = 6", "hidden: list = None"), "setting hidden"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_a_sentence(dmd: Here, tmp_path: Path, content: str, told: str) -> None:
    """Protects: exit code 2 and one sentence for whatever a file is instead of a system."""
    path = tmp_path / "wrong.py"
    path.write_text(content)
    said = dmd("systems", "check", str(path))
    assert said.code == 2
    assert told in said.err
    assert said.err.count("\n") == 1


def test_two_systems_of_one_name(tmp_path: Path) -> None:
    """Protects: a second system never replaces the first in silence."""
    first = write(tmp_path)
    other = tmp_path / "other.py"
    other.write_text(first.read_text())
    add_file(first)
    with pytest.raises(SpecError, match="a name of its own"):
        add_file(other)
    assert os.environ[FILES] == str(first.resolve())
    assert find_system("net").origin == str(first.resolve())
