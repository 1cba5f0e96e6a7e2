"""The names the field gives to splits and columns, and the one each is read under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmd_repro.data.formats.said import ImportNotes
from dmd_repro.errors import DataError

SPLIT_NAMES = {"train": ("training",), "valid": ("val", "dev", "validation", "development"), "test": ("testing",)}
COLUMN_NAMES = {
    "text": ("language", "glove"),
    "audio": ("acoustic", "covarep"),
    "vision": ("visual", "facet"),
    "labels": ("label",),
    "regression_labels": ("regression_label",),
    "id": ("ids", "segment", "segments"),
    "text_bert": ("bert_tokens",),
    "audio_lengths": ("acoustic_lengths", "audio_length"),
    "vision_lengths": ("visual_lengths", "vision_length"),
}
SPLIT_COLUMN = ("mode", "split", "splits")


def kind_of(value: object) -> str:
    """Return what a value is, for messages: "text", "a number", "a list of 3 items"."""
    if isinstance(value, list):
        return f"a list of {len(value)} items" if value else "an empty list"
    known = {str: "text", bytes: "text", bool: "yes or no", int: "a number", float: "a number", type(None): "nothing"}
    return known.get(type(value), f"a {type(value).__name__}")


def plain(key: object) -> str:
    """Return a key as text; a bytes key (a Python 2 pickle read with encoding='bytes') is decoded."""
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def read_as(
    raw: Mapping[Any, Any], names: Mapping[str, tuple[str, ...]], where: str, said: ImportNotes, split: str = ""
) -> dict[str, Any]:
    """Return the entries under their own names, as a new dict; what is not known keeps its name.

    An entry under another of its names, in capitals or in bytes is noted, and so is one that is not read because the
    name itself is there. Raises DataError if two entries would have
    one name and neither is it.
    """
    entries = {plain(key): (key, value) for key, value in raw.items()}
    if len(entries) != len(raw):
        raise DataError.at(where, expected="different names", got="one name twice, as text and as bytes", do="Drop one")
    out = {key: value for key, (_, value) in entries.items()}
    for name, others in names.items():
        if name in entries:
            if isinstance(entries[name][0], bytes):
                said.note("names that are bytes read as text")
            for other in (key for key in entries if key != name and key.lower() in (name, *others)):
                said.note(f"{other} not read: {name} is there", split)
            continue
        found = [key for key in entries if key.lower() in (name, *others)]
        if len(found) > 1:
            listed = " and ".join(found)
            raise DataError.at(where, expected=f"one entry that is {name}", got=listed, do=f"Call the right one {name}")
        if found:
            out[name] = out.pop(found[0])
            said.note(f"{found[0]} read as {name}", split)
    return out
