"""dmd: reproduce and audit the tables of DMD (Li, Wang, Cui, CVPR 2023) on CMU-MOSI and CMU-MOSEI.

`import dmd_repro as dmd` offers, each with a docstring (`help(dmd.compare)`): `runs_df`, `predictions_df`,
`history_df`, `compare`, `findings_df`, `reproduce`, `train`, `load_features`, `score`, `verdict`, `figure`. They are
loaded when first used. Folders are the command line's: runs in `DMD_RUNS` or ./runs, features in `DMD_DATA`.
"""

from typing import TYPE_CHECKING

from dmd_repro.lazy import __dir__, __getattr__

if TYPE_CHECKING:
    from dmd_repro.api.drawings import figure
    from dmd_repro.api.numbers import score, verdict
    from dmd_repro.api.records import history_df, predictions_df, runs_df
    from dmd_repro.api.tables import compare, findings_df
    from dmd_repro.api.work import load_features, reproduce, train

__all__ = [
    "__dir__", "__getattr__", "compare", "figure", "findings_df", "history_df", "load_features", "predictions_df",
    "reproduce", "runs_df", "score", "train", "verdict",
]  # fmt: skip

__version__ = "0.1.0"
