"""Comparisons as CSV: one line per number, printed or measured only, with the values of the JSON unrounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from dmd_repro.results.types import ComparisonTable
from dmd_repro.visible import csv_cell

ROW_FIELDS = ("key", "method", "dataset", "setting", "text", "state")


def csv_text(tables: Sequence[ComparisonTable]) -> str:
    """Return the tables as CSV with a header; an empty field is JSON's null, lists and mappings are JSON themselves."""
    lines: list[dict[str, Any]] = []
    for table in tables:
        document = table.to_json()
        for block in document["blocks"]:
            for row in block["rows"]:
                about = {"table": document["table"], "mark": document["mark"], "block": block["key"]}
                about |= {name: row[name] for name in ROW_FIELDS}
                about |= {"planned": len(row["planned_seeds"]), "failed": len(row["failed_seeds"])}
                about |= {"not_learned": len(row["not_learned_seeds"]), "looks": len(document["looks"])}
                words = row["words"]
                about |= {name: words[name] for name in ("if_a_mean", "kind", "if_one_run", "provisional")}
                data = row["features"] or {}
                about |= {"data": data.get("name"), "digest": data.get("digest")}
                notes = {"margin": document["margin"], "notes": " | ".join(row["notes"])}
                lines += [{**about, **cell, **notes} for cell in (*row["cells"], *row["unprinted"])]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _field(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, list | dict):
        return csv_cell(json.dumps(value)) if value else ""
    if isinstance(value, float):
        return repr(value)
    return csv_cell(value) if isinstance(value, str) else value
