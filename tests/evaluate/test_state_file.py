"""A stranger's checkpoint file: unwrapped, named for what it is, never a traceback, never more memory than itself."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from state_files import predict, random_features, small, state_of, write

from dmd_repro.errors import DataError, SpecError
from dmd_repro.evaluate import official


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
    "negated view": lambda v: torch._neg_view(-v),
    "gaps": lambda v: torch.stack([v, v], dim=-1)[..., 0],
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


@cache
def one_layer() -> dict[str, torch.Tensor]:
    """Return a whole state of one layer an encoder: saving and reading it again is what these tests do 190 times."""
    return state_of(small(layers=1))


READ = {"bf16", "parameter", "f8", "negated view", "gaps"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_tensor_is_read_or_a_sentence(tmp_path: Path, kind: str) -> None:
    """Protects: no tensor a stranger saved ends in a traceback, and none without values is scored."""
    state = one_layer()
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


@pytest.mark.parametrize(
    ("saved", "got"),
    [
        (torch.zeros(3), "a single tensor"),
        (torch.tensor(0.0), "a single tensor"),
        ([torch.zeros(3)], "a value of type list without"),
        (0.0, "a value of type float without"),
        (None, "nothing in it"),
        ({}, "nothing in it"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, saved: object, got: str) -> None:
    """Protects: a saved prediction or number in place of the weights ends in a sentence."""
    torch.save(saved, tmp_path / "x.pth")
    with pytest.raises(DataError, match=f"got {got}"):
        official.read_official(tmp_path / "x.pth", "F")


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
