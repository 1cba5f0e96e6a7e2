"""The faults themselves: each function does one fault from one seed to the real command and checks what it leaves.

The tests draw a few, `benchmarks/faults.py` draws thousands; both count what was tried (see docs/faults.md).
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from bad_server import serving
from fault_tools import TINY, End, Faulty, arrays_of, damage, one_sentence
from made_records import plan_rows, predictions_with, spec_for, stamp_for, write_record
from toy_files import mmsa, save
from toy_store import put

from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DmdError
from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Records
from dmd_repro.records.repair import troubles

TRAIN = ("train", "dmd", "--data", "toy", "--epochs", "4", "--seed", "7", "--set", "accumulate=1", *TINY)
REPRODUCE = (
    *("reproduce", "table1", "--data", "toy", "--rows", "mosi-aligned-glove-dmd", "--seeds", "2", "--epochs", "3"),
    *("--jobs", "1", "--set", "accumulate=1", *TINY),
)


class Session:
    """One folder with what the faults need, the commands, and the counts."""

    def __init__(self, folder: Path, dmd: Faulty) -> None:
        self.folder, self.dmd, self.counts = folder, dmd, Counter[str]()
        self.clean = folder / "clean"
        self.clean.mkdir()
        put(self.clean / "data", "toy")
        self.pickle = save(
            folder / "made.pkl", mmsa(aligned=True, text=768, sizes={"train": 80, "valid": 40, "test": 40})
        )
        imported = self.run("data", "import", str(self.pickle), "--name", "made", cwd=self.clean)
        assert imported.code == 0, imported.err
        self.digest = Store(self.clean / "data").manifest("made").digest
        self.whole = {name: self.timed(*argv) for name, argv in (("train", TRAIN), ("reproduce", REPRODUCE))}
        self.arrays = arrays_of(self.clean / "runs")

    def run(self, *argv: str, cwd: Path, **fault: Any) -> End:
        """Run a command."""
        return self.dmd(*argv, cwd=cwd, **fault)

    def timed(self, *argv: str) -> End:
        """Run a command unharmed, in the clean folder."""
        end = self.run(*argv, cwd=self.clean)
        assert end.code == 0, end.err
        return end

    def fresh(self, seed: int) -> tuple[Path, np.random.Generator]:
        """Return a folder with the toy features and no runs, and the generator of this fault."""
        cwd = self.folder / f"case{seed}"
        shutil.rmtree(cwd, ignore_errors=True)
        (cwd / "data").mkdir(parents=True)
        shutil.copytree(self.clean / "data" / "toy", cwd / "data" / "toy")
        return cwd, np.random.Generator(np.random.PCG64(seed))

    # ---- kills

    def kill_import(self, seed: int) -> None:
        """Killed at any instant an import leaves the old state or the new one, and the next succeeds."""
        cwd, rng = self.fresh(seed)
        argv = ("data", "import", str(self.pickle), "--name", "made", "--force")
        fault = self.instant(rng, 30, 0.25)
        self.count("import", self.run(*argv, cwd=cwd, **fault))
        self.store_is_whole(cwd)
        assert self.run(*argv, cwd=cwd).code == 0
        assert Store(cwd / "data").manifest("made").digest == self.digest
        assert len(list((cwd / "data" / "made").glob("content_*"))) == 1
        assert not list((cwd / "data" / "made").glob("*.tmp"))

    def kill_download(self, seed: int) -> None:
        """Killed while bytes arrive, are verified or imported: the next call goes on and ends right."""
        cwd, rng = self.fresh(seed)
        with serving(self.pickle.read_bytes()) as server:
            argv = ("data", "download", "mosi-aligned-bert", "--url", server.url("slow"))
            self.count("download", self.run(*argv, cwd=cwd, **self.instant(rng, 40, 2.5)))
            self.store_is_whole(cwd)
            end = self.run(*argv[:-1], server.url("good"), cwd=cwd)
            assert end.code == 0, end.err
        assert Store(cwd / "data").manifest("mosi-aligned-bert").digest == self.digest
        if "already there" not in end.out:  # killed after the import: the fetched file is still there, and harmless
            assert not list((cwd / "data" / ".downloads" / "mmsa").glob("[!.]*"))

    def kill_training(self, seed: int, what: str = "train") -> None:
        """Killed in an epoch, while its state is saved, or while the record is written: no bit differs afterwards."""
        cwd, rng = self.fresh(seed)
        argv = {"train": TRAIN, "reproduce": REPRODUCE}[what]
        for _ in range(int(rng.integers(1, 4))):  # more than once, too
            self.count(
                what, self.run(*argv, cwd=cwd, **self.instant(rng, self.whole[what].ops, self.whole[what].seconds))
            )
            self.only_whole_records_count(cwd)
        end = self.run(*argv, cwd=cwd)
        assert end.code == 0, end.err
        found = arrays_of(cwd / "runs")
        assert found
        assert all(self.arrays[name] == content for name, content in found.items())
        left = troubles(Records(cwd / "runs"))
        assert {t.kind for t in left} <= {"leftover"}, left

    def kill_report(self, seed: int) -> None:
        """Killed while it renders, a report leaves the old file or the new one."""
        cwd, rng = self.fresh(seed)
        shutil.copytree(self.clean / "runs", cwd / "runs")
        argv = ("report", "table1", "-o", "table1.md")
        assert self.run(*argv, cwd=cwd).code == 0
        old = (cwd / "table1.md").read_bytes()
        self.count("report", self.run(*argv, cwd=cwd, **self.instant(rng, 6, 0.5)))
        assert (cwd / "table1.md").read_bytes() == old
        assert self.run(*argv, cwd=cwd).code == 0
        assert (cwd / "table1.md").read_bytes() == old

    def instant(self, rng: np.random.Generator, ops: int, seconds: float) -> dict[str, Any]:
        """Choose when to kill: before a disk operation, or at a time."""
        if rng.random() < 0.6:
            return {"kill_at": int(rng.integers(1, ops + 2))}
        return {"kill_after": float(rng.uniform(0.0, 1.1 * seconds))}

    def count(self, what: str, end: End) -> None:
        """Note whether the kill fell into the command or came too late."""
        assert end.killed or end.code in (0, 1), (end.code, end.err)
        self.counts[f"kill {what}" if end.killed else f"kill {what}, too late"] += 1

    # ---- no room, no rights, wrong clock

    def full_disk(self, seed: int) -> None:
        """A disk that fills up anywhere in a command is one sentence; with room the same command completes."""
        cwd, rng = self.fresh(seed)
        what = str(rng.choice(["import", "train", "download", "report"]))
        limit = int(np.exp(rng.uniform(np.log(50), np.log(600_000))))
        with serving(self.pickle.read_bytes()) as server:
            argv = {
                "import": ("data", "import", str(self.pickle), "--name", "made"),
                "train": TRAIN,
                "download": ("data", "download", "mosi-aligned-bert", "--url", server.url("good")),
                "report": ("report", "table1", "-o", "table1.md"),
            }[what]
            if what == "report":
                shutil.copytree(self.clean / "runs", cwd / "runs")
            end = self.run(*argv, cwd=cwd, fsize=limit)
            if end.code != 0:
                one_sentence(end)
                self.counts[f"disk full in {what}"] += 1
            self.store_is_whole(cwd)
            self.only_whole_records_count(cwd)
            again = self.run(*argv, cwd=cwd)
            assert again.code == 0, again.err
        if what == "train":
            assert all(self.arrays[name] == content for name, content in arrays_of(cwd / "runs").items())

    def no_rights(self, seed: int) -> None:
        """A folder that may not be written or read: one sentence, for root's user too (run as nobody)."""
        cwd, rng = self.fresh(seed)
        what = str(rng.choice(["runs", "data"]))
        for path in (self.folder, cwd, *cwd.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (cwd / what).mkdir(exist_ok=True)
        (cwd / what).chmod(int(rng.choice([0o555, 0o000])))
        argv = TRAIN if what == "runs" else ("data", "import", str(self.pickle), "--name", "made")
        end = self.run(*argv, cwd=cwd, nobody=True)
        (cwd / what).chmod(0o755)
        one_sentence(end)
        self.counts["no rights"] += 1
        assert self.run(*argv, cwd=cwd).code == 0

    def wrong_clock(self, seed: int) -> None:
        """The clock jumps between and before the commands: same arrays, same report, plans in their order."""
        cwd, rng = self.fresh(seed)
        for days in rng.choice([-20000, -400, -1, 1, 400, 20000], size=2):
            offset = float(days) * 86400
            self.run(*REPRODUCE, cwd=cwd, kill_at=int(rng.integers(20, 60)), offset=offset)
        end = self.run(*REPRODUCE, cwd=cwd, offset=float(rng.uniform(-1e9, 1e9)))
        assert end.code == 0, end.err
        found = arrays_of(cwd / "runs")
        assert found
        assert all(self.arrays[name] == content for name, content in found.items())
        self.counts["wrong clock"] += 1

    def two_at_once(self, seed: int, other: Faulty) -> None:
        """Two commands share one table: both end well, and no run is made twice."""
        cwd, _ = self.fresh(seed)
        ends: list[End] = []

        def work(dmd: Faulty) -> None:
            ends.append(dmd(*REPRODUCE, cwd=cwd, log=str(cwd / "epochs")))

        threads = [Thread(target=work, args=(dmd,)) for dmd in (self.dmd, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
        lines = (cwd / "epochs").read_text().splitlines()
        assert len(lines) == len(set(lines)) == 6, lines  # 2 runs of 3 epochs, each epoch once
        assert all(self.arrays[name] == content for name, content in arrays_of(cwd / "runs").items())
        self.counts["two at once"] += 1

    # ---- damage

    def damaged_runs(self, seed: int) -> None:
        """Any damage to any file of a folder of runs is found, counts nowhere, and is repaired by one command."""
        cwd, rng = self.fresh(seed)
        runs = cwd / "runs"
        names = self.recorded(runs)
        files = sorted(p for p in runs.rglob("*") if p.is_file() and ".locks" not in p.parts)
        path = files[int(rng.integers(len(files)))]
        how = damage(path, rng)
        said = self.run("runs", "verify", cwd=cwd)
        records = Records(runs)
        owner = path.parent.name
        gone = path.parent.name == "plans" and how == "delete"  # a plan that was deleted is no damage
        if owner.endswith(".tmp"):
            gone = path.name != "resume.safetensors" or how == "delete"  # the others are written anew when it goes on
        assert gone or said.code == 1, (path, how, said.out)
        assert gone or path.name in said.out or owner in said.out or "runs" in said.out
        if owner in names:
            assert records.get(owner) is None or path.name == "checkpoint.safetensors", (path, how)
        self.counts[f"damaged runs: {how}"] += 1
        mended = self.run("runs", "verify", "--repair", cwd=cwd)
        assert mended.code in (0, 2), mended.out
        assert self.run("runs", "verify", cwd=cwd).code in (0, 2)
        report = self.run("report", "table1", "--json", cwd=cwd)
        assert report.code == 0, report.err

    def recorded(self, runs: Path) -> list[str]:
        """Write three finished runs, an interrupted one and their plan."""
        row = next(r for r in load_table("table1").rows if r.key == "mosi-aligned-glove-dmd")
        stamp, specs = stamp_for(row), [spec_for(row, seed) for seed in (1, 2, 3)]
        names = [write_record(runs, spec, stamp, predictions_with(spec.seed)) for spec in specs]
        plan_rows(runs, "table1", {row.key: (stamp, specs)})
        with Records(runs).begin(spec_for(row, 4), stamp, {}) as writer:
            writer.resume()
            for epoch in (1, 2):
                writer.save_epoch({"w": np.full((3, 3), epoch, np.float32)}, {"epoch": epoch}, {"epoch": epoch})
        return names

    def damaged_store(self, seed: int) -> None:
        """Any damage to any file of the data store is refused in a sentence, and another import mends it."""
        cwd, rng = self.fresh(seed)
        shutil.copytree(self.clean / "data" / "made", cwd / "data" / "made")
        files = sorted(p for p in (cwd / "data" / "made").rglob("*") if p.is_file())
        path = files[int(rng.integers(len(files)))]
        how = damage(path, rng)
        store = Store(cwd / "data")
        try:
            for kind in store.manifest("made").texts:
                store.open("made", kind, verify=True)
            raise AssertionError(f"{how} of {path} was not noticed")
        except DmdError:
            pass
        said = self.run("data", "check", "made", cwd=cwd)
        assert said.code in (1, 2), (path, how, said.out)
        assert "Traceback" not in said.err
        self.counts[f"damaged store: {how}"] += 1
        mended = self.run("data", "import", str(self.pickle), "--name", "made", "--force", cwd=cwd)
        assert mended.code == 0, mended.err
        assert store.manifest("made").digest == self.digest

    # ---- what must always hold

    def store_is_whole(self, cwd: Path) -> None:
        """Whatever the store lists can be opened and has its digest."""
        store = Store(cwd / "data")
        for name in store.names():
            manifest = store.manifest(name)
            for kind in manifest.texts:
                store.open(name, kind, verify=True)
            if name in ("made", "mosi-aligned-bert"):
                assert manifest.digest == self.digest

    def only_whole_records_count(self, cwd: Path) -> None:
        """Whatever counts as a finished run has the bits of an unbroken one."""
        records = Records(cwd / "runs")
        for name in records.run_ids():
            record = records.get(name)
            if record is not None:
                assert records.verify(name) == []
                for file in ("predictions", "epochs", "checkpoint"):
                    key = f"{name}/{file}.safetensors"
                    assert self.arrays[key] == (record.path / f"{file}.safetensors").read_bytes()
