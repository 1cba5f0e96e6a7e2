"""`dmd data matrix`: which feature set serves which rows of the paper's tables, and where to get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dmd_repro.data.download.sources import FeatureSource
from dmd_repro.data.store.folder import Store
from dmd_repro.data.store.manifest import Manifest
from dmd_repro.errors import DataError
from dmd_repro.papers.folders import table_names
from dmd_repro.papers.tables import load_table


@dataclass(frozen=True, slots=True)
class Need:
    """One feature set the tables ask for."""

    name: str
    rows: Mapping[str, tuple[str, ...]]  # keys of the rows it serves, by table
    state: str  # here | damaged | missing
    standing: str | None  # of what is here
    group: str | None  # of the source; None: not published at all
    file: str | None

    @property
    def count(self) -> int:
        return sum(len(keys) for keys in self.rows.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"rows": {table: list(keys) for table, keys in self.rows.items()}}


@dataclass(frozen=True, slots=True)
class Own:
    """A stored feature set under a name that no recipe asks for: rows take it with `--data NAME`."""

    name: str
    serves: str  # the name recipes give to such features
    standing: str
    rows: Mapping[str, tuple[str, ...]]  # keys of the rows it can serve, by table


@dataclass(frozen=True, slots=True)
class Matrix:
    """What the tables need, and how many rows need nothing because they cannot be run."""

    needs: tuple[Need, ...]
    own: tuple[Own, ...]
    copied: Mapping[str, int]  # rows without a recipe, by table


def served_name(manifest: Manifest) -> str:
    """Return the name under which recipes ask for features such as these: `mosi-aligned-bert`."""
    kind = "glove" if "glove" in manifest.texts else "bert"
    return f"{manifest.dataset}-{'aligned' if manifest.aligned else 'unaligned'}-{kind}"


def matrix(store: Store, sources: Mapping[str, FeatureSource]) -> Matrix:
    """Set the recipes of all tables against the store and the sources. Raises ClaimError if a table is malformed."""
    rows: dict[str, dict[str, list[str]]] = {name: {} for name, s in sources.items() if s.kind == "features"}
    copied: dict[str, int] = {}
    for name in table_names():
        for row in load_table(name).rows:
            if row.recipe is None:
                copied[name] = copied.get(name, 0) + 1
            else:
                rows.setdefault(row.recipe.features, {}).setdefault(name, []).append(row.key)
    needs = []
    held = store.names()
    for name, tables in rows.items():
        state, standing = "missing", None
        at_hand = next((n for n in (name, name.replace("-bert", "-hidden")) if n in held), None)
        if at_hand:
            try:
                state, standing = "here", store.manifest(at_hand).standing
            except DataError:
                state = "damaged"
        source = sources.get(name)
        found = {table: tuple(keys) for table, keys in tables.items()}
        needs.append(
            Need(name, found, state, standing, source.group if source else None, source.file if source else None)
        )
    known = {alias for need in needs for alias in (need.name, need.name.replace("-bert", "-hidden"))}
    own = []
    for name in held:
        try:
            manifest = store.manifest(name)
        except DataError:  # `dmd data list` says so
            continue
        if name not in known:
            serves = served_name(manifest)
            own.append(Own(name, serves, manifest.standing, {t: tuple(k) for t, k in rows.get(serves, {}).items()}))
    return Matrix(tuple(sorted(needs, key=lambda n: (-n.count, n.name))), tuple(own), copied)
