"""Whether the runs of a table were computed alike: device, threads, stack and versions move them by rounding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

NO_MATTER = ("members",)  # which seeds shared a stack moves nothing; how many were in it can


def mixed_executions(executions: Iterable[Mapping[str, Any] | None]) -> str | None:
    """Return the sentence on runs that were not computed alike, with what differs and its values; None if they were."""
    found = [{k: v for k, v in (one or {}).items() if k not in NO_MATTER} for one in executions]
    kinds = {json.dumps(one, sort_keys=True, default=str) for one in found}
    if len(kinds) < 2:
        return None
    names = sorted({name for one in found for name in one})
    parts = []
    for name in names:
        values = sorted({str(one.get(name, "not noted")) for one in found})
        if len(values) > 1:
            parts.append(f"{name} {', '.join(values)}")
    return (
        f"the runs mix {len(kinds)} executions ({'; '.join(parts)}): a seed may end otherwise in another, by rounding"
    )
