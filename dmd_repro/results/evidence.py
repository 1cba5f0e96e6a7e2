"""On what evidence a row stands: the weakest grade of its system's net, training, settings and inputs, and why."""

from __future__ import annotations

from collections.abc import Mapping

from dmd_repro.papers.tables import Row
from dmd_repro.systems.declare import WITH_WORDS, Evidence, Setting
from dmd_repro.systems.registry import find_system, system_names

COPIED = "copied"
OURS = "ours, not printed: what the same text gives without a voice or a face"


def evidence_of(row: Row) -> Mapping[str, Evidence]:
    """Return the evidence by aspect; {} for a row that is not run, or whose system is not at hand."""
    recipe = row.recipe
    if recipe is None or recipe.model not in system_names():
        return {}
    return find_system(recipe.model).stands_on(Setting(row.dataset, row.setting == "aligned", recipe.protocol))


def grade_of(row: Row) -> str:
    """Return a row's grade: the weakest of its aspects; `copied` for a row that is not run."""
    if not evidence_of(row) or row.recipe is None:
        return COPIED
    setting = Setting(row.dataset, row.setting == "aligned", row.recipe.protocol)
    return find_system(row.recipe.model).grade(setting)


def evidence_words(row: Row) -> str:
    """Return the grade with the sentence of its weakest aspect; "" for a row that is not run."""
    if row.ours:
        return OURS
    found, grade = evidence_of(row), grade_of(row)
    weakest = [(aspect, e.words) for aspect, e in found.items() if e.grade == grade]
    return f"evidence: {grade}; {weakest[0][0]}: {weakest[0][1]}" if weakest else ""


def why_no_word(row: Row) -> str | None:
    """Say why a row gets numbers and no word, None if it may get one."""
    if row.ours or not evidence_of(row) or grade_of(row) in WITH_WORDS:
        return None
    return f"{evidence_words(row).removeprefix('evidence: ')}: numbers, and no word on the printed ones"
