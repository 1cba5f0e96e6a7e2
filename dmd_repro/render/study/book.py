"""A study as LaTeX, and as a PDF where pdflatex is installed: answers, tables, edges, audit, what was run and not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dmd_repro.audit.head import head_of
from dmd_repro.render.findings import LEGEND, NOTHING, summary
from dmd_repro.render.latex import DOCUMENT, escape, latex
from dmd_repro.render.sentences import ALL, answers, data_lines
from dmd_repro.render.sentences import NOTHING as NOTHING_YET
from dmd_repro.render.sheet import render_sheets
from dmd_repro.render.study.gather import Study
from dmd_repro.render.study.missing import in_short as missing_in_short
from dmd_repro.render.study.runs import in_short
from dmd_repro.results.sheet import NOT_COMPARABLE
from dmd_repro.visible import visible

ENGINE, PASSES, LONGEST = "pdflatex", 2, 120  # the program, runs (longtable needs two), seconds of each
SAME_BYTES = r"\ifdefined\pdftrailerid\pdftrailerid{}\pdfinfoomitdate=1\pdfsuppressptexinfo=-1\fi"
HOW = f"{ENGINE} study.tex, twice, makes study.pdf of it"


def book(study: Study) -> str:
    """Return the study as a document that compiles alone; the mark stands at the head of every page."""
    head = list(DOCUMENT)
    at = head.index(r"\begin{document}")
    running = f"{study.mark} among the runs: what is of it is {NOT_COMPARABLE}" if study.mark else study.title
    head[at:at] = [SAME_BYTES, r"\pagestyle{myheadings}", rf"\markright{{{escape(running)}}}"]
    parts = [*head, rf"\section*{{{escape(study.title)}}}"]
    parts += [rf"\noindent\textbf{{{escape(running)}.}}", ""] if study.mark else []
    told = [found.prose for found in study.tables if answers(found) != [NOTHING_YET]]
    parts += _section("What was measured", told or [NOTHING_YET])
    parts += _section("What the printed numbers say", [line.text for line in head_of(study.findings)] or [NOTHING])
    parts += [rf"{{\footnotesize {escape(summary(study.findings))}. {escape(LEGEND)}\par}}"] if study.findings else []
    data = dict.fromkeys(line for table in study.tables if table.data for line in data_lines(table))
    parts += _section("What was run", [in_short(study) if study.runs else "No run is recorded.", *data])
    parts += _section("What was not", [missing_in_short(study), *_lost(study)])
    parts += [r"\clearpage", latex(study.tables, standalone=False, ink=ALL, drawn=True)]
    sheets = [*study.sheets, *(sheet for _, sheet in study.edges)]
    parts += [render_sheets(sheets, "latex")] if sheets else []
    return visible("\n".join([*parts, r"\end{document}", ""]))


def _section(title: str, lines: Sequence[str]) -> list[str]:
    inside = [rf"\item {escape(line)}" for line in lines]
    return [rf"\subsection*{{{escape(title)}}}", r"\begin{itemize}", *inside, r"\end{itemize}"]


def _lost(study: Study) -> list[str]:
    said = []
    for run in study.runs:
        if run.status == "failed":
            said.append(f"failed: {run.run_id}, {run.what}, seed {run.facts['seed']}: {run.facts['problem']}")
        elif run.learned == "not learned":
            said.append(f"did not learn: {run.run_id}, {run.what}, seed {run.facts['seed']}: {run.why}")
    return said


def to_pdf(source: str) -> tuple[bytes | None, str]:
    """Compile a document; return the PDF, or None and the reason in a sentence.

    No shell is at the document's hands, and nothing outside its folder is written.
    """
    program = shutil.which(ENGINE)
    if program is None:
        return None, f"no {ENGINE} is installed here: {HOW}"
    with tempfile.TemporaryDirectory(prefix="dmd-study-") as place:
        (Path(place) / "study.tex").write_text(source, encoding="utf-8")
        command = [program, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "study.tex"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "openout_any": "p"}
        for _ in range(PASSES):
            try:
                done = subprocess.run(
                    command, cwd=place, env=environment, capture_output=True, timeout=LONGEST, check=False,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                return None, f"{ENGINE} did not finish ({type(error).__name__}): {HOW}"
            if done.returncode:
                log = done.stdout.decode(errors="replace").splitlines()
                said = next((line[2:] for line in log if line.startswith("! ")), f"it ended with {done.returncode}")
                return None, f"{ENGINE} made no PDF ('{said}'): {HOW}"
        return (Path(place) / "study.pdf").read_bytes(), ""
