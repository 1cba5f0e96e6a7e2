"""Checks of token ids against their mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dmd_repro.data.checks.report import DataFinding, plural
from dmd_repro.data.checks.stats import TokenStats

VOCABULARY = 30522  # of bert-base-uncased, which the paper names


def tokens(stats: Mapping[str, TokenStats]) -> Iterator[DataFinding]:
    """The mask covers the ids, without gaps; the ids are of the vocabulary the paper names."""
    clean = True
    for split, part in stats.items():
        for count, what, effect in (
            (
                int((part.masked_ids > 0).sum()),
                "hold tokens that the mask leaves out",
                "BERT does not read these words",
            ),
            (int((part.empty_ids > 0).sum()), "have a mask over id 0, the padding", "BERT reads padding as words"),
            (int(part.broken.sum()), "have a gap in the mask", "BERT reads a sentence with holes"),
            (int((part.tokens == 0).sum()), "have no token at all", "the model sees nothing of them in language"),
        ):
            if count:
                clean = False
                yield DataFinding("tokens", "defect", f"{plural(count, 'clip')} of {split} {what}", effect)
        if part.highest >= VOCABULARY:
            clean = False
            text = f"{split} holds the token id {part.highest}; bert-base-uncased has {VOCABULARY}"
            yield DataFinding(
                "tokens", "warning", text, "another vocabulary: a BERT-base would read other words or stop"
            )
    if stats and clean:
        yield DataFinding("tokens", "ok", "the mask covers the token ids exactly, ids of bert-base-uncased's range")
