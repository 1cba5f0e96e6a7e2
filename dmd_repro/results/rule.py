"""The rule of the verdicts in words, as it is printed under every table."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.stats.verdict import FEWEST


def points_of(value: float) -> str:
    """Return `1 point`, `1.5 points`."""
    return f"{value:g} point" + ("" if value == 1 else "s")


def rule_lines(margin: float, family: int, looks: Sequence[str], own: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the sentences that stand under a table: measurement, verdict, correction, further readings, looks.

    `own`: headings of the printed columns that are on a scale of their own, not in percent.
    """
    m, points = f"{margin:g}", points_of(margin)
    lines = [
        "measured: mean ± sample STD (divisor n − 1) over n runs that differ in the seed; n = runs counted / runs "
        "planned.",
        "verdict: on d = mean − printed, the printed number known to half a unit of its last decimal, margin "
        f"{points}. reproduced ✓: the 90 % interval of d lies inside (−{m}, {m}) (two one-sided tests, TOST, at 5 %). "
        f"below ↓, above ↑: its one-sided 95 % bound lies past −{m}, +{m}. inconclusive ?: neither, or a run failed. "
        f"It takes {FEWEST} runs: 2 to 4 give the interval only, one the value only. The plain t test never decides.",
        f"correction: p= (equivalence) and p≠ (difference) are Holm-adjusted over the {family} cells the rule decides "
        "in this table, each kind apart, and the word follows them; intervals are not adjusted, so one inside the "
        "margin may still be inconclusive.",
        "not comparable: other data, setting, text features, settings or protocol than the printed row's; the note "
        "says which. Such runs get no difference, no test and no verdict.",
        "the uncertainty of d is the seeds': the printed number was measured on the same test clips. SE seeds, SE "
        "clips: standard error of the mean if the seeds alone, or the clips alone, were drawn anew (seeds and clips "
        "are crossed: all seeds meet the same clips).",
        "one run: what a printed number is, the paper does not say. If it is one run, it is compatible where it lies "
        "inside the 95 % prediction interval for one more run of ours; that is never called reproduced. If it is the "
        "best of several, see --lottery.",
        "95 % mean: Student t interval of the mean over seeds. p (t): two-sided one-sample t test of the mean against "
        "the printed number, for information, not corrected.",
    ]
    if own:
        lines.append(f"margin of {' and '.join(own)}: a point is 0.01 there, so the margin is {margin / 100:g}.")
    if len(looks) > 1:
        lines.append(
            f"looks: verdicts on this plan were printed with {len(looks)} different sets of runs "
            f"({', then '.join(looks)}). Adding seeds after a look is optional stopping: the stated error rates hold "
            "for one look."
        )
    elif looks:
        lines.append(f"looks: this is the first look at verdicts on this plan ({looks[0]}).")
    return tuple(lines)
