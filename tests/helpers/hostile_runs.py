"""A runs folder of a stranger with hostile text in every field that is printed: what each format would act on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from made_records import IDS, LABELS, plan_rows, predictions_with, spec_for, stamp_for

from dmd_repro.papers.tables import load_table
from dmd_repro.records.folder import Predictions, Records

TEXTS = {
    "svg": "<svg onload=document.title='ACTED'>",
    "span": "<span onmouseover=document.title='ACTED'><script>document.title='ACTED'</script></span>",
    "image": "<img src=x onerror=\"document.title='ACTED'\">&lt;b&gt;' \" </title></style></script>",
    "latex": "\\input{/etc/passwd}\\immediate\\write18{touch acted}%_$^~#&{}｛\uff3cinput\uff5d",
    "markdown": "`x` | [click](javascript:alert(1)) ![i](https://evil.example/x.png) https://evil.example **b** $x$",
    "lines": "a\n\n# heading\n<b>b</b>\r\n| cell |",
    "formula": "=HYPERLINK(\"http://evil.example\",\"x\")",
    "call": "-2+3+cmd|' /C calc'!A0",
    "plus": "+1+WEBSERVICE(1)", "at": "@SUM(1)", "wide": "\uff1d1+cmd|x!A0", "tab": "\t=1+1",
    "terminal": "\x1b]0;ACTED\x07\x1b[2J\x1b[31m\x9b5A\x08\r\x1b[8m",
    "bidi": "a\u202eb\u2066c\u2028d", "half": "\ud800",
    "rich": "[bold red]x[/] [link=https://evil.example]y[/link] :smile:",
}  # fmt: skip


def hostile_runs(runs: Path) -> dict[str, str]:
    """Write two rows of Table 1, each with two runs that count and one that failed; return the texts by their aim."""
    every = " ".join(TEXTS.values())
    dmd, mult = (load_table("table1").row(f"mosi-aligned-glove-{model}") for model in ("dmd", "mult"))
    planned = {}
    for row, first in ((dmd, "svg"), (mult, "formula")):
        text = f"{TEXTS[first]} {every}"
        stamp = stamp_for(
            row,
            standing="partial",
            digest=row.key.ljust(64, "0"),
            name=TEXTS[first] + TEXTS["terminal"],
            label=text,
            dataset=text,
            text=text,
        )
        specs = [
            spec_for(row, seed, protocol=text, config={"max_epochs": 1, text: text}) for seed in (1111, 1112, 1113)
        ]
        facts = {
            "commit": text, "dirty": True, "packages": {text: text}, "version": text, "created": text, "command": text,
            "execution": {"device": text, text: text}, "device": text, "epochs": 1, "best_epoch": 1, "seconds": 1.0,
        }  # fmt: skip
        for seed, spec in enumerate(specs):
            said = Predictions(
                (text, *IDS[1:]),
                LABELS,
                predictions_with(seed),
                {text.replace(TEXTS["half"], ""): predictions_with(seed)},
            )
            with Records(runs).begin(spec, stamp, facts) as writer:
                if seed == 2:
                    writer.fail(f"Traceback\n  {text}\nValueError: {text}")
                    continue
                (writer.path / "history.jsonl").write_text(json.dumps({"epoch": 1}) + "\n")
                writer.finish(
                    predictions={"valid": said, "test": said}, provenance=facts,
                    epochs={"valid": said.y_pred[None], "test": said.y_pred[None]},
                    checkpoint={"w": np.zeros(1, np.float32)},
                )  # fmt: skip
        planned[row.key] = (stamp, specs)
    plan = plan_rows(
        runs, "table1", planned, notes=(every, *TEXTS.values()), overrides={every: every, "a": TEXTS["svg"]}
    )
    assert plan.rows
    (runs / "plans" / "table2--\x1b[31mx\u202e.json").write_text("{}")
    (runs / ".\x1b]0;ACTED\x07.part").write_text("")
    return TEXTS
