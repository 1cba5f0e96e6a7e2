"""Bad bytes, whatever they are, end in a sentence: pickles, and the JSON, YAML and CSV files the program reads."""

from __future__ import annotations

import json
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hostile import hostile, judge, one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record
from toy_files import mmsa

from dmd_repro.data.checks.labels import read_labels
from dmd_repro.data.download.part import Part
from dmd_repro.data.download.sources import load_sources
from dmd_repro.data.download.trust import Trust
from dmd_repro.data.formats.families import convert
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DmdError
from dmd_repro.papers.folders import tables_folder
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.plans import load_plan
from dmd_repro.records.folder import Records

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_hostile_pickles_run_nothing_and_pass_with_no_other_content(tmp_path: Path) -> None:
    """400 of the 10,000 of docs/faults.md: planted calls, false claims, spliced and mutated files, odd columns."""
    counts: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(400):
        rng = np.random.Generator(np.random.PCG64(seed))
        _, body = hostile(rng, tmp_path / "trap")
        judge(tmp_path / "x.pkl", body, counts)
    assert not (tmp_path / "trap").exists()
    assert counts["refused"] > 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB on Linux


mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


def mutated(body: bytes, changes: list[tuple[float, int]], cut: float) -> bytes:
    out = bytearray(body)
    for where, value in changes:
        out[int(where * len(out))] = value
    return bytes(out[: int(len(out) * (1 - cut))]) if cut > 0.8 else bytes(out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Store(folder / "data").write("x", convert(mmsa(), "x.pkl"))
    row = next(r for r in load_table("table1").rows if r.key == "mosi-aligned-glove-dmd")
    stamp, spec = stamp_for(row), spec_for(row, 1)
    write_record(folder / "runs", spec, stamp, predictions_with(1))
    plan_rows(folder / "runs", "table1", {row.key: (stamp, [spec])})
    return folder


def says_the_same(body: bytes, good: bytes) -> bool:
    """Whether two texts are one JSON value: DONE holds the hashes of the others and none of its own spaces."""
    try:
        return bool(json.loads(body) == json.loads(good))
    except ValueError:
        return False


@quick
@given(changes=mutations, cut=st.floats(0, 1), data=st.data())
def test_mutated_json_never_counts_and_never_crashes(made: Path, changes, cut, data) -> None:
    """Manifest, ids, spec, DONE, history, provenance, plan: a sentence, or the content that was written."""
    files = sorted(p for p in made.rglob("*.json*") if p.stat().st_size) + sorted(made.rglob("DONE"))
    path = data.draw(st.sampled_from(files))
    good = path.read_bytes()
    body = mutated(good, changes, cut)
    path.write_bytes(body)
    records, store = Records(made / "runs"), Store(made / "data")
    reads = (
        lambda: store.open("x", "hidden", verify=True),
        lambda: load_plan(made / "runs", "table1"),
        records.scan,
        lambda: [records.verify(name) for name in records.run_ids()],
    )
    try:
        for read in reads:
            try:
                read()
            except DmdError as error:
                one_line(error)
        run = path.parent.name
        if body != good and run in records.run_ids() and not (path.name == "DONE" and says_the_same(body, good)):
            # the hash of the weights, the big file, is left to `verify` where it is one
            assert records.get(run) is None or (path.name == "DONE" and records.verify(run))
        if body != good and path.name in ("manifest.json", "ids.json"):
            with pytest.raises(DmdError):
                store.open("x", "hidden", verify=True)
        if body != good and path.parent.name == "plans":
            with pytest.raises(DmdError):
                load_plan(made / "runs", "table1")
    finally:
        path.write_bytes(good)


@quick
@given(changes=mutations, cut=st.floats(0, 1), name=st.sampled_from(["sources", "table1", "table4"]))
def test_mutated_yaml_is_read_or_named(tmp_path: Path, changes, cut, name) -> None:
    """A table or a list of sources with a slip in it: the file and the key, never a traceback."""
    if name == "sources":
        good = (Path(load_sources.__code__.co_filename).with_name("sources.yaml")).read_bytes()
    else:
        good = (tables_folder() / f"{name}.yaml").read_bytes()
    (tmp_path / f"{name}.yaml").write_bytes(mutated(good, changes, cut))
    try:
        if name == "sources":
            load_sources(tmp_path / "sources.yaml")
        else:
            load_table(name, tmp_path)
    except DmdError as error:
        one_line(error)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000,
        "a: &x [1]\nb: *x\n",
        "? [a]\n: 1\n",
        "a: 2026-99-99\n",
        "a: !!int x\n",
    ],
)
def test_yaml_that_would_end_the_process_is_a_sentence(tmp_path: Path, text: str) -> None:
    """A nest of fifty thousand, an alias, a list as a key, a date that is none."""
    (tmp_path / "table1.yaml").write_text(text)
    with pytest.raises(DmdError) as error:
        load_table("table1", tmp_path)
    one_line(error.value)


@quick
@given(body=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda t: t.encode("utf-8", "ignore"))))
def test_any_bytes_as_json_yaml_or_csv(tmp_path: Path, body) -> None:
    """Files of any origin in the place of ours."""
    for name in ("known.json", "x.part.json", "s.yaml", "l.csv"):
        (tmp_path / name).write_bytes(body)
    for read in (
        Trust(tmp_path / "known.json").load,
        lambda: load_sources(tmp_path / "s.yaml"),
        lambda: read_labels(tmp_path / "l.csv"),
    ):
        try:
            read()
        except DmdError as error:
            one_line(error)
    with Part(tmp_path / "x") as part:
        assert part.size == 0 or json.loads(body)


@quick
@given(rows=st.lists(st.lists(st.text(max_size=8), max_size=5), max_size=5))
def test_any_csv_with_the_right_heading(tmp_path: Path, rows) -> None:
    """Short rows, long rows, quotes and line ends inside cells."""
    lines = ["video_id,clip_id,label,mode", *(",".join(row) for row in rows)]
    (tmp_path / "l.csv").write_text("\n".join(lines), encoding="utf-8", errors="ignore")
    try:
        found = read_labels(tmp_path / "l.csv")
    except DmdError as error:
        one_line(error)
    else:
        assert all(-3 <= clip.label <= 3 for clip in found.values())
