"""From the content of a file to its three splits of columns, or to the sentence that names the layout it has instead.

MulT family (`mosi_data.pkl`, `mosei_senti_data_noalign.pkl`, ...) and MMSA family (`aligned_50.pkl`,
`unaligned_50.pkl`) both hold a dict of three dicts; a flat dict of columns with a column `mode` is divided by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmd_repro.data.formats.names import COLUMN_NAMES, SPLIT_COLUMN, SPLIT_NAMES, kind_of, plain, read_as
from dmd_repro.data.formats.said import ImportNotes
from dmd_repro.data.pickle_gate.filearray import FileArray
from dmd_repro.data.pickle_gate.foreign import Foreign
from dmd_repro.errors import DataError
from dmd_repro.shapes import SPLITS

_PREFIX = re.compile(
    rf"({'|'.join(name for split, others in SPLIT_NAMES.items() for name in (split, *others))})[_/.](\w+)",
    re.IGNORECASE,
)
WANTED = "a dict with a dict of columns for each of train, valid and test"
_GET = "Import a feature file of the MMSA or the MulT family (dmd data matrix lists them)"
_NEST = "Write {'train': {...}, 'valid': {...}, 'test': {...}}, in each text, audio, vision, labels and id as arrays"


def splits_of(raw: Any, file: str, said: ImportNotes) -> dict[str, dict[str, Any]]:
    """Return the columns of train, valid and test under their own names; DataError naming the layout otherwise."""
    if not isinstance(raw, dict):
        raise _no_dict(raw, file)
    parts = read_as(raw, SPLIT_NAMES, file, said)
    inner = [key for key, value in parts.items() if isinstance(value, dict)]
    if not any(s in parts for s in SPLITS) and len(inner) == 1 and len(parts) == 1:
        said.note(f"the splits read from under '{inner[0][:40]}'")
        parts = read_as(parts[inner[0]], SPLIT_NAMES, file, said)
    parts = _by_prefix(parts, said)
    columns = read_as(parts, COLUMN_NAMES, file, ImportNotes())
    features = [key for key in ("text", "text_bert", "audio", "vision") if key in columns]
    if len(features) > 1 and not any(s in parts for s in SPLITS):
        parts = _flat(parts, file, said)
    missing = [s for s in SPLITS if s not in parts]
    if missing:
        do = _GET
        if any(s in parts for s in SPLITS):
            do = _without(missing)
        raise DataError.at(file, expected=WANTED, got=f"the keys {keys(parts)}" if parts else "an empty dict", do=do)
    for split in SPLITS:
        if not isinstance(parts[split], dict):
            raise _no_columns(parts[split], f"{file}, split {split}")
        parts[split] = read_as(parts[split], COLUMN_NAMES, f"{file}, split {split}", said, split)
        if parts[split] and all(isinstance(v, dict) for v in parts[split].values()):
            raise DataError.at(
                f"{file}, split {split}",
                expected="columns: one array for each of text, audio, vision, labels, over all clips",
                got=f"one entry a clip or video ({keys(parts[split], 3)})",
                do="Stack the clips of a split into arrays (clips, steps, channels), padded on the left to one length",
            )
    others = {other for names in SPLIT_NAMES.values() for other in names}  # read, or said to be left out, by now
    for key, value in parts.items():
        if key not in SPLITS and key.lower() not in others and isinstance(value, dict) and {*value} & {*parts["train"]}:
            said.note(f"'{key[:40]}' not read: a further split beside train, valid and test")
    return {s: parts[s] for s in SPLITS}


def keys(raw: Mapping[Any, Any], most: int = 12) -> str:
    """Return the first names of a dict."""
    names = [plain(key)[:30] for key in list(raw)[:most]]
    return ", ".join(names) + (", ..." if len(raw) > most else "") if names else "none"


def _by_prefix(parts: dict[str, Any], said: ImportNotes) -> dict[str, Any]:
    """Nest columns that are named `train_text`, `train/text` or `train.text`, as archives without folders have them."""
    found = {key: match for key in parts if (match := _PREFIX.fullmatch(key))}
    if any(s in parts for s in SPLITS) or len({match[1].lower() for match in found.values()}) < len(SPLITS):
        return parts
    nested: dict[str, Any] = {key: value for key, value in parts.items() if key not in found}
    for key, match in found.items():
        nested.setdefault(match[1], {})[match[2]] = parts[key]
    said.note("the splits read from the names of the columns")
    return read_as(nested, SPLIT_NAMES, "", said)


def _without(missing: list[str]) -> str:
    if missing == ["valid"]:
        return "Set some training videos aside as 'valid': the best epoch is chosen on it"
    return f"Add {' and '.join(missing)}: a table needs all three splits"


def _no_dict(raw: Any, file: str) -> DataError:
    if isinstance(raw, Foreign):
        return DataError.at(file, expected=WANTED, got=raw.what, do=raw.do)
    if isinstance(raw, list) and raw and _is_clip(raw[0]):
        return _clips(file, "one split as a list of clips ((words, visual, acoustic), label, segment), as in MISA")
    if isinstance(raw, np.ndarray | FileArray):
        got = f"a single array of shape {raw.shape}"
        return DataError.at(file, expected=WANTED, got=got, do=_NEST)
    if isinstance(raw, list) and raw and all(isinstance(item, dict) for item in raw):
        do = "Write its first item alone: x[0]" if len(raw) == 1 else _NEST
        do = "Name them: dict(zip(['train', 'valid', 'test'], x)), in this order" if len(raw) == 3 else do
        return DataError.at(
            file, expected=WANTED, got=f"a list of {len(raw)} dict{'s' * (len(raw) > 1)} without names", do=do
        )
    return DataError.at(file, expected=WANTED, got=kind_of(raw), do=_GET)


def _is_clip(item: Any) -> bool:
    """Whether an item looks like ((words, visual, acoustic, ...), label, segment)."""
    return isinstance(item, list) and len(item) >= 2 and isinstance(item[0], list) and len(item[0]) >= 3


def _clips(where: str, got: str) -> DataError:
    return DataError.at(
        where,
        expected=WANTED,
        got=got,
        do="It has words or their numbers, no vectors, so it cannot serve: get a MulT or MMSA file (dmd data matrix)",
    )


def _no_columns(part: Any, where: str) -> DataError:
    if isinstance(part, list) and part and _is_clip(part[0]):
        return _clips(where, "a list of clips ((words, visual, acoustic), label, segment), as in MAG-BERT and MISA")
    if isinstance(part, Foreign):
        return DataError.at(where, expected="a dict of columns", got=part.what, do=part.do)
    if isinstance(part, list) and part and all(isinstance(x, np.ndarray | FileArray) for x in part):
        got = f"a list of {len(part)} arrays without names"
        return DataError.at(where, expected="a dict of columns", got=got, do=_NEST)
    return DataError.at(where, expected="a dict of columns", got=kind_of(part), do=_NEST)


def _flat(columns: dict[str, Any], file: str, said: ImportNotes) -> dict[str, Any]:
    """Divide a flat dict of columns by its column `mode`."""
    mode = next((key for key in columns if key.lower() in SPLIT_COLUMN), None)
    if mode is None:
        named = read_as(columns, COLUMN_NAMES, file, ImportNotes())
        own = not {"labels", "regression_labels"} & set(named)
        sequences = [named.get(key) for key in ("audio", "vision", "text")]
        shapes = [array.shape for array in sequences if isinstance(array, np.ndarray | FileArray)]
        if own and all(len(shape) <= 2 for shape in shapes):
            got, do = (
                "the features of one own video, without a label",
                ("One unlabelled clip can be neither trained on nor scored: add labelled clips in three splits"),
            )
        else:
            got, do = f"the columns of one split ({keys(columns)}), and no column that says which", _NEST
        raise DataError.at(file, expected=WANTED, got=got, do=do)
    names = _modes(columns[mode], f"{file}, column {mode}")
    told = {name: read_as({name: 0}, SPLIT_NAMES, file, ImportNotes()) for name in dict.fromkeys(names)}
    where = {s: np.flatnonzero([s in told[name] for name in names]) for s in SPLITS}
    odd = [name for name in told if not any(s in told[name] for s in SPLITS)]
    if odd:
        raise DataError.at(
            f"{file}, column {mode}",
            expected="train, valid or test for each clip",
            got=f"'{odd[0][:30]}'",
            do="Correct it",
        )
    said.note(f"divided into splits by the column {mode}")
    n = len(names)
    return {s: {k: _rows(v, where[s], n, f"{file}, column {k}") for k, v in columns.items()} for s in SPLITS}


def _modes(value: Any, where: str) -> list[str]:
    if isinstance(value, FileArray):
        value = np.asarray(value)
    items = value.reshape(-1).tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "SU" else value
    if not isinstance(items, list) or not items or not all(isinstance(i, str | bytes) for i in items):
        raise DataError.at(where, expected="the name of a split for each clip", got="another content", do=_NEST)
    return [plain(i) for i in items]


def _rows(value: Any, rows: np.ndarray[Any, np.dtype[np.intp]], n: int, where: str) -> Any:
    """Return the rows of one split; columns of another length stay as they are."""
    if isinstance(value, list) and len(value) == n:
        return [value[i] for i in rows]
    if not isinstance(value, np.ndarray | FileArray) or not value.shape or len(value) != n:
        return value
    if isinstance(value, np.ndarray):
        return value[rows]
    if len(rows) and (rows[-1] - rows[0] + 1 != len(rows) or value.scattered):
        raise DataError.at(
            where,
            expected="clips of a split one after the other, in C order",
            got="clips of several splits mixed, in an array too big to sort here",
            do="Sort the rows by split first: x[order], with order = numpy.argsort(mode, kind='stable')",
        )
    return value.rows(int(rows[0]), int(rows[-1]) + 1) if len(rows) else value.rows(0, 0)
