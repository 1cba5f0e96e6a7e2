"""`dmd ablate`: which arms a question has, the same batches for all, reuse, and the paired difference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import Here
from made_records import LABELS, predictions_with, spec_for, stamp_for, write_record

from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import generate
from dmd_repro.errors import SpecError
from dmd_repro.papers.tables import load_table
from dmd_repro.planning.ablate import Arm, arms_of, masks_asked, plan_ablation, plan_name, switches_asked
from dmd_repro.planning.plans import PlannedRow, TablePlan, load_plan
from dmd_repro.records.folder import Predictions, Records
from dmd_repro.render.sheet import render_sheets
from dmd_repro.results.ablation import ablation_sheet, baseline_of, compare_arms
from dmd_repro.spec import AblationMask, run_id
from dmd_repro.stats.paired import paired
from dmd_repro.systems.resolve import resolve_spec
from dmd_repro.training.loop import Loop

TINY = ("--set", "d=4", "--set", "heads=2", "--set", "layers=1", "--epochs", "1", "--jobs", "1")
HERE = ("--data", "synthetic", "--seeds", "2", *TINY)
ROW = load_table("table3").row("mosi-unaligned-glove-dmd")


@pytest.fixture
def dmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command, in a folder of its own."""
    return Here(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("drop", "keep", "off"),
    [
        (["heterogd"], [], ("heterogd",)),
        (["ca,heterogd"], [], ("ca", "heterogd")),
        (["ca", " heterogd "], [], ("ca", "heterogd")),
        ([], ["fd"], ("ca", "heterogd", "homogd")),
        ([], ["fd", "ca"], ("heterogd", "homogd")),
        (["ca"], ["fd"], ("ca", "heterogd", "homogd")),
        (["fd,homogd,ca,heterogd"], [], ("ca", "fd", "heterogd", "homogd")),
    ],
)
def test_parts_can_be_dropped_or_kept(drop: list[str], keep: list[str], off: tuple[str, ...]) -> None:
    """`--keep` is the complement of `--drop`, and both take lists and repetitions."""
    assert masks_asked("dmd", drop, keep, False) == [AblationMask(off)]


def test_all_masks_are_the_sixteen() -> None:
    """Fifteen arms beside the full model, each once."""
    masks = masks_asked("dmd", [], [], True)
    assert len(masks) == len(set(masks)) == 15
    arms = arms_of("dmd", ["official"], masks, [], mixed=False)
    assert [arm.key for arm in arms[:3]] == ["full", "-ca", "-fd"]
    assert all(arm.against == "full" for arm in arms[1:])
    assert plan_name("dmd", arms) == "ablate-all-masks"


def test_every_question_has_a_plan_of_its_own() -> None:
    """A second question on the same data does not overwrite the plan of the first."""
    masks, switches = (
        masks_asked("dmd", ["ca"], [], False),
        switches_asked("dmd", ["edge_prior=uniform"], "official", {}),
    )
    names = [
        plan_name("dmd", arms_of("dmd", ["official"], masks, [], mixed=False)),
        plan_name("dmd", arms_of("dmd", ["official"], [], switches, mixed=False)),
        plan_name("dmd", arms_of("dmd", ["paper"], masks, [], mixed=False)),
        plan_name("dmd", arms_of("dmd", ["official", "paper"], [], [], mixed=True)),
    ]
    assert names == ["ablate-ca", "ablate-edge_prior=uniform", "ablate-paper-ca", "ablate-official-paper"]
    long = [Arm(f"s{i}=1", f"s{i}=1", "full", "official") for i in range(40)]
    assert len(plan_name("dmd", long)) < 100


