"""The two public families of feature files, recognised by their columns and turned into one validated layout.

MulT family: text, audio, vision, labels (N, 1, 1), id (N, 3) or (N, 1); its text is GloVe. MMSA family: text (BERT
states), text_bert (token ids), audio, vision, regression_labels, id `VIDEO$_$CLIP`, and lengths in the unaligned file.
A file's name is no evidence. The splits come from `layout`, the data set from `which`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmd_repro.data.features import TextKind
from dmd_repro.data.formats import columns
from dmd_repro.data.formats.column import Column, fits
from dmd_repro.data.formats.columns import NanRule
from dmd_repro.data.formats.incoming import Incoming, IncomingSplit
from dmd_repro.data.formats.layout import keys, splits_of
from dmd_repro.data.formats.padded import padding_remarks
from dmd_repro.data.formats.said import ImportNotes
from dmd_repro.data.formats.which import FILE_NAMES, refuse_swapped, signs, standing_of, told_dataset
from dmd_repro.data.pickle_gate.filearray import Blocks, FileArray
from dmd_repro.datasets import DATASETS
from dmd_repro.errors import DataError
from dmd_repro.shapes import MODALITIES, SPLITS

_SEQUENCES = {"acoustic": "audio", "visual": "vision"}
GLOVE_WIDTH = 300
HIDDEN_WIDTH = 768
UNIMODAL = tuple(f"regression_labels_{m}" for m in "TAV")  # CH-SIMS's labels of each modality; MMSA-FET copies one
Numbers = NDArray[Any] | FileArray


@dataclass(frozen=True, slots=True)
class Family:
    """One layout: its name and the column of labels, which tells it."""

    name: str
    labels: str


MMSA = Family("MMSA", "regression_labels")
MULT = Family("MulT", "labels")


@dataclass(slots=True)
class _Part:
    """A split whose shapes are known and whose values are not looked at yet."""

    ids: tuple[str, ...]
    labels: NDArray[np.float64]
    arrays: dict[str, Numbers]  # by the name in the file
    lengths: dict[str, NDArray[np.int64]]


@dataclass(slots=True)
class _Reading:
    """One file on its way: where it is, the sizes known so far, what is to be said."""

    file: str
    family: Family
    said: ImportNotes
    known: dict[str, int] = field(default_factory=dict)
    published: bool = False
    padded: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # by column, split

    def column(self, split: str, key: str, ids: tuple[str, ...] = ()) -> Column:
        return Column(self.file, split, key, ids, self.said, self.published)


def recognise(parts: Mapping[str, Mapping[str, Any]], file: str) -> Family:
    """Return the family of a file's splits; DataError naming what is missing if it is neither."""
    train = parts["train"]
    family = MMSA if MMSA.labels in train or ("text_bert" in train and MULT.labels not in train) else MULT
    for split in SPLITS:
        part = parts[split]
        missing = [key for key in ("audio", "vision", family.labels) if key not in part]
        if "text" not in part and "text_bert" not in part:
            missing.append("text")
        if missing:
            wanted = "labels (or regression_labels)" if family is MULT else family.labels
            names = ", ".join(wanted if key == family.labels else key for key in missing)
            do = "Import a feature file of the MMSA or the MulT family (dmd data matrix lists them)"
            if family.labels in missing and "classification_labels" in part:
                do = "Add the sentiment of each clip as regression_labels: classification_labels cannot replace it"
            elif missing == ["text"] and "raw_text" in part:
                do = "Add text (a vector for each word) or text_bert (token ids): raw_text alone is not enough"
            raise DataError.at(
                f"{file}, split {split}",
                expected=f"the columns of a feature file, {names} among them",
                got=f"the columns {keys(part)}" if part else "no column at all",
                do=do,
            )
    return family


