"""Figures 3 and 4: features from a checkpoint, t-SNE maps of them, and numbers that say whether the claim is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Here
from drawn import line, planted, record
from toy_store import put

from dmd_repro.errors import RunError
from dmd_repro.figures.make import draw_figure
from dmd_repro.figures.page import Page
from dmd_repro.figures.scatter import embed, maps_of
from dmd_repro.papers.dmd.claimed import claim_sheet
from dmd_repro.papers.dmd.separation import MASKS, draw_clips, measure, subject
from dmd_repro.records.decoupled import file_name, read_decoupled
from dmd_repro.records.folder import Records
from dmd_repro.results.sheet import Sheet
from dmd_repro.stats.separation import silhouette

NEITHER, NO_HETERO, FULL = MASKS


def sheet(runs: Path, figure: str = "fig3", draws: int = 2) -> Sheet:
    """The numbers of a figure, without any map."""
    about = subject(Records(runs))
    return claim_sheet(figure, about, measure(figure, about, draws=draws, seed=0), seed=0)  # type: ignore[arg-type]


def number(found: Sheet, off: tuple[str, ...], what: str, told: str, clips: str = "whole split") -> dict:
    """One number of a sheet's document, by mask."""
    mask = next(one for one in found.document["masks"] if tuple(one["mask"]) == off)
    return next(one for one in mask["numbers"] if (one["measure"], one["told"], one["clips"]) == (what, told, clips))


def test_planted_classes_are_found_and_the_claim_follows(tmp_path: Path) -> None:
    """C9 and C10 come out as planted: apart where the features hold it, as shuffled labels where they do not."""
    for seed in range(1, 6):
        planted(tmp_path, FULL, seed, apart=3.0)
        planted(tmp_path, NEITHER, seed, apart=0.0)
    three, four = sheet(tmp_path), sheet(tmp_path, "fig4")
    for found, told in ((three, "7 classes"), (four, "modalities")):
        with_units, without = (number(found, off, "silhouette", told) for off in (FULL, NEITHER))
        assert min(with_units["values"].values()) > 0.4
        assert max(without["values"].values()) < 0.05
        assert max(with_units["shuffled"].values()) < 0.05
        assert min(number(found, FULL, "neighbour", told)["values"].values()) > 85
        assert max(number(found, FULL, "neighbour", told)["shuffled"].values()) < 50
    assert any("full less −HomoGD −HeteroGD" in n and "paired over 5 seeds: as claimed" in n for n in three.notes)
    assert any("full less −HomoGD −HeteroGD" in n and n.endswith("as claimed") for n in four.notes)
    assert any("7 classes, full: above shuffled by" in n and n.endswith(": apart") for n in three.notes)
    assert not any("7 classes, −HomoGD −HeteroGD: above" in n and n.endswith(": apart") for n in three.notes)
    assert any("−HeteroGD: no finished run" in n and "dmd ablate --data" in n for n in three.notes)


def test_a_claim_against_the_numbers_is_said_so(tmp_path: Path) -> None:
    """The words follow the numbers, not the paper."""
    for seed in range(1, 6):
        planted(tmp_path, FULL, seed, apart=0.0)
        planted(tmp_path, NEITHER, seed, apart=3.0)
    assert any(note.endswith("against the claim") for note in sheet(tmp_path).notes)


@pytest.mark.parametrize(
    ("seeds", "standing", "says"), [(4, "official", "it takes 5 seeds"), (5, "synthetic", "SYNTH")]
)
def test_no_word_from_few_seeds_or_other_data(tmp_path: Path, seeds: int, standing: str, says: str) -> None:
    """Four seeds or synthetic clips give numbers and no word on the paper."""
    for seed in range(seeds):
        for off in (FULL, NEITHER):
            planted(tmp_path, off, seed, apart=3.0 if off == FULL else 0.0, standing=standing)
    judged = [note for note in sheet(tmp_path).notes if "paired over" in note]
    assert judged
    assert all(f"no word, {says}" in note for note in judged)


def test_a_map_of_planted_classes_separates_them() -> None:
    """t-SNE of separate groups is separate groups, whatever seed and perplexity; equal seeds give equal maps."""
    draw = np.random.Generator(np.random.PCG64(3))
    labels = np.arange(60) % 3
    points = (8.0 * np.eye(3)[labels] + draw.standard_normal((60, 3))).astype(np.float32)
    for perplexity, seed in ((5.0, 0), (1000.0, 1)):
        spots = embed(points, perplexity, seed)
        assert (silhouette(spots, labels) or 0) > 0.5
        assert (silhouette(spots, draw.permutation(labels)) or 0) < 0.1
    assert (embed(points, 5.0, 0) == embed(points, 5.0, 0)).all()
    assert not (embed(points, 5.0, 0) == embed(points, 5.0, 1)).all()


def test_the_grid_has_perplexities_seeds_draws_and_the_whole_split() -> None:
    """One picture proves nothing: each column says what it is; a sample that is the whole split is not drawn twice."""
    names = [one.title for one in maps_of((5.0, 30.0), 2, 100, 28)]
    assert names == [
        "draw 1, perplexity 5, seed 0", "draw 1, perplexity 5, seed 1", "draw 1, perplexity 30, seed 0",
        "draw 1, perplexity 30, seed 1", "draw 2, perplexity 30, seed 0", "whole split, perplexity 30, seed 0",
    ]  # fmt: skip
    assert {one.draw for one in maps_of((5.0,), 3, 50, 50)} == {None}


