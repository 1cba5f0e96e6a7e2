"""The authors' state_dict files: the reference outputs from a `.pth` and a pickle, and everything a bad file can be."""

from __future__ import annotations

import pickle
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_files import SIZES, STEPS, WIDTH, arrays, token_features, write_bert
from toy_files import save

from dmd_repro.data.features import Features
from dmd_repro.data.formats.importer import import_file
from dmd_repro.data.store.digest import feature_set, features
from dmd_repro.data.store.folder import Store
from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate import official
from dmd_repro.evaluate.checkpoint import Checkpoint, open_checkpoint
from dmd_repro.evaluate.predict import evaluate_checkpoint
from dmd_repro.nn.bert import load_bert
from dmd_repro.nn.layers import named_slices
from dmd_repro.records.folder import Records
from dmd_repro.systems.bert_text import WithBert
from dmd_repro.systems.dmd.config import DMDConfig
from dmd_repro.systems.dmd.model import DMD
from dmd_repro.training.fit import Execution

REFERENCES = {"A_mosi_aligned": "mosi", "C_mosei_aligned": "mosei"}
DIMS, SIZE = {"l": 10, "a": 3, "v": 4}, {"l": STEPS, "a": 9, "v": 8}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, as `Execution` makes them, so that predictions can be compared bit for bit."""
    torch.set_num_threads(1)


def small(mask: tuple[str, ...] = (), **changes: Any) -> DMD:
    """Return a random DMD of mosi's heads on small, unequal lengths."""
    from dmd_repro.spec import AblationMask

    config = DMD.preset("mosi", aligned=False, protocol="official")
    changes = {"d": 20, "layers": 2, "kernel_l": 3, "kernel_a": 2, "kernel_v": 1, **changes}
    config = DMDConfig.from_dict({**config.to_dict(), **changes})
    return DMD(config, dims=DIMS, steps=SIZE, mask=AblationMask(mask), seeds=(5,)).eval()


def state_of(model: DMD) -> dict[str, torch.Tensor]:
    """Return the bytes' content for a model under the authors' names."""
    import io

    weights = {name: p.detach()[0, e].numpy() for name, p, e in named_slices(model)}
    return torch.load(io.BytesIO(official.official_bytes(weights, {}, model.config)), weights_only=True)


def random_features(dims: dict[str, int] = DIMS, name: str = "toy") -> Features:
    """Return unaligned features of these widths."""
    generator = np.random.Generator(np.random.PCG64(2))
    splits = {
        split: feature_set(
            ids=[f"{split}$_${i}" for i in range(n)],
            language=generator.standard_normal((n, STEPS, dims["l"]), dtype=np.float32),
            aligned=False,
            **arrays(n, n),
        )
        for split, n in SIZES.items()
    }
    return features(name, "mosi", splits, text="glove", standing="partial")


def write(path: Path, state: Any) -> str:
    """Save a state_dict (or anything) as torch does."""
    torch.save(state, path)
    return str(path)


def predict(path: str, data: Features, split: str = "test", **options: Any) -> Any:
    """Open a file and evaluate it."""
    checkpoint = open_checkpoint(path, Records(Path(path).parent / "none"))
    return evaluate_checkpoint(checkpoint, data, split, execution=options.pop("execution", Execution()), **options)


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

    wanted = evaluate(model, data.splits["test"], torch.device("cpu"))
    said = predict(path, data).predictions
    assert np.array_equal(said.y_pred, wanted["y_pred"])
    assert all(np.array_equal(said.heads[k], wanted[k]) for k in said.heads)