def test_protocols_are_mixed_only_when_asked_and_then_by_row() -> None:
    """Each masked arm is compared with the full model of its own protocol, the second full model with the first."""
    masks = [AblationMask(("ca",))]
    with pytest.raises(SpecError, match="--mix-protocols"):
        arms_of("dmd", ["official", "paper"], masks, [], mixed=False)
    keys = [arm.key for arm in arms_of("dmd", ["official", "paper"], masks, [], mixed=True)]
    assert keys == ["official:full", "official:-ca", "paper:full", "paper:-ca"]
    bases = [baseline_of(key, keys) for key in keys]
    assert bases == [None, "official:full", "official:full", "paper:full"]
    assert [arm.against for arm in arms_of("dmd", ["official", "paper"], masks, [], mixed=True)] == bases


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--drop heterogd, --keep fd, --all-masks or --switch"),
        (("--drop", "hetergd"), "Did you mean 'heterogd'?"),
        (("--drop", "ca", "--keep", "ca"), "got both"),
        (("--keep", "fd,ca,homogd,heterogd"), "Keep fewer"),
        (("--drop", ","), "ca, fd, heterogd, homogd"),
        (("--all-masks", "--drop", "ca"), "--all-masks"),
        (("--drop", "ca", "--model", "mult"), "mult has no part"),
        (("--switch", "edge_prio=uniform"), "Did you mean 'edge_prior'?"),
        (("--switch", "edge_prior"), "name=value"),
        (("--model", "mult", "--switch", "gd=true"), "mult, which declares none"),
        (("--switch", "edge_prior=unifrm"), "Did you mean 'uniform'?"),
        (("--switch", "edge_reg=maybe"), "--switch edge_reg: expected true or false"),
        (("--switch", "edge_reg=true"), "another value"),
        (("--switch", "edge_prior=none"), "--switch edge_reg=false"),
        (("--switch", "clip=0.3", "--set", "clip_value=0.1"), "each switch once"),
        (("--switch", "accumulate=1"), "one and the same"),  # the synthetic preset steps at every batch already
        (("--drop", "ca", "--set", "modalities=q"), "one or more of l, a and v"),
        (("--drop", "ca", "--set", "modalities=l"), "they join modalities"),
        (("--drop", "ca", "--protocol", "papr"), "Did you mean 'paper'?"),
        (("--drop", "ca", "--protocol", "official", "--protocol", "paper"), "--mix-protocols"),
        (("--drop", "ca", "--data", "nothing"), "'nothing'"),
    ],
)
def test_a_slip_is_one_sentence(dmd: Here, arguments: tuple[str, ...], told: str) -> None:
    """Nothing is trained or written before the question makes sense; the nearest name is suggested."""
    data = () if "--data" in arguments else ("--data", "synthetic")
    said = dmd("ablate", *arguments, *data, "--seeds", "2")
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert not (dmd.folder / "runs").exists()


def test_without_data_the_synthetic_ones_are_offered(dmd: Here) -> None:
    """Stand-in data are never chosen in silence."""
    said = dmd("ablate", "--drop", "ca")
    assert said.code == 2
    assert "mosi-unaligned-glove" in said.err
    assert "--data synthetic" in said.err


def test_the_order_of_clips_is_the_same_whatever_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models see the same batches in the same order, or the difference would not be the part's."""
    import torch

    data, orders = generate(aligned=False), {}
    real = Loop.train_batches

    def noted(self: Loop, order, mark=None):
        orders.setdefault(self.specs[0].mask.off, []).append(np.array(order))
        return [({"total": 0.0}, {})]

    monkeypatch.setattr(Loop, "train_batches", noted)
    for off in ((), ("heterogd",), ("ca", "fd", "heterogd", "homogd")):
        spec = resolve_spec(
            "dmd", seed=9, features=data, mask=AblationMask(off), overrides={"d": 4, "heads": 2, "layers": 1}
        )
        loop = Loop([spec], data, torch.device("cpu"))
        for _ in range(2):
            loop.epoch()
    assert real is not noted
    first, *others = orders.values()
    assert not np.array_equal(first[0], first[1])
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_full_and_masked_stand_side_by_side_and_nothing_is_trained_twice(dmd: Here) -> None:
    """The table the issue asks for, from nothing; then a second question uses the runs of the first."""
    said = dmd("ablate", "--drop", "heterogd", *HERE)
    assert said.code == 0
    assert "SYNTHETIC DATA" in said.out
    assert "-heterogd beside full" in said.out
    assert "4 to train" in said.out
    again = dmd("ablate", "--drop", "ca", "--switch", "edge_prior=uniform", *HERE, "--json")
    document = json.loads(again.out)
    assert (document["to_train"], document["reused"]) == (4, 2)
    assert "2 reused from ablate-heterogd" in again.err
    full, ca, switched = document["arms"]
    assert [arm["key"] for arm in (full, ca, switched)] == ["full", "-ca", "edge_prior=uniform"]
    assert full["effects"] == []
    for arm in (ca, switched):
        for effect in arm["effects"]:
            ours, base = (side["values"][effect["measure"]] for side in (arm, full))
            expected = paired({int(k): v for k, v in ours.items()}, {int(k): v for k, v in base.items()})
            assert effect["difference"] == pytest.approx(expected.summary.mean)
            assert effect["p"] == (pytest.approx(expected.test.p) if expected.test else None)
            assert effect["n"] == 2
    table = dmd("reproduce", "table3", "--rows", "mosi-unaligned-glove-dmd-no-ca", *HERE, "--json")
    assert json.loads(table.out)["to_train"] == 0
    plan = load_plan(dmd.folder / "runs", "ablate-ca-edge_prior=uniform", "synthetic")
    assert plan is not None
    assert list(plan.rows) == ["full", "-ca", "edge_prior=uniform"]


