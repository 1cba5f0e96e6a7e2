"""The authors' state_dict files: the reference outputs from a `.pth` and a pickle, and everything a bad file can be."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_files import WIDTH, token_features, write_bert
from state_files import DIMS, SIZE, predict, random_features, small, state_of, write
from toy_files import save

from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import Checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.layers import named_slices
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.training.fit import Execution

REFERENCES = {"A_mosi_aligned": "mosi", "C_mosei_aligned": "mosei"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, as `Execution` makes them, so that predictions can be compared bit for bit."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("variant", ["", "p/"])
@pytest.mark.parametrize("name", list(REFERENCES))
def test_reference_outputs_from_a_pth_and_a_pickle(name: str, variant: str, shared: Path, tmp_path: Path) -> None:
    """Protects: what the authors published scores here as it does in their code, from their file and their features."""
    if not (shared / "reference" / f"{name}.npz").is_file():
        pytest.skip("the reference arrays are not beside this checkout")
    with np.load(shared / "reference" / f"{name}.npz", allow_pickle=False) as file:
        z = {key: file[key] for key in file.files if not key.startswith("grad")}
    state = {k[6:]: v for k, v in z.items() if k.startswith("state/")}
    state |= {k[5:]: v for k, v in z.items() if variant and k.startswith("pert/")}
    own = {
        k.removeprefix("dmd/"): torch.from_numpy(v.astype(np.float32)) for k, v in state.items() if k.startswith("dmd/")
    }
    pth = write(tmp_path / "dmd.pth", own)
    clips = len(z["input/labels"])
    content = {
        split: {
            **{key: z[f"input/{key}"] for key in ("text", "audio", "vision")},
            "labels": z["input/labels"].reshape(-1, 1, 1),
            "id": np.array([[f"{split}{i}".encode(), b"0", b"1"] for i in range(clips)]),
        }
        for split in ("train", "valid", "test")
    }
    store = Store(tmp_path / "data")
    import_file(save(tmp_path / "file.pkl", content), store, name="reference", dataset=REFERENCES[name])
    done = predict(pth, store.open("reference"))
    wanted = z[f"{variant}res/output_logit"] if f"{variant}res/output_logit" in z else z["res/output_logit"]
    assert np.abs(done.predictions.y_pred - wanted[:, 0]).max() <= 1e-5
    for head in ("l_homo", "a_homo", "v_homo", "l_hetero", "a_hetero", "v_hetero"):
        key = f"res/logits_{head}"
        theirs = z[f"{variant}{key}"] if f"{variant}{key}" in z else z[key]
        assert np.abs(done.predictions.heads[head] - theirs[:, 0]).max() <= 1e-5
    assert done.assumed == {"heads": {"mosi": 10, "mosei": 6}[REFERENCES[name]]}
    assert (done.model, done.mask.off) == ("dmd", ())


def test_any_lengths_and_widths_are_read_from_the_tensors(tmp_path: Path) -> None:
    """Protects: unaligned files are as good as aligned ones; no size is guessed."""
    model, data = small(), random_features()
    path = write(tmp_path / "x.pth", state_of(model))
    sizes = official.sizes_of(official.read_official(Path(path)), "mosi")
    assert (sizes.dims, sizes.steps) == (DIMS, SIZE)
    config = sizes.config
    assert (config.d, config.layers, config.heads) == (20, 2, 10)
    assert [config.kernel(m) for m in "lav"] == [3, 2, 1]
    from dmd_repro.training.feed import evaluate

    wanted = evaluate(model, data.splits, "test", torch.device("cpu"))
    said = predict(path, data).predictions
    assert np.array_equal(said.y_pred, wanted["y_pred"])
    assert all(np.array_equal(said.heads[k], wanted[k]) for k in said.heads)


def test_a_width_equal_to_d_and_wrapped_names(tmp_path: Path) -> None:
    """Protects: neither a skipped projection nor the prefix a wrapper puts before every name is in the way."""
    model, data = small(d=10, heads=5), random_features()
    state = {f"module.{k}": v for k, v in state_of(model).items()}
    assert state["module.proj_l.weight"].shape == (10, 10, 3)
    from dmd_repro.training.feed import evaluate

    wanted = evaluate(model, data.splits, "test", torch.device("cpu"))["y_pred"]
    assert np.array_equal(predict(write(tmp_path / "x.pth", state), data, heads=5).predictions.y_pred, wanted)


def test_heads_are_the_presets_unless_given(tmp_path: Path) -> None:
    """Protects: what no tensor tells is named as an assumption, and can be said."""
    path = write(tmp_path / "x.pth", state_of(small()))
    assumed, given = predict(path, random_features()), predict(path, random_features(), heads=4)
    assert assumed.assumed == {"heads": 10}
    assert given.assumed == {}
    assert not np.array_equal(assumed.predictions.y_pred, given.predictions.y_pred)
    with pytest.raises(SpecError, match=r"a multiple of 3 attention heads.*--heads"):
        predict(path, random_features(), heads=3)


@pytest.mark.parametrize("mask", [("ca",), ("fd", "homogd"), ("ca", "heterogd")])
def test_parts_that_are_off_are_seen(tmp_path: Path, mask: tuple[str, ...]) -> None:
    """Protects: an exported ablation is read as one, not as a broken full model."""
    model, data = small(mask), random_features()
    from dmd_repro.training.feed import evaluate

    done = predict(write(tmp_path / "x.pth", state_of(model)), data)
    assert set(done.mask.off) == set(mask) - {"homogd", "heterogd"}
    wanted = evaluate(model, data.splits, "test", torch.device("cpu"))["y_pred"]
    assert np.array_equal(done.predictions.y_pred, wanted)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.mark, "executed"))


def test_a_full_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    """Protects: scoring a stranger's file cannot execute their code."""
    mark = tmp_path / "mark"
    files = {
        "model": (small(), r"an object of the class dmd_repro\.systems\.dmd\.model\.DMD"),
        "bomb": ({"proj_l.weight": Bomb(mark)}, "was executed"),
        "inside": ({"a": {1, 2}}, "without tensors"),
        "beside": ({"state_dict": {"a": torch.ones(2)}, "args": Namespace(lr=1)}, r"beside them \(argparse.Namespace"),
        "arrays": ({"a": np.ones(3)}, "NumPy arrays"),
    }
    for name, (content, words) in files.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        with pytest.raises(DataError, match=f"expected a state_dict.*{words}"):
            official.read_official(path)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(DataError, match="nothing in it was executed"):
        official.read_official(tmp_path / "plain.pth")
    assert not mark.exists()