def test_a_width_equal_to_d_and_wrapped_names(tmp_path: Path) -> None:
    """Protects: neither a skipped projection nor the prefix a wrapper puts before every name is in the way."""
    model, data = small(d=10, heads=5), random_features()
    state = {f"module.{k}": v for k, v in state_of(model).items()}
    assert state["module.proj_l.weight"].shape == (10, 10, 3)
    from dmd_repro.training.feed import evaluate

    wanted = evaluate(model, data.splits["test"], torch.device("cpu"))["y_pred"]
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
    wanted = evaluate(model, data.splits["test"], torch.device("cpu"))["y_pred"]
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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"not a checkpoint", "a file of text"),
        (b"PK\x03\x04" + bytes(50), "cut off or damaged"),
        (b"\x80\x04.", "was executed"),
        (b"<!DOCTYPE html><html>quota", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file"),
        ((10**6).to_bytes(8, "little") + b'{"a"', "a safetensors file cut off"),
    ],
)
def test_a_cut_or_foreign_file_is_called_that(tmp_path: Path, content: bytes, words: str) -> None:
    """Protects: half a download, a web page or another program's file is named for what it is."""
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=words):
        official.read_official(tmp_path / "x.pth")


def test_a_cut_checkpoint_is_called_cut(tmp_path: Path) -> None:
    """Protects: a user with half a file is sent to fetch it again, not to its trainer; archives of others are named."""
    whole, old = write(tmp_path / "y.pth", state_of(small())), tmp_path / "old.pth"
    torch.save(state_of(small()), old, _use_new_zipfile_serialization=False)
    for path in (Path(whole), old):
        cut = tmp_path / "z.pth"
        cut.write_bytes(path.read_bytes()[:20_000])
        with pytest.raises(DataError, match="cut off or damaged"):
            official.read_official(cut)
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    with pytest.raises(DataError, match=r"NumPy arrays \(\.npz\)"):
        official.read_official(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3, "model": {}}, {"optimizer": {"a": torch.zeros(2)}}])
def test_other_content_is_named(tmp_path: Path, content: Any) -> None:
    """Protects: a file without weights is told apart from a state_dict; an optimizer's moments are no weights."""
    with pytest.raises(DataError, match=r"expected a state_dict.*state_dict\(\)"):
        official.read_official(Path(write(tmp_path / "x.pth", content)))


def wrapped(state: dict[str, torch.Tensor]) -> dict[str, tuple[Any, str]]:
    """Return the shapes in which trainers save a state_dict, and what is said of each."""
    moments = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}

    def behind(prefix: str) -> dict[str, torch.Tensor]:
        return {prefix + k: v for k, v in state.items()}

    return {
        "plain": (state, ""),
        "state_dict": ({"state_dict": state, "epoch": 7, "best": 0.7}, "under 'state_dict'"),
        "model_state_dict": ({"model_state_dict": state, "epoch": 7}, "under 'model_state_dict'"),
        "model": ({"model": state, "optimizer": moments, "epoch": 3}, "under 'model'"),
        "net": ({"net": behind("module."), "args": {"lr": 1e-4}}, "under 'net', the names without 'module.'"),
        "compiled": (behind("_orig_mod."), "without '_orig_mod.'"),
        "mmsa": (behind("module.Model."), "without 'module.Model.'"),
        "list": ([state, {}, {}], "under '0'"),
        "first": (behind("model.0."), "without 'model.0.'"),
        "half": ({k: v.double() for k, v in state.items()}, ""),
        "parameter": ({k: torch.nn.Parameter(v) for k, v in state.items()}, ""),
        "of two": ({"teacher": {"a.weight": torch.ones(2)}, "student": state}, "under 'student'"),
    }


def test_wrapped_files_are_read_and_the_wrapping_is_said(tmp_path: Path) -> None:
    """Protects: a training snapshot as users have it scores as the bare weights do, and says what was read."""
    state, data = state_of(small()), random_features()
    wanted = predict(write(tmp_path / "x.pth", state), data).predictions.y_pred
    for name, (content, words) in wrapped(state).items():
        done = predict(write(tmp_path / f"{name}.pth", content), data)
        assert np.array_equal(done.predictions.y_pred, wanted), name
        assert words in done.notes[0], name
        assert done.notes[0].startswith("read: ") == bool(words), name
    from safetensors.torch import save_file

    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "x.safetensors")
    assert np.array_equal(predict(str(tmp_path / "x.safetensors"), data).predictions.y_pred, wanted)


