"""From a name to features: generated ones for `synthetic...`, otherwise those of the store."""

from __future__ import annotations

import logging

from dmd_repro.data.features import Features, TextKind
from dmd_repro.data.store.folder import Store
from dmd_repro.data.synthetic import Size, generate, is_synthetic, parse_synthetic
from dmd_repro.errors import DataError

log = logging.getLogger(__name__)


def load_features(
    name: str,
    store: Store,
    *,
    text: TextKind | None = None,
    aligned: bool | None = None,
    size: Size | None = None,
    verify: bool | None = None,
) -> Features:
    """Return the features a name stands for; `verify` as in `Store.open`.

    `aligned` and `size` choose among the synthetic variants and must agree with a name that already says them; a
    stored feature set has one setting only, and one that differs from `aligned` is refused. Raises DataError.
    """
    if is_synthetic(name):
        kind, setting, layout = parse_synthetic(name, text=text, aligned=aligned, size=size)
        log.info("generating synthetic features: %s text, %s, %s", kind, "aligned" if setting else "unaligned", layout)
        return generate(text=kind, aligned=setting, size=layout)
    if aligned is not None and store.manifest(name).aligned != aligned:
        asked, held = ("aligned", "unaligned") if aligned else ("unaligned", "aligned")
        raise DataError.at(
            f"feature set '{name}'", expected=f"{asked} features", got=held, do="Name a feature set of that setting"
        )
    log.info("reading the feature set '%s' in %s", name, store.root)
    return store.open(name, text, verify=verify)
