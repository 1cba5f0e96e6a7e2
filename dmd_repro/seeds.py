"""Where every random number starts: one function from a seed and a purpose to a stream of its own.

No module of this package touches a global generator. A stream depends on the seed and on what it is for, never on the
model or the mask, so the rows of an ablation share their batches and the initial value of their common parts.
"""

from __future__ import annotations

import hashlib

from dmd_repro.errors import SpecError

FIRST_SEED = 1111  # the authors' runner starts at 1111 (seeds 1111-1115 by default)
MOST_SEEDS = 50


def seed_for(seed: int, purpose: str, *scope: str | int) -> int:
    """Return a 63-bit seed for one purpose ("init", "order", "dropout", ...) and scope (a parameter's name, an epoch).

    Equal arguments give equal seeds on every machine; different ones give unrelated seeds (sha256).
    """
    key = "\x1f".join([str(int(seed)), purpose, *(str(s) for s in scope)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `--seeds`: "5" is a count (1 to 50) from 1111 on, "7,8,9" are the seeds themselves.

    Raises SpecError on anything else, on repeated seeds and on a count out of range.
    """
    where = f"--seeds {text}"
    parts = [p.strip() for p in text.split(",")]
    if not all(p.isdecimal() for p in parts if p) or not any(parts):
        raise SpecError.at(where, expected="a count or a list of seeds", got=repr(text), do="Write 5, or 1111,1112")
    values = [int(p) for p in parts if p]
    if len(parts) == 1:
        if not 1 <= values[0] <= MOST_SEEDS:
            raise SpecError.at(
                where,
                expected=f"a count from 1 to {MOST_SEEDS}",
                got=str(values[0]),
                do=f"To train one seed, write it with a comma: --seeds {values[0]},",
            )
        return tuple(range(FIRST_SEED, FIRST_SEED + values[0]))
    if len(set(values)) != len(values):
        raise SpecError.at(where, expected="different seeds", got="a repeated one", do="Name each seed once")
    if len(values) > MOST_SEEDS or max(values) >= 2**32:
        raise SpecError.at(
            where, expected=f"at most {MOST_SEEDS} seeds below 2^32", got=f"{len(values)} seeds", do="Name fewer"
        )
    return tuple(values)