def test_clips_are_drawn_four_a_class_by_a_recorded_seed() -> None:
    """The draw is the paper's size, the same for equal seeds, another for others, and takes what a small class has."""
    labels = {"7 classes": np.repeat(np.arange(-3, 4), [9, 9, 9, 9, 9, 9, 2])}
    clips = draw_clips("fig3", labels, 0, 0)
    assert [int((labels["7 classes"][clips] == c).sum()) for c in range(-3, 4)] == [4] * 6 + [2]
    assert (clips == draw_clips("fig3", labels, 0, 0)).all()
    assert not np.array_equal(clips, draw_clips("fig3", labels, 0, 1))
    assert not np.array_equal(clips, draw_clips("fig3", labels, 1, 0))
    assert len(draw_clips("fig4", {"x": np.zeros(1000, int)}, 0, 0)) == 400


def test_the_figure_is_drawn_with_its_numbers(tmp_path: Path) -> None:
    """Maps for each mask at hand, the line that makes the missing one, the mark, and the numbers under the maps."""
    for off in (FULL, NEITHER):
        planted(tmp_path, off, 1, apart=3.0, clips=14, standing="synthetic")
    (page,) = draw_figure("fig4", Records(tmp_path), perplexities=(4.0,), draws=1)
    said = words(page)
    assert "SYNTHETIC DATA" in said
    assert "silhouette, modalities" in said
    assert "(one seed)" in said
    assert "Make it: dmd ablate --data mosi-unaligned-glove --drop heterogd --seeds 1," in said
    assert sum(bool(axis.collections) for axis in page.figure.axes) == 2 * 2  # masks x t-SNE seeds
    assert page.sheets[0].to_json()["masks"][1]["runs"] == {}


def words(page: Page) -> str:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return "\n".join(one.get_text() for one in page.figure.findobj(Text))


def test_features_come_from_the_checkpoint(tmp_path: Path, monkeypatch, capsys) -> None:
    """`dmd features` stores the mean X^com and X^prt by the run's own weights; what was changed is not trusted."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    put(tmp_path / "data", "toy")
    small = [f"--set={s}" for s in ("accumulate=1", "d=8", "heads=2", "layers=1", "gd_homo=4", "gd_hetero=4")]
    trained = dmd("train", "dmd", "--data", "toy", "--epochs", "1", "--seed", "1", *small, "--json")
    run = json.loads(trained.out)["run_id"]
    assert f"dmd features {run}" in dmd("figure", "fig3").err
    said = dmd("features", run[:6])
    assert said.code == 0, said.err
    assert "7 test clips x l/a/v, 8 wide, toy" in said.out
    found = Records(tmp_path / "runs").get(run)
    assert found is not None
    kept, weights = read_decoupled(found, "test"), found.checkpoint()
    from dmd_repro.data.store.folder import Store

    test = Store(tmp_path / "data").open("toy").splits["test"]
    assert kept.ids == test.ids
    for m in "lav":
        kernel = np.squeeze(weights[f"dmd/proj_{m}.weight"])  # (d, D, kernel), no padding in these clips
        x = np.asarray(test.array(m))
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[-1], axis=1)  # (B, T', D, kernel)
        mean = np.einsum("btdk,odk->bo", windows, kernel.reshape(8, x.shape[2], -1)) / windows.shape[1]
        np.testing.assert_allclose(kept.common[m], mean @ np.squeeze(weights["dmd/encoder_c.weight"]).T, atol=1e-5)
        private = np.squeeze(weights[f"dmd/encoder_s_{m}.weight"])
        np.testing.assert_allclose(kept.private[m], mean @ private.T, atol=1e-5)
    assert "are there" in dmd("features", run).out
    file = found.path / file_name("test")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunError, match="they were changed"):
        read_decoupled(found, "test")
    file.write_bytes(whole[:-9])
    with pytest.raises(RunError, match=f"half of them.*dmd features {run}"):
        read_decoupled(found, "test")
    assert dmd("features", run).code == 0
    assert file.read_bytes() == whole
    done = found.path / "DONE"
    done.write_text(done.read_text().replace(json.loads(done.read_text())["checkpoint.safetensors"], "0" * 64))
    with pytest.raises(RunError, match="those of another checkpoint"):
        read_decoupled(found, "test")
    assert "expected a whole record" in dmd("features", run).err  # whose weights are not the recorded ones


def test_what_has_no_features_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    """No run, no checkpoint, no decoupling: one sentence each, and nothing is written."""
    dmd = Here(tmp_path, monkeypatch, capsys)
    assert "expected finished runs of dmd" in dmd("figure", "fig3").err
    name = record(tmp_path / "runs", 1, [line(1)])
    (tmp_path / "runs" / name / "checkpoint.safetensors").unlink()
    said = dmd("features", name)
    assert said.code == 2
    assert "checkpoint.safetensors" in said.err
    assert said.err.count("\n") == 1
    assert dmd("features", "abcdef").code == 2