def test_several_models_in_one_file_are_listed(tmp_path: Path) -> None:
    """Protects: of two whole models none is taken silently."""
    state = state_of(small())
    two = {"model": state, "ema": {k: v + 1 for k, v in state.items()}}
    with pytest.raises(DataError, match=r"one model, got 2 of them \('model', 'ema'\)"):
        predict(write(tmp_path / "x.pth", two), random_features())
    both = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in state.items()}
    with pytest.raises(DataError, match=r"2 of them \('student\.', 'teacher\.'\)"):
        predict(write(tmp_path / "y.pth", both), random_features())


KINDS: dict[str, Any] = {
    "T": lambda v: v.t() if v.ndim == 2 else v.flip(0),
    "0d": lambda v: v.reshape(-1)[0],
    "empty": lambda v: v[:0],
    "extra axis": lambda v: v.unsqueeze(0),
    "flat": lambda v: v.reshape(-1),
    "int": lambda v: v.to(torch.int64),
    "bool": lambda v: v > 0,
    "complex": lambda v: v.to(torch.complex64),
    "bf16": lambda v: v.bfloat16(),
    "meta": lambda v: v.to("meta"),
    "parameter": lambda v: torch.nn.Parameter(v),
    "quantised": lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
    "sparse": lambda v: v.to_sparse(),
    "csr": lambda v: v.to_sparse_csr() if v.ndim == 2 else v.to_sparse(),
    "doubled": lambda v: torch.cat([v, v]),
    "f8": lambda v: v.to(torch.float8_e4m3fn),
    "nan": lambda v: v * float("nan"),
    "none": lambda v: None,
    "list": lambda v: [v],
}
SAID = {
    "int": "one of int64", "bool": "one of bool", "complex": "one of complex64", "meta": "device 'meta'",
    "quantised": "a quantised one", "sparse": "a sparse one", "csr": "a sparse one", "nan": "NaN or inf",
    "none": "a value of type NoneType", "list": "a value of type list", "doubled": "", "empty": "", "0d": "",
}  # fmt: skip
READ = {"bf16", "parameter", "f8"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_tensor_is_read_or_a_sentence(tmp_path: Path, kind: str) -> None:
    """Protects: no tensor a stranger saved ends in a traceback, and none without values is scored."""
    state = state_of(small())
    sample = ("out_layer.bias", "proj1_l_low.weight", "proj_l.weight", "proj_a.weight", "proj1_c.weight")
    many = [n for n in state if "layers.0.self_attn" in n][:4]
    for name in (*sample, *many):
        path = tmp_path / "x.pth"
        torch.save({**state, name: KINDS[kind](state[name])}, path)
        said = ""
        try:
            read = official.read_official(path, "F")
            official.build_official(read, official.sizes_of(read, "mosi"))
        except (DataError, SpecError) as error:
            said = str(error)
        if kind in READ:
            assert not said, name
        elif kind not in ("T", "flat"):  # a bias turned is a bias
            assert said, name
            assert SAID.get(kind, "") in said


def test_a_file_cannot_fill_more_memory_than_itself(tmp_path: Path) -> None:
    """Protects: a small file that unfolds to gigabytes is refused before they are taken."""
    state = state_of(small())
    torch.save({**state, "out_layer.weight": torch.zeros(1).expand(20_000, 50_000)}, tmp_path / "wide.pth")
    torch.save({**state, "out_layer.weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as old, zipfile.ZipFile(tmp_path / "packed.pth", "w", 8) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    for name in ("wide", "packed"):
        with pytest.raises(DataError, match=r"unfolds to [\d,]+ MB"):
            official.read_official(tmp_path / f"{name}.pth")


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
    wanted = evaluate(whole, data.splits["test"], torch.device("cpu"))["y_pred"]
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
