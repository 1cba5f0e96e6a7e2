"""What `dmd data download NAME --how` prints: how a person gets a file by hand."""

from __future__ import annotations

from collections.abc import Sequence

from dmd_repro.data.download.sources import FeatureSource


def by_hand(source: FeatureSource, rows: Sequence[str]) -> list[str]:
    """Return the lines of `--how`: the page, the file, the command that imports it."""
    lines = [f"{source.name}: {source.title}", f"page:    {source.page}"]
    if source.kind == "folder":
        lines += ["files:   all of the folder", "then:    put them into the folder `checkpoints` of the data folder"]
    elif source.kind == "labels":
        lines.append(f"file:    {source.file} (the one of {(source.dataset or '').upper()})")
        lines.append("then:    dmd data check NAME --labels FILE")
    else:
        where = f" (the one in the folder of {source.within.upper()})" if source.within else ""
        lines.append(f"file:    {source.file}{where}")
        lines.append(f"then:    dmd data import {source.file} --name {source.name} --dataset {source.dataset}")
    lines += [f"also:    {text}" for text in source.see_also]
    size = f"{source.size:,} bytes" if source.size else f"about {source.about}" if source.about else "not published"
    lines.append(f"size:    {size}")
    lines += [f"place:   {p.shown}{' (not known to be the same file)' if p.may_differ else ''}" for p in source.places]
    lines.append(f"sha256:  {source.sha256 or 'not published: remembered at the first download'}")
    lines += [f"licence: {source.licence}", f"cite:    {source.cite}"]
    if source.kind == "features":
        lines.append(f"serves:  {', '.join(rows) if rows else 'no printed row'}")
    return lines
