"""The two public families of feature files, recognised by their columns and turned into one validated layout.

MulT family (`mosi_data.pkl`, `mosei_senti_data_noalign.pkl`, ...): text, audio, vision, labels (N, 1, 1), id (N, 3) or
(N, 1); its text is GloVe. MMSA family (`aligned_50.pkl`, `unaligned_50.pkl`): text (BERT states), text_bert (token
ids), audio, vision, regression_labels, id `VIDEO$_$CLIP`, and lengths in the unaligned file. A file's name is no
evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmd_repro.data.features import TextKind
from dmd_repro.data.formats import columns
from dmd_repro.data.formats.columns import Column, NanRule
from dmd_repro.data.formats.incoming import Incoming, IncomingSplit
from dmd_repro.data.formats.which import standing_of, told_dataset
from dmd_repro.data.pickle_gate.filearray import Blocks
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, SPLITS, check_shape

_SEQUENCES = {"acoustic": "audio", "visual": "vision"}
GLOVE_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Family:
    """One layout: its name and the column of labels, which tells it."""

    name: str
    labels: str


MMSA = Family("MMSA", "regression_labels")
MULT = Family("MulT", "labels")


def recognise(raw: Any, file: str) -> Family:
    """Return the family of an unpickled file; DataError naming what is missing if it is neither."""
    if not isinstance(raw, dict) or any(not isinstance(raw.get(s), dict) for s in SPLITS):
        got = f"the keys {_keys(raw)}" if isinstance(raw, dict) else f"a {type(raw).__name__}"
        raise DataError.at(
            file,
            expected="a dict with a dict for each of train, valid and test",
            got=got,
            do="Import a feature file of the MMSA or the MulT family",
        )
    family = MMSA if MMSA.labels in raw["train"] else MULT
    for split in SPLITS:
        part = raw[split]
        missing = [key for key in ("audio", "vision", family.labels) if key not in part]
        if "text" not in part and "text_bert" not in part:
            missing.append("text")
        if missing:
            wanted = "labels (or regression_labels)" if family is MULT else family.labels
            names = ", ".join(wanted if key == family.labels else key for key in missing)
            raise DataError.at(
                f"{file}, split {split}",
                expected=f"the columns of a feature file, {names} among them",
                got=f"the columns {_keys(part)}",
                do="Import a feature file of the MMSA or the MulT family",
            )
    return family


def convert(raw: Any, file: str, *, dataset: str | None = None, nan: NanRule = "refuse") -> Incoming:
    """Validate an unpickled feature file and return it in the store's layout.

    `file` names it in messages. Columns are released from `raw` as they are converted. Raises DataError on anything
    that cannot be kept as it is: wrong columns or shapes, values that are not finite (see `columns.sequences`), labels
    outside [-3, 3], lengths that disagree, a data set the file does not tell and `dataset` does not name.
    """
    family = recognise(raw, file)
    parts = {s: dict(raw[s]) for s in SPLITS}  # shallow: the splits may be one object
    raw.clear()
    warnings: list[str] = []
    replaced: dict[str, dict[str, int]] = {}
    given = {m: all(f"{key}_lengths" in parts[s] for s in SPLITS) for m, key in (("a", "audio"), ("v", "vision"))}
    splits: dict[str, IncomingSplit] = {}
    known: dict[str, int] = {}
    for split in SPLITS:
        splits[split] = _split(parts[split], family, file, split, nan, known, given, warnings, replaced)
    texts = tuple(k for k in ("glove", "hidden", "bert") if all(f"language_{k}" in splits[s].arrays for s in SPLITS))
    if not texts:
        raise DataError.at(file, expected="one kind of text in all splits", got="none", do="Get the file again")
    aligned = _aligned(splits, given, texts[0])
    sizes = {s: len(splits[s].ids) for s in SPLITS}
    widths = {"a": known["D_a"], "v": known["D_v"]} | ({"l": known["D_l"]} if "D_l" in known else {})
    told, remarks = told_dataset(dataset, widths, sizes, file)
    standing, more = standing_of(told, sizes)
    across = [n for n in Counter(i for s in SPLITS for i in splits[s].ids).values() if n > 1]
    if across:
        warnings.append(f"{len(across)} ids stand in more than one split")
    for what, counts in replaced.items():
        listed = ", ".join(f"{split} {n}" for split, n in counts.items())
        reason = ", as the authors' loader does" if what == "audio -inf" else ", as --nan zero asks"
        warnings.append(f"{what} set to 0{reason}: {listed}")
    return Incoming(
        dataset=told,
        aligned=aligned,
        texts=texts,  # type: ignore[arg-type]
        standing=standing,
        splits=splits,
        warnings=(*warnings, *remarks, *more),
        replaced=replaced,
        source={"family": family.name},
    )


def _split(
    part: dict[str, Any],
    family: Family,
    file: str,
    split: str,
    nan: NanRule,
    known: dict[str, int],
    given: Mapping[str, bool],
    warnings: list[str],
    replaced: dict[str, dict[str, int]],
) -> IncomingSplit:
    label = Column(file, split, family.labels)
    y = columns.labels(part.pop(family.labels), label)
    n = len(y)
    ids = _ids(part.pop("id", None), Column(file, split, "id"), n, warnings)
    arrays: dict[str, np.ndarray[Any, Any] | Blocks] = {"labels": y}
    known["B"] = n

    def keep(name: str, key: str, pattern: str) -> None:
        column = Column(file, split, key, ids)
        if name == "language_bert":
            array: np.ndarray[Any, Any] | Blocks = columns.tokens(part.pop(key), column)
        else:
            value = part.pop(key)
            array = columns.sequences(value, column, nan=nan, minus_inf_to_zero=key == "audio")
        known.update(check_shape(column.where, array, pattern, known))
        arrays[name] = array
        for what, count in column.replaced.items():
            replaced.setdefault(f"{key} {what}", {})[split] = count

    for name, key in _SEQUENCES.items():
        letter = name[0]
        keep(name, key, f"B T_{letter} D_{letter}")
    if "text" in part:
        part["text"] = columns.numbers(part["text"], Column(file, split, "text", ids))
        width = part["text"].shape[-1] if part["text"].ndim else 0
        keep(f"language_{_kind(width, family)}", "text", "B T_l D_l")
    if "text_bert" in part:
        keep("language_bert", "text_bert", "B 3 T_bert")
    for m, name in (("l", "text"), ("a", "audio"), ("v", "vision")):
        steps = known["T_bert"] if m == "l" and "T_l" not in known else known[f"T_{m}"]
        column = Column(file, split, f"{name}_lengths", ids)
        if given.get(m):
            own = columns.lengths(part.pop(f"{name}_lengths"), column, steps)
            check_shape(column.where, own, "B", known)
            arrays[f"lengths_{m}"] = own
            empty = int((own == 0).sum())
            if empty:
                warnings.append(f"{column.key} of {split}: {empty} clips of length 0")
        else:
            arrays[f"lengths_{m}"] = np.full(n, steps, dtype=np.int64)
    return IncomingSplit(ids=ids, arrays=arrays)


def _kind(width: int, family: Family) -> TextKind:
    """Tell GloVe from hidden states: by the public widths, else by what the family holds."""
    if width == GLOVE_WIDTH or (family is MULT and width != 768):
        return "glove"
    return "hidden"


def _ids(value: Any, column: Column, n: int, warnings: list[str]) -> tuple[str, ...]:
    if value is None:
        warnings.append(f"{column.split} names no clips (no id column): numbered, and shared videos cannot be seen")
        return tuple(f"{column.split}_{i:05d}" for i in range(n))
    ids = columns.identifiers(value, column, n)
    counts = Counter(ids)
    if len(counts) == n:
        return ids
    seen: Counter[str] = Counter()
    unique = []
    for i in ids:
        seen[i] += 1
        unique.append(i if counts[i] == 1 else f"{i}#{seen[i]}")
    if len(set(unique)) != n:
        raise DataError.at(column.where, expected="different ids", got="repeated ones", do="Repair the ids")
    repeated = sum(c > 1 for c in counts.values())
    warnings.append(f"{column.split} repeats {repeated} of its ids (by video, or clips twice): '#1', '#2', ... added")
    return tuple(unique)


def _aligned(splits: Mapping[str, IncomingSplit], given: Mapping[str, bool], text: str) -> bool:
    """Aligned: as many steps in each modality, and no lengths of their own that differ between modalities."""
    for part in splits.values():
        language = part.arrays[f"language_{text}"]
        steps = {
            language.shape[2 if text == "bert" else 1],
            part.arrays["acoustic"].shape[1],
            part.arrays["visual"].shape[1],
        }
        if len(steps) > 1:
            return False
        own = [np.asarray(part.arrays[f"lengths_{m}"]) for m in MODALITIES if given.get(m)]
        if len(own) == 2 and not np.array_equal(own[0], own[1]):
            return False
    return True


def _keys(raw: Mapping[Any, Any]) -> str:
    names = [str(key)[:30] for key in list(raw)[:12]]
    return ", ".join(names) + (", ..." if len(raw) > 12 else "") if names else "none"
