"""Others' runs as they are kept: the figures are the sources', and a wrong file is refused by name."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmd_repro.errors import ClaimError
from dmd_repro.papers.rerun import Rerun, same_system
from dmd_repro.papers.rerun_csv import read_rerun_csv
from dmd_repro.papers.reruns import load_reruns
from dmd_repro.stats.summary import mean_and_std

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "paper"
HEAD = "system,dataset,setting,text,seed,acc7,acc2_non0"


@pytest.fixture(scope="module")
def reruns() -> dict[str, Rerun]:
    """What comes with the package."""
    return {rerun.key: rerun for rerun in load_reruns()}


def test_the_known_ten_seeds_give_the_known_mean(reruns: dict[str, Rerun]) -> None:
    """The answer of the first screen: 83.73 ± 1.08 over seeds 42 to 51, best 84.91, none at 86.0."""
    dmd = reruns["youngwhite-authors-code-mosi/dmd"]
    mean, std = mean_and_std(list(dmd.values["acc2_non0"].values()))
    assert (round(mean, 2), round(std, 2), dmd.seeds) == (83.73, 1.08, tuple(range(42, 52)))
    assert max(dmd.values["acc2_non0"].values()) == pytest.approx(84.91)
    assert dmd.n == 10
    assert "patched" in dmd.code
    assert "commit 5cbe293" in dmd.source


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference material is not beside this checkout")
def test_every_figure_is_the_source_s(reruns: dict[str, Rerun]) -> None:
    """Each of the 100 runs and each of the 56 epochs is kept, digit by digit."""
    found = [rerun for rerun in reruns.values() if rerun.key.startswith("youngwhite")]
    lines = list(csv.DictReader((SHARED / "external_runs.csv").open(encoding="utf-8")))
    assert sum(rerun.n or 0 for rerun in found) == len(lines)
    for line in lines:
        (rerun,) = [r for r in found if same_system(r.system, line["system"])]
        for metric in ("acc7", "acc2_non0", "f1_non0", "acc2_has0", "mae", "corr"):
            if line[metric]:
                scale = 1 if metric in ("mae", "corr") else 100
                assert rerun.values[metric][int(line["seed"])] == pytest.approx(scale * float(line[metric]))
            else:
                assert metric not in rerun.values
    epochs = [
        (line["dataset"], float(line["val_loss"])) for line in csv.DictReader((SHARED / "external_curves.csv").open())
    ]
    kept = [(rerun.dataset, epoch["val_loss"]) for rerun in reruns.values() for epoch in rerun.curve]
    assert sorted(epochs) == sorted(kept)


def test_a_wrong_file_of_the_package_names_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that lost its number of runs, or a stray key, is refused when the file is read."""
    (tmp_path / "reruns").mkdir()
    monkeypatch.setattr("dmd_repro.papers.reruns.tables_folder", lambda: tmp_path)
    source = "source: {repository: r, file: f, commit: c}\nunit: percent\nprotocol: p\n"
    entry = "{key: k, system: S, dataset: mosi, setting: aligned, text: bert, code: c, "
    for body, says in (
        ('means: {acc7: "45.3"}}', r"runs\[k\].n: expected a quoted text"),
        ('n: "3", means: {acc9: "45.3"}}', "acc9: expected a measure among"),
        ('n: "3", means: {acc7: "45.3"}, sees: "1"}', "sees: expected one of"),
    ):
        (tmp_path / "reruns" / "a.yaml").write_text(f"name: a\ntitle: t\n{source}runs:\n  - {entry}{body}\n")
        with pytest.raises(ClaimError, match=says):
            load_reruns()


def _csv(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("system,dataset,setting,text,acc7", "DMD,mosi,aligned,bert,0.45"), "neither, so how many runs"),
        (("system,dataset,setting,text,n,seed,acc7", "DMD,mosi,aligned,bert,2,1,0.45"), "got both"),
        ((HEAD, "DMD,mosi,aligned,bert,1,0.4548,84.76"), "0.4548 in line 2 (acc7) and 84.76 in line 2 (acc2_non0)"),
        (
            (HEAD, "DMD,mosi,aligned,bert,1,0.4548,0.8476", "DMD,mosi,aligned,bert,1,0.449,0.846"),
            "seed 1 in line 2 too",
        ),
        ((HEAD, "DMD,mosi,aligned,bert,1,0.4548,0.8481"), "a count of the 656 non-zero test clips of CMU-MOSI"),
        (
            (HEAD + ",split", "DMD,mosi,aligned,bert,1,0.4548,0.8476,valid"),
            "expected test, as tables print, got 'valid'",
        ),
        ((HEAD, "DMD,mosi,sorted,bert,1,0.4548,0.8476"), "one of aligned, unaligned, got 'sorted'"),
        ((HEAD, "DMD,mosi,aligned,bert,x,0.4548,0.8476"), "line 2, seed: expected a whole number, got 'x'"),
        ((HEAD, "DMD,mosi,aligned,bert,1,nan,0.8476"), "line 2, acc7: expected a number, got 'nan'"),
        ((HEAD, "DMD,mosi,aligned,bert,1,0.4548"), "line 2: expected 7 fields"),
        ((HEAD.replace("acc7", "acc_7"), "DMD,mosi,aligned,bert,1,0.4548,0.8476"), "Did you mean 'acc7'"),
        ((HEAD,), "lines under the header"),
        ((HEAD, "D\x1b[31mD,mosi,aligned,bert,1,0.4548,0.8476"), "line 2, system: expected printable text"),
    ],
)
def test_a_wrong_csv_is_refused_by_line(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    """One sentence that names the line and what is wrong with it."""
    with pytest.raises(ClaimError) as caught:
        read_rerun_csv(_csv(tmp_path, *lines))
    assert says in str(caught.value)
    assert str(caught.value).startswith("mine.csv")


def test_means_with_their_n_are_read(tmp_path: Path) -> None:
    """A line a mean: n, mean and STD are kept, and no value per seed is invented."""
    path = _csv(tmp_path, "system,dataset,setting,text,n,acc2_non0,acc2_non0_std", "DMD,mosi,aligned,bert,7,83.6,0.8")
    (rerun,) = read_rerun_csv(path)
    assert (rerun.n, rerun.means, rerun.stds, rerun.seeds) == (7, {"acc2_non0": 83.6}, {"acc2_non0": 0.8}, ())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 656), min_size=1, max_size=6), st.booleans(), st.sampled_from(["round", "cut"]))
def test_counts_of_the_test_clips_pass_in_either_unit(
    tmp_path_factory: pytest.TempPathFactory, right: list[int], percent: bool, how: str
) -> None:
    """Whatever a run gets right, its accuracy at four digits, rounded or cut, is read back as percent."""
    digits = [(10_000 * k // 656 if how == "cut" else round(10_000 * k / 656)) for k in right]
    if percent and any(d <= 100 for d in digits):  # up to 1 % a percentage reads as a fraction
        return
    texts = [f"{d / 100:.2f}" if percent else f"{d / 10_000:.4f}" for d in digits]
    lines = [f"DMD,mosi,aligned,bert,{seed},{text}" for seed, text in enumerate(texts)]
    path = _csv(tmp_path_factory.mktemp("csv"), "system,dataset,setting,text,seed,acc2_non0", *lines)
    (rerun,) = read_rerun_csv(path)
    assert list(rerun.values["acc2_non0"].values()) == pytest.approx([d / 100 for d in digits])