def test_two_protocols_are_named_in_every_row(dmd: Here) -> None:
    """Mixed on request, the table says of each row which protocol it is."""
    said = dmd("ablate", "--protocol", "official", "--protocol", "paper", "--mix-protocols", *HERE, "--json")
    document = json.loads(said.out)
    assert [(arm["key"], arm["protocol"]) for arm in document["arms"]] == [
        ("official:full", "official"), ("paper:full", "paper"),
    ]  # fmt: skip
    assert "two protocols" in document["notes"][0]


def test_a_dry_run_writes_nothing(dmd: Here) -> None:
    """The plan and its estimate can be looked at first."""
    said = dmd("ablate", "--all-masks", "--data", "synthetic", "--seeds", "1", *TINY, "--dry-run", "--json")
    assert json.loads(said.out)["to_train"] == 16
    assert not (dmd.folder / "runs").exists()


def plan_over(runs: Path, wrong: dict[str, dict[int, int | None]]) -> TablePlan:
    """A plan of arms whose runs call that many of eight clips wrong; None: predictions that are not numbers."""
    rows = {}
    for key, by_seed in wrong.items():
        mask = AblationMask(() if key == "full" else (key.lstrip("-"),))
        found = {}
        for seed, count in by_seed.items():
            spec = spec_for(ROW, seed, mask=mask)
            scores = np.full_like(LABELS, np.nan) if count is None else predictions_with(count)
            write_record(runs, spec, stamp_for(ROW), scores)
            found[seed] = run_id(spec, stamp_for(ROW).digest)
        rows[key] = PlannedRow("planned", features={**stamp_for(ROW).to_json()}, runs=found)
    return TablePlan("ablate-test", ("mosi-unaligned-glove",), (1, 2, 3), rows)


def test_differences_are_paired_by_seed_and_corrected_over_the_arms(tmp_path: Path) -> None:
    """The difference is of equal seeds; with several arms each p has Holm's beside it."""
    plan = plan_over(tmp_path, {"full": {1: 0, 2: 1, 3: 2}, "-ca": {1: 1, 2: 2, 3: 4}, "-fd": {1: 4, 2: 4, 3: 6}})
    arms = compare_arms(plan, Records(tmp_path))
    acc = {arm.key: next(e for e in arm.effects if e.measure == "acc2_non0") for arm in arms[1:]}
    assert acc["-ca"].paired.summary.mean == pytest.approx(-12.5 * 4 / 3)
    assert acc["-fd"].paired.summary.mean == pytest.approx(-12.5 * 11 / 3)
    low, high = sorted(acc.values(), key=lambda e: e.p or 1)
    assert low.p_holm == pytest.approx(min(1, 2 * (low.p or 0)))
    assert high.p_holm == pytest.approx(max(low.p_holm or 0, high.p or 0))
    for format_ in ("terminal", "markdown", "latex", "json"):
        text = render_sheets([ablation_sheet("Ablation", plan, arms)], format_)
        assert "-fd" in text
        assert "16.67" in text or "16.66" in text


def test_a_failed_run_withholds_the_test(tmp_path: Path) -> None:
    """A diverged run is counted as failed and no p-value is made of the ones that were left."""
    plan = plan_over(tmp_path, {"full": {1: 0, 2: 1, 3: 2}, "-ca": {1: 1, 2: 3, 3: None}})
    _, arm = compare_arms(plan, Records(tmp_path))
    assert arm.scored.failed == [3]
    assert all(effect.p is None and "failed" in (effect.why_not or "") for effect in arm.effects)
    assert all(effect.paired.seeds == (1, 2) for effect in arm.effects if effect.measure != "corr")


def test_one_seed_has_no_test_and_says_so(tmp_path: Path) -> None:
    """One pair of runs has a difference but no spread."""
    plan = plan_over(tmp_path, {"full": {1: 0}, "-ca": {1: 1}})
    _, arm = compare_arms(plan, Records(tmp_path))
    effect = arm.effects[0]
    assert effect.paired.summary.mean == pytest.approx(-12.5)
    assert (effect.p, effect.why_not) == (None, "no test: one seed has no spread")