def convert(raw: Any, file: str, *, dataset: str | None = None, nan: NanRule = "refuse") -> Incoming:
    """Validate an unpickled feature file and return it in the store's layout.

    `file` names it in messages. Raises DataError on anything that cannot be kept as it is: wrong columns or shapes,
    values that are not finite (see `columns.sequences`), labels outside the data set's range, lengths that disagree, a
    data set the file does not tell and `dataset` does not name.
    """
    said = ImportNotes()
    parts = splits_of(raw, file, said)
    reading = _Reading(file, recognise(parts, file), said)
    kinds = [key for key in ("text", "text_bert") if _everywhere(key, parts, said)]
    if not kinds:
        lacking = ", ".join(f"{s} has {'text' if 'text' in parts[s] else 'text_bert'} alone" for s in SPLITS)
        raise DataError.at(file, expected="one kind of text in all splits", got=lacking, do="Write one of them in all")
    given = {m: all(f"{key}_lengths" in parts[s] for s in SPLITS) for m, key in FILE_NAMES.items()}
    shaped = {s: _shaped(parts[s], s, reading, kinds, given) for s in SPLITS}
    known = reading.known
    _not_turned(reading)
    sizes = {s: len(shaped[s].ids) for s in SPLITS}
    widths = {m: known[f"D_{m}"] for m in MODALITIES if f"D_{m}" in known}
    if dataset != "custom":  # one's own features have widths of their own
        refuse_swapped(widths, sizes, file)
    every = np.concatenate([part.labels for part in shaped.values()])
    seven = any("seven columns" in note for note in said.notes)
    if dataset is None:  # a label that no known data set has is named before the data set is asked for
        ranges = [facts.label_range for facts in DATASETS.values() if facts.label_range]
        widest = min(low for low, _ in ranges), max(high for _, high in ranges)
        for s in SPLITS:
            columns.labels_within(shaped[s].labels, reading.column(s, reading.family.labels, shaped[s].ids), widest)
    told, notes, remarks = told_dataset(dataset, widths, sizes, signs(widths, sizes, every, seven=seven), file)
    standing, more = standing_of(told, sizes)
    reading.published = standing == "official"
    for text in notes:
        said.note(text)
    replaced: dict[str, dict[str, int]] = {}
    splits = {s: _validated(shaped[s], s, reading, told, nan, replaced) for s in SPLITS}
    for s in SPLITS:
        if own := [key for key in UNIMODAL if key in parts[s]]:
            said.note(f"{', '.join(own)} not read: every system here learns from the multimodal label alone", s)
    texts = tuple(k for k in ("glove", "hidden", "bert") if f"language_{k}" in splits["train"].arrays)
    across = [n for n in Counter(i for s in SPLITS for i in splits[s].ids).values() if n > 1]
    if across:
        said.warn(f"{len(across)} ids stand in more than one split")
    for what, counts in replaced.items():
        listed = ", ".join(f"{split} {n}" for split, n in counts.items())
        reason = ", as the authors' loader does" if what == "audio -inf" else ", as --nan zero asks"
        said.warn(f"{what} set to 0{reason}: {listed}")
    for text in (*padding_remarks(reading.padded), *remarks, *more):
        said.warn(text)
    return Incoming(
        dataset=told,
        aligned=_aligned(splits, given, texts[0]),
        texts=texts,  # type: ignore[arg-type]
        standing=standing,
        splits=splits,
        warnings=said.warnings,
        notes=said.notes,
        replaced=replaced,
        source={"family": reading.family.name},
    )


def _everywhere(key: str, parts: Mapping[str, Mapping[str, Any]], said: ImportNotes) -> bool:
    """Whether all splits have a kind of text; said where only some do."""
    have = [s for s in SPLITS if key in parts[s]]
    if have and len(have) < len(SPLITS):
        lacking = " and ".join(s for s in SPLITS if s not in have)
        said.warn(f"{key} is missing in {lacking}: left out of {' and '.join(have)} too, so no run can use it")
    return len(have) == len(SPLITS)


