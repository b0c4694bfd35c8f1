"""Numbers of tokens as a provider says them."""

from __future__ import annotations

from typing import Any

__all__ = ["count"]

_LARGEST = 2**53


def count(value: Any) -> int | None:
    """*value* as a number of tokens; None for what is none: missing, null, negative, a part of one, text, a boolean."""
    if type(value) is int:
        return value if 0 <= value < _LARGEST else None
    if type(value) is not float or not 0 <= value < _LARGEST:
        return None
    return int(value) if value == int(value) else None
