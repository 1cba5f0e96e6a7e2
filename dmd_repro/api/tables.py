"""Printed tables beside the runs at hand, and the audit's findings, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dmd_repro.api.records import Folder, records_in

if TYPE_CHECKING:
    import pandas as pd

    from dmd_repro.results.types import ComparisonTable

KEPT = (
    *("column", "metric", "printed", "n", "mean", "std", "low", "high", "difference", "place", "place_why"),
    *("one_run", "p_difference", "p_equivalence"),
)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """A printed table beside the runs at hand; a notebook shows it as tables, `print` as `dmd report` does."""

    table: ComparisonTable

    def to_df(self) -> pd.DataFrame:
        """Return a line a number: printed, measured, where it lies; `if_a_mean` is the word on its whole row.

        Percentages as printed; `printed` stays text, since its decimals are evidence. `mark` is SYNTHETIC DATA or
        PARTIAL DATA where the runs are of such, and then there is no difference and no word.
        """
        import pandas as pd

        document, lines = self.table.to_json(), []
        for block in document["blocks"]:
            for row in block["rows"]:
                about = {"block": block["key"], "row": row["key"], "method": row["method"], "state": row["state"]}
                about |= {"mark": document["mark"], "if_a_mean": row["words"]["if_a_mean"]}
                for cell in (*row["cells"], *row["unprinted"]):
                    low, high = cell["interval"] or (None, None)
                    values = {**cell, "low": low, "high": high}
                    lines.append(about | {name: values.get(name) for name in KEPT})
        return pd.DataFrame(lines)

    def _repr_html_(self) -> str:
        from dmd_repro.render.html import grid_html
        from dmd_repro.render.layout import overview
        from dmd_repro.results.sheet import NOT_COMPARABLE
        from dmd_repro.visible import visible

        parts = [f"<h3>{escape(self.table.heading)}</h3>"]
        if self.table.mark:
            parts.append(f"<p><b>{escape(self.table.mark)}: {NOT_COMPARABLE}</b></p>")
        parts += [f"<p>{escape(row.answer)}</p>" for row in self.table.rows if row.answer]
        for block in self.table.blocks:
            parts += [f"<h4>{escape(block.title)}</h4>", grid_html(overview(block, self.table.footnotes))]
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.table.footnotes)
        return visible("".join([*parts, f"<ol>{notes}</ol>" if notes else ""]))

    def __repr__(self) -> str:
        from dmd_repro.render.formats import render

        return render([self.table], "terminal", width=80)


def compare(
    table: str, data: str | Sequence[str] | None = None, *, runs_dir: Folder = None, margin: float | None = None
) -> Comparison:
    """Set a printed table beside the runs at hand. Trains nothing.

    `table`: table1 ... table5, or NAME/table1 of a further paper. `data`: the plan made on these feature sets, else the
    most recent one. `margin`, in points: another than the plan's gives intervals and no word.

    Raises ClaimError for an unknown table, RunError where `data` names no plan of it, SpecError for a margin that is
    none.
    """
    from dmd_repro.cli.paths import reruns_dir, use_papers
    from dmd_repro.cli.planned import check_margin
    from dmd_repro.papers.reruns import load_reruns
    from dmd_repro.results.tables import compare_tables

    check_margin(margin)
    use_papers()
    wanted = [data] if isinstance(data, str) else list(data) if data else None
    others = load_reruns(reruns_dir(None))
    (found,) = compare_tables(records_in(runs_dir).root, [table], wanted, margin=margin, reruns=others)
    return Comparison(found)


def findings_df(
    table: str | None = None, *, checks: Sequence[str] = (), code: bool = False, runs_dir: Folder = None
) -> pd.DataFrame:
    """Return the audit's findings on the printed numbers, a line each: `dmd audit --all` as a table.

    Columns: check, table, row, setting, metric, printed, status (ok, inferred, flag, fail, n/a), certainty,
    explanation. `table` and `checks` choose; `code` lists the differences of paper and code instead. Needs no data.

    Raises ClaimError for an unknown table or check.
    """
    import pandas as pd

    from dmd_repro.audit.code import audit_code
    from dmd_repro.audit.findings import audit, spreads_of_runs
    from dmd_repro.cli.paths import use_papers

    use_papers()
    folder = records_in(runs_dir).root
    found = audit_code(folder) if code else audit(table=table, checks=tuple(checks), spreads=spreads_of_runs(folder))
    names = ("check", "table", "row", "setting", "metric", "printed", "status", "certainty", "explanation")
    return pd.DataFrame([finding.to_json() for finding in found], columns=list(names))
