"""Wrong layers, handlers, stores and backoffs: each a mistake that real projects shipped, and the clause that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Wrong(NamedTuple):
    """One mistake: what builds it, the clause that must name it, and what builds the same without the mistake."""

    build: Callable[[], Any]
    clause: str
    mended: Callable[[], Any] | None = None