def test_a_run_that_did_not_learn_withholds_interval_and_test(tmp_path: Path) -> None:
    """Runs that learned and runs that did not are no normal sample: said by name, with means over those that did."""
    labels = np.tile(np.array([-2, -1, 1, 2], dtype=np.float32), 10)
    rows = {}
    for key, off in (("full", ()), ("-ca", ("ca",))):
        found = {}
        for seed in (1, 2, 3):
            spec = spec_for(ROW, seed, mask=AblationMask(off))
            scores = labels + np.linspace(0, 0.1 * seed, 40, dtype=np.float32)
            scores[: 4 * seed] *= -1
            constant = np.full(40, 0.5, np.float32)
            said = Predictions(
                tuple(f"v{i}" for i in range(40)), labels, constant if (key, seed) == ("-ca", 2) else scores, {}
            )
            with Records(tmp_path).begin(spec, stamp_for(ROW), {"execution": {"device": "cpu"}}) as writer:
                (writer.path / "history.jsonl").write_text('{"epoch": 1}\n')
                writer.finish(
                    predictions={"valid": said, "test": said}, provenance={"best_epoch": 1},
                    epochs={"valid": said.y_pred[None], "test": said.y_pred[None]},
                    checkpoint={"w": np.zeros(1, np.float32)},
                )  # fmt: skip
            found[seed] = run_id(spec, stamp_for(ROW).digest)
        rows[key] = PlannedRow("planned", features={**stamp_for(ROW).to_json()}, runs=found)
    plan = TablePlan("ablate-test", ("mosi-unaligned-glove",), (1, 2, 3), rows)
    arms = compare_arms(plan, Records(tmp_path))
    assert [arm.scored.not_learned for arm in arms] == [[], [2]]
    assert all(effect.p is None and effect.interval is None for effect in arms[1].effects)
    kept = [v for seed, v in arms[1].scored.values["acc2_non0"].items() if seed != 2]
    document = arms[1].to_json()
    assert document["means_of_learned"]["acc2_non0"] == pytest.approx(sum(kept) / 2)
    for format_ in ("terminal", "markdown", "latex", "html", "json"):
        text = " ".join(render_sheets([ablation_sheet("Ablation", plan, arms)], format_).split())
        assert "2 of 3 learned" in text, format_
    assert ablation_sheet("Ablation", plan, arms).answer[0].startswith("-ca beside full: ACC2 non0 ")


def test_mosi_files_are_planned_in_their_own_setting(tmp_path: Path) -> None:
    """A named synthetic set keeps its setting; the family takes Table 3's, so that its runs are shared."""
    arms = arms_of("dmd", ["official"], [AblationMask(("ca",))], [], mixed=False)
    rows = {}
    for name in ("synthetic", "synthetic-aligned-hidden"):
        grid = plan_ablation(
            "dmd", arms, data=name, seeds=(1,), store=Store(tmp_path / "data"), records=Records(tmp_path / "runs"),
            overrides={"d": "4", "heads": "2"},
        )  # fmt: skip
        rows[name] = grid.plan.rows["full"].features["name"]  # type: ignore[index]
    assert rows == {"synthetic": "synthetic-unaligned-glove", "synthetic-aligned-hidden": "synthetic-aligned-hidden"}


def test_a_table_follows_one_protocol_unless_asked(dmd: Here) -> None:
    """Rows of an earlier plan under the authors' code are not mixed with new ones under the equations in silence."""
    row = ("reproduce", "table3", "--rows", "mosi-unaligned-glove-dmd", *HERE)
    other = ("reproduce", "table3", "--rows", "mosi-unaligned-glove-dmd-no-ca", *HERE, "--protocol", "paper")
    assert dmd(*row).code == 0
    refused = dmd(*other)
    assert refused.code == 2
    assert "one protocol for the rows of dmd, got official and paper" in refused.err
    mixed = dmd(*other, "--mix-protocols", "--json")
    rows = {row["key"]: row for block in json.loads(mixed.out)["table"]["blocks"] for row in block["rows"]}
    assert "protocol paper" in rows["mosi-unaligned-glove-dmd-no-ca"]["notes"]
    assert "protocol paper" not in rows["mosi-unaligned-glove-dmd"]["notes"]
    assert "Did you mean 'paper'?" in dmd(*other[:-1], "papre").err