def test_missing_and_unknown_names_are_listed(tmp_path: Path) -> None:
    """Protects: a checkpoint of another version says by the file's own names what differs, and what that means."""
    state = state_of(small())
    other = dict(state)
    other["proj9.weight"] = other.pop("proj_a.weight")
    del other["trans_l_mem.layers.1.fc1.bias"]
    behind = {f"module.{k}": v for k, v in other.items()}
    words = (
        r"2 missing \(module\.proj_a\.weight, module\.trans_l_mem\.layers\.1\.fc1\.bias\) "
        r"and 1 unknown \(module\.proj9\.weight\)\. Its code was changed"
    )
    with pytest.raises(DataError, match=words):
        predict(write(tmp_path / "x.pth", behind), random_features())
    with pytest.raises(DataError, match=r"missing \(.*, \.\.\.\) and 1 unknown \(layer\.weight\)\. It is of another"):
        predict(write(tmp_path / "y.pth", {"layer.weight": torch.zeros(2, 2)}), random_features())
    with pytest.raises(DataError, match=r"1 unknown \(cls\.weight\)\. Its model has more parts"):
        predict(write(tmp_path / "z.pth", {**state, "cls.weight": torch.zeros(2, 2)}), random_features())
    with pytest.raises(DataError, match=r"4 missing .*It is a part of one"):
        predict(write(tmp_path / "w.pth", dict(list(state.items())[4:])), random_features())


