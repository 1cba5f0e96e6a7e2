"""A run's history as a TensorBoard event file: the epoch is the step, and equal histories give equal bytes.

tensorboardX (the extra `tensorboard`) brings the message types and the checksum; no writer of its own runs, since it
would name the file after the clock and write beside what is there.
"""

from __future__ import annotations

import importlib.util
import math
import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmd_repro.errors import SpecError
from dmd_repro.systems.edges import EDGE_NAMES
from dmd_repro.systems.registry import full_name

if TYPE_CHECKING:
    from dmd_repro.records.run import RunRecord

EVENTS = "events.out.tfevents.0.dmd"  # the name TensorBoard looks for; fixed, so that writing again replaces
MARKS = {"synthetic": "-SYNTHETIC", "official": ""}


def refuse_without_library() -> None:
    """Raise SpecError, naming the extra, where tensorboardX is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise SpecError.at(
            "dmd log tensorboard", expected="the package tensorboardX", got="none",
            do="Install the extra: pip install 'dmd-repro[tensorboard]'",
        )  # fmt: skip


def run_folder(record: RunRecord, status: str) -> str:
    """Return the name a run has in TensorBoard: what it is, its seed, its id, and what its data or state make of it."""
    spec, data = record.spec, record.data
    mark = MARKS.get(data["standing"], "-PARTIAL-DATA") + ("" if status == "done" else f"-{status.upper()}")
    mask = "-".join(f"no-{part}" for part in spec.mask.off) or "full"
    what = f"{full_name(spec.model, spec.config)}-{mask}-{spec.protocol}-{data['name']}-seed{spec.seed}"
    return re.sub(r"[^\w.+-]", "_", f"{what}-{record.run_id}{mark}")


def event_file(record: RunRecord) -> bytes:
    """Return a run's history as the bytes of an event file; RunError where the history does not read.

    Tags: `train/TERM` (unweighted loss terms and their total), `valid/METRIC`, `valid/loss`, `test/METRIC` (which chose
    nothing), `learning_rate`, `edges/UNIT/EDGE`. A value that does not exist (a correlation of constants) is left out.
    """
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    began = str(record.provenance.get("created") or "1970-01-01T00:00:00+00:00")
    clock = datetime.fromisoformat(began).timestamp()
    parts = [_framed(Event(wall_time=clock, file_version="brain.Event:2").SerializeToString())]
    for number, line in enumerate(record.history(), start=1):
        clock += float(line.get("seconds") or 0.0)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(line)]
        event = Event(wall_time=clock, step=int(line.get("epoch") or number), summary=Summary(value=values))
        parts.append(_framed(event.SerializeToString()))
    return b"".join(parts)


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the tags and finite values of one line of a history."""
    found = {"learning_rate": line.get("learning_rate"), "valid/loss": line.get("valid_loss")}
    for part in ("train", "valid", "test"):
        found |= {f"{part}/{name}": value for name, value in (line.get(part) or {}).items()}
    for unit, edges in (line.get("edges") or {}).items():
        found |= {f"edges/{unit}/{edge}": value for edge, value in zip(EDGE_NAMES, edges, strict=False)}
    for tag, value in found.items():
        if isinstance(value, int | float) and math.isfinite(value):
            yield tag, float(value)


def _framed(content: bytes) -> bytes:
    """Return one record of an event file: length, its checksum, content, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked_crc32c(length)) + content + struct.pack("<I", masked_crc32c(content))
