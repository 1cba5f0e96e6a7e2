"""What the padding of a file does to a run, said when it is imported: the side, and modalities that hold nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_LEFT = 0.02  # share of the zero steps at the left end below which padding is on the right


def padding_remarks(padded: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[str]:
    """Yield a sentence for columns padded on the right, and for a column that is zero in every clip.

    `padded` holds, by column and split, the zero steps at each end and the number of clips that are zero throughout
    (they count at neither end).
    """
    sides: dict[str, list[str]] = {}
    for key, splits in padded.items():
        left, right = (sum(counts[side] for counts in splits.values()) for side in ("left", "right"))
        if right and left < (1 - _LEFT) * (left + right):
            sides.setdefault("on the right" if left <= _LEFT * (left + right) else "at both ends", []).append(key)
        bare = [split for split, counts in splits.items() if counts["empty"] == counts["clips"]]
        if bare:
            where = "" if len(bare) == len(splits) else f" of {' and '.join(bare)}"
            yield f"{key} is zero in every clip{where}: a run sees nothing of this modality"
    for side, keys in sides.items():
        yield (
            f"{', '.join(keys)} padded {side}: the authors' code reads the last step, which is then padding"
            " (the public files are padded on the left; a run moves it with --set pad_side=left)"
        )