def test_other_shapes_and_other_data_are_named(tmp_path: Path) -> None:
    """Protects: widths and lengths that do not fit are told by modality, before any product fails."""
    path = write(tmp_path / "x.pth", state_of(small()))
    with pytest.raises(DataError, match=r"10 channels of language.*got 11 in 'toy'"):
        predict(path, random_features({**DIMS, "l": 11}))
    model = small()
    longer = DMD(model.config, dims=DIMS, steps={**SIZE, "a": 30}, seeds=(1,))
    with pytest.raises(DataError, match=r"30 time steps of acoustic.*got 9 in 'toy'"):
        predict(write(tmp_path / "y.pth", state_of(longer)), random_features())
    state = state_of(small())
    state["proj2.weight"] = torch.zeros(7, 7)
    with pytest.raises(DataError, match=r"z\.pth, proj2\.weight: expected shape"):
        predict(write(tmp_path / "z.pth", state), random_features())
    state = state_of(small())
    state["proj_l.weight"] = torch.zeros(20, 10)
    with pytest.raises(DataError, match="the shapes of a DMD"):
        predict(write(tmp_path / "w.pth", state), random_features())


def test_a_checkpoint_with_bert_inside(tmp_path: Path) -> None:
    """Protects: the authors' fine-tuned BERT is read from the file; its heads, which no tensor tells, are asked for."""
    folder = write_bert(tmp_path / "bert")
    bert = load_bert(folder)
    config = small().config
    system = DMD(config, dims={**DIMS, "l": WIDTH}, steps=SIZE, seeds=(5,)).eval()
    whole = WithBert(system, bert)
    with torch.no_grad():
        for p in whole.text_model.model.parameters():
            p += 0.01
    weights = {name: p.detach()[0, e].numpy() for name, p, e in named_slices(system)}
    content = official.official_bytes(weights, whole.text_model.model.state_dict(), config)
    (tmp_path / "x.pth").write_bytes(content)
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    state["text_model.model.embeddings.position_ids"] = torch.arange(16)[None]  # older files hold this buffer
    path = write(tmp_path / "x.pth", state)
    assert "text_model.model.encoder.layer.0.attention.self.query.weight" in state
    data = token_features()
    with pytest.raises(SpecError, match=r"its attention heads.*--bert"):
        predict(path, data)
    from dmd_repro.training.feed import evaluate

    done = predict(path, data, execution=Execution(bert=folder))
    wanted = evaluate(whole, data.splits, "test", torch.device("cpu"))["y_pred"]
    assert np.array_equal(done.predictions.y_pred, wanted)
    assert done.assumed == {"heads": 10, "bert_heads": 3}
    with pytest.raises(DataError, match="Add --text bert"):
        predict(path, random_features(), execution=Execution(bert=folder))
    with pytest.raises(DataError, match="holds no BERT"):
        predict(write(tmp_path / "y.pth", state_of(small())), data)
    del state["text_model.model.encoder.layer.1.output.dense.weight"]
    with pytest.raises(DataError, match=r"missing .*encoder\.layer\.1\.output\.dense\.weight"):
        predict(write(tmp_path / "z.pth", state), data, execution=Execution(bert=folder))


def test_a_checkpoint_knows_the_text_it_needs(tmp_path: Path) -> None:
    """Protects: a file with BERT inside asks for token ids by itself."""
    plain = official.read_official(Path(write(tmp_path / "x.pth", state_of(small()))))
    assert Checkpoint("x", state=plain).text is None
    inside = official.OfficialState(
        "x", plain.weights, {"embeddings.word_embeddings.weight": torch.zeros(2, 2)}, plain.file
    )
    assert Checkpoint("x", state=inside).text == "bert"
