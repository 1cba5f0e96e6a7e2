"""`dmd log tensorboard`: what a run's history says is what TensorBoard reads, and nothing else is touched."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from command import Here
from made_records import IDS, LABELS, spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.render.tensorboard import EVENTS

ROW = load_table("table3").row("mosi-unaligned-glove-dmd")
LINES = (
    {"epoch": 1, "learning_rate": 1e-3, "train": {"total": 2.5}, "valid_loss": 1.5, "test": {"mae": 0.0},
     "edges": {"homo": [0.5, 0.25, 0.25, 0, 0, 0]}, "seconds": 2.0},
    {"epoch": 2, "learning_rate": 1e-3, "train": {"total": 2.0}, "valid_loss": None, "valid": {"corr": None},
     "seconds": 3.0},
)  # fmt: skip


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in a folder with a finished run on synthetic data, of two epochs."""
    here = Here(tmp_path, monkeypatch, capsys)
    said, scores = Predictions(IDS, LABELS, LABELS), np.stack([LABELS, LABELS])
    with Records(tmp_path / "runs").begin(spec_for(ROW, 7), stamp_for(ROW, standing="synthetic"), {}) as writer:
        for line in LINES:
            writer.save_epoch({"w": np.zeros(1, np.float32)}, {}, line)
        writer.finish(
            predictions={"valid": said, "test": said}, epochs={"valid": scores, "test": scores},
            checkpoint={"w": np.zeros(1, np.float32)}, provenance={"epochs": 2, "best_epoch": 1},
        )  # fmt: skip
    return here


def test_the_history_is_what_tensorboard_reads(dmd: Here) -> None:
    """Epochs are steps, values the history's; what does not exist is left out; the name says the data is synthetic."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    said = dmd("log", "tensorboard", "-o", "out")
    assert said.code == 0, said.err
    (file,) = (dmd.folder / "out").glob(f"*/{EVENTS}")
    assert file.parent.name.endswith("-SYNTHETIC")
    content, events, at = file.read_bytes(), [], 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        body = content[at + 12 : at + 12 + size]
        assert struct.unpack_from("<I", content, at + 8)[0] == masked_crc32c(content[at : at + 8])
        assert struct.unpack_from("<I", content, at + 12 + size)[0] == masked_crc32c(body)
        events.append(Event.FromString(body))
        at += 16 + size
    read = {event.step: {v.tag: v.simple_value for v in event.summary.value} for event in events[1:]}
    assert events[0].file_version == "brain.Event:2"
    assert set(read[1]) == {"learning_rate", "train/total", "valid/loss", "test/mae"} | {
        f"edges/homo/{edge}" for edge in ("v->l", "a->l", "l->v", "a->v", "l->a", "v->a")
    }
    assert (read[1]["train/total"], read[1]["edges/homo/v->l"], read[2]["train/total"]) == (2.5, 0.5, 2.0)
    assert set(read[2]) == {"learning_rate", "train/total"}
    assert events[2].wall_time - events[1].wall_time == 3.0


def test_writing_again_replaces_and_leaves_others_alone(dmd: Here) -> None:
    """Equal histories give equal bytes in the same place; a stranger's file in the folder stays."""
    (dmd.folder / "out").mkdir()
    (dmd.folder / "out" / "mine").write_text("kept")
    before = []
    for _ in range(2):
        assert dmd("log", "tensorboard", "-o", "out").code == 0
        before.append({path: path.read_bytes() for path in (dmd.folder / "out").rglob("*") if path.is_file()})
    assert before[0] == before[1]
    assert len(before[0]) == 2
    assert dmd("runs", "verify").code == 0


def test_a_slip_is_one_sentence(dmd: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such run, no runs, a file in the way, and no tensorboardX: the extra is named."""
    (dmd.folder / "file").write_text("")
    for arguments, told in (
        (("zzzz",), "expected one run, got none"),
        (("--runs-dir", "empty"), "expected recorded runs, got none"),
        (("-o", "file"), "--output"),
    ):
        said = dmd("log", "tensorboard", *arguments)
        assert (said.code, said.err.count("\n")) == (2, 1), said.err
        assert told in said.err
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    said = dmd("log", "tensorboard", "-o", "out")
    assert said.code == 2
    assert "pip install 'dmd-repro[tensorboard]'" in said.err
    assert not (dmd.folder / "out").exists()