def _shaped(part: dict[str, Any], split: str, reading: _Reading, kinds: list[str], given: Mapping[str, bool]) -> _Part:
    """Read what is small and the shapes of what is big."""
    known, family = reading.known, reading.family
    y = columns.labels(part[family.labels], reading.column(split, family.labels, _ids_to_name(part.get("id"))))
    ids = _ids(part.get("id"), reading.column(split, "id"), len(y), reading.said)
    known["B"] = len(y)
    arrays: dict[str, Numbers] = {}
    for letter, key in FILE_NAMES.items():
        if key != "text" or key in kinds:
            column = reading.column(split, key, ids)
            arrays[key] = columns.vectors(part[key], column)
            fits(arrays[key], column, known, f"T_{letter}", f"D_{letter}")
    if "text_bert" in kinds:
        column = reading.column(split, "text_bert", ids)
        arrays["text_bert"] = columns.token_rows(part["text_bert"], column)
        fits(arrays["text_bert"], column, known, "three", "T_bert")
    lengths = {}
    for m, name in FILE_NAMES.items():
        steps = known["T_bert"] if m == "l" and "T_l" not in known else known[f"T_{m}"]
        if not given[m]:
            lengths[m] = np.full(len(y), steps, dtype=np.int64)
            continue
        column = reading.column(split, f"{name}_lengths", ids)
        own = columns.lengths(part[f"{name}_lengths"], column, steps)
        if len(own) != len(y):
            raise column.bad(column.where, f"{len(y)} lengths, as many as labels", f"{len(own)}")
        if empty := int((own == 0).sum()):
            reading.said.warn(f"{column.key} of {split}: {empty} clips of length 0")
        lengths[m] = own
    return _Part(ids, y, arrays, lengths)


def _validated(
    part: _Part,
    split: str,
    reading: _Reading,
    dataset: str,
    nan: NanRule,
    replaced: dict[str, dict[str, int]],
) -> IncomingSplit:
    """Look at every value."""
    column = reading.column(split, reading.family.labels, part.ids)
    y = columns.labels_within(part.labels, column, DATASETS[dataset].label_range)
    arrays: dict[str, NDArray[Any] | Blocks] = {"labels": y}
    for key, array in part.arrays.items():
        column = reading.column(split, key, part.ids)
        if key == "text_bert":
            arrays["language_bert"] = columns.tokens(array, column)
            continue
        name = next((n for n, k in _SEQUENCES.items() if k == key), None)
        name = name or f"language_{_kind(array.shape[2], reading.family)}"
        arrays[name] = columns.sequences(array, column, nan=nan, minus_inf_to_zero=key == "audio")
        reading.padded.setdefault(key, {})[split] = column.padded
        for what, count in column.replaced.items():
            replaced.setdefault(f"{key} {what}", {})[split] = count
    return IncomingSplit(ids=part.ids, arrays=arrays | {f"lengths_{m}": part.lengths[m] for m in MODALITIES})


def _kind(width: int, family: Family) -> TextKind:
    """Tell GloVe from hidden states: by the public widths, else by what the family holds."""
    if width == GLOVE_WIDTH or (family is MULT and width != HIDDEN_WIDTH):
        return "glove"
    return "hidden"


def _not_turned(reading: _Reading) -> None:
    """Refuse (clips, channels, steps): a public width of steps, and as many channels as another column has steps."""
    known = reading.known
    public = {m: {n for facts in DATASETS.values() for n in facts.dims.get(m, ())} for m in MODALITIES}
    steps, width = known.get("T_l"), known.get("D_l")
    if steps in public["l"] and width not in public["l"] and width in (known.get("T_bert"), known["T_a"], known["D_a"]):
        raise DataError.at(
            f"{reading.file}, text",
            expected=f"{width} steps of {steps} channels",
            got=f"{steps} steps of {width} channels: the axes look turned",
            do="Write x.transpose(0, 2, 1) in place of x in all splits",
        )
    text = known.get("T_l", known.get("T_bert"))
    for m, key in (("a", "audio"), ("v", "vision")):
        if known[f"D_{m}"] == text != known[f"T_{m}"] and known[f"T_{m}"] in public[m]:
            raise DataError.at(
                f"{reading.file}, {key}",
                expected=f"{text} steps, as text has, of {known[f'T_{m}']} channels",
                got=f"{known[f'T_{m}']} steps of {known[f'D_{m}']} channels: the axes look turned",
                do="Write x.transpose(0, 2, 1) in place of x in all splits",
            )


def _ids(value: Any, column: Column, n: int, said: ImportNotes) -> tuple[str, ...]:
    if value is None:
        said.warn(f"{column.split} names no clips (no id column): numbered, and shared videos cannot be seen")
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
    said.warn(f"{column.split} repeats {repeated} of its ids (by video, or clips twice): '#1', '#2', ... added")
    return tuple(unique)


def _ids_to_name(value: Any) -> tuple[str, ...]:
    """Return the ids for messages about labels, which tell how many there must be; none where they cannot be read."""
    try:
        return columns.identifiers(value, Column("", "", "id"), len(value))
    except (DataError, TypeError):
        return ()


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
