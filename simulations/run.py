"""Are the intervals, words and chances what they say? Writes docs/simulations.md.

    python simulations/run.py            # some minutes on one core
    python simulations/run.py --quick    # a tenth of the draws, printed only

Every draw comes from a stream seeded by its setting; the functions under test are the package's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from chances_check import HYPOTHESES, by_validation, mixed, rare
from coverage import clip_bootstrap, coverage, crossed_coverage, seed_bootstrap
from draws import LAWS, NUMBERS, ROWS
from rules import at_margin, at_truth, looked_at, one_run_over_looks, same_method, spread_of_margin

TRUTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # points between the true mean and the printed number
SPREADS, RUNS = (0.5, 1.1), (5, 10, 20, 50)
WORDS = ("reproduced", "worse", "inconclusive")
PRINTED_AS = ("one run", "mean of 5", "best of 5")


def table(heads: list[str], rows: list[list[str]], left: int = 1) -> Iterator[str]:
    """Yield a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + ":--|" * left + "--:|" * (len(heads) - left)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def pc(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}%"


def report(scale: float) -> Iterator[str]:
    """Yield the lines of the results file."""
    yield "# Simulations of the statistics"
    yield ""
    yield (
        "Written by `python simulations/run.py`; every draw is seeded. The functions are those `dmd report` uses. Laws "
        "of the seeds: normal; skewed (gamma, long side below); bimodal (15 % of the runs lie three STD below the "
        "others); heavy tailed (t with 5 degrees of freedom). All have STD 1.1 points unless said."
    )
    yield ""
    yield from _honest(scale)
    yield from _levels(scale)
    yield from _looks(scale)
    yield from _chances(scale)
    yield from _coverage(scale)


def _honest(scale: float) -> Iterator[str]:
    tables = max(20, int(1_000 * scale))
    yield f"## What was printed is the very same method ({tables} simulated tables a line)"
    yield ""
    yield (
        f"Tables of {ROWS} rows of {NUMBERS} numbers; printed is one honest run, the mean of five, or the best of five "
        "by the first number, of the method that is measured. The old rule (one word a cell, Holm over the table) "
        "called numbers *below* or *above*, which is false in all of these tables. Today's words are per row and by "
        "hypothesis: *if a mean* speaks of what is a mean, *if one run* of one run (false in at most about 5 % of "
        "rows). A reader who takes *if a mean* for the whole answer would still be told *worse* or *better* as often "
        "as that column says; so an arrow that is compatible with one run has a mark (°), and the column *bare* counts "
        "the rows with one that has none. Even bet: the fewest runs whose best prints the first number at even odds, "
        "median. Correlation: of the numbers of a row."
    )
    yield ""
    lines = []
    for law, correlation in (("normal", 0.0), *((law, 0.8) for law in LAWS)):
        for what in PRINTED_AS:
            for n in RUNS:
                found = same_method(law, what, n, correlation, tables)
                line = [law, f"{correlation:g}", what, str(n), pc(found.share(found.old_against))]
                line += [pc(found.share(count, rows=True)) for count in (found.against, found.bare, found.incompatible)]
                lines.append([*line, f"{median(found.even):g}"])
    heads = ["law", "correlation", "printed", "n", "old rule: tables with a false word"]
    heads += ["if a mean, worse or better (rows)", "bare (rows)", "if one run, not compatible (rows)", "even bet"]
    yield from table(heads, lines, 3)
    margins = ", ".join(f"{spread_of_margin(n, max(20, int(400 * scale))):.2f} at n = {n}" for n in RUNS)
    yield (
        f"The smallest margin at which a row of the very same mean is *reproduced*, in the median: {margins} points."
    )
    yield ""


