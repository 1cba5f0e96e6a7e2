"""A time in words."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """Return a time in the two units that matter: 8.1 s, 3 min 20 s, 2 h 05 min, 5 days."""
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole >= 100 * 3600:
        return f"{whole / 86400:.0f} days"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
