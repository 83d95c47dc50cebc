"""How a post sounds. The one place where social events meet the server's sentiment."""

from __future__ import annotations


def mood(text: str) -> float | None:
    """-1 bad to 1 good; None where nothing can be said."""
    return None