def _levels(scale: float) -> Iterator[str]:
    rows = max(50, int(4_000 * scale))
    yield f"## Words at their stage ({rows} simulated rows of {NUMBERS} independent numbers a line; margin 1 point)"
    yield ""
    yield (
        "`truth` is how far every true mean of the row lies below the printed number; truths above mirror these. "
        "False: *reproduced* for a truth of 1 point or more, *worse* for 1 point or less, *better*. Levels: 0.02 at "
        "n = 5, 0.015 at 10, 0.01 at 20, 0.005 at 50."
    )
    yield ""
    lines = []
    for std in SPREADS:
        for truth in TRUTHS:
            for n in RUNS:
                words, false = at_truth(truth, std, n, rows)
                lines.append(
                    [f"{truth:.1f}", f"{std:.1f}", str(n), *(pc(words[word] / rows) for word in WORDS), pc(false)]
                )
    yield from table(["truth", "STD", "n", *WORDS, "false"], lines, 0)
    yield (
        "At the margin itself, where a false word is likeliest, above or below it, whichever is worse: *reproduced* "
        "with one number at the margin and the others where they were printed, *worse* or *better* with all at the "
        "margin. The levels hold for normal seeds, of *worse* and of *better* each: where the spread is many times the "
        "margin a row can be wrong in either, and a false one of the two falls up to twice as often. For other laws "
        "this is what comes out:"
    )
    yield ""
    lines = []
    for law in LAWS:
        for std in (0.3, 1.1, 4.0):
            found = [at_margin(law, std, n, rows // 2) for n in RUNS]
            lines.append([law, f"{std:.1f}", *(f"{pc(same)} / {pc(other)}" for same, other in found)])
    heads = [f"n = {n}: reproduced / different" for n in RUNS]
    yield from table(["law", "STD", *heads], lines, 1)


def _looks(scale: float) -> Iterator[str]:
    rows = max(30, int(2_000 * scale))
    yield f"## Looks ({rows} simulated rows of {NUMBERS} numbers at the margin)"
    yield ""
    yield (
        "Shares of rows that once got a false word while they grew to 50 runs, looked at at the four stages, or after "
        "every run from 5 on. By the old rule each look is at 5 %; by the stages looking more often changes nothing."
    )
    yield ""
    lines = []
    for law in LAWS:
        for name, looks in (("4 stages", RUNS), ("every run", tuple(range(5, 51)))):
            count = rows if len(looks) == 4 else max(20, rows // 4)
            found = looked_at(law, count, looks)
            lines.append([law, name, *map(pc, found)])
    heads = ["law", "looks", "stages: reproduced", "stages: worse, better", "old: reproduced", "old: below, above"]
    yield from table(heads, lines, 2)
    once = ", ".join(f"{law} {pc(one_run_over_looks(law, rows))}" for law in LAWS)
    yield (
        "*If one run* is at 1 − 0.05 / numbers at every stage. Of rows that did print one honest run, so many are once "
        f"called *not compatible* over the four stages: {once}."
    )
    yield ""


def _chances(scale: float) -> Iterator[str]:
    cases = max(200, int(20_000 * scale))
    yield f"## Chances ({cases} simulated cases a cell)"
    yield ""
    yield (
        "How often what was printed had a chance (of it or more) of 10 % or less: 10 % if the chances are right, which "
        "they are for normal seeds."
    )
    yield ""
    lines = [[law, str(n), *map(pc, rare(law, n, cases))] for law in LAWS for n in (5, 10, 20)]
    names = ["one run" if k == 1 else f"{hypothesis} of {k}" for hypothesis, k in HYPOTHESES]
    yield from table(["law", "n", *names], lines, 1)
    few = max(20, int(300 * scale))
    said, truth = by_validation(10, few)
    yield (
        "Best of five by validation, ten seeds, correlation 0.6 between the two scores, a number one STD above the "
        f"mean: the truth is {pc(truth)}, the mean of what is said {pc(said)} ({few} cases)."
    )
    yield ""
    yield (
        "Where a share of the runs does not learn, one run is a draw from the mixture and the best of k the best of k "
        "draws; a mean of k holds some of each kind. A number one STD above the runs that learn, the others five "
        "below, ten seeds; shares and spreads are estimated, so that what is said spreads around the truth and, of a "
        "rare thing, lies above it:"
    )
    yield ""
    lines = []
    for share in (0.8, 0.6):
        for name, (truth, drawn, times) in mixed(share, 10, max(20, int(600 * scale))).items():
            lines.append([f"{share:g}", name, pc(truth), pc(drawn), pc(times)])
    yield from table(["share learned", "printed", "truth", "said", "share × chance among the learned"], lines, 2)


def _coverage(scale: float) -> Iterator[str]:
    draws, few, some = int(10_000 * scale), int(2_000 * scale), max(20, int(1_000 * scale))
    yield f"## Coverage of 95 % intervals ({draws} simulated rows each)"
    yield ""
    lines = []
    for law in LAWS:
        both = [coverage(n, draws, law) for n in (3, 5, 10)]
        lines.append([f"t interval of the mean, {law}", *(pc(mean) for mean, _ in both)])
        lines.append([f"prediction interval for one more run, {law}", *(pc(one) for _, one in both)])
    lines.append(["percentile bootstrap over seeds, normal", *(pc(seed_bootstrap(n, few)) for n in (3, 5, 10))])
    yield from table(["interval", "n = 3", "n = 5", "n = 10"], lines)
    yield (
        "The t and prediction intervals hold what they say for normal seeds. The percentile bootstrap over a handful "
        f"of seeds does not, so it is not offered anywhere in the reports ({few} rows, 1000 resamples each)."
    )
    yield ""
    yield "Over clips, of which there are enough, the bootstrap does better; it is used for single runs alone:"
    yield ""
    lines = [[f"percentile bootstrap over {n} clips", pc(clip_bootstrap(n, few)), "—"] for n in (229, 656)]
    for seeds in (3, 5, 10):
        alone, _ = crossed_coverage(seeds, 656, some)
        lines.append([f"crossed, {seeds} seeds x 656 clips, both drawn anew", pc(alone), "—"])
    for seeds in (5, 10):
        both_ways = crossed_coverage(seeds, 656, some, videos=40)
        lines.append([f"crossed, {seeds} seeds x 656 clips of 40 videos", *map(pc, both_ways)])
    yield from table(["95 % interval of an accuracy of 84 %", "clips drawn alone", "videos drawn whole"], lines)


def main() -> None:
    """Run everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, printed and not written")
    quick = parser.parse_args().quick
    text = "\n".join(report(0.1 if quick else 1.0))
    if quick:
        sys.stdout.write(text)
    else:
        (Path(__file__).resolve().parents[1] / "docs" / "simulations.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
