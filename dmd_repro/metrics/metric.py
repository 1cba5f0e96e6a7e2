"""What is known of one metric: all of it stands in one object, and every list of metrics is made from these objects.

Labels and predictions are (B,) sentiment on the scale of their data set. A metric is NaN where it does not exist: no
clip left to score, a constant vector under a correlation, or a prediction that is not finite (a diverged run has no
accuracy; comparing NaN with 0 would invent one).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmd_repro.errors import SpecError

Floats = NDArray[np.float64]
Measure = Callable[[ArrayLike, ArrayLike], float]
PerClip = Callable[[Floats, Floats], Floats]  # labels, predictions -> one value a clip, NaN where it does not count
Resample = Callable[[Floats, Floats, Floats], Floats]  # labels, predictions, how often each clip: (R, B) -> (R,)
Prominence = Literal["line", "comparison", "run", "all"]
UNITS = ("%", "")
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. Raises SpecError, naming what is missing, where an object says too little to be printed or resampled.

    `per_clip` and `resample`: how it moves with the clips. A metric that is a mean over clips needs `per_clip` alone;
    any other says how to score resamples, and may give jackknife values as `per_clip`.
    """

    id: str
    heading: str  # how a table heads it
    words: str  # what is counted, for a narrow line
    convention: str  # what is counted, exactly
    function: Measure  # in [0, 1] where the unit is "%"
    unit: str | None = None  # "%": a fraction that is printed times 100; "": printed on its own scale
    higher_is_better: bool | None = None
    column: str | None = None  # the column of a printed table that may hold it; None: no table does
    reading: tuple[str, ...] = ()  # which way of counting, where a column has several: ("non0", "swapped")
    short: str = ""  # its heading beside the other readings of its column
    per_clip: PerClip | None = None
    resample: Resample | None = None
    right: PerClip | None = None  # 1 where a clip is called right, 0 where wrong; None: there is no right or wrong
    label_range: tuple[float, float] | None = None  # the only range of labels it is defined on; None: any
    prominence: Prominence = "comparison"  # shown there, and wherever more is shown (line < comparison < run < all)
    limits: tuple[float, float] = (-float("inf"), float("inf"))  # what it can be, as it is defined; of a "%": (0, 1)
    always: bool = True  # shown for every measured row of a table, printed or not

    def __post_init__(self) -> None:
        """Refuse a metric that does not say what every place that shows it needs."""
        missing = (
            ("an id of letters, digits and _", self.id, isinstance(self.id, str) and self.id.isidentifier()),
            ("a heading", self.heading, bool(self.heading)),
            ("words and a convention", self.words, bool(self.convention) and self.words is not None),
            ("a function of labels and predictions", self.function, callable(self.function)),
            ("a unit: '%' for a fraction, '' for its own scale", self.unit, self.unit in UNITS),
            ("higher_is_better, true or false", self.higher_is_better, isinstance(self.higher_is_better, bool)),
            ("per_clip or resample", "neither", callable(self.per_clip) or callable(self.resample)),
        )
        for expected, got, good in missing:
            if not good:
                raise SpecError.at(
                    f"metric '{self.id}'", expected=expected, got="none" if got in (None, "") else repr(got),
                    do="Say it in the metric's file",
                )  # fmt: skip

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike) -> float:
        """Return the metric as it is defined: a fraction where the unit is "%", else on its own scale."""
        return self.function(y_true, y_pred)

    def shown(self, y_true: ArrayLike, y_pred: ArrayLike) -> float:
        """Return the metric in the unit tables print: times 100 for a fraction."""
        return self.function(y_true, y_pred) * self.scale

    @property
    def scale(self) -> float:
        """What a value is multiplied by before it is printed."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def point(self) -> float:
        """What a margin of one point is in the printed unit: a hundredth of the metric as it is defined."""
        return self.scale / 100.0

    @property
    def bounds(self) -> tuple[float, float]:
        """What a printed value can be: no interval of a percentage passes 0 or 100."""
        return (0.0, 100.0) if self.unit == "%" else self.limits

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the share of the clips that are called right."""
        return self.right is not None and self.right is self.per_clip

    @property
    def digits(self) -> int:
        """Decimals of a printed value that are worth reading."""
        return 2 if self.unit == "%" else 4

    @property
    def name(self) -> str:
        """Its heading with the way of counting: `F1 non0 swapped`."""
        return " ".join((self.heading, *self.reading))

    def resampled(self, true: Floats, pred: Floats, counts: Floats) -> Floats:
        """Return the metric (R,) of resamples given as counts (R, B), NaN where one leaves it undefined."""
        if self.resample is not None:
            return self.resample(true, pred, counts)
        values = cast(PerClip, self.per_clip)(true, pred)
        kept = np.isfinite(values)
        weights = counts if kept.all() else counts * kept
        with np.errstate(invalid="ignore", divide="ignore"):
            return cast(Floats, weights @ np.where(kept, values, 0.0) / weights.sum(1))


def paired(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Floats, Floats] | None:
    """Return both as flat float64, or None where nothing can be scored. Raises ValueError if their lengths differ."""
    # Single precision first: predictions are float32 everywhere else, and a double could fall on the other side of
    # a half (x.5 decides the class of acc7) than the number that was trained and stored.
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, and inf has no score either
        true = np.asarray(y_true, dtype=np.float32).astype(np.float64).reshape(-1)
        pred = np.asarray(y_pred, dtype=np.float32).astype(np.float64).reshape(-1)
    if true.shape != pred.shape:
        raise ValueError(f"y_true has {true.size} clips, y_pred {pred.size}")
    if true.size == 0 or not (np.isfinite(true).all() and np.isfinite(pred).all()):
        return None
    return true, pred
