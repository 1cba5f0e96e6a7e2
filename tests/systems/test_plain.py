"""A system in ordinary PyTorch is a full citizen, and what would corrupt its runs is refused before an epoch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Here

from dmd_repro.data.features import Features
from dmd_repro.errors import SpecError
from dmd_repro.systems import registry
from dmd_repro.systems.registry import FILES, add_file, find_system
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.loop import Loop

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
        ("self.steps = 0", "self.steps += int(self.training)", "'steps' changes"),
        ("self.memory = {'mean': np.zeros(2)}", "self.memory['mean'] += 1", "'memory'['mean'] changes"),
        ("", "h = h + torch.tensor(np.random.default_rng().random(h.shape)).float()", "something draws at random"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_named(dmd: Here, tmp_path: Path, init: str, forward: str, told: str) -> None:
    """Protects: `check` and `train` both name the tensor or module, before an epoch is trained."""
    path = write(tmp_path, init, forward)
    checked = dmd("systems", "check", str(path))
    assert checked.code in (1, 2)
    assert told in " ".join((checked.out + checked.err).split())  # lines are cut where they are full
    said = dmd("--system", str(path), "train", "net", *SMALL)
    assert said.code == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not list((tmp_path / "runs").glob("*/history.jsonl"))


DRAWS_IN_ITS_LOSS = """
    def loss_terms(self, out, batch):
        return {"task.output": (out.prediction[:, 0] - batch.labels + torch.randn(())).abs().mean()}
"""


def test_a_loss_that_draws_is_named(dmd: Here, tmp_path: Path) -> None:
    """Protects: losses are watched as the forward pass is."""
    path = write(tmp_path)
    path.write_text(path.read_text() + DRAWS_IN_ITS_LOSS)
    said = dmd("--system", str(path), "train", "net", *SMALL)
    assert said.code == 2
    assert "its loss_terms (or their gradient) draws from torch's" in said.err


DRAWS_ITS_OWN = """
    MIXES_CLIPS = True
    def loss_terms(self, out, batch):
        return {"task.output": (out.prediction[:, 0] - batch.labels).square().mean()}
    def fit_inputs(self, train):
        self.mean.copy_(torch.from_numpy(train["l"].mean((0, 1))))
"""


def test_keyed_draws_and_statistics_of_the_training_split_are_part_of_the_run(dmd: Here, tmp_path: Path) -> None:
    """Protects: `stream.normals` repeats, in evaluation too; what `fit_inputs` took is saved; clips ordered once."""
    path = write(
        tmp_path,
        "self.register_buffer('mean', torch.zeros(sizes['dims']['l']))",
        "h = self.lstm(batch.inputs['l'] - self.mean)[1][0][0] + 0.1 * self.stream.normals(h.shape, h)[0]",
    )
    path.write_text(path.read_text().replace("least_batch: int = 2", "least_batch: int = 2\n    order: str = 'once'"))
    path.write_text(path.read_text() + DRAWS_ITS_OWN)
    said = dmd("systems", "check", str(path))
    assert said.code == 0, said.out


PHASES = """
    def loss_terms(self, out, batch):
        apart = out.prediction[:, 0] - batch.labels
        return {"task.output": apart.abs().mean(), "other": apart.square().mean()}
    def loss_weights(self):
        return {"task.output": 1.0, "other": 0.5}
    def phases(self):
        from dmd_repro.systems.base import Phase
        return [Phase("net", ("task.*",), ("lstm.*", "norm.*", "scale")), Phase("head", ("other",), ("out.*",))]
"""


def test_each_phase_moves_its_own_weights_for_its_own_terms(tmp_path: Path, synthetic: Features) -> None:
    """Protects: a phase steps on its terms alone, the weights of the others stand still, and such a run repeats."""
    path = write(tmp_path)
    path.write_text(path.read_text() + PHASES)
    add_file(path)
    spec = resolve_spec("net", seed=1, features=synthetic, overrides={"batch_size": 8, "dropout": 0.0})
    loop = Loop([spec], synthetic, torch.device("cpu"))
    start = {name: p.detach().clone() for name, p in loop.module.named_parameters()}
    seen: list[set[str]] = []
    step = loop.step_seeds

    def watched() -> None:
        before = {name: p.detach().clone() for name, p in loop.module.named_parameters()}
        step()
        after = dict(loop.module.named_parameters())
        seen.append({name.split(".")[1] for name, p in before.items() if not torch.equal(p, after[name])})

    loop.step_seeds = watched  # type: ignore[method-assign]
    [(means, _)] = loop.train_batches(np.arange(16, dtype=np.int64)[None])
    assert seen == [{"lstm", "norm", "scale"}, {"out"}] * 2
    assert means["total"] == pytest.approx(means["task.output"] + 0.5 * means["other"])
    assert torch.equal(start["system.frozen.weight"], dict(loop.module.named_parameters())["system.frozen.weight"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('("out.*",)', '("head.*",)', "phase 'head'"),
        ('("other",)', '("no.*",)', "no phase follows the term 'other'"),
        ('"scale")', '"frozen")', "none that moves 'scale'"),
    ],
)
def test_phases_that_leave_something_out_are_refused(dmd: Here, tmp_path: Path, old: str, new: str, told: str) -> None:
    """Protects: no term and no weight is dropped in silence."""
    path = write(tmp_path)
    path.write_text(path.read_text() + PHASES.replace(old, new))
    said = dmd("--system", str(path), "train", "net", *SMALL)
    assert said.code == 2
    assert told in said.err


def test_clips_may_be_ordered_once(synthetic: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: `order=once` gives every epoch the first one's order of training clips."""
    seen: dict[str, list[np.ndarray]] = {}
    for order in ("epoch", "once"):
        spec = resolve_spec("dmd", seed=1, features=synthetic, overrides={"order": order})
        loop = Loop([spec], synthetic, torch.device("cpu"))

        def kept(orders: np.ndarray, order: str = order) -> list[tuple[dict[str, float], dict[str, list[float]]]]:
            seen.setdefault(order, []).append(orders)
            return [({}, {})]

        monkeypatch.setattr(loop, "train_batches", kept)
        for _ in range(2):
            loop.epoch()
    assert np.array_equal(*seen["once"])
    assert not np.array_equal(*seen["epoch"])
    assert np.array_equal(seen["once"][0], seen["epoch"][0])


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
