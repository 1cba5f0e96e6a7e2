"""The rules of the words, as they are printed under every table."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.stats.stages import Stage


def points_of(value: float) -> str:
    """Return `1 point`, `1.5 points`."""
    return f"{value:g} point" + ("" if value == 1 else "s")


def rule_lines(
    margin: float, stages: Sequence[Stage], decided: Sequence[Stage], looks: Sequence[str], own: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the sentences that stand under a table: measurement, words by hypothesis, stages, further readings.

    `decided`: the stage of each row that was judged. `own`: headings of the printed columns that are on a scale of
    their own, not in percent.
    """
    m, points = f"{margin:g}", points_of(margin)
    lines = [
        "measured: mean ± sample STD (divisor n − 1) over n runs that differ in the seed; n = runs counted / runs "
        "planned. Intervals of percentages end at 0 and 100.",
        "words: the paper does not say what its numbers are, so a row has a word for each thing they may be. d = "
        f"mean − printed, the printed number known to half a unit of its last decimal, margin {points}.",
        f"if a mean: reproduced ✓ if for every number of the row the interval of d lies inside (−{m}, {m}) (two "
        "one-sided tests each, TOST, at the row's level; all must pass, so nothing is corrected). worse ↓ or better ↑ "
        "if the one-sided bound of some number lies past the margin, Holm-adjusted over the row; mixed if both. "
        "Else inconclusive, and why. The plain t test never decides.",
        "if one run: compatible if every number lies inside the interval for one more run of ours at 1 − 0.05 / "
        "numbers of the row; that is never called reproduced. ↓° and ↑°: past the margin of a mean, and compatible "
        "with one run. if the best of several: the fewest runs whose best, by one metric, prints the number or better "
        "at even odds; counted exactly up to the runs at hand, by the normal model beyond.",
        _stages(stages, decided),
        "smallest margin: the one beyond which the row would be reproduced. A margin other than the plan's gives "
        "intervals and no word: it was chosen after looking.",
        "chances: that our method prints the number or better (or worse) as a mean of k, one run or the best of k, "
        "with 90 % posterior intervals; runs taken as normal. They explain, and decide nothing. Where some runs did "
        "not learn, one run is a draw from a mixture: share learned × chance among the learned (and the others as they "
        "are).",
        "not learned: predictions on validation no better than a constant. Means stand with and without such runs, "
        "no interval over both kinds, and a stage that holds one gets no word.",
        "not comparable: other data, setting, text features, settings or protocol than the printed row's; the note "
        "says which. Such runs get no difference, no test and no word. Reconstructed systems get numbers only.",
        "the uncertainty of d is the seeds': the printed number was measured on the same test clips. SE seeds, SE "
        "clips: standard error of the mean if the seeds alone, or the clips alone, were drawn anew (seeds and clips "
        "are crossed: all seeds meet the same clips; clips of one video are drawn together where ids name it).",
        "95 % mean: Student t interval of the mean over seeds. p (t): two-sided one-sample t test of the mean against "
        "the printed number, for information, not corrected. p TOST: the larger p of the two tests that the mean lies "
        "within the margin. p Holm: that it lies past it, one-sided, Holm-adjusted over the row.",
    ]
    if own:
        lines.append(f"margin of {' and '.join(own)}: a point is 0.01 there, so the margin is {margin / 100:g}.")
    if looks:
        times = "once" if len(looks) == 1 else f"{len(looks)} times"
        lines.append(f"looks: words on this plan were printed {times} ({', then '.join(looks)}); the stages allow it.")
    return tuple(lines)


def _stages(stages: Sequence[Stage], decided: Sequence[Stage]) -> str:
    if len(stages) == 1:
        text = f"one look: words are read once, on the first {stages[0].n} planned seeds, at {stages[0].level:g}"
    else:
        at = ", ".join(f"{stage.n} ({stage.level:g})" for stage in stages)
        text = (
            f"stages: words are read on the first n planned seeds, n (level): {at}; the levels sum to 0.05, so seeds "
            "may be added at any time. Between stages, and before a plan is finished, the last word is provisional"
        )
    if not decided:
        return text + "."
    level = sum(stage.level for stage in decided)
    rows = "1 row is" if len(decided) == 1 else f"{len(decided)} rows are"
    return f"{text}. Here {rows} judged: at most {level:.2g} false words of each kind are to be expected."
